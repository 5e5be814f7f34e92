//! Everything about the target that would bite later, each with what to do.

use std::time::SystemTime;

use mysql_async::{Conn, Row, prelude::Queryable};
use tidemart_pipeline::{Finding, Findings, Result};

use crate::{
    checkpoints,
    config::Config,
    connection::{self, Server},
    dead_letters,
    dialect::quote_string,
    fault, preflight,
};

/// A row of the source may be as large as a record of Kafka, 64 MiB.
const WIDE_PACKET: usize = 64 << 20;
/// The servers' own default, 128 MiB, is for a laptop.
const SMALL_POOL: i64 = 256 << 20;
/// Modes that change what a statement means, for others who write to the replicas' database.
const LOOSE: [&str; 3] = ["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PAD_CHAR_TO_FULL_LENGTH"];

/// Looks at the target; makes and drops a table of its own to see whether the rights are there. What cannot be asked is
/// a finding too.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::new("mysql");
    findings.encryption(config.tls.is_on(), &[&config.host]);
    if let Err(error) = all(config, &mut findings).await {
        findings.failed("connection", &error);
    }
    findings.into_list()
}

async fn all(config: &Config, findings: &mut Findings) -> Result<()> {
    config.validate()?;
    let (mut conn, server) = connection::open(config).await?;
    findings.ok("connection", config.address());
    let (major, minor, patch) = server.version;
    findings.ok("version", format!("{} {major}.{minor}.{patch}", server.dialect));
    match preflight::check_writable(&mut conn, config).await {
        Ok(()) => findings.ok("read_only", "off"),
        Err(error) => findings.failed("read_only", &error),
    }
    packet(&server, config, findings);
    match preflight::check_rights(&mut conn, config).await {
        Ok(()) => findings.ok("rights", "tables can be made, altered, written and dropped"),
        Err(error) => findings.failed("rights", &error),
    }
    names(&server, findings);
    settings(&mut conn, &server, findings).await?;
    replicas(&mut conn, findings).await?;
    drop(conn.disconnect().await);
    Ok(())
}

fn packet(server: &Server, config: &Config, findings: &mut Findings) {
    if let Err(error) = preflight::check_packet(server, config) {
        return findings.failed("max_allowed_packet", &error);
    }
    let remedy = format!(
        "SET PERSIST max_allowed_packet = {WIDE_PACKET} (MariaDB: in its configuration): a wider row is refused"
    );
    let found = format!("{} bytes", server.max_allowed_packet);
    findings.prefer("max_allowed_packet", server.max_allowed_packet >= WIDE_PACKET, found, remedy);
}

fn names(server: &Server, findings: &mut Findings) {
    let remedy = "tables whose names differ only by case cannot both be replicated here; it is set for good when a server is made";
    let found = if server.lower_case_table_names { "not 0: letters' case is not kept apart" } else { "0" };
    findings.prefer("lower_case_table_names", !server.lower_case_table_names, found, remedy);
}

async fn settings(conn: &mut Conn, server: &Server, findings: &mut Findings) -> Result<()> {
    let before = SystemTime::now();
    let row: Option<Row> = conn.query_first(include_str!("sql/doctor.sql")).await.map_err(fault::querying)?;
    let after = SystemTime::now();
    let Some(mut row) = row else { return Ok(()) };
    let mut number =
        |index: usize| row.take_opt::<i64, _>(index).and_then(std::result::Result::ok).unwrap_or_default();
    let (clock, flush, pool, connections, binlog) = (number(0), number(1), number(2), number(3), number(4));
    let mut text =
        |index: usize| row.take_opt::<String, _>(index).and_then(std::result::Result::ok).unwrap_or_default();
    let (format, modes, collation) = (text(5), text(6), text(7));
    findings.clock(clock, before, after);
    let remedy = "set it to 1, or a power cut takes the last commits; Kafka's retention must then cover them";
    findings.prefer("innodb_flush_log_at_trx_commit", flush == 1, flush.to_string(), remedy);
    let remedy = "give it half of the machine's memory where MySQL has the machine to itself";
    findings.prefer("innodb_buffer_pool_size", pool >= SMALL_POOL, format!("{} MiB", pool >> 20), remedy);
    findings.prefer(
        "max_connections",
        connections >= 50,
        connections.to_string(),
        "raise it: each lane and mart has a session of its own",
    );
    let statement = binlog == 1 && format == "STATEMENT";
    let found = if binlog == 1 { format!("log_bin with {format}") } else { "off".to_owned() };
    findings.prefer(
        "binlog_format",
        !statement,
        found,
        "set it to ROW: statements of ours are not safe to repeat on a replica",
    );
    let loose: Vec<_> = modes.split(',').filter(|mode| LOOSE.contains(mode)).collect();
    let found = if loose.is_empty() {
        "nothing that changes what statements mean".to_owned()
    } else {
        loose.join(", ")
    };
    findings.prefer(
        "sql_mode",
        loose.is_empty(),
        found,
        "our sessions set their own; see that other programs expect this one",
    );
    let binary = collation == server.dialect.collation() || collation.ends_with("_bin");
    let remedy = format!(
        "replicas have {} whatever the database says; joins with tables of another collation need COLLATE",
        server.dialect.collation()
    );
    findings.prefer("collation", binary, collation, remedy);
    Ok(())
}

/// Replicas that got what would make an upsert touch other rows, and partitions that wait for a person.
async fn replicas(conn: &mut Conn, findings: &mut Findings) -> Result<()> {
    if !preflight::is_migrated(conn).await? {
        findings.ok("replicas", "not looked at: none yet, or of an older version; the consumer, or tidemart migrate, sees to our own tables");
        return Ok(());
    }
    let query = "SELECT replica FROM tidemart_tables WHERE made ORDER BY replica";
    let names: Vec<String> = conn.query(query).await.map_err(fault::querying)?;
    let mut sound = 0;
    for name in &names {
        let query = include_str!("sql/table_obstacles.sql").replace("{table}", &quote_string(name));
        let obstacles: Vec<String> = conn.query(query).await.map_err(fault::querying)?;
        for obstacle in &obstacles {
            let remedy = "drop it: an upsert would touch other rows by it, and the consumer refuses the table at its next start";
            findings.fail(format!("replica {name}"), obstacle, remedy);
        }
        sound += usize::from(obstacles.is_empty());
    }
    findings.ok("replicas", format!("{sound} of {} have a primary key and nothing else", names.len()));
    for row in checkpoints(conn).await? {
        if let Some((reason, _)) = row.held {
            findings.fail(format!("partition {}", row.partition), format!("held: {reason}"), "");
        }
    }
    for count in dead_letters::count(conn).await? {
        let (table, letters) = (&count.table, count.letters);
        let remedy = format!("see why: tidemart dead-letters list --table {table}; then retry or skip them");
        findings.warn(format!("table {table}"), format!("{letters} dead letters"), remedy);
    }
    Ok(())
}
