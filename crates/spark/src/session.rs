//! A session: what one client does with the cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use arrow::{
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use secrecy::ExposeSecret;
use spark_connect::{SparkError, SparkSession};
use tidemart_pipeline::{Error, Kind, Result};
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    Config, OLDEST, fault,
    shared::{self, Named},
};

/// How long a Connect server answers at most; 0: as long as it takes.
const STREAM_LIMIT: &str = "spark.connect.execute.reattachable.senderMaxStreamDuration";
/// What it is where nobody says anything.
const USUAL_LIMIT: &str = "2m";

/// Longest wait for a connection.
const REACH: Duration = Duration::from_secs(5);
/// While an answer is awaited, so often it is looked whether the server is there at all.
const LOOK: Duration = Duration::from_secs(2);
/// So many looks in a row that find nobody are the end.
const LOOKS: u32 = 3;
/// Longest wait for what takes no work of the cluster.
const ANSWER: Limit = Limit { longest: Duration::from_secs(60), remedy: "" };
/// Longest wait for a computation.
const LONG_ANSWER: Limit = Limit { longest: Duration::from_secs(6 * 3600), remedy: "" };

/// Longest wait for the end of a session that is given up.
const FAREWELL: Duration = Duration::from_secs(1);

/// What Spark's pages and logs show of a statement, which holds the options of its sources: `key: "password" value: "…"`.
/// Set for each session, as a cluster of somebody else's may not have it.
const REDACTED: (&str, &str) = (
    "spark.sql.redaction.string.regex",
    // In the same order: a text in quotes, one whose quotes are escaped as it is a part of another, a word.
    r#"(?i)(password|token|secret|jaas[.]config|keystore[.]key)["']?\s*(value)?\s*[=:]\s*("(\\.|[^"\\])*"|\\"([^"\\]|\\[^"])*\\"|'[^']*'|[^\s"'&,)]+)"#,
);

/// How long an answer may take.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) longest: Duration,
    /// What to do where it takes longer; may be empty.
    pub(crate) remedy: &'static str,
}

/// A row, each value as text.
pub type Row = Vec<Option<String>>;

/// An open session of a Spark Connect server. What it makes at the server (views, settings, streaming queries) ends
/// with it; [`Session::close`] ends it at once, otherwise the server does when nobody has asked for an hour.
#[derive(Clone)]
pub struct Session {
    spark: Arc<Opened>,
    address: (String, u16),
}

/// What it takes to end it.
struct Opened {
    spark: SparkSession,
    closed: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a new one and checks that this is a Spark that can be used.
    ///
    /// # Errors
    /// Transient where nobody is there; fatal for a wrong token, an older Spark.
    pub async fn open(config: &Config) -> Result<Self> {
        config.validate()?;
        let address = config.address()?;
        reach(&address).await.map_err(|reason| not_reachable(config, &reason))?;
        let (first, copy) = (named(config)?, named(config)?);
        let opened = in_thread(move || shared::open(&first, &copy, &[REDACTED]));
        let spark = watched(&address, ANSWER, opened).await?;
        let spark = Arc::new(Opened { spark, closed: AtomicBool::new(false) });
        let session = Self { spark, address };
        let version = session.quick(SparkSession::version).await?;
        check(&version)?;
        Ok(session)
    }

    /// Runs a statement and gives its rows, each value as text.
    ///
    /// # Errors
    /// Fatal where the statement is wrong, with Spark's message; transient where the server is away.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        let batches = self.batches(sql).await?;
        batches.iter().try_fold(Vec::new(), |mut rows, batch| {
            rows.extend(texts(batch)?);
            Ok(rows)
        })
    }

    /// Runs a statement and gives its rows as they come from Spark.
    ///
    /// # Errors
    /// As [`Session::rows`].
    pub async fn batches(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let sql = sql.to_owned();
        self.long(move |spark| spark.sql(&sql)?.collect_record_batches()).await
    }

    /// Does something with the client that takes the cluster's work.
    ///
    /// # Errors
    /// As [`Session::rows`].
    pub async fn long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SparkSession) -> std::result::Result<T, SparkError> + Send + 'static,
    ) -> Result<T> {
        let begun = Instant::now();
        let answer = Box::pin(self.call(LONG_ANSWER, work)).await;
        if answer.as_ref().is_err_and(|error| error.kind() == Kind::Transient) {
            return answer;
        }
        match (Box::pin(self.whole_after(begun.elapsed())).await, answer) {
            // What was cut may be missed by what came after it.
            (Err(cut), Err(error)) if cut.kind() == Kind::Fatal => Err(cut.because(error)),
            (_, Err(error)) => Err(error),
            (whole, answer) => whole.and(answer),
        }
    }

    /// Does something with the client that the server alone answers.
    ///
    /// # Errors
    /// As [`Session::rows`], and transient where it takes more than a minute.
    pub async fn quick<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SparkSession) -> std::result::Result<T, SparkError> + Send + 'static,
    ) -> Result<T> {
        self.call(ANSWER, work).await
    }

    /// Whether an answer that took so long is known to be whole. A Connect server ends its answers after some time (two
    /// minutes, unless it is told otherwise) although the work goes on, and its client for Rust takes that for the end.
    ///
    /// # Errors
    /// Fatal where it is not; as [`Session::quick`] otherwise.
    pub async fn whole_after(&self, elapsed: Duration) -> Result<()> {
        let limit = self.setting(STREAM_LIMIT).await?;
        if elapsed < whole_within(limit.as_deref().unwrap_or(USUAL_LIMIT)) {
            return Ok(());
        }
        Err(Error::fatal(format!(
            "Spark has answered after {:.1} s, and nobody can say whether it was done: set {STREAM_LIMIT}=0 where the Spark \
             Connect server is started",
            elapsed.as_secs_f64()
        )))
    }

    pub(crate) async fn call<T: Send + 'static>(
        &self,
        limit: Limit,
        work: impl FnOnce(&SparkSession) -> std::result::Result<T, SparkError> + Send + 'static,
    ) -> Result<T> {
        // Not what ends the session when it is dropped: whoever gives up this call does not wait for the thread.
        let spark = self.spark.spark.clone();
        watched(&self.address, limit, in_thread(move || work(&spark))).await
    }

    /// Ends the session at the server, and what still runs in it.
    pub async fn close(self) {
        self.spark.closed.store(true, Ordering::Relaxed);
        drop(self.quick(SparkSession::stop).await);
    }
}

