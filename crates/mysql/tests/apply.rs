//! What one applier does: rows, checkpoints, sequences, holds.

use std::time::{Duration, Instant};

use tidemart_change::{Checkpoint, Epoch, Mark};
use tidemart_pipeline::Destination;

use crate::support::{EPOCH, Feed, apply, batch, on_both, simple};

const ALL: &str = "SELECT id, a, b FROM t ORDER BY id";

#[tokio::test]
async fn rows_and_checkpoint_move_together() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::new(&t, 0)
            .mark(Mark::SnapshotBegin)
            .read(&["1", "x", "~"])
            .read(&["2", "y", "z"])
            .read(&["3", "y", "z"])
            .mark(Mark::SnapshotEnd)
            .update(&["2", "-", "new"])
            .delete(&["3", "-", "-"])
            .create(&["4", "'\\\"\u{1F30A}", ""]);
        let mut applier = target.applier();
        assert_eq!(apply(&mut applier, &[&feed]).await[&feed.partition], Checkpoint::default());
        let rows = target.rows(ALL).await;
        assert_eq!(rows, [["1", "x", "NULL"], ["2", "y", "new"], ["4", "'\\\"\u{1F30A}", ""]]);
        let status = target.checkpoint(&feed.partition).await;
        let next_offset = feed.offset + 1;
        let expected = Checkpoint { epoch: Some(EPOCH), sequence: 9, next_offset };
        assert_eq!((status.checkpoint, status.snapshot_done, status.held), (expected, true, None));
        assert_eq!((status.source_commit_us, status.source_lsn), (Some(9_000_000), Some(90)));
        assert_eq!(applier.resume(&vec![feed.partition.clone()]).await.unwrap()[&feed.partition], expected);
    })
    .await;
}

#[tokio::test]
async fn what_was_applied_is_skipped_in_any_cut() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0)
            .create(&["1", "first", "b"])
            .update(&["1", "second", "b"])
            .delete(&["1", "-", "-"])
            .create(&["1", "third", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        target.execute("UPDATE t SET a = 'by hand'").await;
        for start in 0..feed.records.len() {
            let mut again = feed.part();
            again.records.drain(..start);
            applier.write(&batch([again])).await.unwrap();
        }
        assert_eq!(target.rows(ALL).await, [["1", "by hand", "b"]]);
        assert_eq!(target.held(&feed.partition).await, "");
    })
    .await;
}

#[tokio::test]
async fn a_gap_holds_its_partition_after_what_is_in_turn_and_no_other() {
    on_both(async |target| {
        let t = simple("public.t");
        let mut broken = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        broken.sequence += 3;
        let broken = broken.create(&["2", "a", "b"]);
        let whole = Feed::complete(&t, 1).create(&["3", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&broken, &whole]).await;
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"], ["3", "a", "b"]]);
        let reason = target.held(&broken.partition).await;
        assert!(reason.contains("sequences 4 to 6 are missing") && reason.contains("sequence 7"), "{reason}");
        assert_eq!(applier.held().collect::<Vec<_>>(), [&broken.partition]);
        let later = Feed { records: vec![], ..whole.clone() }.create(&["4", "a", "b"]);
        applier.write(&batch([later.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await.len(), 3);
        assert_eq!(target.checkpoint(&broken.partition).await.checkpoint.sequence, 3);
    })
    .await;
}

#[tokio::test]
async fn a_gap_that_is_filled_frees_its_partition() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]).create(&["2", "a", "b"]);
        let mut gap = feed.part();
        gap.records.remove(2);
        let mut applier = target.applier();
        applier.resume(&vec![feed.partition.clone()]).await.unwrap();
        applier.write(&batch([gap])).await.unwrap();
        assert!(target.held(&feed.partition).await.contains("missing"));
        apply(&mut applier, &[&feed]).await;
        assert_eq!(target.rows(ALL).await.len(), 2);
        assert_eq!(target.held(&feed.partition).await, "");
    })
    .await;
}

