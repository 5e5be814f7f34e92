//! No password of the cycle can be seen by others: not in logs, outputs, command lines, or files that they can read.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    cycle::{text, wait_for},
    up::Home,
};

/// Texts that must not be seen, none of them short enough to appear by chance.
struct Secrets(BTreeSet<String>);

impl Secrets {
    /// What the data folder keeps, and every `password` of the settings.
    fn of(data: &Path) -> Self {
        let kept: Value = serde_json::from_slice(&fs::read(data.join("secrets.json")).unwrap()).unwrap();
        let mut found = BTreeSet::new();
        collect(&kept, &mut found);
        let settings = fs::read_to_string(data.join("tidemart.toml")).unwrap();
        let lines = settings.lines().filter_map(|line| line.strip_prefix("password = "));
        found.extend(lines.map(|quoted| quoted.trim_matches('"').to_owned()));
        assert!(found.len() >= 4 && found.iter().all(|secret| secret.len() >= 16), "{} secrets", found.len());
        Self(found)
    }

    fn add(&mut self, secret: &str) {
        self.0.insert(secret.to_owned());
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    }

    /// Files below this folder that hold one and that every account can read.
    fn exposed_below(&self, folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, Ok(data)) = (entry.path(), entry.metadata()) else { continue };
            let mode = data.permissions().mode();
            if data.is_dir() && mode & 0o001 != 0 {
                found.extend(self.exposed_below(&path));
            } else if data.is_file() && mode & 0o004 != 0 && self.are_in(&fs::read(&path).unwrap_or_default())
            {
                found.push(path);
            }
        }
        found
    }

    /// Processes whose command line, which every account can read, holds one.
    fn exposed_processes(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let told = lines.filter(|line| self.are_in(line));
        told.map(|line| String::from_utf8_lossy(&line).split('\0').next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn the_search_finds_what_is_open_and_passes_what_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = Secrets(BTreeSet::from(["a-secret-of-some-length".to_owned()]));
    let place = |name: &str, folder_mode: u32, mode: u32| {
        let beside = folder.path().join(name);
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("file"), "x a-secret-of-some-length y").unwrap();
        fs::set_permissions(beside.join("file"), fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(folder_mode)).unwrap();
    };
    place("open", 0o755, 0o644);
    place("closed-file", 0o755, 0o600);
    place("closed-folder", 0o700, 0o644);
    assert_eq!(secrets.exposed_below(folder.path()), [folder.path().join("open/file")]);
    let mut shown = std::process::Command::new("sh")
        .args(["-c", "read -r _", "a-secret-of-some-length"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A process that has just begun shows nothing yet: it is let go before its arguments are in their place.
    let begun = std::time::Instant::now();
    while secrets.exposed_processes().is_empty() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "not found");
    }
    drop(shown.stdin.take());
    shown.wait().unwrap();
}

/// Commands of which some fail, since the account of `up` is no administrator: errors must not tell either.
const COMMANDS: [&[&str]; 7] = [
    &["status"],
    &["status", "--json"],
    &["verify"],
    &["doctor"],
    &["capture", "--check"],
    &["marts", "list"],
    &["migrate"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everything_running_no_password_is_to_be_seen() {
    let home = Home::new("secrets");
    // Every library's own words are in the logs too.
    let mut up = home.up_with("up", &[("TIDEMART_LOG", "debug")]);
    up.is_live().await;
    let mut secrets = Secrets::of(&home.data());
    let settings = home.data().join("tidemart.toml");
    let settings = settings.to_str().unwrap();
    let accounts = home.data().join("accounts");
    let made: &[&str] = &["migrate", "--accounts", accounts.to_str().unwrap()];
    for arguments in COMMANDS.into_iter().chain([made]) {
        let output = home.run(&[arguments, &["--log", "debug", "--config", settings]].concat());
        assert!(!secrets.are_in(text(&output).as_bytes()), "{arguments:?} tells a password");
    }
    secrets.add("a-wrong-password-of-ours");
    for server in ["POSTGRES", "MYSQL"] {
        for command in ["capture", "consumer", "verify", "doctor", "migrate"] {
            let mut wrong = home.command(&[command, "--log", "debug", "--config", settings]);
            wrong.env(format!("TIDEMART_{server}_PASSWORD"), "a-wrong-password-of-ours");
            // The one that does not use this server would run.
            if (server, command) != ("POSTGRES", "consumer") && (server, command) != ("MYSQL", "capture") {
                let output = wrong.output().unwrap();
                assert!(!output.status.success() && !secrets.are_in(text(&output).as_bytes()), "{command}");
            }
        }
    }
    assert_eq!(secrets.exposed_processes(), Vec::<String>::new());
    assert_eq!(secrets.exposed_below(home.path()), Vec::<PathBuf>::new());
    let logs = home.data().join("logs");
    let mut seen = 0;
    for log in fs::read_dir(logs).unwrap().flatten() {
        let content = fs::read(log.path()).unwrap();
        assert!(!secrets.are_in(&content), "a password is in {}", log.path().display());
        seen += usize::from(!content.is_empty());
    }
    assert!(seen >= 6, "{seen} logs with something in them");
    assert!(!secrets.are_in(up.text().as_bytes()), "up tells a password");
    up.signal(Signal::SIGINT);
    wait_for("the end", || up.has_ended()).await;
}
