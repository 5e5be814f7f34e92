//! JupyterHub as its users see it: `up --with spark,jupyterhub`, headless Chromium, the real login form, every notebook.
//!
//! `first.mjs` and `again.mjs` are the users; what they saw is judged here.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tidemart_local::testing;

use crate::{
    cycle::{role::wait_for, text},
    up::Home,
};

const NOTEBOOKS: [&str; 4] =
    ["1-explore-the-replica", "2-develop-a-mart", "3-charts-of-the-marts", "4-watch-the-stream"];
/// What a user may reach besides the own server: the hub, the replica, the cluster.
const MAY_REACH: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_work_and_are_kept_apart() {
    let home = Home::new("hub");
    let mut up = home.up_of("first", &["--with", "spark,jupyterhub"], &[]);
    up.is_live().await;
    let table = up.text();
    let case = Case::of(&home);
    let row = |line: &str| line.contains(&case.base) && line.contains("analyst, admin");
    assert!(table.lines().any(row), "{table}");
    let seen = drive("first.mjs", &case).await;
    strangers_are_refused(&seen, &case);
    notebooks_ran(&seen["notebooks"]);
    walls_stand(&seen, &case);
    memory_is_limited(&seen);
    // The users' servers and kernels, too, whose command lines do not name the folder.
    let family = descendants(up.id());
    assert!(family.len() > 15, "{family:?}");
    assert_nothing_is_said(&family, &case.secrets);
    up.signal(Signal::SIGKILL);
    wait_for("the end of all that it had started", || {
        !family.iter().any(|(id, begun)| begun_of(*id) == Some(*begun))
    })
    .await;
    let mut again = home.up_of("again", &["--with", "jupyterhub"], &[]);
    again.is_live().await;
    files_are_kept(&drive("again.mjs", &Case::of(&home)).await);
    let family = descendants(again.id());
    let down = home.run(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!family.iter().any(|(id, begun)| begun_of(*id) == Some(*begun)));
    wait_for("the end", || again.has_ended()).await;
    assert_eq!(home.processes(), []);
}

/// A running hub.
struct Case {
    base: String,
    passwords: Value,
    ports: Vec<u64>,
    folder: String,
    secrets: Vec<String>,
}

impl Case {
    fn of(home: &Home) -> Self {
        let read = |name: &str| -> BTreeMap<String, Value> {
            serde_json::from_slice(&fs::read(home.data().join(name)).unwrap()).unwrap()
        };
        let (state, secrets) = (read("state.json"), read("secrets.json"));
        let ports = state.values().flat_map(|server| server["ports"].as_array().unwrap().clone());
        let all = secrets.values().flat_map(|server| server.as_object().unwrap().values());
        Self {
            base: format!("http://127.0.0.1:{}", state["jupyterhub"]["ports"][0]),
            passwords: secrets["jupyterhub"].clone(),
            ports: ports.map(|port| port.as_u64().unwrap()).collect(),
            folder: home.data().display().to_string(),
            // Spark's token is what notebooks talk to the cluster with.
            secrets: all
                .filter(|secret| {
                    **secret != secrets.get("spark-connect").map_or(Value::Null, |own| own["owner"].clone())
                })
                .map(|secret| secret.as_str().unwrap().to_owned())
                .collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "base": self.base,
            "analyst": self.passwords["owner"],
            "admin": self.passwords["admin"],
            "notebooks": NOTEBOOKS,
            "ports": self.ports,
            "folder": self.folder,
            "secrets": self.secrets,
        })
    }
}