/// One that is given up takes with it what still runs in it, as far as the server hears of it in time.
impl Drop for Opened {
    fn drop(&mut self) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let (spark, (sender, receiver)) = (self.spark.clone(), mpsc::channel());
        let stop = move || drop(spark.stop().map(|()| sender.send(())));
        if std::thread::Builder::new().name("spark".to_owned()).spawn(stop).is_ok() {
            // A server that does not answer must not keep us.
            let _ = receiver.recv_timeout(FAREWELL);
        }
    }
}

/// An id of one that has ended cannot be used again, so each has its own.
fn named(config: &Config) -> Result<Named> {
    let name = uuid::Uuid::new_v4().to_string();
    let url = config.url(&name)?.expose_secret().to_owned();
    Ok(Named { name, url })
}

/// Runs what blocks in a thread of its own. Not in one of the runtime's: that would wait for it when it ends.
fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, SparkError> + Send + 'static,
) -> oneshot::Receiver<Result<T>> {
    let (sender, receiver) = oneshot::channel();
    let run = move || drop(sender.send(work().map_err(|error| fault(&error))));
    // Where no thread can be made the channel is closed, and that is the answer.
    drop(std::thread::Builder::new().name("spark".to_owned()).spawn(run));
    receiver
}

/// Waits for an answer as long as the server is there.
async fn watched<T>(
    address: &(String, u16),
    limit: Limit,
    mut answer: oneshot::Receiver<Result<T>>,
) -> Result<T> {
    let (begun, mut missed) = (Instant::now(), 0);
    loop {
        tokio::select! { biased;
            answer = &mut answer => {
                return answer.unwrap_or_else(|_| Err(Error::transient("a call of Spark's client broke off")));
            }
            () = sleep(LOOK) => {}
        }
        missed = if reach(address).await.is_ok() { 0 } else { missed + 1 };
        if missed >= LOOKS {
            let (host, port) = address;
            return Err(Error::transient(format!("the Spark Connect server at {host}:{port} is gone")));
        }
        if begun.elapsed() > limit.longest {
            let seconds = limit.longest.as_secs();
            return Err(Error::transient(format!("no answer from Spark within {seconds} s{}", limit.remedy)));
        }
    }
}

/// An answer that took less is whole, by what the server says of its limit: with a tenth to spare, as its clock is not ours.
fn whole_within(limit: &str) -> Duration {
    match duration(limit.strip_prefix('-').map_or(limit, |_| "0")) {
        Some(Duration::ZERO) => Duration::MAX,
        Some(limit) => limit / 10 * 9,
        None => Duration::ZERO,
    }
}

/// A duration as Spark's settings have it: `120s`, `2m`, `120000` (JavaUtils.timeStringAs).
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let milliseconds = match unit.to_lowercase().as_str() {
        "" | "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?))
}

async fn reach((host, port): &(String, u16)) -> std::result::Result<(), String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(REACH, TcpStream::connect((host, *port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", REACH.as_secs())),
    }
}

fn not_reachable(config: &Config, reason: &str) -> Error {
    Error::transient(format!(
        "no Spark Connect server at {} ({reason}); start it (tidemart up --with spark), or correct spark.connect",
        config.connect
    ))
}

fn check(version: &str) -> Result<()> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if found.0 == OLDEST.0 && found >= OLDEST {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    Err(Error::fatal(format!(
        "the cluster runs Spark {version}; Tidemart needs {major}.{minor} or a later {major}.x"
    )))
}

fn texts(batch: &RecordBatch) -> Result<Vec<Row>> {
    let options = FormatOptions::new();
    let columns: std::result::Result<Vec<_>, _> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
    let columns =
        columns.map_err(|error| Error::fatal("Spark gave values of an unknown type").because(error))?;
    let value = |column: usize, row: usize| {
        (!batch.column(column).is_null(row)).then(|| columns[column].value(row).to_string())
    };
    Ok((0..batch.num_rows())
        .map(|row| (0..columns.len()).map(|column| value(column, row)).collect())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_may_have_been_cut_is_not_trusted() {
        let known = ["2m", "1000MS", "10", "1h", "1us", "soon"].map(whole_within);
        assert_eq!(known, [108_000, 900, 9, 3_240_000, 0, 0].map(Duration::from_millis));
        assert_eq!(["0", "0s", "-1"].map(whole_within), [Duration::MAX; 3]);
    }

    #[test]
    fn an_older_spark_is_refused() {
        for version in ["4.1.0", "4.2.0", "4.12.1-preview"] {
            check(version).unwrap();
        }
        for version in ["3.5.6", "4.0.1", "5.0.0", "unknown"] {
            assert!(check(version).unwrap_err().to_string().contains(version));
        }
    }
}
