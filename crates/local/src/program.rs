//! Helping programs: Maven, unzip, initdb and the like, run to their end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::account::Account;
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
    let output = output(name, advice, command, input).await?;
    if output.status.success() {
        return Ok(text(output));
    }
    Err(failed(name, output))
}

/// Runs `command` to its end, whatever that is. Given up before (the future dropped), it is killed, and with it all that
/// it started where it leads a process group.
pub(crate) async fn output(
    name: &str,
    advice: &'static str,
    command: &mut Command,
    input: &str,
) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|source| not_started(name, advice, source))?;
    let mut tree = Tree::of(child);
    if let Some(mut stdin) = tree.child.stdin.take() {
        // A program that ends without reading its input says why on its output.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    tree.output().await.map_err(|source| not_started(name, advice, source))
}

/// The error of a program that ended otherwise than it should.
pub(crate) fn failed(name: &str, output: Output) -> Error {
    let status = output.status.to_string();
    Error::Program { program: name.to_owned(), status, tail: tail(&text(output)) }
}

fn text(output: Output) -> String {
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// A program that runs, and what it has started meanwhile.
struct Tree {
    child: Child,
    /// The process group that it leads, until it has ended.
    group: Option<Pid>,
}

impl Tree {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let group = id.filter(|id| getpgid(Some(*id)) == Ok(*id));
        Self { child, group }
    }

    async fn output(&mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let ended = tokio::try_join!(self.child.wait(), read(stdout), read(stderr));
        // Only now: as long as the output is open, one of the group is alive, and its id is no other group's.
        self.group = None;
        let (status, stdout, stderr) = ended?;
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // One that has just ended needs no signal.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
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

/// The version that a program has said, where it is no older than this one.
pub(crate) fn new_enough<V: PartialOrd>(
    name: &str,
    path: &Path,
    said: Option<V>,
    oldest: V,
    advice: &'static str,
) -> Result<V> {
    let too_old = || Error::MissingProgram {
        program: format!("{} is too old, and a newer {name}", path.display()),
        advice,
    };
    said.filter(|version| *version >= oldest).ok_or_else(too_old)
}

/// A command for a program of PATH that helps to fill the cache: it runs as we do, and ends with us, whichever way we do.
pub(crate) fn helper(name: &str, advice: &'static str) -> Result<Command> {
    let missing = || Error::MissingProgram { program: name.to_owned(), advice };
    Ok(Account::fetching_command(&find(name).ok_or_else(missing)?))
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
    use std::fs;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

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
    async fn a_helper_has_our_environment_and_a_missing_one_is_named() {
        let error = helper("no-such-program", "install it").unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed; install it");
        let mut shell = helper("sh", "").unwrap();
        let said = run("sh", "", shell.args(["-c", "echo $HOME"])).await.unwrap();
        assert_eq!(said.trim(), std::env::var("HOME").unwrap_or_default());
    }

    #[tokio::test]
    async fn a_failing_program_shows_the_end_of_its_output() {
        let mut command = Command::new("sh");
        let error = run("sh", "", command.args(["-c", "echo out; echo err >&2; exit 3"])).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("out\nerr"), "{text}");
    }

    #[tokio::test]
    async fn a_program_that_is_given_up_takes_with_it_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        let mut shell = Account::own_command(Path::new("sh"), Signal::SIGKILL);
        shell.args(["-c", "sleep 300 & echo $! >\"$1.new\"; mv \"$1.new\" \"$1\"; wait", "sh"]).arg(&file);
        let begun = async {
            while !file.exists() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = run("sh", "", &mut shell) => panic!("{ended:?}"),
            () = begun => {}
        }
        let child = fs::read_to_string(&file).unwrap();
        // A zombie's command line is empty.
        let line = Path::new("/proc").join(child.trim()).join("cmdline");
        let gone = async {
            while fs::read(&line).is_ok_and(|line| !line.is_empty()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("what it started has ended too");
    }
}
