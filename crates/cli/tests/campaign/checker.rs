//! The oracle of the campaign: what Postgres' log says was committed against what the topics hold. It knows nothing of
//! the code that it judges but the form of a stamp.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_change::{Lsn, Mark, Stamp};

/// A row change of Postgres' log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub table: String,
    pub commit_lsn: Lsn,
    pub ordinal: u64,
}

/// What a record of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// With its operation: r, c, u, d.
    Row(char),
    Tombstone,
    SnapshotBegin,
    SnapshotEnd,
    Truncate,
}

/// A record of a topic.
#[derive(Clone, Debug)]
pub struct Event {
    pub table: String,
    pub partition: i32,
    pub stamp: Stamp,
    pub key: Vec<u8>,
    pub kind: Kind,
}

/// What is wrong, each with where.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Findings {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub misordered: Vec<String>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.misordered.is_empty()
    }

    pub fn absorb(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.misordered.extend(other.misordered);
    }
}

impl From<Mark> for Kind {
    fn from(mark: Mark) -> Self {
        match mark {
            Mark::SnapshotBegin => Self::SnapshotBegin,
            Mark::SnapshotEnd => Self::SnapshotEnd,
            Mark::Truncate => Self::Truncate,
        }
    }
}

/// Judges the events, which stand in the order of their partitions, against the changes that were committed after
/// `since`.
pub fn check(since: Lsn, changes: &[Change], events: &[Event]) -> Findings {
    let mut findings = Findings::default();
    check_sequences(events, &mut findings);
    check_keys(events, &mut findings);
    check_changes(since, changes, events, &mut findings);
    findings
}

/// In each partition they are 1, 2, 3, …
fn check_sequences(events: &[Event], findings: &mut Findings) {
    let mut seen: BTreeMap<(&str, i32), BTreeSet<u64>> = BTreeMap::new();
    for Event { table, partition, stamp, .. } in events {
        let seen = seen.entry((table, *partition)).or_default();
        let last = seen.last().copied().unwrap_or(0);
        let place = format!("sequence {} of {table}/{partition}", stamp.sequence);
        if !seen.insert(stamp.sequence) {
            findings.doubled.push(place);
        } else if stamp.sequence < last {
            findings.misordered.push(format!("{place} after {last}"));
        }
    }
    for ((table, partition), seen) in seen {
        let last = seen.last().copied().unwrap_or(0);
        let missing = (1..=last).filter(|sequence| !seen.contains(sequence));
        findings.lost.extend(missing.map(|sequence| format!("sequence {sequence} of {table}/{partition}")));
    }
}

/// The events of a key stand in the order of their transactions, and within these of their messages.
fn check_keys(events: &[Event], findings: &mut Findings) {
    let mut last: BTreeMap<(&str, &[u8]), (Lsn, u64)> = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(event.kind, Kind::Row(_) | Kind::Tombstone)) {
        let at = (event.stamp.commit_lsn, event.stamp.ordinal);
        let last = last.entry((&event.table, &event.key)).or_insert(at);
        if at < *last {
            findings.misordered.push(format!("{} {at:?} after {last:?} of the same key", event.table));
        }
        *last = at;
    }
}

