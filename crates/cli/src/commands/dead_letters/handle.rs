//! Retry and skip, many keys of a partition at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use tidemart_change::{Request, TopicPartition, request::Want};
use tidemart_mysql::dead_letters::{self, DeadLetter, Kind, Outcome, Selection};

use super::list::{find, row_name};
use crate::{config::Config, output};

/// Letters that are read at once.
const PAGE: usize = 10_000;
/// Letters in one transaction.
const BATCH: usize = 200;

/// Tries everything again that is parked of the chosen letters' keys.
pub(super) async fn retry(config: &Config, selection: &Selection) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::new(config);
    let mut pages = Pages::new(selection);
    while let Some(letters) = pages.next(config).await? {
        tally.retry(&letters).await?;
    }
    tally.end()
}

/// Leaves the chosen letters out, then tries what is left of their keys.
pub(super) async fn skip(config: &Config, selection: &Selection) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::new(config);
    let mut pages = Pages::new(selection);
    while let Some(letters) = pages.next(config).await? {
        tally.skip(&letters).await?;
        let mut left = Vec::new();
        let mut conn = tidemart_mysql::connect(config.mysql()?).await?;
        for letter in letters {
            if dead_letters::still_parked(&mut conn, &letter.table, &letter.key).await? {
                left.push(letter);
            }
        }
        drop(conn.disconnect().await);
        tally.retry(&left).await?;
    }
    tally.end()
}

/// The chosen letters, a page at a time: by their numbers, each of which must be one's, or all.
struct Pages {
    selection: Selection,
    ended: bool,
}

impl Pages {
    fn new(selection: &Selection) -> Self {
        Self { selection: selection.clone(), ended: false }
    }

    async fn next(&mut self, config: &Config) -> anyhow::Result<Option<Vec<DeadLetter>>> {
        if self.ended {
            return Ok(None);
        }
        let mut conn = tidemart_mysql::connect(config.mysql()?).await?;
        let mut letters = Vec::new();
        for id in &self.selection.ids {
            letters.push(find(&mut conn, *id).await?);
        }
        if self.selection.ids.is_empty() {
            letters = dead_letters::list(&mut conn, &self.selection, PAGE).await?.letters;
        }
        drop(conn.disconnect().await);
        self.ended = !self.selection.ids.is_empty() || letters.is_empty();
        self.selection.after = letters.last().map_or(self.selection.after, |letter| letter.id);
        Ok(Some(letters).filter(|letters| !letters.is_empty()))
    }
}

/// What was done so far; an error of one partition keeps nobody from the others.
struct Tally<'a> {
    config: &'a Config,
    seen: BTreeSet<(TopicPartition, Vec<String>)>,
    handled: usize,
    failed: bool,
    first_error: Option<anyhow::Error>,
}

impl<'a> Tally<'a> {
    fn new(config: &'a Config) -> Self {
        Self { config, seen: BTreeSet::new(), handled: 0, failed: false, first_error: None }
    }

    async fn retry(&mut self, letters: &[DeadLetter]) -> anyhow::Result<()> {
        let new = |letter: &&DeadLetter| self.seen.insert((letter.partition.clone(), letter.key.clone()));
        let letters: Vec<_> = letters.iter().filter(new).cloned().collect();
        for letters in batches(&letters) {
            match dead_letters::retry(self.config.mysql()?, &letters).await {
                Ok(outcomes) => {
                    for (letter, outcome) in letters.iter().zip(outcomes) {
                        self.say_retried(letter, outcome).await?;
                    }
                }
                Err(error) => self.fail(&letters, error.into())?,
            }
        }
        Ok(())
    }

    async fn say_retried(&mut self, letter: &DeadLetter, outcome: Outcome) -> anyhow::Result<()> {
        self.handled += 1;
        let row = row_name(letter);
        match outcome {
            Outcome::Done(1) => output::print(format_args!("{row}: applied")),
            Outcome::Done(count) => output::print(format_args!("{row}: {count} changes applied")),
            Outcome::Gone => output::print(format_args!("{row}: nothing is parked any more")),
            Outcome::Refused { reason, kind } => {
                self.failed = true;
                let asked = match kind {
                    Some(Kind::Missing) => ask_again(self.config, letter).await,
                    _ => String::new(),
                };
                output::print(format_args!("{row}: still not applied: {reason}{asked}"))
            }
        }
    }

    async fn skip(&mut self, letters: &[DeadLetter]) -> anyhow::Result<()> {
        for letters in batches(letters) {
            match dead_letters::skip(self.config.mysql()?, &letters).await {
                Ok(outcomes) => {
                    for (letter, outcome) in letters.iter().zip(outcomes) {
                        self.handled += 1;
                        let (id, row) = (letter.id, row_name(letter));
                        let what = match outcome {
                            Outcome::Done(_) => "is left out",
                            _ => "was replaced by a later change",
                        };
                        output::print(format_args!("{row}: dead letter {id} {what}"))?;
                    }
                }
                Err(error) => self.fail(&letters, error.into())?,
            }
        }
        Ok(())
    }

    fn fail(&mut self, letters: &[DeadLetter], error: anyhow::Error) -> anyhow::Result<()> {
        for letter in letters {
            output::print(format_args!("{}: not handled: {error:#}", row_name(letter)))?;
        }
        self.handled += letters.len();
        self.first_error.get_or_insert(error);
        Ok(())
    }

    fn end(self) -> anyhow::Result<ExitCode> {
        if self.handled == 0 {
            output::print("no dead letters")?;
        }
        let code = if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        self.first_error.map_or(Ok(code), Err)
    }
}

/// By partition and in order, as many as go at once.
fn batches(letters: &[DeadLetter]) -> Vec<Vec<DeadLetter>> {
    let mut partitions: BTreeMap<&TopicPartition, Vec<DeadLetter>> = BTreeMap::new();
    for letter in letters {
        partitions.entry(&letter.partition).or_default().push(letter.clone());
    }
    partitions
        .into_values()
        .flat_map(|letters| letters.chunks(BATCH).map(<[_]>::to_vec).collect::<Vec<_>>())
        .collect()
}

/// Asks the source for a row that a change could not complete, where the source is known; says so.
async fn ask_again(config: &Config, letter: &DeadLetter) -> String {
    let Ok(postgres) = config.postgres() else { return String::new() };
    let want = Want::Repair(vec![letter.key.clone()]);
    let request = Request { slot: Some(postgres.slot.clone()), table: letter.table.clone(), want };
    match tidemart_postgres::request(postgres, &request).await {
        Ok(()) => "; Postgres was asked for the row".to_owned(),
        Err(error) => {
            format!("; and Postgres cannot be asked for the row: {}", tidemart_pipeline::error::chain(&error))
        }
    }
}
