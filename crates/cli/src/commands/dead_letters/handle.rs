//! Retry and skip, key by key.

use std::{collections::BTreeSet, process::ExitCode};

use tidemart_change::{Request, request::Want};
use tidemart_mysql::dead_letters::{self, DeadLetter, Kind, Outcome, Selection};

use super::list::{find, row_name};
use crate::{config::Config, output};

/// Letters that are read at once.
const PAGE: usize = 100_000;

/// Tries everything again that is parked of the chosen letters' keys.
pub(super) async fn retry(config: &Config, selection: &Selection) -> anyhow::Result<ExitCode> {
    let letters = chosen(config, selection).await?;
    if letters.is_empty() {
        output::print("no dead letters")?;
    }
    retry_keys(config, &letters).await
}

/// Leaves the chosen letters out, then tries what is left of their keys.
pub(super) async fn skip(config: &Config, selection: &Selection) -> anyhow::Result<ExitCode> {
    let mysql = config.mysql()?;
    let letters = chosen(config, selection).await?;
    for letter in &letters {
        let (id, row) = (letter.id, row_name(letter));
        match dead_letters::skip(mysql, letter).await? {
            Outcome::Done(_) => output::print(format_args!("{row}: dead letter {id} is left out"))?,
            _ => output::print(format_args!("{row}: dead letter {id} was replaced by a later change"))?,
        }
    }
    let mut left = Vec::new();
    let mut conn = tidemart_mysql::connect(mysql).await?;
    for letter in letters {
        if dead_letters::still_parked(&mut conn, &letter.table, &letter.key).await? {
            left.push(letter);
        }
    }
    drop(conn.disconnect().await);
    retry_keys(config, &left).await
}

/// The letters that are meant; each number must be one's.
async fn chosen(config: &Config, selection: &Selection) -> anyhow::Result<Vec<DeadLetter>> {
    let mut conn = tidemart_mysql::connect(config.mysql()?).await?;
    let mut letters = Vec::new();
    for id in &selection.ids {
        letters.push(find(&mut conn, *id).await?);
    }
    if selection.ids.is_empty() {
        letters = dead_letters::list(&mut conn, selection, PAGE).await?.letters;
    }
    drop(conn.disconnect().await);
    Ok(letters)
}

async fn retry_keys(config: &Config, letters: &[DeadLetter]) -> anyhow::Result<ExitCode> {
    let rules = if config.marts.enabled { tidemart_marts::mark_rules() } else { Vec::new() };
    let (mut seen, mut code) = (BTreeSet::new(), ExitCode::SUCCESS);
    for letter in letters {
        if !seen.insert((&letter.table, &letter.key)) {
            continue;
        }
        let row = row_name(letter);
        match dead_letters::retry(config.mysql()?, &rules, letter).await? {
            Outcome::Done(1) => output::print(format_args!("{row}: applied"))?,
            Outcome::Done(count) => output::print(format_args!("{row}: {count} changes applied"))?,
            Outcome::Gone => output::print(format_args!("{row}: nothing is parked any more"))?,
            Outcome::Refused(reason) => {
                code = ExitCode::FAILURE;
                let asked =
                    if ask_again(config, letter).await? { "; Postgres was asked for the row" } else { "" };
                output::print(format_args!("{row}: still not applied: {reason}{asked}"))?;
            }
        }
    }
    Ok(code)
}

/// Asks the source for a row that a change could not complete, where the source is known.
async fn ask_again(config: &Config, letter: &DeadLetter) -> anyhow::Result<bool> {
    let Ok(postgres) = config.postgres() else { return Ok(false) };
    if letter.kind != Kind::Missing {
        return Ok(false);
    }
    let want = Want::Repair(vec![letter.key.clone()]);
    let request = Request { slot: Some(postgres.slot.clone()), table: letter.table.clone(), want };
    tidemart_postgres::request(postgres, &request).await?;
    Ok(true)
}
