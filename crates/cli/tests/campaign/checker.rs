//! The oracle of the campaign: what Postgres' log says was committed against what the topics hold. It knows nothing of
//! the code that it judges but the form of a stamp.

use std::collections::{BTreeMap, BTreeSet};

use tidemart_change::{Lsn, Mark, Stamp};

/// A row change of Postgres' log, or a TRUNCATE.
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
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// What a loss has taken with it, besides what another epoch tells by itself: the table is silent behind this place, until
/// it is emptied and read again.
#[derive(Clone, Debug)]
pub struct Silence {
    pub table: String,
    pub from: Lsn,
}

/// Where an event or a change stands in Postgres' log.
type Place = (Lsn, u64);

/// Judges the events, which stand in the order of their partitions, against the changes that were committed after
/// `since`.
pub fn check(since: Lsn, changes: &[Change], events: &[Event], silences: &[Silence]) -> Findings {
    let mut findings = Findings::default();
    check_sequences(events, &mut findings);
    check_keys(events, &mut findings);
    check_changes(since, changes, events, silences, &mut findings);
    findings
}

/// In each epoch of each partition they are 1, 2, 3, …, and no epoch comes back.
fn check_sequences(events: &[Event], findings: &mut Findings) {
    let mut seen: BTreeMap<(&str, i32), BTreeMap<u32, BTreeSet<u64>>> = BTreeMap::new();
    for Event { table, partition, stamp, .. } in events {
        let (epochs, generation) = (seen.entry((table, *partition)).or_default(), stamp.epoch.generation);
        let place = format!("sequence {} of epoch {generation} of {table}/{partition}", stamp.sequence);
        if epochs.last_key_value().is_some_and(|(newest, _)| *newest > generation) {
            findings.misordered.push(format!("{place} after a newer epoch"));
        }
        let seen = epochs.entry(generation).or_default();
        let last = seen.last().copied().unwrap_or(0);
        if !seen.insert(stamp.sequence) {
            findings.doubled.push(place);
        } else if stamp.sequence < last {
            findings.misordered.push(format!("{place} after {last}"));
        }
    }
    for ((table, partition), epochs) in seen {
        for (generation, seen) in epochs {
            let last = seen.last().copied().unwrap_or(0);
            let missing = (1..=last).filter(|sequence| !seen.contains(sequence));
            let place =
                |sequence| format!("sequence {sequence} of epoch {generation} of {table}/{partition}");
            findings.lost.extend(missing.map(place));
        }
    }
}

/// The events of a key stand in the order of their transactions, and within these of their messages.
fn check_keys(events: &[Event], findings: &mut Findings) {
    let mut last: BTreeMap<(&str, &[u8]), Place> = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(event.kind, Kind::Row(_) | Kind::Tombstone)) {
        let at = (event.stamp.commit_lsn, event.stamp.ordinal);
        let last = last.entry((&event.table, &event.key)).or_insert(at);
        if at < *last {
            findings.misordered.push(format!("{} {at:?} after {last:?} of the same key", event.table));
        }
        *last = at;
    }
}

/// Each change stands in the topic unless its table was silent then, and nothing else does, nor twice.
fn check_changes(
    since: Lsn,
    changes: &[Change],
    events: &[Event],
    silences: &[Silence],
    findings: &mut Findings,
) {
    let (mut published, mut seen) = (BTreeSet::new(), BTreeSet::new());
    // Rows of a snapshot and its marks have no ordinal.
    for Event { table, partition, stamp, kind, .. } in events.iter().filter(|event| event.stamp.ordinal > 0) {
        let change = Change { table: table.clone(), commit_lsn: stamp.commit_lsn, ordinal: stamp.ordinal };
        // A mark stands in every partition.
        let marked = (*kind == Kind::Truncate).then_some(*partition);
        if !seen.insert((change.clone(), *kind, marked)) {
            findings.doubled.push(format!("{change:?} as {kind:?}"));
        }
        published.insert(change);
    }
    let committed: BTreeSet<_> = changes.iter().cloned().collect();
    let invented = published.iter().filter(|change| change.commit_lsn > since && !committed.contains(change));
    findings.doubled.extend(invented.map(|change| format!("{change:?} was never committed")));
    let spans = Spans::new(events, silences);
    let missing = committed.difference(&published).filter(|change| !spans.excuse(change));
    findings.lost.extend(missing.map(|change| format!("{change:?}")));
}

/// Where tables are silent: they are empty, or about to be emptied and read.
struct Spans<'a>(BTreeMap<&'a str, Vec<(Place, Lsn)>>);

impl<'a> Spans<'a> {
    fn new(events: &'a [Event], silences: &[Silence]) -> Self {
        let mut tables: BTreeMap<&str, Vec<(Lsn, Kind, u32)>> = BTreeMap::new();
        let mut ends: BTreeMap<u32, Place> = BTreeMap::new();
        for Event { table, stamp, kind, .. } in events {
            let generation = stamp.epoch.generation;
            if stamp.ordinal > 0 {
                let end = ends.entry(generation).or_default();
                *end = (stamp.commit_lsn, stamp.ordinal).max(*end);
            } else if matches!(kind, Kind::Truncate | Kind::SnapshotBegin) {
                tables.entry(table).or_default().push((stamp.commit_lsn, *kind, generation));
            }
        }
        let of_table = |(table, mut marks): (&'a str, Vec<(Lsn, Kind, u32)>)| {
            marks.sort_unstable();
            let named = silences.iter().filter(|silence| silence.table == table);
            let mut spans: Vec<_> = named.filter_map(|silence| renewed(&marks, silence.from)).collect();
            spans.extend(first(&marks));
            let newest = marks.iter().map(|(.., generation)| *generation).max();
            // What the epochs before have left out: behind the last that they have published of any table.
            spans.extend(ends.iter().filter(|(generation, _)| Some(**generation) < newest).filter_map(
                |(generation, end)| {
                    let of_later = |(lsn, kind, of): &&(Lsn, Kind, u32)| {
                        *kind == Kind::Truncate && of > generation && *lsn >= end.0
                    };
                    marks.iter().find(of_later).map(|(lsn, ..)| (*end, *lsn))
                },
            ));
            (table, spans)
        };
        Self(tables.into_iter().map(of_table).collect())
    }

