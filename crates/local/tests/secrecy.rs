//! Who the servers are, who can reach them, and where their passwords are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use secrecy::ExposeSecret;
use tidemart_local::{DataFolder, Kafka, MariaDb, MySql, Postgres, Server};

use crate::connect::{cache, keep, open, temporary};

/// All four at once, started in parallel.
async fn all(folder: &DataFolder) -> [Server; 4] {
    let (cache, keep) = (cache(), keep());
    let servers = [
        Postgres::default().launch(folder, &cache, keep).await.unwrap(),
        MariaDb::default().launch(folder, &cache, keep).await.unwrap(),
        MySql::default().launch(folder, &cache, keep).await.unwrap(),
        Kafka::default().launch(folder, &cache, keep).await.unwrap(),
    ];
    for server in &servers {
        server.ready().await.unwrap();
    }
    servers
}

#[tokio::test]
async fn servers_are_unprivileged_on_loopback_and_keep_their_passwords_to_themselves() {
    let temporary = temporary();
    let folder = open(temporary.path()).await;
    let servers = all(&folder).await;
    for server in &servers {
        runs_unprivileged(server);
        listens_on_loopback_only(server);
    }
    passwords_are_nowhere_to_be_seen(&servers, folder.path());
    let stopping = std::time::Instant::now();
    servers.iter().for_each(Server::ask_to_stop);
    for server in servers {
        server.stop().await;
    }
    assert!(stopping.elapsed().as_secs() < 8, "{:?}", stopping.elapsed());
}

/// Kafka's data and the logs hold what the shop's users entered.
#[tokio::test]
async fn data_and_logs_are_closed_to_other_accounts_also_where_they_were_open() {
    let temporary = temporary();
    let paths = ["kafka", "logs", "logs/kafka.log"].map(|name| temporary.path().join(name));
    for modes in [[0o755, 0o755, 0o644], [0o700, 0o700, 0o600]] {
        let folder = open(temporary.path()).await;
        let server = Kafka::default().launch(&folder, &cache(), keep()).await.unwrap();
        server.ready().await.unwrap();
        let found = paths.each_ref().map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(found, [0o700, 0o700, 0o600]);
        server.stop().await;
        drop(folder);
        for (path, mode) in paths.iter().zip(modes) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn runs_unprivileged(server: &Server) {
    let ids = server.process_ids();
    assert!(!ids.is_empty());
    for id in ids {
        let owner = fs::metadata(format!("/proc/{id}")).unwrap().uid();
        assert_ne!(owner, 0, "{} runs as root", server.name());
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let groups = status.lines().find(|line| line.starts_with("Groups:")).unwrap();
        assert!(!groups.split_whitespace().any(|group| group == "0"), "{}: {groups}", server.name());
    }
}

/// The addresses come from the kernel's tables, matched by the sockets that the processes hold.
fn listens_on_loopback_only(server: &Server) {
    let sockets: BTreeSet<String> = server.process_ids().into_iter().flat_map(sockets_of).collect();
    let mut listening = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && sockets.contains(fields[9]) {
                listening += 1;
                let address = fields[1].split(':').next().unwrap();
                let loopback = ["0100007F", "0000000000000000FFFF00000100007F"];
                assert!(loopback.contains(&address), "{} listens on {address}", server.name());
            }
        }
    }
    assert!(listening > 0, "{} listens nowhere", server.name());
}

fn sockets_of(id: i32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let inode = |target: std::path::PathBuf| {
        Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    targets.filter_map(inode).collect()
}

fn passwords_are_nowhere_to_be_seen(servers: &[Server], folder: &Path) {
    let passwords = servers.iter().flat_map(|server| [&server.address().owner, &server.address().admin]);
    let passwords: Vec<&str> = passwords.flatten().map(|login| login.password.expose_secret()).collect();
    assert_eq!(passwords.len(), 6);
    let holds = |path: &Path| {
        let content = fs::read(path).unwrap_or_default();
        passwords.iter().any(|word| content.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        if name != own {
            for file in ["cmdline", "environ"] {
                assert!(!holds(&process.path().join(file)), "a password is in the {file} of {name}");
            }
        }
    }
    let mut found = 0;
    each_small_file(folder, &mut |path| {
        if holds(path) {
            found += 1;
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            assert_ne!(path.extension(), Some("log".as_ref()), "{}", path.display());
        }
    });
    assert_eq!(found, 3, "secrets.json and the init files of MariaDB and MySQL");
}

/// All files that may hold text; not the servers' own data.
fn each_small_file(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let is_data = ["postgres", "mariadb", "mysql", "kafka"].iter().any(|name| path == folder.join(name));
        if path.is_dir() && !(is_data && path.join("..").join("state.json").exists()) {
            each_small_file(&path, visit);
        } else if path.is_file() {
            visit(&path);
        }
    }
}
