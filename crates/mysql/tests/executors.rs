//! Appliers in several processes, to whom nobody gives partitions.

use tidemart_change::{ApplyBatch, ColumnType, Lsn, Mark};
use tidemart_mysql::executors::{Run, SharedApplier, Standing, Start, run_status, schemas, starts};
use tidemart_pipeline::Kind;

use crate::support::{Feed, Target, batch, on_both, schema, simple};

const ALL: &str = "SELECT id, a, b FROM t ORDER BY id";

/// A run of the query that begins where the checkpoints of these feeds stand.
async fn begin(target: &Target, id: &str, feeds: &[&Feed]) -> Run {
    tidemart_mysql::migrate(&target.config).await.unwrap();
    let run = Run { prefix: "p".to_owned(), id: id.to_owned() };
    let partitions: Vec<_> = feeds.iter().map(|feed| feed.partition.clone()).collect();
    let mut conn = target.connect().await;
    let starts = starts(&mut conn, &partitions).await.unwrap();
    run.begin(&mut conn, &starts).await.unwrap();
    conn.disconnect().await.unwrap();
    run
}

fn executor(target: &Target, run: &Run) -> SharedApplier {
    SharedApplier::new(target.config.clone(), Vec::new(), run.clone()).unwrap()
}

async fn start(target: &Target, feed: &Feed) -> Start {
    let mut conn = target.connect().await;
    let start = starts(&mut conn, std::slice::from_ref(&feed.partition)).await.unwrap().remove(0);
    conn.disconnect().await.unwrap();
    start
}

/// What follows what the feed has brought.
fn later(feed: &Feed) -> Feed {
    Feed { records: Vec::new(), ..feed.clone() }
}

fn one(feed: &Feed) -> ApplyBatch {
    batch([feed.part()])
}

