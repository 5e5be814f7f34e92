use std::{collections::BTreeSet, sync::Arc};

use tidemart_change::{Column, ColumnType, RowBuilder, TableName, Value};
use tidemart_pipeline::Error;

use super::*;

const UNWRITTEN: Applied = Applied::Everything { version: 0 };

/// A moment in the life of both databases: what each holds for the keys `0`, `1`, ….
type Rows = Vec<Option<&'static str>>;

/// Databases that move on with every read: the last state stays.
struct Script {
    source: Vec<Rows>,
    replica: Vec<Rows>,
    /// How many times a transaction of somebody else is found running.
    running: usize,
    applied: Result<Applied>,
    fences: u64,
    /// Whether the table is written all the while.
    written: bool,
}

impl Script {
    fn new(source: &[&[Option<&'static str>]], replica: &[&[Option<&'static str>]]) -> Self {
        let rows =
            |states: &[&[Option<&'static str>]]| states.iter().rev().map(|rows| rows.to_vec()).collect();
        Self {
            source: rows(source),
            replica: rows(replica),
            running: 0,
            applied: Ok(UNWRITTEN),
            fences: 0,
            written: false,
        }
    }

    async fn judge(mut self, deadline: Duration) -> Result<Judgement> {
        let keys = (0..self.source[0].len()).map(|key| vec![key.to_string()]).collect();
        let applied = std::mem::replace(&mut self.applied, Ok(UNWRITTEN));
        let mut progress = Double { answers: vec![applied], asked: Vec::new(), written: self.written };
        let judgement = judge(&schema(), keys, &mut self, &mut progress, deadline, |_| {}).await?;
        assert!(progress.asked.is_sorted(), "each round waits for a later place");
        Ok(judgement)
    }
}

/// The present state; the next read sees the next one.
fn next(states: &mut Vec<Rows>, keys: &[Key]) -> Vec<(Key, &'static str)> {
    let now = if states.len() > 1 { states.pop().unwrap() } else { states[0].clone() };
    let value = |key: &Key| now[key[0].parse::<usize>().unwrap()].map(|value| (key.clone(), value));
    keys.iter().filter_map(value).collect()
}

fn cells(value: &str) -> Cells {
    let mut builder = RowBuilder::default();
    value.split(',').for_each(|value| builder.push(Value::Text(value.as_bytes())));
    Cells::of(&builder.finish())
}

impl Sides for Script {
    /// `values@version`
    async fn source(&mut self, keys: &[Key]) -> Result<HashMap<Key, SourceRow>> {
        let row = |(key, value): (Key, &str)| {
            let (value, version) = value.split_once('@').unwrap_or((value, ""));
            (key, SourceRow { version: version.into(), cells: cells(value) })
        };
        Ok(next(&mut self.source, keys).into_iter().map(row).collect())
    }

    async fn replica(&mut self, keys: &[Key]) -> Result<HashMap<Key, Cells>> {
        Ok(next(&mut self.replica, keys).into_iter().map(|(key, value)| (key, cells(value))).collect())
    }

    async fn fence(&mut self) -> Result<Lsn> {
        self.fences += 1;
        Ok(Lsn(self.fences))
    }

    async fn own_xid(&mut self) -> Result<i64> {
        Ok(100)
    }

    async fn oldest_xid(&mut self) -> Result<i64> {
        if self.running > 0 {
            self.running -= 1;
            return Ok(99);
        }
        Ok(101)
    }
}

struct Double {
    answers: Vec<Result<Applied>>,
    asked: Vec<Lsn>,
    written: bool,
}

impl Progress for Double {
    async fn obstacle(&mut self, _: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    async fn applied(&mut self, _: &TableName, lsn: Lsn) -> Result<Applied> {
        self.asked.push(lsn);
        let version = if self.written { lsn.0 } else { 0 };
        self.answers.pop().unwrap_or(Ok(Applied::Everything { version }))
    }

    async fn replicated(&mut self) -> Result<BTreeSet<TableName>> {
        Ok(BTreeSet::new())
    }
}

fn schema() -> Arc<TableSchema> {
    let column = |name: &str| Column { name: name.to_owned(), column_type: ColumnType::Text, nullable: true };
    let columns = vec![column("a"), column("b")];
    Arc::new(TableSchema { table: TableName::new("public", "t"), version: 1, columns, key: vec![0] })
}

fn key(key: usize) -> Key {
    vec![key.to_string()]
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn rows_that_rest_are_judged_and_equal_ones_are_not_named() {
    let source: &[Option<&str>] = &[Some("1,x"), Some("2,x"), None, Some("3,x"), None];
    let replica: &[Option<&str>] = &[Some("1,x"), None, Some("2,x"), Some("3,y"), None];
    let judgement = Script::new(&[source], &[replica]).judge(LONG).await.unwrap();
    let columns = vec!["b".to_owned()];
    let different =
        vec![(key(1), Kind::Missing), (key(3), Kind::Different { columns }), (key(2), Kind::Extra)];
    assert_eq!(judgement, Judgement { different, ..Judgement::default() });
}

#[tokio::test]
async fn a_row_that_moved_between_the_reads_is_looked_at_again() {
    // Of the same values, but written anew.
    let rewritten = Script::new(&[&[Some("1,x@7")], &[Some("1,x@8")]], &[&[Some("1,w")], &[Some("1,x")]]);
    assert_eq!(rewritten.judge(LONG).await.unwrap(), Judgement::default());
    // Deleted, and then made anew.
    let deleted = Script::new(&[&[Some("1,x")], &[None], &[Some("1,z")]], &[&[Some("1,w")], &[Some("1,z")]]);
    assert_eq!(deleted.judge(LONG).await.unwrap(), Judgement::default());
    // It moves once and differs nevertheless.
    let wrong = Script::new(&[&[Some("1,x")], &[Some("1,y")]], &[&[Some("1,w")]]);
    let columns = vec!["b".to_owned()];
    assert_eq!(wrong.judge(LONG).await.unwrap().different, [(key(0), Kind::Different { columns })]);
}

#[tokio::test]
async fn a_replica_that_is_ahead_of_what_is_visible_does_not_differ() {
    // The commit of y has reached MySQL; Postgres shows it once the transaction has ended.
    let mut early = Script::new(&[&[Some("1,x@7")], &[Some("1,y@8")]], &[&[Some("1,y")]]);
    early.running = 3;
    assert_eq!(early.judge(LONG).await.unwrap(), Judgement::default());
}

#[tokio::test]
async fn nothing_is_decided_while_a_transaction_runs_that_could_explain_it() {
    let mut early = Script::new(&[&[Some("1,x@7")]], &[&[Some("1,y")]]);
    early.running = usize::MAX;
    let judgement = early.judge(Duration::ZERO).await.unwrap();
    assert_eq!(judgement, Judgement { undecided: vec![key(0)], ..Judgement::default() });
}

#[tokio::test]
async fn a_key_that_never_rests_is_undecided_and_the_others_are_judged() {
    let source: Vec<Rows> =
        (0..2).map(|round| vec![[Some("1,x@1"), Some("1,x@2")][round], Some("1,b")]).collect();
    let states: Vec<&[Option<&'static str>]> = source.iter().map(Vec::as_slice).collect();
    let judgement = Script::new(&states, &[&[Some("1,w"), None]]).judge(Duration::ZERO).await.unwrap();
    assert_eq!(judgement.undecided, [key(0)]);
    assert_eq!(judgement.different, [(key(1), Kind::Missing)]);
}

#[tokio::test]
async fn keys_of_a_held_partition_are_undecided_for_a_reason() {
    let mut held = Script::new(&[&[Some("1,x")]], &[&[None]]);
    held.applied = Ok(Applied::Never("held".to_owned()));
    let judgement = held.judge(LONG).await.unwrap();
    assert_eq!(judgement.undecided, [key(0)]);
    assert_eq!(judgement.reason.as_deref(), Some("held"));
}

#[tokio::test]
async fn a_hop_that_stands_still_is_an_error() {
    let mut stalled = Script::new(&[&[Some("1,x")]], &[&[None]]);
    stalled.applied = Err(Error::transient("the consumer stands still"));
    assert_eq!(stalled.judge(LONG).await.unwrap_err().to_string(), "the consumer stands still");
}

/// Between two reads of nothing a row can have been made and deleted, and MySQL be read just then.
#[tokio::test]
async fn a_row_that_comes_and_goes_is_not_extra() {
    let flicker = |found: &[Option<&'static str>]| {
        let replica: Vec<_> = found.iter().map(std::slice::from_ref).collect();
        let mut script = Script::new(&[&[None]], &replica);
        script.written = true;
        script.judge(LONG)
    };
    assert_eq!(flicker(&[Some("1,x"), None]).await.unwrap(), Judgement::default());
    let changing = ["1,a", "1,b", "1,c", "1,d", "1,e", "1,f", "1,g", "1,h", "1,i"].map(Some);
    let gone = changing.into_iter().chain([None]).collect::<Vec<_>>();
    assert_eq!(flicker(&gone).await.unwrap(), Judgement::default());
    assert_eq!(flicker(&[Some("1,x")]).await.unwrap().different, [(key(0), Kind::Extra)]);
}

#[tokio::test]
async fn a_row_in_mysql_alone_is_extra_once_nothing_was_written_meanwhile() {
    let script = |written| Script { written, ..Script::new(&[&[None]], &[&[Some("1,x")]]) };
    assert_eq!(script(true).judge(Duration::ZERO).await.unwrap().undecided, [key(0)]);
    assert_eq!(script(false).judge(LONG).await.unwrap().different, [(key(0), Kind::Extra)]);
}
