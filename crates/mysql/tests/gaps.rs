//! Records that Kafka does not have any more, histories that begin anew, databases that go back in time.

use tidemart_change::{Checkpoint, Epoch, Lsn, Mark};
use tidemart_mysql::Applier;
use tidemart_pipeline::Destination;

use crate::support::{EPOCH, Feed, Target, apply, batch, on_both, simple};

const ALL: &str = "SELECT id, a, b FROM t ORDER BY id";

/// What follows stands at this LSN.
fn from(mut feed: Feed, lsn: u64) -> Feed {
    feed.records.iter_mut().for_each(|record| record.stamp.commit_lsn = Lsn(lsn));
    feed
}

/// A resync: emptied, and filled by a snapshot.
fn resync(feed: Feed, lsn: u64) -> Feed {
    let feed = from(feed.mark(Mark::Truncate), lsn);
    let mut feed = feed.mark(Mark::SnapshotBegin).read(&["9", "new", "b"]).mark(Mark::SnapshotEnd);
    let first = feed.records.len() - 3;
    feed.records[first..].iter_mut().for_each(|record| record.stamp.commit_lsn = Lsn(lsn + 1));
    feed
}

#[tokio::test]
async fn a_gap_is_searched_for_the_truncate_that_heals_it() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let mut applier = target.applier();
        let scope = vec![feed.partition.clone()];
        apply(&mut applier, &[&feed]).await;
        let before = target.checkpoint(&feed.partition).await.checkpoint;
        let lost = Feed { records: vec![], sequence: feed.sequence + 3, offset: feed.offset + 3, ..feed };
        let late = lost.create(&["2", "a", "b"]).update(&["1", "A", "b"]);
        applier.write(&batch([late.part()])).await.unwrap();
        let reason = target.held(&late.partition).await;
        assert!(reason.contains("are missing in Kafka; run: tidemart resync public.t"), "{reason}");
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"]]);
        assert_eq!((applier.held().count(), applier.retry_at()), (1, None));
        // A session that begins anew reads on behind what was searched, and the checkpoint has not moved.
        let position = applier.resume(&scope).await.unwrap()[&late.partition];
        assert_eq!(position, Checkpoint { next_offset: late.offset + 1, ..before });
        assert_eq!(target.checkpoint(&late.partition).await.checkpoint, before);
        let healed = resync(Feed { records: vec![], ..late }.update(&["1", "A", "b"]), 100_000);
        applier.write(&batch([healed.part()])).await.unwrap();
        assert_eq!(target.held(&healed.partition).await, "");
        assert_eq!(target.rows(ALL).await, [["9", "new", "b"]]);
        assert_eq!(target.checkpoint(&healed.partition).await.checkpoint.sequence, healed.sequence);
        assert_eq!(applier.held().count(), 0);
    })
    .await;
}

/// Another program that starts in the middle of it: what it finds in one batch.
#[tokio::test]
async fn a_gap_and_what_heals_it_in_one_batch() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let late = Feed { sequence: feed.sequence + 3, ..feed }.create(&["2", "a", "b"]);
        let healed = resync(late, 100_000).update(&["9", "newer", "b"]);
        let mut healed = healed;
        healed.records.last_mut().unwrap().stamp.commit_lsn = Lsn(200_000);
        apply(&mut target.applier(), &[&healed]).await;
        assert_eq!(target.held(&healed.partition).await, "");
        assert_eq!(target.rows(ALL).await, [["9", "newer", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn a_new_epoch_is_taken_at_its_truncate_and_looked_for_from_the_beginning() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let mut applier = target.applier();
        let scope = vec![feed.partition.clone()];
        apply(&mut applier, &[&feed]).await;
        // From another cluster, at lower LSNs, and at offsets below ours: the topic was made anew.
        let epoch = Epoch { system_identifier: 8, timeline: 4, generation: EPOCH.generation + 1 };
        let renewed = resync(Feed { epoch, offset: 0, ..Feed::new(&t, 0) }, 5);
        let renewed = Feed { offset: feed.offset + 50, ..renewed }.create(&["10", "new", "b"]);
        let mut tail = renewed.part();
        tail.records.drain(..4);
        applier.write(&batch([tail])).await.unwrap();
        let reason = target.held(&renewed.partition).await;
        assert!(reason.contains("newer epoch 8/4/2") && reason.contains("tidemart resync"), "{reason}");
        assert!(applier.retry_at().is_some(), "at once");
        assert_eq!(applier.resume(&scope).await.unwrap()[&renewed.partition], Checkpoint::default());
        // What is left of the old epoch is skipped.
        let mut all = feed.part();
        all.records.extend(renewed.part().records);
        applier.write(&batch([all])).await.unwrap();
        assert_eq!(target.held(&renewed.partition).await, "");
        assert_eq!(target.rows(ALL).await, [["9", "new", "b"], ["10", "new", "b"]]);
        assert_eq!(target.checkpoint(&renewed.partition).await.checkpoint.epoch, Some(epoch));
        // Records of the older one are not taken any more.
        let old = Feed { records: vec![], offset: 1000, ..feed }.create(&["3", "old", "b"]);
        applier.write(&batch([old.part()])).await.unwrap();
        let reason = target.held(&old.partition).await;
        assert!(
            reason.contains("not newer than the replica's") && reason.contains("--start-over"),
            "{reason}"
        );
    })
    .await;
}