#[tokio::test]
async fn batches_go_to_any_executor_and_may_be_repeated() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let second = later(&first).update(&["1", "a2", "-"]).create(&["2", "a", "b"]);
        let third = later(&second).delete(&["1", "-", "-"]).update(&["2", "-", "b2"]);
        let run = begin(&target, "one", &[&first]).await;
        let (mut here, mut there) = (executor(&target, &run), executor(&target, &run));
        here.apply(&one(&first)).await.unwrap();
        there.apply(&one(&first)).await.unwrap();
        there.apply(&one(&second)).await.unwrap();
        // One that does not know of it, as a task that is executed again elsewhere.
        here.apply(&one(&second)).await.unwrap();
        here.apply(&one(&third)).await.unwrap();
        there.apply(&one(&second)).await.unwrap();
        there.apply(&one(&third)).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["2", "a", "b2"]]);
        assert_eq!(target.checkpoint(&third.partition).await.checkpoint.sequence, third.sequence);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_was_replaced_ends_once_it_is_not_next_in_turn() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let second = later(&first).update(&["1", "a2", "b"]);
        let old = begin(&target, "old", &[&first]).await;
        let mut zombie = executor(&target, &old);
        zombie.apply(&one(&first)).await.unwrap();
        let new = begin(&target, "new", &[&first]).await;
        executor(&target, &new).apply(&one(&second)).await.unwrap();
        let error = zombie.apply(&one(&second)).await.unwrap_err();
        assert!(error.kind() == Kind::Fatal && error.to_string().contains("taken over"), "{error}");
        let error = executor(&target, &old).apply(&one(&second)).await.unwrap_err();
        assert!(error.kind() == Kind::Fatal && error.to_string().contains("taken over"), "{error}");
        let mut conn = target.connect().await;
        old.note(&mut conn, "{}").await.unwrap();
        new.note(&mut conn, "{\"batch\":7}").await.unwrap();
        assert_eq!(old.standing(&mut conn, 1).await.unwrap(), Standing::Superseded);
        assert_eq!(new.standing(&mut conn, 2).await.unwrap(), Standing::Current);
        let (status, age_us) = run_status(&mut conn, "p").await.unwrap().unwrap();
        assert!(status == "{\"batch\":7}" && age_us >= 0, "{status} {age_us}");
        assert_eq!(run_status(&mut conn, "another").await.unwrap(), None);
        // Put back to before the last one began.
        target.execute("UPDATE tidemart_queries SET run = 'old', number = 1").await;
        assert_eq!(new.standing(&mut conn, 2).await.unwrap(), Standing::PutBack);
        target.execute("DELETE FROM tidemart_queries").await;
        assert_eq!(new.standing(&mut conn, 2).await.unwrap(), Standing::PutBack);
        conn.disconnect().await.unwrap();
        assert_eq!(target.rows(ALL).await, [["1", "a2", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_put_back_is_read_again_from_its_checkpoint() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let second = later(&first).create(&["2", "a", "b"]);
        let third = later(&second).create(&["3", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        let mut executor = executor(&target, &run);
        executor.apply(&one(&first)).await.unwrap();
        target.execute("CREATE TABLE kept AS SELECT * FROM tidemart_checkpoints").await;
        executor.apply(&one(&second)).await.unwrap();
        target.execute("DELETE FROM t WHERE id = 2").await;
        target.execute("REPLACE INTO tidemart_checkpoints SELECT * FROM kept").await;
        let error = executor.apply(&one(&third)).await.unwrap_err();
        assert!(error.kind() == Kind::Transient && error.to_string().contains("read anew"), "{error}");
        assert_eq!(target.held(&first.partition).await, "");
        let again = begin(&target, "two", &[&first]).await;
        let mut all = second.part();
        all.records.extend(third.part().records);
        self::executor(&target, &again).apply(&batch([all])).await.unwrap();
        assert_eq!(target.rows("SELECT id FROM t ORDER BY id").await, [["1"], ["2"], ["3"]]);
    })
    .await;
}

#[tokio::test]
async fn records_that_are_missing_where_reading_began_hold_the_partition_until_a_truncate() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        executor(&target, &run).apply(&one(&first)).await.unwrap();
        let run = begin(&target, "two", &[&first]).await;
        let late = Feed { sequence: first.sequence + 3, ..later(&first) }.create(&["2", "a", "b"]);
        executor(&target, &run).apply(&one(&late)).await.unwrap();
        let reason = target.held(&late.partition).await;
        assert!(reason.contains("are missing in Kafka; run: tidemart resync public.t"), "{reason}");
        // Another executor, and another run, know it from MySQL, and leave the reason as it is.
        let later_on = later(&late).create(&["3", "a", "b"]);
        executor(&target, &run).apply(&one(&later_on)).await.unwrap();
        let run = begin(&target, "three", &[&first]).await;
        let mut last = executor(&target, &run);
        last.apply(&one(&late)).await.unwrap();
        assert_eq!(target.held(&late.partition).await, reason);
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"]]);
        let mut healed =
            later(&later_on).mark(Mark::Truncate).mark(Mark::SnapshotBegin).read(&["9", "a", "b"]);
        let place = |feed: &mut Feed, lsn: u64| {
            let places = feed.records.iter_mut().zip(lsn..);
            places.for_each(|(record, lsn)| record.stamp.commit_lsn = Lsn(lsn));
        };
        place(&mut healed, 100_000);
        executor(&target, &run).apply(&one(&healed)).await.unwrap();
        // One that dropped records before looks again instead of dropping these.
        let mut after = later(&healed).read(&["10", "a", "b"]);
        place(&mut after, 100_010);
        last.apply(&one(&after)).await.unwrap();
        assert_eq!(target.held(&late.partition).await, "");
        assert_eq!(target.rows("SELECT id FROM t ORDER BY id").await, [["9"], ["10"]]);
    })
    .await;
}

/// The topic was made anew: what heals it may lie before the place where reading went on.
#[tokio::test]
async fn a_newer_epoch_is_looked_for_from_the_beginning_by_the_next_run() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        executor(&target, &run).apply(&one(&first)).await.unwrap();
        let run = begin(&target, "two", &[&first]).await;
        let epoch = tidemart_change::Epoch { generation: first.epoch.generation + 1, ..first.epoch };
        let anew = Feed { epoch, offset: 0, ..Feed::new(&simple("public.t"), 0) };
        let anew = anew.mark(Mark::Truncate).mark(Mark::SnapshotBegin).read(&["9", "a", "b"]);
        let tail = later(&anew).read(&["10", "a", "b"]);
        let mut beyond = tail.part();
        beyond.records[0].offset = first.offset + 1;
        let error = executor(&target, &run).apply(&batch([beyond])).await.unwrap_err();
        assert!(error.kind() == Kind::Transient, "{error}");
        let start = start(&target, &first).await;
        assert!(start.rewind && start.held.is_some_and(|reason| reason.contains("newer epoch")));
        let run = begin(&target, "three", &[&first]).await;
        let mut executor = executor(&target, &run);
        executor.apply(&one(&anew)).await.unwrap();
        executor.apply(&one(&tail)).await.unwrap();
        assert_eq!(target.rows("SELECT id FROM t ORDER BY id").await, [["9"], ["10"]]);
        assert!(!self::start(&target, &first).await.rewind);
    })
    .await;
}

