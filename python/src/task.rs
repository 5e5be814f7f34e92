//! One task: messages of some partitions, in order, become batches that are applied.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, Once, PoisonError},
    time::Duration,
};

use arrow_array::RecordBatch;
use tidemart_change::{
    Pending, Record, TopicPartition,
    message::{Decoders, Headers},
};
use tidemart_mysql::{
    Config,
    executors::{Run, SharedApplier},
};
use tidemart_pipeline::{Error, Result, error::chain};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::{
    columns::{Columns, Message},
    options::Options,
    schemas,
};

/// Rows and bytes that are applied at once, about, at most; Spark's own batches may be larger.
const ROWS: usize = 5_000;
const BYTES: usize = 4 << 20;

/// What this process keeps from one task to the next: it runs one at a time, which takes the one of its query and, where
/// all went well, puts it back as the last. Made by a query's first task, since Spark forks its Python processes and threads
/// do not survive that.
static WORKERS: Mutex<Vec<Worker>> = Mutex::new(Vec::new());
/// Of so many queries: those of one cluster share its Python processes.
const KEPT: usize = 4;

struct Worker {
    runtime: Runtime,
    config: Config,
    run: Run,
    lane: Lane,
    decoders: Decoders,
    /// Versions that were waited for in vain: they are not waited for again.
    missing: HashSet<(String, u32)>,
}

/// What applies: one batch at a time, while the next one is read.
enum Lane {
    Rests(Box<SharedApplier>),
    Works(JoinHandle<Result<Box<SharedApplier>>>),
    /// After an error: nothing more is applied by this one.
    Broken,
}

/// One task under way.
pub(crate) struct Task {
    worker: Worker,
    pending: Pending,
    /// Partitions of which nothing more is read, since a message cannot be.
    halted: HashSet<TopicPartition>,
}

impl Task {
    /// Begins with the worker of this query's run; of other runs of the query nothing is kept.
    pub(crate) fn begin(options: &HashMap<String, String>) -> Result<Self> {
        static LOG: Once = Once::new();
        LOG.call_once(log);
        let options = Options::read(options)?;
        let kept = Worker::kept(&options.run);
        let worker = kept.map_or_else(|| Worker::new(options), Ok)?;
        Ok(Self { worker, pending: Pending::default(), halted: HashSet::new() })
    }

    /// Takes messages, and applies what has gathered.
    pub(crate) fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let Self { worker, pending, halted } = self;
        let columns = Columns::of(batch)?;
        let mut last: Option<TopicPartition> = None;
        for message in columns.messages() {
            let partition = match &last {
                Some(last) if message.is_of(last) => last,
                _ => last.insert(message.of()),
            };
            if halted.contains(partition) {
                continue;
            }
            match worker.decode(&message)? {
                Ok(record) => pending.push(partition, record),
                Err(reason) => {
                    let offset = message.offset;
                    pending.hold(partition, &format!("the record cannot be read: {reason}; offset {offset}"));
                    halted.insert(partition.clone());
                }
            }
            if pending.rows() >= ROWS || pending.bytes() >= BYTES {
                worker.apply(pending)?;
            }
        }
        Ok(())
    }

    /// Applies the rest.
    pub(crate) fn end(mut self) -> Result<()> {
        self.worker.apply(&mut self.pending)?;
        self.worker.rest()?;
        self.worker.keep();
        Ok(())
    }
}

impl Worker {
    fn new(options: Options) -> Result<Self> {
        let Options { mysql, rules, run } = options;
        // A thread applies, while this one reads.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Error::fatal("cannot start a runtime").because(error))?;
        let applier = SharedApplier::new(mysql.clone(), rules, run.clone())?;
        let lane = Lane::Rests(Box::new(applier));
        Ok(Self { runtime, config: mysql, run, lane, decoders: Decoders::default(), missing: HashSet::new() })
    }

    /// The one of this run, out of those that are kept.
    fn kept(run: &Run) -> Option<Self> {
        let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
        let at = workers.iter().position(|worker| worker.run == *run);
        let kept = at.map(|at| workers.remove(at));
        workers.retain(|worker| worker.run.prefix != run.prefix);
        kept
    }

    fn keep(self) {
        let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.len() == KEPT {
            drop(workers.remove(0));
        }
        workers.push(self);
    }

    /// Begins to apply what has gathered, once what was given before is applied.
    fn apply(&mut self, pending: &mut Pending) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let (mut applier, batch) = (self.idle()?, pending.take());
        self.lane = Lane::Works(self.runtime.spawn(async move {
            applier.apply(&batch).await?;
            Ok(applier)
        }));
        Ok(())
    }

    /// Waits until all that was given is applied.
    fn rest(&mut self) -> Result<()> {
        self.lane = Lane::Rests(self.idle()?);
        Ok(())
    }

    fn idle(&mut self) -> Result<Box<SharedApplier>> {
        match std::mem::replace(&mut self.lane, Lane::Broken) {
            Lane::Rests(applier) => Ok(applier),
            Lane::Works(applying) => self
                .runtime
                .block_on(applying)
                .unwrap_or_else(|error| Err(Error::transient("the applier broke off").because(error))),
            Lane::Broken => Err(Error::transient("the applier has failed before")),
        }
    }

    fn look_up(&mut self, topic: &str, version: u32) -> Result<()> {
        let Self { runtime, config, decoders, missing, .. } = self;
        let first = missing.insert((topic.to_owned(), version));
        let patience = if first { schemas::PATIENCE } else { Duration::ZERO };
        runtime.block_on(schemas::look_up(config, decoders, (topic, version), patience))?;
        if decoders.get(topic, version).is_some() {
            missing.remove(&(topic.to_owned(), version));
        }
        Ok(())
    }

    /// The record, or why the message is none.
    fn decode(&mut self, message: &Message<'_>) -> Result<std::result::Result<Record, String>> {
        let headers = match Headers::read(message.headers()) {
            Ok(headers) => headers,
            Err(reason) => return Ok(Err(reason)),
        };
        let (topic, version) = (message.topic, headers.stamp.schema_version);
        if self.decoders.get(topic, version).is_none() {
            self.look_up(topic, version)?;
        }
        let Some(decoder) = self.decoders.get(topic, version) else {
            let waited = schemas::PATIENCE.as_secs();
            return Ok(Err(format!(
                "version {version} of its table's schema is not in tidemart_schemas after {waited} s; `tidemart consumer`, \
                 which puts it there, must run, and read the capture's topic of schemas"
            )));
        };
        Ok(headers.record(decoder, message.offset, message.value).map_err(|error| chain(&error)))
    }
}

impl Message<'_> {
    fn is_of(&self, partition: &TopicPartition) -> bool {
        self.partition == partition.partition && *self.topic == *partition.topic
    }

    fn of(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.into(), partition: self.partition }
    }
}

/// To the executor's standard error, which Spark keeps.
fn log() {
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
    // Somebody else's subscriber does as well.
    drop(subscriber.with_max_level(tracing::Level::INFO).try_init());
}
