use arrow::record_batch::RecordBatch;
use tidemart_local::testing::{self, Plain};
use tidemart_pipeline::Kind;
use tidemart_spark::{Config, Session};

async fn config() -> Config {
    let cluster = testing::spark().await;
    Config { connect: cluster.connect_url(), token: Some(cluster.token().clone()), ..Config::default() }
}

async fn open() -> Session {
    Session::open(&config().await).await.unwrap()
}

#[tokio::test]
async fn statements_give_rows() {
    let session = open().await;
    let all = "SELECT 1 AS a, CAST(NULL AS STRING) AS b, 'ü' AS c, CAST(12.30 AS DECIMAL(10, 2)) AS d, DATE'2026-02-01' AS e";
    let expected =
        [Some("1"), None, Some("ü"), Some("12.30"), Some("2026-02-01")].map(|v| v.map(str::to_owned));
    assert_eq!(session.rows(all).await.unwrap(), [expected]);
    session.batches("CREATE TEMPORARY VIEW numbers AS SELECT id FROM range(1000)").await.unwrap();
    // Computed by the executors: a shuffle.
    let sums = session.rows("SELECT id % 3 AS k, sum(id) FROM numbers GROUP BY k ORDER BY k").await.unwrap();
    assert_eq!(
        sums.iter().map(|row| row[1].clone().unwrap()).collect::<Vec<_>>(),
        ["166833", "166167", "166500"]
    );
    session.close().await;
}

/// By default a Connect server ends its answers after two minutes, whether or not the work is done.
#[tokio::test]
async fn the_private_cluster_answers_as_long_as_it_takes() {
    let session = open().await;
    session.whole_after(std::time::Duration::from_secs(3600)).await.unwrap();
    session.close().await;
}

/// A server cuts its answers, each after two minutes unless it is told otherwise, and the client takes the end for the end.
#[tokio::test]
async fn an_answer_that_was_cut_is_not_taken_for_a_whole_one() {
    let settings = &["spark.connect.execute.reattachable.senderMaxStreamDuration=1s"];
    let server = testing::plain_spark(Plain { settings, ..Plain::default() }).await;
    let session = Session::open(&Config { connect: server.url.clone(), ..Config::default() }).await.unwrap();
    let slow = "SELECT reflect('java.lang.Thread', 'sleep', CAST(3000 AS BIGINT)) FROM range(1)";
    // What it is that must be found out: no error, and no row of one.
    let cut = session.quick(|spark| spark.sql(slow)?.collect_record_batches()).await.unwrap();
    assert_eq!(cut.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    let error = session.rows(slow).await.unwrap_err();
    assert!(error.to_string().contains("senderMaxStreamDuration=0"), "{error}");
    assert_eq!(error.kind(), Kind::Fatal);
    session.close().await;
}

/// Whoever has the token can run any code there, and read what it can read.
#[tokio::test]
async fn files_of_others_are_not_seen() {
    let session = open().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"password").unwrap();
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let read = async |path: &std::path::Path| {
        session.rows(&format!("SELECT * FROM text.`file://{}`", path.display())).await
    };
    let hidden = read(file.path()).await.unwrap_err().to_string();
    assert!(hidden.contains("PATH_NOT_FOUND"), "{hidden}");
    assert!(!read("/etc/passwd".as_ref()).await.unwrap().is_empty());
    session.close().await;
}

/// As a page shows the options of a statement's sources, and as they are.
#[tokio::test]
async fn secrets_in_a_plan_are_not_shown() {
    let session = open().await;
    for text in [
        r#"key: "kafka.sasl.jaas.config" value: "m.Login required username=\"u\" password=\"hun\\\"ter2\";""#,
        r#"key: "kafka.ssl.keystore.key" value: "-----BEGIN\nhunter2\n-----END""#,
        r#"key: "password" value: "hun\"ter2""#,
        r#"a=\"m required password=\"hunter2\" x"#,
        "password=hunter2 x",
        "token = \"hunter2\"",
    ] {
        let plan = session.rows(&format!("EXPLAIN SELECT r'{text}' AS a FROM range(1)")).await.unwrap();
        let plan = plan[0][0].clone().unwrap();
        assert!(plan.contains("redacted") && !plan.contains("ter2"), "{text}: {plan}");
    }
    session.close().await;
}

