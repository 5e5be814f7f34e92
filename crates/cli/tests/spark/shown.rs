//! What the cluster shows to whoever looks at its pages and its logs.

use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret;
use tidemart_local::testing;

use super::cluster::cluster;
use crate::cycle::Cycle;

/// Pages of a server that are read, at most.
const MOST_PAGES: usize = 80;
/// Where reading begins; what these link to is read, too.
const BEGIN: [&str; 8] =
    ["/", "/jobs/", "/stages/", "/SQL/", "/StreamingQuery/", "/connect/", "/environment/", "/executors/"];

/// No page and no log of the cluster shows MySQL's password or the Connect server's token.
pub(super) async fn assert_no_secret_shows(cycle: &Cycle) {
    let secrets = [
        ("MySQL's password", cycle.target.password.as_str()),
        ("the Connect token", cluster().await.token().expose_secret()),
    ];
    assert!(secrets.iter().all(|(_, secret)| secret.len() >= 8), "too short to be looked for");
    let check = |place: &str, text: &str| {
        for (name, secret) in secrets {
            assert!(!text.contains(secret), "{place} shows {name}");
        }
    };
    for server in cluster().await.pages() {
        let pages = read_pages(&server).await;
        assert!(!pages.is_empty());
        pages.iter().for_each(|(url, text)| check(url, text));
        // These are the pages of a cluster at work, and not those of a login.
        if server == cluster().await.pages()[3] {
            assert!(pages.iter().any(|(_, text)| text.contains("StreamingQuery/statistics")), "{server}");
        }
    }
    let logs = logs().await;
    assert!(logs.len() >= 4, "{logs:?}");
    for log in logs {
        check(&log.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()));
    }
}

/// The pages of a server, each with its address.
async fn read_pages(server: &str) -> Vec<(String, String)> {
    let mut seen: BTreeSet<_> = BEGIN.map(str::to_owned).into();
    let (mut next, mut pages) = (VecDeque::from(BEGIN.map(str::to_owned)), Vec::new());
    while pages.len() < MOST_PAGES
        && let Some(path) = next.pop_front()
    {
        let url = format!("{server}{path}");
        let text = testing::page(&url).await;
        for link in links(server, &text) {
            if seen.insert(link.clone()) {
                next.push_back(link);
            }
        }
        pages.push((url, text));
    }
    pages
}

/// Paths on this server that a page links to, save those that do something, and dumps of its memory.
fn links(server: &str, text: &str) -> Vec<String> {
    let found = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let paths = found.map(|link| link.strip_prefix(server).unwrap_or(link).replace("&amp;", "&"));
    let wanted = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !["kill", "static", "threadDump", "heapHistogram"].iter().any(|word| path.contains(word))
    };
    paths.map(|path| path.split('#').next().unwrap_or_default().to_owned()).filter(wanted).collect()
}

/// Logs of the servers, and those of the executors in the workers' folders.
async fn logs() -> Vec<PathBuf> {
    let cluster = cluster().await;
    let mut logs: Vec<_> = cluster.servers().into_iter().map(|server| server.log_file().to_owned()).collect();
    let folder = cluster.connect().log_file().parent().unwrap().parent().unwrap();
    add_logs(folder, &mut logs);
    logs
}

fn add_logs(folder: &Path, logs: &mut Vec<PathBuf>) {
    // Some come and go.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        match entry.file_type() {
            Ok(found) if found.is_dir() => add_logs(&path, logs),
            Ok(found) if found.is_file() => {
                let is_log =
                    name == "stdout" || name == "stderr" || path.extension().is_some_and(|end| end == "log");
                logs.extend(is_log.then_some(path));
            }
            _ => {}
        }
    }
}

#[test]
fn links_that_do_something_are_not_followed() {
    let page = r#"<a href="/jobs/job/?id=1&amp;a=2#x"><a href="/jobs/job/kill/?id=1"><a href="http://h:1/SQL/">
        <a href="/static/x.css"><a href="https://elsewhere/"><a href="relative">"#;
    assert_eq!(links("http://h:1", page), ["/jobs/job/?id=1&a=2", "/SQL/"]);
}