#[tokio::test]
async fn a_fresh_checkpoint_takes_any_epoch_from_its_first_record_and_then_no_other() {
    on_both(async |target| {
        let t = simple("public.t");
        let generation = Epoch { generation: 5, ..EPOCH };
        let late = Feed { sequence: 6, ..Feed::new(&t, 0) }.create(&["1", "a", "b"]);
        let feed = Feed { epoch: generation, ..Feed::new(&t, 1) }.create(&["2", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&late, &feed]).await;
        assert_eq!(target.rows(ALL).await, [["2", "a", "b"]]);
        assert!(target.held(&late.partition).await.contains("sequences 1 to 6"));
        let other = Feed { epoch: EPOCH, records: vec![], ..feed.clone() }.create(&["3", "a", "b"]);
        applier.write(&batch([other.part()])).await.unwrap();
        let reason = target.held(&feed.partition).await;
        assert!(reason.contains("7/1/1") && reason.contains("7/1/5"), "{reason}");
        assert_eq!(target.rows(ALL).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_incomplete_update_needs_its_row_once_the_snapshot_is_complete() {
    on_both(async |target| {
        let t = simple("public.t");
        let young = Feed::new(&t, 0).mark(Mark::SnapshotBegin).update(&["1", "-", "b"]);
        let done =
            Feed::complete(&t, 1).create(&["2", "a", "b"]).update(&["3", "-", "b"]).create(&["4", "a", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&young, &done]).await;
        // The row of the young partition comes with its chunk; an upsert of the update would have made a NULL.
        assert_eq!(target.rows(ALL).await, [["2", "a", "b"], ["4", "a", "b"]]);
        assert_eq!(target.held(&young.partition).await, "");
        // What follows is applied: only the row without a base waits.
        let [[_, key, _, kind, reason]] = &target.parked().await[..] else { panic!("not one") };
        assert_eq!([key, kind], ["3", "missing"]);
        assert!(
            reason.contains("public.t: row missing") && reason.contains("tidemart resync public.t"),
            "{reason}"
        );
        let young = Feed { records: vec![], ..young }.read(&["1", "chunk", "b"]).mark(Mark::SnapshotEnd);
        let young = young.update(&["1", "-", "later"]);
        applier.write(&batch([young.part()])).await.unwrap();
        assert_eq!(target.rows(ALL).await[0], ["1", "chunk", "later"]);
    })
    .await;
}

#[tokio::test]
async fn a_held_partition_is_tried_again_after_its_pause() {
    on_both(async |mut target| {
        (target.config.hold_retry_s, target.config.dead_letters_per_partition) = (1, 0);
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).update(&["1", "-", "b"]);
        let mut applier = target.applier();
        apply(&mut applier, &[&feed]).await;
        target.execute("INSERT INTO t VALUES (1, 'repaired', NULL)").await;
        let retry_at = applier.retry_at().unwrap();
        assert!(retry_at <= Instant::now() + Duration::from_secs(1));
        // The loop begins a session by then.
        apply(&mut applier, &[&feed]).await;
        assert_eq!(applier.retry_at(), None);
        assert_eq!(target.rows(ALL).await, [["1", "repaired", "b"]]);
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_cannot_be_read_further_is_held_after_what_was_read() {
    on_both(async |target| {
        let t = simple("public.t");
        let feed = Feed::complete(&t, 0).create(&["1", "a", "b"]);
        let mut applier = target.applier();
        applier.resume(&vec![feed.partition.clone()]).await.unwrap();
        let mut read = batch([feed.part()]);
        read.held.push((feed.partition.clone(), "another program wrote it; offset 7".to_owned()));
        applier.write(&read).await.unwrap();
        assert_eq!(target.rows(ALL).await, [["1", "a", "b"]]);
        assert_eq!(target.held(&feed.partition).await, "another program wrote it; offset 7");
        assert!(applier.retry_at().is_some());
        // It goes on: the reason goes.
        let later = Feed { records: vec![], ..feed.clone() }.create(&["2", "a", "b"]);
        apply(&mut applier, &[&later]).await;
        assert_eq!(target.rows(ALL).await.len(), 2);
        assert_eq!(target.held(&feed.partition).await, "");
    })
    .await;
}
