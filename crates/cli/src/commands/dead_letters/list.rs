//! What is parked, printed.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tidemart_change::Op;
use tidemart_mysql::{
    Config, Conn,
    dead_letters::{self, DeadLetter, Page, Selection},
};

use crate::output;

/// Prints the first letters of a selection.
pub(super) async fn list(
    mysql: &Config,
    selection: &Selection,
    limit: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut conn = tidemart_mysql::connect(mysql).await?;
    let Page { letters, total } = dead_letters::list(&mut conn, selection, limit).await?;
    if json {
        let letters: Vec<_> = letters.iter().map(as_json).collect();
        output::print(serde_json::to_string(&letters)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for letter in &letters {
        let DeadLetter { id, parked_at, reason, .. } = letter;
        output::print(format_args!("{id:>8}  {parked_at}  {}\n{:10}{reason}", what(letter), ""))?;
    }
    match total {
        0 => output::print("no dead letters")?,
        total if letters.len() as u64 == total => output::print(format_args!("{total} dead letters"))?,
        total => {
            let count = letters.len();
            output::print(format_args!("{count} of {total} dead letters; --limit shows more"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one letter with its row.
pub(super) async fn show(mysql: &Config, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let mut conn = tidemart_mysql::connect(mysql).await?;
    let letter = find(&mut conn, id).await?;
    let row = dead_letters::row(&mut conn, &letter).await?;
    let row = row.with_context(|| format!("dead letter {id} was replaced just now"))?;
    if json {
        let mut object = as_json(&letter);
        object.insert("row".to_owned(), row.into());
        output::print(serde_json::to_string(&object)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let DeadLetter { partition, sequence, offset, reason, committed_at, parked_at, asked_at, .. } = &letter;
    output::print(format_args!("dead letter {id}: {}", what(&letter)))?;
    output::print(format_args!("reason     {reason}"))?;
    output::print(format_args!("committed  {committed_at}\nparked     {parked_at}"))?;
    if let Some(asked_at) = asked_at {
        output::print(format_args!("asked for  {asked_at}"))?;
    }
    output::print(format_args!("in Kafka   {partition}, offset {offset}, sequence {sequence}"))?;
    output::print(format_args!("row        {}", serde_json::to_string_pretty(&row)?))?;
    if letter.partial {
        output::print("           columns that are not there were not changed")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The letter with a number.
pub(super) async fn find(conn: &mut Conn, id: u64) -> anyhow::Result<DeadLetter> {
    let selection = Selection { ids: vec![id], ..Selection::default() };
    match dead_letters::list(conn, &selection, 1).await?.letters.pop() {
        Some(letter) => Ok(letter),
        None => bail!("there is no dead letter {id} (any more); see tidemart dead-letters list"),
    }
}

/// `public.orders ["1"] update refused`.
pub(super) fn what(letter: &DeadLetter) -> String {
    format!("{} {} {}", row_name(letter), operation(letter.operation), letter.kind)
}

/// `public.orders ["1"]`.
pub(super) fn row_name(letter: &DeadLetter) -> String {
    format!("{} {}", letter.table, json!(letter.key))
}

fn operation(operation: Op) -> &'static str {
    match operation {
        Op::Read => "read",
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

fn as_json(letter: &DeadLetter) -> Map<String, Value> {
    let DeadLetter { id, table, key, kind, reason, partial, partition, sequence, offset, .. } = letter;
    let object = json!({
        "id": id,
        "table": table.to_string(),
        "key": key,
        "operation": operation(letter.operation),
        "kind": kind.as_str(),
        "reason": reason,
        "partial": partial,
        "topic": &*partition.topic,
        "partition": partition.partition,
        "sequence": sequence,
        "offset": offset,
        "committed_at": letter.committed_at,
        "parked_at": letter.parked_at,
        "asked_at": letter.asked_at,
    });
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
