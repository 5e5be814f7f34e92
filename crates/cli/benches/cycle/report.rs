//! The table.

use std::{fmt::Write, path::Path};

use anyhow::Context;
use mysql_async::prelude::Queryable;

use super::{
    args::Args,
    figures::{Figures, Who},
    machine,
    measure::Measure,
    peer::jar,
    servers::Servers,
};

/// What was measured on, and which versions.
pub struct Notes {
    machine: String,
    servers: String,
    peers: Vec<String>,
}

impl Notes {
    /// Looks at the machine.
    pub fn new(args: &Args) -> Self {
        let folder = args.keep.clone().unwrap_or_else(std::env::temp_dir);
        Self { machine: machine::describe(&folder), servers: String::new(), peers: Vec::new() }
    }

    /// Asks the servers.
    pub async fn versions(&mut self, servers: &Servers) -> anyhow::Result<()> {
        let postgres: String = servers.postgres().await?.query_one("SHOW server_version", &[]).await?.get(0);
        let mariadb: Option<String> = servers.mysql().await?.query_first("SELECT VERSION()").await?;
        let jars = tidemart_local::Kafka::default().jars(&tidemart_local::Cache::of_this_machine()).await?;
        let kafka = jar(&jars, "kafka-clients-").unwrap_or_default().replace("-clients-", " ");
        self.servers = format!("Postgres {postgres}, {kafka}, MariaDB {}", mariadb.unwrap_or_default());
        Ok(())
    }

    /// Says of the peers who they are.
    pub fn peer(&mut self, description: String) {
        if !self.peers.contains(&description) {
            self.peers.push(description);
        }
    }
}

/// The table's cells.
pub struct Table {
    head: String,
    rows: Vec<[String; 6]>,
}

/// What the table stands between in the documentation.
const MARKS: [&str; 2] = ["<!-- table -->", "<!-- /table -->"];
const TITLES: [&str; 6] = ["measure", "tidemart", "peer", "ratio", "must", "aim"];

impl Table {
    pub fn new(args: &Args, figures: &Figures, notes: &Notes) -> Self {
        let measured = Measure::ALL.into_iter().filter_map(|measure| row(measure, figures));
        Self { head: head(args, notes), rows: measured.collect() }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let all = || std::iter::once(TITLES.map(str::to_owned)).chain(self.rows.iter().cloned());
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4, 5].map(width);
        let mut text = format!("\n{}\n\n", self.head);
        for row in all() {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("   ");
            writeln!(text, "{}", line.trim_end()).unwrap_or(());
        }
        text
    }

    /// Writes it to a file: between the marks that it has, or as the whole file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let old = std::fs::read_to_string(path).unwrap_or_default();
        let around = old.split_once(MARKS[0]).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(MARKS[1])?;
            Some((before, after))
        });
        let table = self.markdown();
        let text = around.map_or_else(
            || table.clone(),
            |(before, after)| format!("{before}{}\n{table}{}{after}", MARKS[0], MARKS[1]),
        );
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn markdown(&self) -> String {
        let mut text =
            format!("{}\n\n| {} |\n|---|---:|---:|---:|---:|---:|\n", self.head, TITLES.join(" | "));
        for row in &self.rows {
            writeln!(text, "| {} |", row.join(" | ")).unwrap_or(());
        }
        text
    }
}

fn head(args: &Args, notes: &Notes) -> String {
    let mut text = format!("tidemart {}, medians of {}", env!("CARGO_PKG_VERSION"), args.runs);
    if args.scale != 1.0 {
        write!(text, ", data at {} of its size: not comparable", args.scale).unwrap_or(());
    }
    write!(text, ". {}", notes.machine).unwrap_or(());
    if !notes.servers.is_empty() {
        write!(text, ". {}, all on this machine, durable", notes.servers).unwrap_or(());
    }
    if !notes.peers.is_empty() {
        write!(text, ". Peer: {}", notes.peers.join("; ")).unwrap_or(());
    }
    text + "."
}

/// Nothing for a measure that was not taken.
fn row(measure: Measure, figures: &Figures) -> Option<[String; 6]> {
    let (row, ours) = (measure.row(), figures.median(measure, Who::Ours));
    let show = |value: f64| row.unit.show(value);
    let peers = figures.of_peers(measure);
    let named = peers.len() > 1;
    let shown =
        peers.iter().map(|(who, value)| if named { format!("{} {who}", show(*value)) } else { show(*value) });
    let shown = shown.collect::<Vec<_>>().join(", ");
    if ours.is_none() && shown.is_empty() {
        return None;
    }
    // Against the best that the peer does with any settings; above 1 is better than it.
    let better =
        |left: f64, right: f64| if row.unit.more_is_better() { left.max(right) } else { left.min(right) };
    let best = peers.iter().map(|(_, value)| *value).reduce(better);
    let ratio =
        ours.zip(best).map(|(ours, best)| if row.unit.more_is_better() { ours / best } else { best / ours });
    let none = || "–".to_owned();
    Some([
        row.title.to_owned(),
        ours.map_or_else(none, show),
        if shown.is_empty() { none() } else { shown },
        ratio.map_or_else(none, |ratio| format!("{ratio:.1} ×")),
        show(row.must),
        show(row.aim),
    ])
}