/// Runs a script of the users and returns what it saw.
async fn drive(script: &str, case: &Case) -> Value {
    let browser = testing::browser().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jupyterhub").join(script);
    let input = case.json().to_string();
    let output = tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.arg(script).env("TIDEMART_BROWSER", browser);
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = node.spawn().expect("node");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strangers_are_refused(seen: &Value, case: &Case) {
    for who in ["stranger", "wrong"] {
        assert_eq!(seen[who], "Invalid username or password", "{who}");
    }
    let page = seen["nobody"].as_str().unwrap();
    assert!(page.starts_with(&format!("{}/hub/login", case.base)), "{page}");
    assert_eq!((&seen["login"], &seen["adminLogin"]), (&Value::Null, &Value::Null));
}

/// All outputs of a notebook or of some cells, a line each.
fn told(cells: &Value) -> String {
    let outputs = cells.as_array().unwrap().iter().flat_map(|cell| cell.as_array().unwrap());
    outputs
        .map(|output| format!("{}: {}\n", output["kind"].as_str().unwrap(), output["text"].as_str().unwrap()))
        .collect()
}

fn notebooks_ran(notebooks: &Value) {
    for (name, cells) in notebooks.as_object().unwrap() {
        let told = told(cells);
        let failed = ["error: ", "dead: "].iter().any(|kind| told.lines().any(|line| line.starts_with(kind)));
        assert!(!failed, "{name}: {told}");
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../jupyterhub/notebooks/{name}.ipynb"));
        let notebook: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let code =
            notebook["cells"].as_array().unwrap().iter().filter(|cell| cell["cell_type"] == "code").count();
        assert_eq!(cells.as_array().unwrap().len(), code, "{name} was not run to its end");
    }
    for (name, expected) in [
        ("1-explore-the-replica", "Spark 4.2.0"),
        ("1-explore-the-replica", "the cluster counts "),
        ("1-explore-the-replica", "|Completed|"),
        ("2-develop-a-mart", "mart status_sales: can be used"),
        ("2-develop-a-mart", "status_sales/select.sql:5: Unknown column 'o.total_amout'"),
        ("3-charts-of-the-marts", " orders in "),
        ("3-charts-of-the-marts", " pieces of "),
        ("4-watch-the-stream", " new orders in 10 s"),
    ] {
        let told = told(&notebooks[name]);
        assert!(told.contains(expected), "{name} lacks {expected}: {told}");
    }
    for (name, charts) in [("3-charts-of-the-marts", 3), ("4-watch-the-stream", 1)] {
        assert_eq!(told(&notebooks[name]).matches("image/png").count(), charts, "{name}");
    }
}

/// What a kernel printed as JSON.
fn printed(outputs: &Value) -> Value {
    let outputs = outputs.as_array().unwrap();
    let text: String = outputs.iter().map(|output| output["text"].as_str().unwrap()).collect();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn walls_stand(seen: &Value, case: &Case) {
    let around = printed(&seen["around"]);
    assert_eq!(around["homes"], json!(["analyst"]));
    assert_eq!((&around["folder"], &around["found"]), (&json!(false), &json!([])), "{around}");
    assert!(around["looked"].as_u64().unwrap() > 100, "{around}");
    assert_eq!((&around["users"], &around["writable"]), (&json!(1), &json!([])), "{around}");
    assert_ne!(around["namespaces"], 0, "it may make namespaces of its own");
    let reach = around["reach"].as_object().unwrap();
    assert_eq!(reach.len(), case.ports.len());
    assert_eq!(reach.values().filter(|reached| **reached == true).count(), MAY_REACH, "{around}");
    for (statement, allowed) in printed(&seen["mysql"]).as_object().unwrap() {
        assert_eq!(*allowed == true, statement.starts_with("SELECT COUNT"), "{statement}: {allowed}");
    }
    for what in ["others", "ofAnalyst", "usersOfAnalyst"] {
        assert_eq!(seen[what]["status"], 403, "{what}: {}", seen[what]);
    }
    let users = seen["users"]["json"].as_array().unwrap();
    assert_eq!(users.len(), 2, "the administrator sees who is there: {users:?}");
}

fn memory_is_limited(seen: &Value) {
    for case in ["large", "together"] {
        let told = told(&seen[case]);
        let expected = "the limit of 1024 MB for all that you run at once is reached, and this kernel ends";
        assert!(
            told.contains("begins") && told.contains(expected) && told.contains("dead: "),
            "{case}: {told}"
        );
    }
    assert!(told(&seen["afterwards"]).contains("goes on"), "{}", seen["afterwards"]);
    assert!(told(&seen["adminGoesOn"]).contains("of admin alone"), "{}", seen["adminGoesOn"]);
}

fn files_are_kept(seen: &Value) {
    assert_eq!(seen["refused"], Value::Null);
    let files = printed(&seen["files"]);
    assert_eq!((&files["mine"], &files["cells"]), (&json!("kept"), &json!(1)), "{files}");
    assert_eq!(files["notebooks"], json!(NOTEBOOKS.map(|name| format!("{name}.ipynb"))));
    let told = told(&seen["cluster"]);
    assert!(
        told.contains("NoCluster: there is no Spark cluster here") && told.contains("--with spark"),
        "{told}"
    );
}

/// Every process that this one has started, with what it has started, each with the time of its begin.
fn descendants(root: u32) -> Vec<(u32, u64)> {
    let all: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let parent = |id: u32| stat(id, 1);
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let of = u64::from(found[at]);
        found.extend(all.iter().filter(|id| parent(**id) == Some(of)));
        at += 1;
    }
    found.into_iter().filter_map(|id| Some((id, begun_of(id)?))).collect()
}

/// When a process began; a zombie has ended.
fn begun_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let is_zombie = status.rsplit_once(") ")?.1.starts_with('Z');
    if is_zombie { None } else { stat(id, 19) }
}

/// A number of `/proc/ID/stat`, counted from the state, which is 0.
fn stat(id: u32, field: usize) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    status.rsplit_once(") ")?.1.split(' ').nth(field)?.parse().ok()
}

/// No secret stands in a command line, which every account can read.
fn assert_nothing_is_said(family: &[(u32, u64)], secrets: &[String]) {
    for (id, _) in family {
        let line = String::from_utf8_lossy(&fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default())
            .into_owned();
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}