/// A feed that is applied, and whose place Kafka does not have any more: it is read from its beginning.
async fn lost(target: &Target) -> (Feed, Applier) {
    let feed = Feed::complete(&simple("public.t"), 0).create(&["1", "a", "b"]);
    let mut applier = target.applier();
    apply(&mut applier, &[&feed]).await;
    let mut lost = batch([]);
    lost.lost.push((feed.partition.clone(), "Kafka has lost records".to_owned()));
    applier.write(&lost).await.unwrap();
    assert_eq!(target.held(&feed.partition).await, "Kafka has lost records");
    let position = applier.resume(&vec![feed.partition.clone()]).await.unwrap();
    assert_eq!(position[&feed.partition], Checkpoint::default());
    (feed, applier)
}

#[tokio::test]
async fn a_place_that_kafka_has_lost_is_looked_for_from_the_beginning() {
    on_both(async |target| {
        let (feed, mut applier) = lost(&target).await;
        // What was applied is skipped, and what Kafka took instead is not believed.
        let again = Feed { sequence: feed.sequence - 1, ..feed.clone() }.create(&["2", "another", "b"]);
        applier.write(&batch([again.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"]]);
        assert_eq!(target.held(&feed.partition).await, "Kafka has lost records");
        assert_eq!(target.checkpoint(&feed.partition).await.checkpoint.sequence, feed.sequence);
        // Until the table is emptied and filled anew.
        let healed = resync(Feed { records: vec![], ..again }, 100_000);
        applier.write(&batch([healed.part()])).await.unwrap();
        assert_eq!(target.held(&feed.partition).await, "");
        assert_eq!(target.rows(ALL).await, [["9", "new", "b"]]);
    })
    .await;
}

/// A long history is read in several batches, and the truncate that heals is in the last one.
#[tokio::test]
async fn what_was_looked_through_from_the_beginning_is_not_looked_through_again() {
    on_both(async |target| {
        let (feed, mut applier) = lost(&target).await;
        let before = target.checkpoint(&feed.partition).await.checkpoint;
        applier.write(&batch([feed.part()])).await.unwrap();
        assert_eq!(applier.retry_at(), None, "it would begin again for ever");
        let position = applier.resume(&vec![feed.partition.clone()]).await.unwrap()[&feed.partition];
        assert_eq!(position, Checkpoint { next_offset: feed.records.last().unwrap().offset + 1, ..before });
        let epoch = Epoch { generation: EPOCH.generation + 1, ..EPOCH };
        let renewed = resync(Feed { epoch, offset: feed.offset + 1, ..Feed::new(&feed.schema, 0) }, 100_000);
        applier.write(&batch([renewed.part()])).await.unwrap();
        assert_eq!(target.held(&renewed.partition).await, "");
        assert_eq!(target.rows(ALL).await, [["9", "new", "b"]]);
    })
    .await;
}

/// The checkpoints go back together with the rows, so what came after is read again.
#[tokio::test]
async fn a_database_that_was_restored_catches_up() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let mut applier = target.applier();
        let scope = vec![feed.partition.clone()];
        apply(&mut applier, &[&feed]).await;
        let tables = ["t", "tidemart_checkpoints", "tidemart_tables"];
        for table in tables {
            let copy = format!(
                "CREATE TABLE saved_{table} LIKE {table}; INSERT INTO saved_{table} SELECT * FROM {table}"
            );
            target.execute(&copy).await;
        }
        let later =
            Feed { records: vec![], ..feed.clone() }.update(&["1", "A", "b"]).create(&["2", "a", "b"]);
        let mut later = later.mark(Mark::Truncate);
        later.records[2].stamp.commit_lsn = Lsn(1000);
        let later = later;
        applier.write(&batch([later.part()])).await.unwrap();
        assert!(target.rows(ALL).await.is_empty());
        for table in tables {
            target.execute(&format!("DROP TABLE {table}; RENAME TABLE saved_{table} TO {table}")).await;
        }
        let next = Feed { records: vec![], ..later.clone() };
        let mut next = next.create(&["3", "a", "b"]);
        next.records[0].stamp.commit_lsn = Lsn(2000);
        let error = applier.write(&batch([next.part()])).await.unwrap_err();
        assert!(error.to_string().contains("checkpoint moved"), "{error}");
        let position = applier.resume(&scope).await.unwrap()[&feed.partition];
        assert_eq!((position.sequence, position.next_offset), (feed.sequence, feed.offset + 1));
        applier.write(&batch([later.part()])).await.unwrap();
        applier.write(&batch([next.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["3", "a", "b"]]);
        assert_eq!(target.held(&feed.partition).await, "");
    })
    .await;
}

/// A Kafka that lost its tail and was filled anew: records with numbers that are applied, behind the place where they
/// were. To pass them over as applied would lose them.
#[tokio::test]
async fn numbers_that_go_backward_hold_the_partition() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]).create(&["2", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        let before = target.checkpoint(&feed.partition).await.checkpoint;
        let anew = Feed { records: vec![], sequence: feed.sequence - 1, ..feed }.update(&["1", "lost", "b"]);
        assert!(anew.sequence <= before.sequence && anew.records[0].offset >= before.next_offset);
        applier.write(&batch([anew.part()])).await.unwrap();
        let reason = target.held(&anew.partition).await;
        assert!(reason.contains("go backward") && reason.contains("--start-over"), "{reason}");
        assert_eq!(target.checkpoint(&anew.partition).await.checkpoint, before);
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"], ["2", "a", "b"]]);
    })
    .await;
}