#[tokio::test]
async fn what_is_held_for_a_person_is_dropped_by_all_and_goes_on_with_the_next_run() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        let mut here = executor(&target, &run);
        here.apply(&one(&first)).await.unwrap();
        let columns = [("id", ColumnType::Integer), ("a", ColumnType::Integer), ("b", ColumnType::Text)];
        let mut narrow = later(&first);
        narrow.schema = schema("public.t", &columns, &["id"]);
        std::sync::Arc::make_mut(&mut narrow.schema).version = 2;
        let second = narrow.create(&["2", "7", "b"]);
        here.apply(&one(&second)).await.unwrap();
        let reason = target.held(&second.partition).await;
        assert!(!reason.is_empty());
        let third = later(&second).create(&["3", "7", "b"]);
        executor(&target, &run).apply(&one(&third)).await.unwrap();
        here.apply(&one(&third)).await.unwrap();
        assert_eq!(target.held(&second.partition).await, reason);
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
        // The column is not narrowed after all.
        let run = begin(&target, "two", &[&first]).await;
        assert!(!start(&target, &first).await.rewind);
        let mut again = second.part();
        again.records.iter_mut().for_each(|record| record.schema = simple("public.t"));
        again.records.extend(third.part().records.into_iter().map(|mut record| {
            record.schema = simple("public.t");
            record
        }));
        executor(&target, &run).apply(&batch([again])).await.unwrap();
        assert_eq!(target.rows("SELECT id FROM t ORDER BY id").await, [["1"], ["2"], ["3"]]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_holds_its_partition() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        let mut with = one(&first);
        with.held.push((first.partition.clone(), "the record cannot be read; offset 117".to_owned()));
        executor(&target, &run).apply(&with).await.unwrap();
        assert_eq!(target.held(&first.partition).await, "the record cannot be read; offset 117");
        assert_eq!(target.rows("SELECT id FROM t").await, [["1"]]);
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_could_not_be_told_is_none() {
    on_both(async |target| {
        let first = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
        let run = begin(&target, "one", &[&first]).await;
        let mut here = executor(&target, &run);
        here.apply(&one(&first)).await.unwrap();
        let mut with = batch([]);
        with.held.push((first.partition.clone(), "the record cannot be read; offset 117".to_owned()));
        let refuse = "ALTER TABLE tidemart_checkpoints ADD CONSTRAINT none CHECK (held_reason IS NULL)";
        target.execute(refuse).await;
        here.apply(&with).await.unwrap_err();
        target.execute("ALTER TABLE tidemart_checkpoints DROP CONSTRAINT none").await;
        here.apply(&with).await.unwrap();
        assert_eq!(target.held(&first.partition).await, "the record cannot be read; offset 117");
    })
    .await;
}

#[tokio::test]
async fn schemas_are_kept_by_topic_and_version() {
    on_both(async |target| {
        tidemart_mysql::migrate(&target.config).await.unwrap();
        let (first, mut second) = (simple("public.t"), (*simple("public.t")).clone());
        second.version = 2;
        let mut conn = target.connect().await;
        let topic = "p.public.t".to_owned();
        let both = [(topic.clone(), (*first).clone()), (topic.clone(), second.clone())];
        schemas::store(&mut conn, &both).await.unwrap();
        schemas::store(&mut conn, &both[..1]).await.unwrap();
        let mut read = schemas::read(&mut conn, &topic).await.unwrap();
        read.sort_by_key(|schema| schema.version);
        assert_eq!(read, [(*first).clone(), second]);
        assert_eq!(schemas::read(&mut conn, "p.public.other").await.unwrap(), []);
        conn.disconnect().await.unwrap();
    })
    .await;
}