/// Each change since the table's snapshot stands in the topic, and nothing else does, nor twice.
fn check_changes(since: Lsn, changes: &[Change], events: &[Event], findings: &mut Findings) {
    let mut published = BTreeSet::new();
    let mut complete: BTreeMap<&str, Lsn> = BTreeMap::new();
    for Event { table, stamp, kind, .. } in events {
        let change = Change { table: table.clone(), commit_lsn: stamp.commit_lsn, ordinal: stamp.ordinal };
        if *kind == Kind::SnapshotEnd {
            let end = complete.entry(table).or_insert(stamp.commit_lsn);
            *end = stamp.commit_lsn.max(*end);
        }
        // Rows of a snapshot have no ordinal; marks stand in every partition.
        let is_change = stamp.ordinal > 0 && matches!(kind, Kind::Row(_) | Kind::Tombstone);
        if is_change && !published.insert((change.clone(), *kind)) {
            findings.doubled.push(format!("{change:?} as {kind:?}"));
        }
    }
    let published: BTreeSet<_> = published.into_iter().map(|(change, _)| change).collect();
    let committed: BTreeSet<_> = changes.iter().cloned().collect();
    let invented = published.iter().filter(|change| change.commit_lsn > since && !committed.contains(change));
    findings.doubled.extend(invented.map(|change| format!("{change:?} was never committed")));
    for change in committed.difference(&published) {
        if complete.get(change.table.as_str()).is_none_or(|end| change.commit_lsn > *end) {
            findings.lost.push(format!("{change:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemart_change::Epoch;

    use super::*;

    const EPOCH: Epoch = Epoch { system_identifier: 1, timeline: 1, generation: 1 };

    fn event(sequence: u64, lsn: u64, ordinal: u64, key: &str, kind: Kind) -> Event {
        let stamp = Stamp { epoch: EPOCH, sequence, schema_version: 1, commit_lsn: Lsn(lsn), ordinal };
        Event { table: "t".to_owned(), partition: 0, stamp, key: key.into(), kind }
    }

    fn change(lsn: u64, ordinal: u64) -> Change {
        Change { table: "t".to_owned(), commit_lsn: Lsn(lsn), ordinal }
    }

    /// A snapshot of two rows, then an insert, an update and a delete.
    fn history() -> (Vec<Change>, Vec<Event>) {
        let changes = vec![change(90, 1), change(200, 1), change(200, 2), change(300, 1)];
        let events = vec![
            event(1, 50, 0, "", Kind::SnapshotBegin),
            event(2, 100, 0, "a", Kind::Row('r')),
            event(3, 100, 0, "b", Kind::Row('r')),
            event(4, 110, 0, "", Kind::SnapshotEnd),
            event(5, 200, 1, "c", Kind::Row('c')),
            event(6, 200, 2, "a", Kind::Row('u')),
            event(7, 300, 1, "a", Kind::Row('d')),
            event(8, 300, 1, "a", Kind::Tombstone),
        ];
        (changes, events)
    }

    /// What is found after something was done to the history: how many are lost, doubled, misordered.
    fn found(damage: impl FnOnce(&mut Vec<Change>, &mut Vec<Event>)) -> [usize; 3] {
        let (mut changes, mut events) = history();
        damage(&mut changes, &mut events);
        let findings = check(Lsn(60), &changes, &events);
        [findings.lost.len(), findings.doubled.len(), findings.misordered.len()]
    }

    #[test]
    fn a_whole_history_has_no_findings() {
        let (changes, events) = history();
        assert!(check(Lsn(60), &changes, &events).is_empty());
    }

    #[test]
    fn a_lost_event_is_found() {
        // By its sequence and by Postgres' log.
        assert_eq!(found(|_, events| drop(events.remove(5))), [2, 0, 0]);
        // The last one of a partition by the log alone, one of the snapshot by its sequence alone.
        assert_eq!(found(|_, events| events.truncate(6)), [1, 0, 0]);
        assert_eq!(found(|_, events| drop(events.remove(1))), [1, 0, 0]);
        // A change that was never taken leaves no hole in the sequences.
        assert_eq!(found(|changes, _| changes.push(change(400, 1))), [1, 0, 0]);
        // Where the snapshot has no end everything counts.
        assert_eq!(found(|_, events| events[3].kind = Kind::SnapshotBegin), [1, 0, 0]);
    }

    #[test]
    fn a_doubled_event_is_found() {
        let again = |events: &mut Vec<Event>, sequence: u64| {
            let mut event = events[5].clone();
            event.stamp.sequence = sequence;
            events.insert(6, event);
        };
        // With its own sequence, and with another one.
        assert_eq!(found(|_, events| again(events, 6)), [0, 2, 0]);
        assert_eq!(found(|_, events| again(events, 9)), [0, 1, 2]);
        assert_eq!(found(|_, events| events.push(event(9, 400, 1, "z", Kind::Row('c')))), [0, 1, 0]);
    }

    #[test]
    fn a_misordered_event_is_found() {
        assert_eq!(found(|_, events| events.swap(4, 5)), [0, 0, 1]);
        // Sequences in order, and the changes of a key not.
        let swap = |events: &mut Vec<Event>| {
            (events[5].stamp.commit_lsn, events[6].stamp.commit_lsn) = (Lsn(300), Lsn(200));
            (events[5].stamp.ordinal, events[6].stamp.ordinal) = (1, 2);
        };
        assert_eq!(found(|_, events| swap(events))[2], 1);
    }
}
