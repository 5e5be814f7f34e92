//! `deploy/compose.yaml` and its neighbours: what can be known of them without an engine. Images and settings are those of
//! `tidemart up`, ports are the standard ones on this machine alone, secrets stand nowhere, and every file is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tidemart_local::{Kafka, MariaDb, Postgres};

use crate::cycle::TIDEMART;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The services by their names, with what they take from others.
fn services() -> BTreeMap<String, Value> {
    let compose = serde_saphyr::from_str::<Value>(&text("deploy/compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap().iter();
    services.map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// A key's text, or its list of texts.
fn texts(service: &Value, key: &str) -> Vec<String> {
    match service.get(key) {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(list) => list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
    }
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let table = service.get("environment").and_then(Value::as_object).into_iter().flatten();
    table.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// What follows a text up to the end given.
fn after<'a>(text: &'a str, start: &str, end: char) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.split(end).next().unwrap()
}

/// The version that `up` fetches, from the source of its server.
fn fetched(server: &str) -> String {
    after(&text(&format!("crates/local/src/{server}")), "version: \"", '"').to_owned()
}

fn locked(part: &str, package: &str) -> String {
    after(&text(&format!("{part}/requirements.lock")), &format!("\n{package}=="), ' ').to_owned()
}

/// Images that are pulled, with their tags: of the services, and those that ours are built on.
fn images() -> BTreeSet<(String, String)> {
    let services = services();
    let pulled = services.values().filter(|service| service.get("build").is_none());
    let pulled = pulled.map(|service| service["image"].as_str().unwrap().to_owned());
    let dockerfile = text("deploy/Dockerfile");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    let bases = bases.map(|line| line.split(' ').next().unwrap().to_owned());
    let split =
        |image: String| image.rsplit_once(':').map(|(name, tag)| (name.to_owned(), tag.to_owned())).unwrap();
    pulled.chain(bases).map(split).collect()
}

#[test]
fn images_are_of_the_versions_that_up_uses() {
    let images = images();
    let tag = |name: &str| {
        let mut found = images.iter().filter(|(image, _)| image == name).map(|(_, tag)| tag.clone());
        found.next().unwrap_or_else(|| panic!("no image {name}"))
    };
    // The builds that `up` fetches have a number more than Postgres itself.
    let postgres = fetched("postgres.rs");
    assert_eq!(tag("postgres"), format!("{}-bookworm", postgres.strip_suffix(".0").unwrap()));
    assert_eq!(tag("apache/kafka"), fetched("kafka.rs"));
    assert_eq!(tag("mariadb"), fetched("mariadb.rs"));
    let spark = tag("spark");
    assert_eq!(spark.split('-').next(), Some(&*locked("spark", "pyspark")));
    assert!(spark.contains("-scala2.13-") && spark.contains("-python3-"), "{spark}");
    assert_eq!(tag("apache/airflow"), locked("airflow", "apache-airflow"));
    assert_eq!(tag("quay.io/jupyterhub/jupyterhub"), locked("jupyterhub", "jupyterhub"));
    let least = after(&text("Cargo.toml"), "rust-version = \"1.", '"').parse::<u32>().unwrap();
    let rust = tag("rust");
    assert!(after(&rust, "1.", '-').parse::<u32>().unwrap() >= least, "{rust}");
    assert!(images.iter().all(|(_, tag)| tag != "latest"), "{images:?}");
}

#[test]
fn ports_are_the_standard_ones_of_this_machine_alone() {
    let mut published = BTreeMap::new();
    for (name, service) in services() {
        for port in texts(&service, "ports") {
            let [host, outside, inside] = port.split(':').collect::<Vec<_>>()[..] else {
                panic!("{name}: {port}")
            };
            assert_eq!(host, "127.0.0.1", "{name}: {port}");
            let taken = published.insert(outside.to_owned(), format!("{name}:{inside}"));
            assert_eq!(taken, None, "{port} is published twice");
        }
    }
    // `up` takes free ports; those who look for a server look at these (tidemart.example.toml has the first four).
    let example = text("tidemart.example.toml");
    for (port, of) in [
        ("5432", "postgres:5432"),
        ("9092", "kafka:9092"),
        ("3306", "mariadb:3306"),
        ("15002", "loopback:15002"),
    ] {
        assert!(example.contains(port), "{port}");
        assert_eq!(published.get(port).map(String::as_str), Some(of));
    }
    for (port, of) in [
        ("7077", "spark-master:7077"),
        ("8080", "airflow:8080"),
        ("8000", "loopback:8000"),
        ("4040", "loopback:4040"),
    ] {
        assert_eq!(published.get(port).map(String::as_str), Some(of));
    }
}

#[test]
fn secrets_come_from_the_script_alone() {
    let script = text("deploy/secrets.sh");
    let made = script.lines().filter_map(|line| line.strip_prefix("file ")?.strip_suffix(" <<END"));
    let made = made.map(|name| format!("secrets/{name}.env")).collect::<BTreeSet<_>>();
    let services = services();
    let used = services.values().flat_map(|service| texts(service, "env_file")).collect::<BTreeSet<_>>();
    assert_eq!(used, made);
    for (name, service) in &services {
        for (variable, value) in environment(service) {
            let secret = ["PASSWORD", "SECRET", "TOKEN", "FERNET", "SQL_ALCHEMY_CONN"]
                .iter()
                .any(|word| variable.contains(word));
            // A file's path says nothing.
            assert!(!secret || variable.ends_with("_FILE"), "{name}: {variable}={value}");
        }
        for argument in texts(service, "command") {
            assert!(
                !["password", "token", "secret"].iter().any(|word| argument.to_lowercase().contains(word)),
                "{argument}"
            );
        }
    }
    // Each variable that a server or a script of ours reads is made.
    for (reader, variables) in [
        ("deploy/postgres.sql", &["OWNER_PASSWORD", "AIRFLOW_DATABASE_PASSWORD"][..]),
        ("deploy/spark.sh", &["SPARK_SECRET", "SPARK_TOKEN"]),
        ("deploy/airflow.sh", &["AIRFLOW_PASSWORD"]),
        ("deploy/jupyterhub_config.py", &["JUPYTERHUB_ANALYST", "JUPYTERHUB_ADMIN", "TIDEMART_SPARK_TOKEN"]),
    ] {
        let reader = text(reader);
        for variable in variables {
            assert!(reader.contains(variable) && script.contains(&format!("\n{variable}=")), "{variable}");
        }
    }
    assert!(text(".gitignore").lines().any(|line| line == "/deploy/secrets"));
    assert!(text(".dockerignore").lines().any(|line| line == "deploy/secrets"));
}

/// In a copy of the folder: it is made once, for its owner alone, and is left as it is the next time.
#[test]
fn the_script_makes_secrets_that_only_their_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    fs::copy(workspace().join("deploy/secrets.sh"), &script).unwrap();
    let run = || assert!(Command::new("sh").arg(&script).output().unwrap().status.success());
    let read = || {
        let files = fs::read_dir(folder.path().join("secrets")).unwrap();
        files
            .map(|file| file.unwrap().path())
            .map(|file| (file.clone(), fs::read_to_string(file).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    run();
    let made = read();
    for (file, text) in &made {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (variable, value) = line.split_once('=').unwrap();
            assert!(value.len() >= 44 || variable == "TIDEMART_DAGS_FIRST_MONTH", "{variable} is short");
        }
    }
    run();
    assert_eq!(read(), made);
}

#[test]
fn what_is_mounted_and_copied_is_there() {
    let mut paths = Vec::new();
    for service in services().values() {
        let mounts = texts(service, "volumes").into_iter();
        paths
            .extend(mounts.filter_map(|mount| {
                Some(format!("deploy/{}", mount.split(':').next()?.strip_prefix("./")?))
            }));
    }
    let dockerfile = text("deploy/Dockerfile");
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"));
    for line in copied {
        let words = line.split(' ').collect::<Vec<_>>();
        paths.extend(words[..words.len() - 1].iter().map(|path| (*path).to_owned()));
    }
    for path in paths {
        let (folder, pattern) = path.split_once('*').unwrap_or((&path, ""));
        let folder = workspace().join(folder);
        let there = if path.contains('*') {
            fs::read_dir(folder)
                .unwrap()
                .flatten()
                .any(|file| file.file_name().to_string_lossy().ends_with(pattern))
        } else {
            folder.exists()
        };
        assert!(there, "{path}");
    }
    let stages = dockerfile
        .lines()
        .filter_map(|line| Some(line.strip_prefix("FROM ")?.split_once(" AS ")?.1))
        .collect::<Vec<_>>();
    for (name, service) in services() {
        let target = service.get("build").map(|build| build["target"].as_str().unwrap().to_owned());
        assert!(target.is_none_or(|target| stages.contains(&&*target)), "{name}");
    }
}

#[test]
fn roles_are_called_as_the_program_takes_it() {
    let mut called = BTreeSet::new();
    for (name, service) in services() {
        let ours = service.get("image").and_then(Value::as_str) == Some("tidemart");
        if !ours || service.get("entrypoint").is_some() {
            continue;
        }
        let arguments = texts(&service, "command");
        // An argument that it does not know is an error before the help is.
        let output = Command::new(TIDEMART).args(&arguments).arg("--help").output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        called.insert(arguments[0].clone());
    }
    for role in ["producer", "migrate", "capture", "consumer", "marts", "status"] {
        assert!(called.contains(role), "{role}");
    }
}

/// Settings of the roles, with every variable that some service adds: the program names a key that it does not know before
/// it looks for any server.
#[test]
fn settings_are_as_the_program_takes_them() {
    let mut variables = services().values().flat_map(environment).collect::<BTreeMap<_, _>>();
    variables.retain(|name, _| name.starts_with("TIDEMART_") && name != "TIDEMART_CONFIG");
    let script = text("deploy/secrets.sh");
    let made =
        script.lines().filter(|line| line.starts_with("TIDEMART_")).filter_map(|line| line.split_once('='));
    variables.extend(made.map(|(name, _)| (name.to_owned(), "secret".to_owned())));
    let say = |variables: &BTreeMap<String, String>| {
        // It reads all settings, and then says that there is no such mart.
        let arguments = ["marts", "refresh", "none", "--full", "--config"];
        let mut command = Command::new(TIDEMART);
        command.args(arguments).arg(workspace().join("deploy/tidemart.toml")).envs(variables);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let said = say(&variables);
    assert!(said.contains("there is no mart none"), "{said}");
    // That it would have said so.
    variables.insert("TIDEMART_KAFKA_BOOTSTRAPS".to_owned(), "x".to_owned());
    assert!(say(&variables).contains("bootstraps"));
}

#[test]
fn servers_have_the_settings_that_up_gives_them() {
    let services = services();
    let kafka = environment(&services["kafka"]);
    // Those of addresses and folders are another thing.
    let properties = text("crates/local/src/kafka/server.properties");
    let fixed = properties.lines().skip_while(|line| !line.starts_with("broker.session"));
    let fixed = fixed.filter_map(|line| line.split_once('=')).collect::<Vec<_>>();
    assert!(fixed.len() > 10, "{fixed:?}");
    for (name, value) in fixed {
        let variable = format!("KAFKA_{}", name.replace('.', "_").to_uppercase());
        assert_eq!(kafka.get(&variable).map(String::as_str), Some(value), "{variable}");
    }
    assert_eq!(kafka["KAFKA_HEAP_OPTS"], format!("-Xmx{}m", Kafka::default().heap_mb));

    let Postgres { shared_buffers_mb, max_connections, max_replication, max_slot_wal_keep_mb, .. } =
        Postgres::default();
    let command = texts(&services["postgres"], "command");
    for setting in [
        "wal_level=logical".to_owned(),
        format!("max_connections={max_connections}"),
        format!("max_replication_slots={max_replication}"),
        format!("max_wal_senders={max_replication}"),
        format!("max_slot_wal_keep_size={max_slot_wal_keep_mb}MB"),
        format!("shared_buffers={shared_buffers_mb}MB"),
    ] {
        assert!(command.contains(&format!("-c{setting}")), "{setting}");
    }

    let command = texts(&services["mariadb"], "command");
    let pool = format!("--innodb-buffer-pool-size={}M", MariaDb::default().buffer_pool_mb);
    assert!(command.contains(&pool), "{pool}");
    let source = text("crates/local/src/mysqld.rs");
    for option in [
        "--local-infile=ON",
        "--disable-log-bin",
        "--character-set-server=utf8mb4",
        "--max-allowed-packet=64M",
    ] {
        assert!(source.contains(option) && command.iter().any(|argument| argument == option), "{option}");
    }

    let airflow = environment(&services["airflow"]);
    let settings = text("airflow/airflow.cfg");
    let mut section = String::new();
    for line in settings.lines().filter(|line| !line.starts_with('#')) {
        section = line.strip_prefix('[').map_or(section, |name| name.trim_end_matches(']').to_uppercase());
        // What `up` fills in at each start is another thing.
        let Some((name, value)) = line.split_once(" = ").filter(|(_, value)| !value.contains('{')) else {
            continue;
        };
        let variable = format!("AIRFLOW__{section}__{}", name.to_uppercase());
        assert_eq!(airflow.get(&variable).map(String::as_str), Some(value), "{variable}");
    }
}

#[test]
fn every_service_is_bounded_and_waits_for_what_is_healthy() {
    let services = services();
    for (name, service) in &services {
        assert!(service.get("mem_limit").is_some(), "{name} has no bound for its memory");
        for (needed, condition) in service.get("depends_on").and_then(Value::as_object).into_iter().flatten()
        {
            let other = services.get(needed.as_str()).unwrap_or_else(|| panic!("{name} needs {needed}"));
            match condition["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other.get("healthcheck").is_some(), "{needed} has no health"),
                "service_completed_successfully" => {
                    assert_eq!(other["restart"].as_str(), Some("no"), "{needed}");
                }
                _ => {}
            }
            // Whoever chooses a service has all that it needs.
            let (chosen, needs) = (texts(service, "profiles"), texts(other, "profiles"));
            assert!(
                needs.is_empty()
                    || !chosen.is_empty() && chosen.iter().all(|profile| needs.contains(profile)),
                "{name} needs {needed}"
            );
        }
    }
    let core =
        services.iter().filter(|(_, service)| service.get("profiles").is_none()).map(|(name, _)| &**name);
    let core = core.collect::<Vec<_>>();
    assert_eq!(
        core,
        ["accounts", "capture", "consumer", "history", "kafka", "mariadb", "marts", "postgres", "shop"]
    );
}

#[test]
fn what_stands_in_braces_in_sparks_properties_is_filled_in() {
    let script = text("deploy/spark.sh");
    for file in ["cluster", "master", "worker", "connect"] {
        for part in text(&format!("spark/{file}.properties")).split('{').skip(1) {
            let Some((name, _)) = part.split_once('}') else { continue };
            assert!(script.contains(&format!("\nfill {name} ")), "{name} of {file}.properties");
        }
    }
}
