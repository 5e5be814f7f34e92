//! What a user sees when something is wrong: one line that names the thing, the reason and what to do; no panic, no
//! stack trace, the right exit code.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::cycle::{Cycle, TIDEMART, Target};

/// Runs a subcommand with these settings and nothing from the environment.
fn run(arguments: &[&str], settings: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidemart.toml");
    std::fs::write(&path, settings).unwrap();
    Command::new(TIDEMART).args(arguments).arg("--config").arg(&path).output().unwrap()
}

/// The command fails with this exit code, and its last line holds all of these words.
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!text.contains(trace), "{text}");
    }
}

const CLOSED: &str = "[postgres]\nhost = '127.0.0.1'\nport = 9\nuser = 'u'\npassword = 'hunter2'\ndatabase = 'd'\n\
                      [kafka]\nbootstrap = '127.0.0.1:9'\nprefix = 'x'\n\
                      [mysql]\nhost = '127.0.0.1'\nport = 9\nuser = 'u'\npassword = 'hunter2'\ndatabase = 'd'\n";

#[test]
fn wrong_settings_are_named() {
    assert_says(&run(&["capture"], "[postgres]\nhots = 'x'"), 1, &["hots", "tidemart.toml"]);
    assert_says(&run(&["capture"], "[postgres]\nport = 'x'"), 1, &["port", "tidemart.toml"]);
    assert_says(&run(&["capture"], "[postgres\n"), 1, &["TOML"]);
    assert_says(&run(&["capture"], "[shop]\nrate = -1.0"), 1, &["rate"]);
    assert_says(
        &run(&["consumer"], "[kafka]\nbootstrap = 'x:1'\nprefix = 'x'"),
        1,
        &["[mysql]", "TIDEMART_MYSQL_HOST"],
    );
    assert_says(&run(&["capture"], "version = 9"), 1, &["version is 9"]);
}

/// Its settings are those of the folder that `up` is told by the same variable.
#[test]
fn the_data_folder_of_the_environment_has_the_settings() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = data.path().join("tidemart.toml");
    std::fs::write(&path, "[postgres]\nhots = 'x'").unwrap();
    let mut status = Command::new(TIDEMART);
    status.arg("status").env("TIDEMART_DATA", data.path()).current_dir(&elsewhere);
    assert_says(&status.output().unwrap(), 1, &["hots", path.to_str().unwrap()]);
}

#[test]
fn a_consumer_on_spark_without_its_wheel_is_refused_before_anything_starts() {
    // A program that has nothing beside it.
    let folder = tempfile::tempdir_in(Path::new(TIDEMART).parent().unwrap()).unwrap();
    let (program, data) = (folder.path().join("tidemart"), folder.path().join("data"));
    std::fs::hard_link(TIDEMART, &program).unwrap();
    let output =
        Command::new(program).args(["up", "--engine", "spark", "--data"]).arg(&data).output().unwrap();
    assert_says(&output, 1, &["no wheel pyspark_tidemart in", "make wheel"]);
    assert!(!data.exists());
}

#[test]
fn wrong_usage_is_exit_code_two() {
    assert_says(&run(&["no-such-command"], ""), 2, &["no-such-command"]);
    assert_says(&run(&["consumer", "--lanes", "0"], ""), 2, &["--lanes"]);
    let output = Command::new(TIDEMART).args(["capture", "--config", "/no/such/file"]).output().unwrap();
    assert_says(&output, 1, &["/no/such/file"]);
}

/// Before anything is captured, not when the consumer meets the first row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_mysql_cannot_have_are_named_by_the_check_of_the_capture() {
    let cycle = Cycle::new(Target::MariaDb).await;
    let tables = "CREATE TABLE wide (id int PRIMARY KEY, a numeric(70, 2), b numeric(50, 40)); \
                  CREATE TABLE folded (id int PRIMARY KEY, \"Id\" int); CREATE TABLE fine (id int PRIMARY KEY)";
    cycle.postgres().await.batch_execute(tables).await.unwrap();
    let words = ["column public.wide.a", "column public.wide.b", "upper and lower case", "2 tables are not"];
    assert_says(&cycle.run(&["capture", "--check"]), 0, &words);
}

#[test]
fn a_number_that_the_shop_does_not_take_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for option in [["--rate", "0"], ["--rate", "nan"], ["--speed", "inf"], ["--history-days", "0"]] {
        let data = folder.path().join("data");
        let output = Command::new(TIDEMART).args(["up", "--data"]).arg(&data).args(option).output().unwrap();
        assert_says(&output, 2, &option);
        assert!(!data.exists());
    }
}

#[test]
fn a_reader_that_has_left_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("logs/capture.log"), "a line\n").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(TIDEMART);
    command.args(["logs", "capture", "--data"]).arg(folder.path()).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert_says(&output, 1, &[]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn missing_servers_are_named_and_secrets_are_not() {
    for (arguments, words) in [
        (["capture"], ["127.0.0.1:9", "Postgres"]),
        (["migrate"], ["127.0.0.1:9", "Postgres"]),
        (["consumer"], ["127.0.0.1:9", "Kafka"]),
        (["status"], ["127.0.0.1:9", ""]),
        (["verify"], ["127.0.0.1:9", ""]),
    ] {
        let output = run(&arguments, CLOSED);
        assert_says(&output, 1, &words);
        assert!(
            ![&output.stderr, &output.stdout]
                .iter()
                .any(|text| String::from_utf8_lossy(text).contains("hunter2"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_not_fit_say_why() {
    let mut cycle = Cycle::new(Target::MariaDb).await;
    let password = std::mem::replace(&mut cycle.source.password, "wrong".to_owned());
    cycle.write_settings("");
    assert_says(&cycle.run(&["capture"]), 1, &["password"]);
    cycle.source.password = password;
    cycle
        .postgres()
        .await
        .batch_execute("CREATE TABLE keyless (a int); CREATE TABLE good (a int PRIMARY KEY)")
        .await
        .unwrap();
    cycle.write_settings("");
    let text = std::fs::read_to_string(&cycle.settings).unwrap();
    std::fs::write(
        &cycle.settings,
        text.replace("[kafka]", "tables = { include = [\"public.keyless\"] }\n[kafka]"),
    )
    .unwrap();
    assert_says(&cycle.run(&["capture"]), 1, &["public.keyless", "PRIMARY KEY"]);
    cycle.target.password = "wrong".to_owned();
    cycle.write_settings("");
    assert_says(&cycle.run(&["consumer"]), 1, &["password"]);
}
