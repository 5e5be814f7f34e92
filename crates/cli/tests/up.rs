//! `tidemart up` as a user runs it: from nothing, stopped, killed, in the background.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::cycle::{
    LIMIT, TIDEMART,
    role::{wait_for, wait_within},
    text,
};

/// How long the end may take after Ctrl-C.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A folder that every account can enter, for servers that run as an unprivileged one; their data lie in it.
pub struct Home(PathBuf);

impl Home {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidemart-up-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TIDEMART);
        command.args(arguments).env("TIDEMART_DATA", self.data()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `up`, its output in a file.
    fn up(&self, name: &str) -> Up {
        self.up_with(name, &[])
    }

    /// The same with variables of the environment.
    pub fn up_with(&self, name: &str, variables: &[(&str, &str)]) -> Up {
        self.up_of(name, &[], variables)
    }

    /// The same with more arguments.
    pub fn up_of(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Up {
        let log = self.0.join(format!("{name}.txt"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.command(&["up", "--size", "tiny", "--rate", "20"]);
        let child = command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Up { child, log }
    }

    /// `tidemart verify` with the settings that `up` wrote.
    fn verify(&self) -> Output {
        let settings = self.data().join("tidemart.toml");
        self.run(&["verify", "--config", settings.to_str().unwrap()])
    }

    /// The processes whose command line names this folder.
    pub fn processes(&self) -> Vec<(Pid, String)> {
        let folder = self.0.to_str().unwrap();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let processes = entries.filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((Pid::from_raw(id), String::from_utf8_lossy(&line).replace('\0', " ")))
        });
        processes.filter(|(_, line)| line.contains(folder)).collect()
    }

    /// The processes of a part.
    fn of(&self, part: &str) -> Vec<Pid> {
        let found = self.processes().into_iter().filter(|(_, line)| line.contains(part));
        found.map(|(id, _)| id).collect()
    }

    /// Whether every part works and both marts are there, as `tidemart status` says.
    fn works(&self) -> bool {
        let settings = self.data().join("tidemart.toml");
        self.run(&["status", "--config", settings.to_str().unwrap()]).status.success()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.run(&["down"]));
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub struct Up {
    child: Child,
    log: PathBuf,
}

impl Up {
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for the table, and a status line after it without a problem.
    pub async fn is_live(&mut self) {
        self.is_live_within(LIMIT).await;
    }

    /// The same with a limit that parts beside the core may need.
    pub async fn is_live_within(&mut self, limit: Duration) {
        wait_within(limit, "the status line", || {
            let text = self.text();
            let after = text.split_once("passwords and all settings").map_or("", |(_, after)| after);
            let line = after.lines().any(|line| line.contains("user_sales") && !line.contains("problem"));
            line || self.child.try_wait().unwrap().is_some()
        })
        .await;
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.text());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A folder with a mart that is `user_sales` by another name.
fn own_marts(home: &Path) -> PathBuf {
    let marts = home.join("marts");
    add_mart(&marts, "own_sales");
    marts
}

/// Adds `user_sales` by another name to a folder of marts.
fn add_mart(marts: &Path, name: &str) {
    let shops = Path::new(env!("CARGO_MANIFEST_DIR")).join("../marts/marts/user_sales");
    for file in ["mart.toml", "select.sql", "table.sql", "groups", "tests"] {
        copy_renamed(&shops.join(file), &marts.join(name).join(file), name);
    }
}

fn copy_renamed(from: &Path, to: &Path, name: &str) {
    if from.is_dir() {
        for entry in std::fs::read_dir(from).unwrap() {
            let file = entry.unwrap().file_name();
            copy_renamed(&from.join(&file), &to.join(&file), name);
        }
        return;
    }
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::write(to, std::fs::read_to_string(from).unwrap().replace("user_sales", name)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_marts_that_is_wrong_is_named_before_anything_starts() {
    let home = Home::new("marts");
    let marts = own_marts(home.path());
    std::fs::write(marts.join("own_sales/mart.toml"), "keys = []\n").unwrap();
    // Called like a table that is none of a mart's.
    let (replica, ours) = (home.path().join("replica"), home.path().join("ours"));
    add_mart(&replica, "orders");
    add_mart(&ours, "tidemart_checkpoints");
    for folder in [marts, home.path().join("nowhere"), replica, ours] {
        let refused = home.run(&["up", "--marts", folder.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains("--marts"), "{}", text(&refused));
        assert!(!home.data().join("state.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_up_stops_goes_on_and_survives_a_kill() {
    let home = Home::new("life");
    let mut first = home.up("first");
    first.is_live().await;
    let table = first.text();
    for part in ["postgres", "kafka", "mariadb", "capture", "consumer", "marts", "shop"] {
        assert!(table.lines().any(|line| line.trim_start().starts_with(part)), "{part}: {table}");
    }
    assert_eq!(mode(&home.data().join("tidemart.toml")), 0o600);
    let second = home.run(&["up"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second).contains("in use by process") && text(&second).contains("tidemart down"),
        "{}",
        text(&second)
    );
    let verified = home.verify();
    assert!(verified.status.success(), "{}", text(&verified));
    let asked = Instant::now();
    first.signal(Signal::SIGINT);
    wait_for("the end", || first.child.try_wait().unwrap().is_some()).await;
    assert!(asked.elapsed() < STOPS_WITHIN, "{:?}: {}", asked.elapsed(), first.text());
    assert!(first.child.wait().unwrap().success(), "{}", first.text());
    assert_eq!(home.processes(), []);
    let marts = own_marts(home.path());
    let mut again = home.up_of("again", &["--marts", marts.to_str().unwrap()], &[]);
    again.is_live().await;
    again.signal(Signal::SIGKILL);
    again.child.wait().unwrap();
    let mut third = home.up("third");
    third.is_live().await;
    assert!(third.text().contains("own_sales"), "{}", third.text());
    wait_for("every mart", || home.works()).await;
    let verified = home.verify();
    assert!(verified.status.success(), "{}\n{}", text(&verified), third.text());
    assert!(text(&verified).contains("mart own_sales"), "{}", text(&verified));
    let other = home.run(&["down"]);
    assert!(other.status.success(), "{}", text(&other));
    wait_for("the end", || third.child.try_wait().unwrap().is_some()).await;
    assert_eq!(home.processes(), []);
}

/// The first `up` with marts that are wrong: the shop's marts are built, and the shop is live. Then the folder and the
/// settings break, and a start goes on without them where it is asked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mart_of_ones_own_that_is_wrong_keeps_nothing_from_running() {
    let home = Home::new("wrong-mart");
    let marts = own_marts(home.path());
    let select = marts.join("own_sales/select.sql");
    let right = std::fs::read_to_string(&select).unwrap();
    std::fs::write(&select, right.replacen("FROM (", "FORM (", 1)).unwrap();
    // Another one names a column that its source does not have.
    add_mart(&marts, "lost_sales");
    let toml = marts.join("lost_sales/mart.toml");
    let lost = std::fs::read_to_string(&toml).unwrap().replace("\"delivery_date\"", "\"delivered_on\"");
    std::fs::write(&toml, lost).unwrap();
    let mut first = home.up_of("first", &["--marts", marts.to_str().unwrap()], &[]);
    wait_for("the table", || first.text().contains("passwords and all settings") || first.has_ended()).await;
    assert!(!first.has_ended(), "{}", first.text());
    let settings = home.data().join("tidemart.toml");
    let list = || text(&home.run(&["marts", "list", "--config", settings.to_str().unwrap()]));
    let named = format!("{}:13: ", select.display());
    wait_for("the reasons", || {
        list().contains(&named) && list().contains("all columns that mart.toml names")
    })
    .await;
    assert!(
        list().lines().any(|line| line.starts_with("user_sales") && !line.contains("not built")),
        "{}",
        list()
    );
    // Somebody is about to edit it: whatever is started again meanwhile uses what was there at the start.
    std::fs::write(marts.join("own_sales/mart.toml"), "descrip").unwrap();
    for role in [" consumer ", " marts "] {
        let before = home.of(role);
        before.iter().for_each(|id| kill(*id, Signal::SIGKILL).unwrap());
        wait_for("the role again", || home.of(role).iter().any(|id| !before.contains(id))).await;
    }
    wait_for("the reason again", || list().contains(&named)).await;
    first.signal(Signal::SIGINT);
    wait_for("the end", || first.has_ended()).await;
    let refused = home.run(&["up"]);
    let told = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("kept from the last start") && told.contains("--forget-marts"), "{told}");
    let damaged =
        std::fs::read_to_string(&settings).unwrap().replacen("password = \"", "password = \"\"hidden", 1);
    std::fs::write(&settings, damaged).unwrap();
    let mut second = home.up("second");
    second.is_live().await;
    assert!(second.text().contains("is not TOML") && !second.text().contains("hidden"), "{}", second.text());
    assert!(!second.text().contains("own_sales"), "{}", second.text());
    second.signal(Signal::SIGINT);
    wait_for("the end", || second.has_ended()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_folder_of_marts_is_forgotten_when_asked_and_is_right_when_it_comes_back() {
    let home = Home::new("forgotten");
    let marts = own_marts(home.path());
    let with = ["--marts", marts.to_str().unwrap()];
    for (name, arguments, has_own) in
        [("with", &with[..], true), ("without", &["--forget-marts"], false), ("again", &with, true)]
    {
        let mut up = home.up_of(name, arguments, &[]);
        up.is_live().await;
        assert_eq!(up.text().contains("own_sales"), has_own, "{}", up.text());
        wait_for("every mart", || home.works()).await;
        if has_own {
            let verified = home.verify();
            let told = text(&verified);
            assert!(
                verified.status.success() && told.contains("mart own_sales: equal"),
                "{told}\n{}",
                up.text()
            );
        }
        up.signal(Signal::SIGINT);
        wait_for("the end", || up.has_ended()).await;
    }
}

/// Servers and roles that are killed are started again, and nothing is lost, doubled or stale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_comes_back() {
    let home = Home::new("deaths");
    let mut up = home.up("up");
    up.is_live().await;
    for part in
        ["/bin/postgres ", "kafka.Kafka", "/mariadbd ", " capture ", " consumer ", " marts ", " producer "]
    {
        let before = home.of(part);
        assert!(!before.is_empty(), "{part}: {:?}", home.processes());
        before.iter().for_each(|id| kill(*id, Signal::SIGKILL).unwrap());
        wait_for("the part to be there again", || home.of(part).iter().any(|id| !before.contains(id))).await;
        wait_for("everything to work again", || home.works()).await;
    }
    let verified = home.verify();
    assert!(verified.status.success(), "{}\n{}", text(&verified), up.text());
    up.signal(Signal::SIGINT);
    wait_for("the end", || up.child.try_wait().unwrap().is_some()).await;
    assert_eq!(home.processes(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_in_the_background_and_other_settings_are_refused() {
    let home = Home::new("detached");
    let begun = Instant::now();
    let up = home.run(&["up", "--detach", "--size", "tiny", "--seed", "5"]);
    assert!(
        up.status.success() && text(&up).contains("capture"),
        "after {:?}: {}",
        begun.elapsed(),
        text(&up)
    );
    let logs = home.run(&["logs", "capture", "-n", "1000"]);
    assert!(text(&logs).contains("snapshot is complete"), "{}", text(&logs));
    let unknown = home.run(&["logs", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        text(&unknown).contains("there are: ") && text(&unknown).contains("capture"),
        "{}",
        text(&unknown)
    );
    assert!(home.run(&["down"]).status.success());
    assert_eq!(home.processes(), []);
    let other = home.run(&["up", "--seed", "6"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other).contains("shop.seed is 5 there, 6 is asked for"), "{}", text(&other));
    assert!(home.run(&["down"]).status.success(), "nothing runs: that is no failure");
}

#[tokio::test]
async fn a_folder_with_other_things_is_refused_in_the_background_too() {
    let home = Home::new("foreign");
    std::fs::create_dir(home.data()).unwrap();
    std::fs::write(home.data().join("thesis.txt"), "").unwrap();
    for arguments in [&["up"][..], &["up", "--detach"]] {
        let up = home.run(arguments);
        assert_eq!(up.status.code(), Some(1));
        assert!(text(&up).contains("not a data folder of tidemart"), "{}", text(&up));
    }
    assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 1);
}
