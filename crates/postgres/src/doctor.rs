//! Everything about the source that would bite later, each with what to do.

use std::{collections::BTreeSet, time::SystemTime};

use tidemart_change::TableName;
use tidemart_pipeline::{Finding, Findings, Result};
use tokio_postgres::{Client, Row};

use crate::{
    catalog::{self, Catalog},
    client::connect,
    config::Config,
    connection::Connection,
    error::at,
    lag::{Monitor, why_lost},
    preflight, publication,
    quote::quote_identifier,
};

/// A slot that holds more of what it may is in danger.
const KEEP_SHARE: u64 = 2;
/// Log that nobody reads: bytes from which on it is worth a word where there is no limit.
const MUCH_LOG: u64 = 10 << 30;
/// A transaction that runs for longer keeps the slot from being made and old log from going.
const LONG_TRANSACTION_S: i64 = 3600;
/// Below, a busy moment of ours would end the stream.
const SENDER_TIMEOUT_MS: i64 = 10_000;
/// Below, an hour without the capture can lose the slot on a busy source.
const LEAST_KEEP_MB: i64 = 1024;

/// Looks at the source and changes nothing. What cannot be asked is a finding too.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::new("postgres");
    findings.encryption(config.tls.is_on(), &[&config.host]);
    if let Err(error) = all(config, &mut findings).await {
        findings.failed("connection", &error);
    }
    findings.into_list()
}

async fn all(config: &Config, findings: &mut Findings) -> Result<()> {
    config.validate()?;
    let client = connect(config).await?;
    findings
        .ok("connection", format!("{}:{}/{} as {}", config.host, config.port, config.database, config.user));
    match preflight::server(&client, config).await {
        Ok(()) => match Connection::open(config).await {
            Ok(_) => findings.ok("replication", "wal_level is logical, and the role may replicate"),
            Err(error) => findings.failed("replication", &error),
        },
        Err(error) => findings.failed("replication", &error),
    }
    let server = settings(&client, findings).await?;
    let catalog = catalog::tables(&client, &config.tables).await?;
    tables(&client, config, &catalog, &server, findings).await?;
    slot(config, &server, findings).await
}

/// What other checks need of `doctor.sql`.
struct Server {
    keep_mb: i64,
    may_create: bool,
    sees_all_rows: bool,
}

async fn settings(client: &Client, findings: &mut Findings) -> Result<Server> {
    let doing = at("cannot read the server's settings");
    let before = SystemTime::now();
    let row = client.query_one(include_str!("doctor.sql"), &[]).await.map_err(&doing)?;
    let after = SystemTime::now();
    judge(&row, findings, before, after).map_err(&doing)
}

fn judge(
    row: &Row,
    findings: &mut Findings,
    before: SystemTime,
    after: SystemTime,
) -> std::result::Result<Server, tokio_postgres::Error> {
    findings.ok("version", row.try_get::<_, String>("version")?);
    findings.clock(row.try_get("clock_us")?, before, after);
    capacity(row, findings)?;
    let keep_mb: i64 = row.try_get("keep_mb")?;
    let keep: String = row.try_get("keep_size")?;
    let remedy = match keep_mb {
        ..0 => "set it to what the disk can spare: a capture that is away fills the disk without an end",
        _ => "raise it: on a busy source the slot is lost after a short absence of the capture",
    };
    findings.prefer("max_slot_wal_keep_size", keep_mb >= LEAST_KEEP_MB, keep, remedy);
    let timeout: i64 = row.try_get("sender_timeout_ms")?;
    let remedy =
        "set it to 60s: shorter ends the stream in a busy moment, 0 keeps a dead capture's slot taken";
    findings.prefer("wal_sender_timeout", timeout >= SENDER_TIMEOUT_MS, format!("{timeout} ms"), remedy);
    let idle: i64 = row.try_get("idle_slot_s")?;
    let remedy =
        "set it to 0, or see that the capture is never away for so long: its slot would be invalidated";
    findings.prefer("idle_replication_slot_timeout", idle == 0, format!("{idle} s"), remedy);
    let durable: (String, String) = (row.try_get("fsync")?, row.try_get("full_pages")?);
    let found = format!("fsync {}, full_page_writes {}", durable.0, durable.1);
    let remedy = "set both to on: after a crash the source may lack what was published";
    findings.prefer("durability", durable.0 == "on" && durable.1 == "on", found, remedy);
    let oldest: i64 = row.try_get("oldest_s")?;
    let remedy = "end it where it is forgotten: it keeps the slot from being made, and old log from going";
    findings.prefer(
        "open transactions",
        oldest < LONG_TRANSACTION_S,
        format!("the oldest for {oldest} s"),
        remedy,
    );
    let prepared: i32 = row.try_get("prepared")?;
    let remedy = "commit them or roll them back (pg_prepared_xacts): they do the same for ever";
    findings.prefer(
        "prepared transactions",
        prepared == 0,
        format!("{prepared} older than 10 minutes"),
        remedy,
    );
    let remedy =
        "GRANT EXECUTE ON FUNCTION pg_logical_emit_message to the role, in both its forms: snapshots need it";
    findings.demand(
        "logical messages",
        row.try_get("may_mark")?,
        "EXECUTE on pg_logical_emit_message",
        remedy,
    );
    let (may_create, sees_all_rows) = (row.try_get("may_create")?, row.try_get("sees_all_rows")?);
    Ok(Server { keep_mb, may_create, sees_all_rows })
}