    fn excuse(&self, change: &Change) -> bool {
        let place = (change.commit_lsn, change.ordinal);
        let spans = self.0.get(change.table.as_str());
        spans.is_some_and(|spans| spans.iter().any(|(from, to)| place > *from && change.commit_lsn <= *to))
    }
}

/// Until a table's first snapshot begins it has no events.
fn first(marks: &[(Lsn, Kind, u32)]) -> Option<(Place, Lsn)> {
    marks.iter().find(|(_, kind, _)| *kind == Kind::SnapshotBegin).map(|(lsn, ..)| (Place::default(), *lsn))
}

/// From a loss until the table is emptied.
fn renewed(marks: &[(Lsn, Kind, u32)], from: Lsn) -> Option<(Place, Lsn)> {
    let emptied = marks.iter().find(|(lsn, kind, _)| *kind == Kind::Truncate && *lsn > from);
    emptied.map(|(to, ..)| ((from, u64::MAX), *to))
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
        let changes = vec![change(45, 1), change(200, 1), change(200, 2), change(300, 1)];
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
        found_with(&[], damage)
    }

    fn found_with(
        silences: &[Silence],
        damage: impl FnOnce(&mut Vec<Change>, &mut Vec<Event>),
    ) -> [usize; 3] {
        let (mut changes, mut events) = history();
        damage(&mut changes, &mut events);
        let findings = check(Lsn(40), &changes, &events, silences);
        [findings.lost.len(), findings.doubled.len(), findings.misordered.len()]
    }

    /// The table is emptied at 400 and read again, in another epoch.
    fn renew(events: &mut Vec<Event>, generation: u32) {
        let mut renewed = [
            event(1, 400, 0, "", Kind::Truncate),
            event(2, 400, 0, "", Kind::SnapshotBegin),
            event(3, 410, 0, "b", Kind::Row('r')),
            event(4, 420, 0, "", Kind::SnapshotEnd),
            event(5, 500, 1, "b", Kind::Row('u')),
        ];
        for event in &mut renewed {
            event.stamp.epoch.generation = generation;
            event.stamp.sequence += if generation == EPOCH.generation { 8 } else { 0 };
        }
        events.extend(renewed);
    }

    #[test]
    fn a_whole_history_has_no_findings() {
        assert_eq!(found(|_, _| ()), [0, 0, 0]);
    }

    #[test]
    fn a_lost_event_is_found() {
        // By its sequence and by Postgres' log.
        assert_eq!(found(|_, events| drop(events.remove(5))), [2, 0, 0]);
        // The last one of a partition by the log alone, one of the snapshot by its sequence alone.
        assert_eq!(found(|_, events| events.truncate(6)), [1, 0, 0]);
        assert_eq!(found(|_, events| drop(events.remove(1))), [1, 0, 0]);
        // A change that was never taken leaves no hole in the sequences; while a snapshot is read changes count, too.
        assert_eq!(found(|changes, _| changes.push(change(400, 1))), [1, 0, 0]);
        assert_eq!(found(|changes, _| changes.push(change(105, 1))), [1, 0, 0]);
    }

    #[test]
    fn between_two_epochs_a_table_is_silent_and_within_them_it_is_not() {
        let lost = |places: &[u64], generation| {
            found(|changes, events| {
                renew(events, generation);
                changes.extend([350, 500].iter().chain(places).map(|lsn| change(*lsn, 1)));
            })
        };
        assert_eq!(lost(&[], 2), [0, 0, 0]);
        // Before the last that the first epoch has published, and behind the beginning of the second one.
        assert_eq!(lost(&[150, 450], 2), [2, 0, 0]);
        // Within an epoch being read again excuses nothing.
        assert_eq!(lost(&[], 1), [1, 0, 0]);
        // An epoch that comes back.
        let back = |_: &mut Vec<Change>, events: &mut Vec<Event>| {
            renew(events, 2);
            events.push(event(9, 600, 0, "", Kind::SnapshotBegin));
        };
        assert_eq!(found(|changes, events| (back(changes, events), changes.push(change(500, 1))).1)[2], 1);
    }

    #[test]
    fn a_loss_silences_its_table_until_it_is_emptied() {
        let lost = |from: Option<u64>, lsn| {
            let silences: Vec<_> =
                from.into_iter().map(|from| Silence { table: "t".to_owned(), from: Lsn(from) }).collect();
            found_with(&silences, |changes, events| {
                renew(events, 1);
                changes.extend([change(lsn, 1), change(500, 1)]);
            })[0]
        };
        assert_eq!([lost(None, 350), lost(Some(340), 350), lost(Some(350), 350)], [1, 0, 1]);
        assert_eq!([lost(Some(340), 401), lost(Some(420), 450)], [1, 1]);
    }

    #[test]
    fn a_truncate_is_a_change() {
        let truncated = |marked: bool| {
            found(|changes, events| {
                changes.push(change(600, 1));
                if marked {
                    events.push(event(9, 600, 1, "", Kind::Truncate));
                }
            })
        };
        assert_eq!([truncated(true), truncated(false)], [[0, 0, 0], [1, 0, 0]]);
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
