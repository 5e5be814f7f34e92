//! A status for people: one line that is printed again and again, or a page.

use std::fmt::{self, Write};

use super::{Mart, Part, Status};

/// One line.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Part::Known(source) => write!(f, "{} tx/s", rate(source.transactions_per_s))?,
            Part::Unknown(_) => f.write_str("Postgres away")?,
        }
        match &self.capture {
            Part::Known(capture) => {
                let (bytes, seconds) = (bytes(capture.lag_bytes), capture.lag_s);
                write!(f, " | capture {} ev/s, lag {bytes}, {seconds:.1} s", rate(capture.events_per_s))?;
                let left = capture
                    .tables
                    .iter()
                    .filter(|table| !table.snapshot_done && table.stopped.is_none())
                    .count();
                if left > 0 {
                    write!(f, ", snapshot of {left} tables")?;
                }
            }
            Part::Unknown(_) => f.write_str(" | capture unknown")?,
        }
        match &self.consumer {
            Part::Known(consumer) => {
                let lag = consumer.lag_events.map_or_else(|| "?".to_owned(), |events| events.to_string());
                let (rate, seconds) = (rate(consumer.events_per_s), consumer.lag_s);
                write!(f, " | consumer {rate} ev/s, lag {lag} ev, {seconds:.1} s")?;
            }
            Part::Unknown(_) => f.write_str(" | MySQL away")?,
        }
        for mart in self.marts.known().into_iter().flatten() {
            write!(f, " | {} {}", mart.name, freshness(mart))?;
        }
        match self.problems().len() {
            0 => Ok(()),
            1 => f.write_str(" | 1 problem: tidemart status"),
            count => write!(f, " | {count} problems: tidemart status"),
        }
    }
}

impl Status {
    /// A page: the line's figures one by one, every table, every mart, every problem.
    pub fn page(&self) -> String {
        let mut page = String::new();
        self.write_page(&mut page).unwrap_or(());
        page
    }

    fn write_page(&self, page: &mut String) -> fmt::Result {
        if let Some(source) = self.source.known() {
            writeln!(page, "Postgres   {:>9} transactions/s", rate(source.transactions_per_s))?;
        }
        if let Some(capture) = self.capture.known() {
            let (rate, bytes) = (rate(capture.events_per_s), bytes(capture.lag_bytes));
            writeln!(page, "capture    {rate:>9} events/s, behind by {bytes}, {:.1} s", capture.lag_s)?;
        }
        if let Some(consumer) = self.consumer.known() {
            let lag = consumer.lag_events.map_or_else(|| "?".to_owned(), |events| events.to_string());
            let rate = rate(consumer.events_per_s);
            writeln!(page, "consumer   {rate:>9} events/s, behind by {lag} events, {:.1} s", consumer.lag_s)?;
            if let Some(query) = &consumer.query {
                writeln!(page, "on Spark   {query}")?;
            }
        }
        self.write_tables(page)?;
        self.write_marts(page)?;
        for problem in self.problems() {
            writeln!(page, "\nproblem: {problem}")?;
        }
        Ok(())
    }

    fn write_tables(&self, page: &mut String) -> fmt::Result {
        let tables = self.capture.known().map_or(&[][..], |capture| &capture.tables);
        if tables.is_empty() {
            return Ok(());
        }
        let width = tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(page, "\n{:width$} {:>12} {:>12}  state", "table", "published", "applied")?;
        for table in tables {
            let state = match (&table.stopped, table.held.is_empty(), table.snapshot_done) {
                (Some(_), ..) => "stopped",
                (None, false, _) => "held",
                (None, true, false) => "snapshot",
                (None, true, true) => "flows",
            };
            let letters = match table.dead_letters {
                0 => String::new(),
                count => format!(", {count} dead letters"),
            };
            let (name, published, applied) = (&table.name, table.published, table.applied);
            writeln!(page, "{name:width$} {published:>12} {applied:>12}  {state}{letters}")?;
        }
        Ok(())
    }

    fn write_marts(&self, page: &mut String) -> fmt::Result {
        let marts = self.marts.known().map_or(&[][..], |marts| marts);
        if marts.is_empty() {
            return Ok(());
        }
        writeln!(page, "\n{:15} {:>9} {:>9}  freshness", "mart", "rows", "pending")?;
        for mart in marts {
            let rows = mart.rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
            writeln!(page, "{:15} {rows:>9} {:>9}  {}", mart.name, mart.pending, freshness(mart))?;
            if let Some(reason) = &mart.waiting {
                writeln!(page, "    waits: {reason}")?;
            }
        }
        Ok(())
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.0}"))
}

fn freshness(mart: &Mart) -> String {
    match (mart.rows, mart.freshness_s) {
        (None, _) => "not built yet".to_owned(),
        (_, None) => "?".to_owned(),
        (_, Some(seconds)) => format!("{seconds:.1} s"),
    }
}

/// Bytes in the unit that people read best.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_printed_for_people() {
        let cases =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (12_345_678_901, "12.3 GB")];
        for (value, text) in cases {
            assert_eq!(super::bytes(value), text);
        }
    }
}
