//! Helping programs: Maven, unzip, initdb and the like, run to their end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, Result};

/// How much of a program's output an error shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 8 * 1024;

/// Runs `command` to its end. Its output is only seen in the error.
pub(crate) async fn run(name: &str, advice: &'static str, command: &mut Command) -> Result<String> {
    run_with_input(name, advice, command, "").await
}

/// Runs `command` to its end with `input` on its standard input, where no other process can read it.
pub(crate) async fn run_with_input(
    name: &str,
    advice: &'static str,
    command: &mut Command,
    input: &str,
) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| not_started(name, advice, source))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading its input says why on its output.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|source| not_started(name, advice, source))?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() {
        return Ok(text);
    }
    Err(Error::Program { program: name.to_owned(), status: output.status.to_string(), tail: tail(&text) })
}

/// The error of a program that could not be run at all.
pub(crate) fn not_started(name: &str, advice: &'static str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        return Error::MissingProgram { program: name.to_owned(), advice };
    }
    Error::File { action: "run", path: PathBuf::from(name), source }
}

/// The last lines of a text, bounded.
pub(crate) fn tail(text: &str) -> String {
    let from = text.len().saturating_sub(TAIL_BYTES);
    let start = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let lines: Vec<&str> = text[start..].trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Finds a program in the folders of PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_bounded_in_lines_and_bytes() {
        let lines: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(tail(&lines).lines().count(), TAIL_LINES);
        assert!(tail(&lines).ends_with("line 99"));
        let long = "ü".repeat(TAIL_BYTES);
        assert!(tail(&long).len() <= TAIL_BYTES);
        assert_eq!(tail(""), "");
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_what_to_install() {
        let error =
            run("no-such-program", "install it", &mut Command::new("no-such-program")).await.unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed; install it");
    }

    #[tokio::test]
    async fn a_failing_program_shows_the_end_of_its_output() {
        let mut command = Command::new("sh");
        let error = run("sh", "", command.args(["-c", "echo out; echo err >&2; exit 3"])).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("out\nerr"), "{text}");
    }
}