#[tokio::test]
async fn a_wrong_statement_is_told_in_readable_length() {
    let session = open().await;
    for (sql, expected) in [
        ("SELECT nothing FROM range(1)", "UNRESOLVED_COLUMN"),
        ("SELEKT 1", "PARSE_SYNTAX_ERROR"),
        // Where it is wrong is told too.
        ("SELECT\nnothing FROM range(1)", "line 2 pos 0"),
        ("SELECT 1\nFROM\nrange(1) JOIN", "line 3, pos "),
        ("SELECT * FROM nowhere", "TABLE_OR_VIEW_NOT_FOUND"),
        ("SELECT * FROM range(1) JOIN", "PARSE_SYNTAX_ERROR"),
    ] {
        let error = session.rows(sql).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(expected) && told.len() < 1000 && !told.contains("\tat "), "{told}");
        assert_eq!(error.kind(), Kind::Fatal, "{told}");
    }
    session.close().await;
}

#[tokio::test]
async fn a_wrong_token_and_none_are_refused() {
    for token in [Some("wrong".into()), None] {
        let error = Session::open(&Config { token, ..config().await }).await.unwrap_err();
        assert!(error.to_string().contains("does not take the token"), "{error}");
        assert_eq!(error.kind(), Kind::Fatal);
    }
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let connect = format!("sc://127.0.0.1:{}", testing::free_port());
    let begun = std::time::Instant::now();
    let error = Session::open(&Config { connect, ..Config::default() }).await.unwrap_err();
    assert!(error.to_string().starts_with("no Spark Connect server at sc://127.0.0.1:"), "{error}");
    assert_eq!(error.kind(), Kind::Transient);
    assert!(begun.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn each_session_has_its_own_views() {
    let (first, second) = (open().await, open().await);
    first.batches("CREATE TEMPORARY VIEW mine AS SELECT 1").await.unwrap();
    assert!(second.rows("SELECT * FROM mine").await.is_err());
    first.clone().close().await;
    assert!(first.rows("SELECT * FROM mine").await.is_err());
    second.close().await;
}

const LONG: &str = "SELECT count(*) FROM range(100000000000) a WHERE sin(a.id) > 2";

/// On a cluster where nobody else computes.
async fn given_up_is_computed_no_further(page: &str, session: Session) {
    let all = testing::page(&format!("{page}/api/v1/applications")).await;
    let id = all.split('"').find(|word| word.starts_with("app-")).unwrap().to_owned();
    let jobs = format!("{page}/api/v1/applications/{id}/jobs?status=running");
    let running = async |expected: bool| {
        let begun = std::time::Instant::now();
        while testing::page(&jobs).await.contains("jobId") != expected {
            assert!(begun.elapsed().as_secs() < 120, "jobs run: {}", !expected);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        rows = session.rows(LONG) => panic!("{rows:?}"),
        () = running(true) => {}
    }
    drop(session);
    running(false).await;
}

#[tokio::test]
async fn a_server_that_goes_is_missed() {
    let cluster = testing::private_spark(tidemart_local::Spark::default()).await;
    let config =
        Config { connect: cluster.connect_url(), token: Some(cluster.token().clone()), ..Config::default() };
    given_up_is_computed_no_further(&cluster.pages()[3], Session::open(&config).await.unwrap()).await;
    let session = Session::open(&config).await.unwrap();
    // Long enough to be at work when the server goes.
    let long = session.rows(LONG);
    let gone = async {
        Session::open(&config).await.unwrap().rows("SELECT sum(id) FROM range(10)").await.unwrap();
        cluster.stop().await;
    };
    let (answer, ()) = tokio::join!(long, gone);
    assert_eq!(answer.unwrap_err().kind(), Kind::Transient);
}
