//! What an examination of a server finds, with what to do about it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, and will bite one day.
    Warning,
    /// Does not work, or loses what it should keep.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The server's section in the settings.
    pub server: &'static str,
    /// What was looked at: a setting, a right, a table.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What is.
    pub found: String,
    /// What to do; empty where all is well.
    pub remedy: String,
}

/// The findings about one server.
#[derive(Clone, Debug)]
pub struct Findings {
    server: &'static str,
    list: Vec<Finding>,
}

/// Clocks that differ by more make the lag in seconds meaningless.
const SKEW: Duration = Duration::from_secs(1);

impl Findings {
    /// None yet about the server of this section.
    #[must_use]
    pub fn new(server: &'static str) -> Self {
        Self { server, list: Vec::new() }
    }

    /// Something is as it should be.
    pub fn ok(&mut self, check: impl Into<String>, found: impl Into<String>) {
        self.add(check, Level::Ok, found, "");
    }

    /// Something will bite one day.
    pub fn warn(&mut self, check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Warning, found, remedy);
    }

    /// Something does not work.
    pub fn fail(&mut self, check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Error, found, remedy);
    }

    /// An error whose message says what to do.
    pub fn failed(&mut self, check: impl Into<String>, error: &crate::Error) {
        self.fail(check, crate::error::chain(error), "");
    }

    /// Ok where the demand is met, a warning otherwise.
    pub fn prefer(&mut self, check: &str, met: bool, found: impl Into<String>, remedy: impl Into<String>) {
        if met { self.ok(check, found) } else { self.warn(check, found, remedy) }
    }

    /// Ok where the demand is met, an error otherwise.
    pub fn demand(&mut self, check: &str, met: bool, found: impl Into<String>, remedy: impl Into<String>) {
        if met { self.ok(check, found) } else { self.fail(check, found, remedy) }
    }

    /// Whether what goes to these hosts can be read on the way.
    pub fn encryption(&mut self, encrypted: bool, hosts: &[&str]) {
        let near =
            |host: &&str| host.starts_with('/') || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(host);
        let server = self.server;
        let found = match (encrypted, hosts.iter().all(near)) {
            (true, _) => "TLS",
            (false, true) => "none, on this machine alone",
            (false, false) => "none",
        };
        let remedy = format!("set {server}.tls.mode to verify-full unless the network is trusted");
        self.prefer("encryption", found != "none", found, remedy);
    }

    /// The server's clock against ours, which was read before and after the server's (µs since 1970).
    pub fn clock(&mut self, server_us: i64, before: SystemTime, after: SystemTime) {
        let (before, after) = (micros(before), micros(after));
        let skew = (server_us - after).max(before - server_us).max(0);
        let skew = Duration::from_micros(skew.unsigned_abs());
        let found = format!("{:.1} s apart from this machine's", skew.as_secs_f64());
        self.prefer(
            "clock",
            skew < SKEW,
            found,
            "synchronise the clocks (NTP): the lag in seconds is wrong by as much",
        );
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// All of them.
    #[must_use]
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }

    fn add(
        &mut self,
        check: impl Into<String>,
        level: Level,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (check, found, remedy) = (check.into(), found.into(), remedy.into());
        self.list.push(Finding { server: self.server, check, level, found, remedy });
    }
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(judge: impl FnOnce(&mut Findings)) -> Level {
        let mut findings = Findings::new("postgres");
        judge(&mut findings);
        findings.list[0].level
    }

    #[test]
    fn clocks_are_compared_with_the_whole_time_that_the_answer_took() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let judged = |server_s: i64| level(|findings| findings.clock(server_s * 1_000_000, at(100), at(110)));
        assert_eq!([100, 105, 110].map(judged), [Level::Ok; 3]);
        assert_eq!([98, 112].map(judged), [Level::Warning; 2]);
    }

    #[test]
    fn what_leaves_the_machine_should_be_encrypted() {
        let judged = |encrypted, hosts: &[&str]| level(|findings| findings.encryption(encrypted, hosts));
        assert_eq!(judged(false, &["/run/postgresql", "localhost"]), Level::Ok);
        assert_eq!(judged(false, &["localhost", "db.example"]), Level::Warning);
        assert_eq!(judged(true, &["db.example"]), Level::Ok);
    }
}