fn capacity(row: &Row, findings: &mut Findings) -> std::result::Result<(), tokio_postgres::Error> {
    let pairs =
        [("max_replication_slots", "slots", "max_slots"), ("max_wal_senders", "senders", "max_senders")];
    for (name, used, most) in pairs {
        let (used, most): (i32, i32) = (row.try_get(used)?, row.try_get(most)?);
        let remedy = format!("raise {name} and restart Postgres: the next replica or backup finds no room");
        findings.prefer(name, used < most, format!("{used} of {most} in use"), remedy);
    }
    Ok(())
}

async fn tables(
    client: &Client,
    config: &Config,
    catalog: &Catalog,
    server: &Server,
    findings: &mut Findings,
) -> Result<()> {
    match preflight::tables(client, config, catalog, |_| false).await {
        Ok(()) => findings.ok("tables", format!("{} can be captured", catalog.tables.len())),
        Err(error) => findings.failed("tables", &error),
    }
    for refusal in &catalog.refused {
        let check = format!("table {}", refusal.table);
        findings.warn(
            check,
            &refusal.reason,
            "until then it is left out; name it in postgres.tables.exclude to say so",
        );
    }
    for table in catalog.tables.iter().filter(|table| table.full_identity) {
        findings.warn(
            format!("table {}", table.schema.table),
            "its replica identity is FULL, so the log carries each changed row twice",
            "ALTER TABLE … REPLICA IDENTITY DEFAULT, unless somebody else needs it",
        );
    }
    let oids: Vec<u32> = catalog.tables.iter().map(|table| table.origin.oid).collect();
    let rows = client.query(include_str!("doctor_tables.sql"), &[&oids]).await;
    let rows = rows.map_err(at("cannot read the tables' owners"))?;
    for row in rows.iter().filter(|row| row.get("hides_rows") && !server.sees_all_rows) {
        let remedy = format!("ALTER ROLE {} BYPASSRLS", quote_identifier(&config.user));
        let check = format!("table {}", row.get::<_, &str>("name"));
        findings.fail(check, "row-level security hides rows from the role", remedy);
    }
    let owns_all = rows.iter().all(|row| row.get("owned"));
    let wanted = catalog.tables.iter().map(|table| table.schema.table.clone()).collect();
    publication(client, config, &wanted, owns_all && server.may_create, findings).await;
    Ok(())
}

async fn publication(
    client: &Client,
    config: &Config,
    wanted: &BTreeSet<TableName>,
    may_change: bool,
    findings: &mut Findings,
) {
    let found = match publication::members(client, config).await {
        Ok(members) => members,
        Err(error) => return findings.failed("publication", &error),
    };
    let name = &config.publication;
    let statement = publication::statement(&config.publication, found.as_ref(), wanted);
    match (statement, may_change) {
        (None, _) => findings.ok("publication", format!("{name} holds all {} tables", wanted.len())),
        (Some(_), true) => {
            findings
                .ok("publication", format!("{name} does not hold all tables; the capture will see to it"));
        }
        (Some(statement), false) => findings.fail(
            "publication",
            format!("{name} does not hold all tables, and the role does not own them"),
            format!("run tidemart migrate --accounts as an administrator, or let the owner run: {statement}"),
        ),
    }
}

async fn slot(config: &Config, server: &Server, findings: &mut Findings) -> Result<()> {
    let lag = Monitor::new(config.clone()).lag().await?;
    let name = &config.slot;
    let Some(slot) = lag.slot else {
        findings.ok("slot", format!("{name} is not there yet; the capture will make it"));
        return Ok(());
    };
    let bytes = format!("{name} is {}, {:.1} MB behind", slot.wal_status, mb(slot.wal_bytes));
    let limit = u64::try_from(server.keep_mb).map_or(MUCH_LOG, |keep| (keep << 20) / KEEP_SHARE);
    if slot.wal_status == "lost" {
        let remedy = "start tidemart capture: it names the generation for tidemart capture --start-over; raise max_slot_wal_keep_size";
        let why = why_lost(slot.invalidation.as_deref());
        findings.fail("slot", format!("{name} is lost: {why}"), remedy);
    } else if slot.wal_status == "unreserved" {
        findings.fail(
            "slot",
            bytes,
            "start the capture now, and raise max_slot_wal_keep_size: the slot is about to be lost",
        );
    } else if slot.wal_bytes > limit {
        findings.warn("slot", bytes, "see that the capture runs and Kafka answers: the log grows until the slot is lost or the disk full");
    } else if !slot.active {
        findings.warn(
            "slot",
            format!("{bytes}, and nobody reads it"),
            "start the capture; drop the slot if it is not to come back",
        );
    } else {
        findings.ok("slot", bytes);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
