//! The refresh: from marks to groups to rows.
//!
//! 1. In one snapshot (REPEATABLE READ): read the marks that wait; compute by how much the groups change for the units
//!    of the changed rows. Groups for which that does not follow from the marks are mapped and computed anew: where a
//!    dimension has changed those of its rows, after a rebuild all.
//! 2. In one transaction (READ COMMITTED): replace these groups, add to the others, delete exactly those marks, record
//!    it. Where the result is impossible the mart was broken by somebody: roll back, compute all of it.
//!
//! Reading and computing in one snapshot makes the mart, after each refresh, equal to its SELECT in that snapshot.
//! Writing in another transaction keeps its locks short, and READ COMMITTED keeps them off the gaps into which the
//! consumer inserts marks. Nobody changes the mart in between: a named lock is held throughout.

use std::{collections::BTreeSet, time::Instant};

use serde::Serialize;
use tidemart_mysql::{Config, quote_identifier};
use tidemart_pipeline::{Error, Result, failpoint};
use tracing::{debug, info, warn};

use crate::{
    add,
    catalog::find,
    changes::{self, Changes, Fate},
    definition::{Group, Mart, MartSource, Part},
    deltas::{self, Deltas},
    folder, groups,
    session::{Lock, Session, TextRow, number},
    sources,
    stage::{self, Swapped},
    state::{self, Outlook},
    tests_of_data,
};

/// More groups than these are not computed one by one: the whole mart takes less.
const MOST_GROUPS: usize = 20_000;
/// How long a single refresh waits for another one of the same mart, in seconds.
const PATIENCE_S: u32 = 60;

/// What a refresh did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// The mart.
    pub mart: String,
    /// Why it could not be refreshed yet.
    pub waiting: Option<String>,
    /// It was computed as a whole.
    pub whole: bool,
    /// Marks that were worked off.
    pub marks: u64,
    /// Units (users, orders) whose difference was added; 0 where marks do not tell differences.
    pub units: u64,
    /// Groups to which something was added, or that were computed anew.
    pub groups: u64,
    /// Rows of the mart that changed.
    pub changed_rows: u64,
    /// Data tests that failed on the groups of this refresh.
    pub failed: Vec<String>,
}

/// Brings a mart up to what the replica holds now, and runs the data tests on what it replaced.
///
/// # Errors
/// Fatal where there is no such mart or a right is missing; transient where the server is away or busy.
pub async fn refresh(config: &Config, mart: &str) -> Result<Refreshed> {
    let mart = find(mart)?;
    let mut refresher = Refresher::new(config.clone(), mart);
    let done = refresher.refresh(PATIENCE_S).await?;
    refresher.close().await;
    done.ok_or_else(|| {
        Error::transient(format!("mart {}: another refresh runs for more than {PATIENCE_S} s", mart.name))
    })
}

/// Refreshes one mart again and again over one session.
#[derive(Debug)]
pub(crate) struct Refresher {
    config: Config,
    mart: &'static Mart,
    session: Option<Session>,
}

/// What was computed in the snapshot.
struct Computed {
    changes: Changes,
    /// Parts that are replaced by these rows.
    parts: Vec<Part>,
    rows: Vec<TextRow>,
    /// How many groups of the parts have changed.
    groups: usize,
    /// What is added elsewhere.
    deltas: Deltas,
    /// Of the marks, by source: what was computed counts only while they are these.
    prints: Vec<Option<(u64, u64)>>,
}

impl Refresher {
    pub(crate) fn new(config: Config, mart: &'static Mart) -> Self {
        Self { config, mart, session: None }
    }

    /// One refresh; `None` where another process is about it for longer than we wait.
    pub(crate) async fn refresh(&mut self, wait_s: u32) -> Result<Option<Refreshed>> {
        let done = self.refresh_unnamed(wait_s).await;
        folder::explained(&self.config, self.mart, done).await
    }

    /// After a refresh: forgets what kept the mart from being fresh.
    pub(crate) async fn mended(&mut self) -> Result<()> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        state::mended(&mut session, self.mart).await?;
        self.session = Some(session);
        Ok(())
    }

    async fn refresh_unnamed(&mut self, wait_s: u32) -> Result<Option<Refreshed>> {
        // Taken out: a session whose refresh fails, or is given up half-way, is dropped with all that it holds.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match open(&self.config, self.mart).await? {
                Ok(session) => session,
                Err(reason) => return Ok(Some(waiting(self.mart, reason))),
            },
        };
        let done = refresh_in(&mut session, self.mart, wait_s).await?;
        self.session = Some(session);
        Ok(done)
    }

    /// Ends the session; the next refresh opens another one.
    pub(crate) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// A session with everything that a refresh needs; else why the mart cannot be refreshed yet.
pub(crate) async fn open(config: &Config, mart: &Mart) -> Result<std::result::Result<Session, String>> {
    let mut session = Session::open(config).await?;
    state::prepare(&mut session, mart).await?;
    if let Some(reason) = sources::missing(&mut session, mart).await? {
        state::wait_for(&mut session, mart, &reason).await?;
        session.close().await;
        return Ok(Err(reason));
    }
    stage::prepare(&mut session, mart).await?;
    groups::prepare(&mut session, mart).await?;
    deltas::prepare(&mut session, mart).await?;
    add::prepare(&mut session, mart).await?;
    Ok(Ok(session))
}

fn waiting(mart: &Mart, reason: String) -> Refreshed {
    Refreshed { mart: mart.name.clone(), waiting: Some(reason), ..Refreshed::default() }
}

async fn refresh_in(session: &mut Session, mart: &Mart, wait_s: u32) -> Result<Option<Refreshed>> {
    let begun = Instant::now();
    let outlook = state::outlook(session, mart).await?;
    if outlook.built && !outlook.pending && !outlook.abandoned {
        return Ok(Some(Refreshed { mart: mart.name.clone(), ..Refreshed::default() }));
    }
    if !session.lock(Lock::Refresh, &mart.name, wait_s).await? {
        return Ok(None);
    }
    // Only under the lock: a rebuild registers and swaps under it, too.
    let outlook = state::outlook(session, mart).await?;
    let (mut refreshed, parts) = match outlook.built {
        true => some(session, mart, outlook).await?,
        false => whole(session, mart, outlook).await?,
    };
    session.unlock(Lock::Refresh, &mart.name).await?;
    refreshed.failed = tests_of_data::after_refresh(session, mart, &parts).await?;
    let Refreshed { marks, units, groups, changed_rows, .. } = refreshed;
    let elapsed_ms = begun.elapsed().as_secs_f64() * 1000.0;
    debug!(mart = mart.name, marks, units, groups, changed_rows, elapsed_ms, "mart refreshed");
    Ok(Some(refreshed))
}

/// Refreshes what the marks have changed; everything where they cannot say.
async fn some(session: &mut Session, mart: &Mart, outlook: Outlook) -> Result<(Refreshed, Vec<Part>)> {
    session.snapshot().await?;
    let mut computed = compute(session, mart).await?;
    if let Some(computed) = &mut computed {
        computed.prints = prints(session, mart, &computed.changes).await?;
    }
    session.commit().await?;
    let Some(computed) = computed else { return whole(session, mart, outlook).await };
    failpoint::reach("marts.before-write");
    session.begin().await?;
    let Some(swapped) = write(session, mart, outlook, &computed).await? else {
        session.rollback().await?;
        warn!(mart = mart.name, "the mart does not agree with its marks; it is computed as a whole");
        return whole(session, mart, outlook).await;
    };
    failpoint::reach("marts.before-commit");
    session.commit().await?;
    failpoint::reach("marts.after-commit");
    let refreshed = Refreshed {
        mart: mart.name.clone(),
        marks: computed.changes.count() as u64,
        units: computed.deltas.units as u64,
        groups: (computed.groups + computed.deltas.groups.len()) as u64,
        changed_rows: swapped.rows(),
        ..Refreshed::default()
    };
    let added = mart.parts(computed.deltas.groups.keys());
    Ok((refreshed, computed.parts.into_iter().chain(added).collect()))
}

/// Writes what was computed and settles its marks; `None` where the mart cannot have been what they say.
async fn write(
    session: &mut Session,
    mart: &Mart,
    outlook: Outlook,
    computed: &Computed,
) -> Result<Option<Swapped>> {
    if !computed.parts.is_empty() {
        stage::fill(session, mart, &computed.rows).await?;
    }
    let mut swapped = stage::swap(session, mart, &computed.parts).await?;
    if let Some(measures) = &mart.measures {
        let Some(added) = add::add(session, mart, measures, &computed.deltas).await? else { return Ok(None) };
        swapped.include(added);
    }
    // The whole replica may have been put back since they were read, and the mart with it.
    if prints(session, mart, &computed.changes).await? != computed.prints {
        return Ok(None);
    }
    for (source, found) in mart.sources.iter().zip(&computed.changes.sources) {
        changes::settle(session, source, &found.ids, seen(outlook)).await?;
    }
    let count = format!("row_count + {} - {}", swapped.inserted, swapped.deleted);
    state::refreshed(session, mart, &count, computed.changes.newest_us(), outlook.marking).await?;
    if outlook.abandoned {
        forget_abandoned(session, mart).await?;
    }
    Ok(Some(swapped))
}

async fn prints(session: &mut Session, mart: &Mart, changes: &Changes) -> Result<Vec<Option<(u64, u64)>>> {
    let mut prints = Vec::with_capacity(mart.sources.len());
    for (source, found) in mart.sources.iter().zip(&changes.sources) {
        prints.push(changes::print(session, source, &found.ids).await?);
    }
    Ok(prints)
}

/// Everything that belongs into the snapshot; `None` where the whole mart is to be computed.
async fn compute(session: &mut Session, mart: &Mart) -> Result<Option<Computed>> {
    let changes = Changes::read(session, mart).await?;
    if changes.everything {
        return Ok(None);
    }
    let measures = mart.measures.as_ref().filter(|_| !changes.uncertain);
    let groups = match measures {
        Some(_) => groups::of_dimensions(session, mart, &changes).await?,
        None => groups::of(session, mart, &changes).await?,
    };
    if groups.len() > MOST_GROUPS {
        return Ok(None);
    }
    let (parts, rows) = anew(session, mart, &groups).await?;
    let mut deltas = match measures {
        Some(measures) => deltas::of(session, mart, measures, &changes).await?,
        None => Deltas::default(),
    };
    // What has changed in these parts is in their rows already.
    deltas.groups.retain(|group, _| !parts.iter().any(|part| mart.is_in(group, part)));
    Ok(Some(Computed { changes, parts, rows, groups: groups.len(), deltas, prints: Vec::new() }))
}

/// The parts that hold these groups, and their rows.
async fn anew(
    session: &mut Session,
    mart: &Mart,
    groups: &BTreeSet<Group>,
) -> Result<(Vec<Part>, Vec<TextRow>)> {
    let parts = mart.parts(groups);
    let mut rows = Vec::new();
    for part in &parts {
        rows.extend(select(session, mart, part).await?);
    }
    Ok((parts, rows))
}

/// The rows of a part.
async fn select(session: &mut Session, mart: &Mart, part: &Part) -> Result<Vec<TextRow>> {
    let Some((ids, bounds)) = mart.lookups(part) else { return session.rows(&mart.select(part)).await };
    let integer = |row: &TextRow| row.first().and_then(|id| number::<i64>(id.as_ref()));
    let ids: Option<Vec<_>> = session.rows(&ids).await?.iter().map(integer).collect();
    let ids = ids.ok_or_else(|| {
        Error::fatal(format!(
            "{}/mart.toml: narrow.ids gives ids that are no integers; correct it",
            mart.place()
        ))
    })?;
    match mart.read_bounds(&session.rows(&bounds).await?)? {
        Some(bounds) if !ids.is_empty() => session.rows(&mart.select_narrow(part, &ids, bounds)).await,
        // Nothing has such a value any more, or the month is empty.
        _ => Ok(Vec::new()),
    }
}

/// Computes the whole mart, once all its sources are complete. In a snapshot, so that it is known which marks are in it,
/// and the next refresh can add what differs.
async fn whole(session: &mut Session, mart: &Mart, outlook: Outlook) -> Result<(Refreshed, Vec<Part>)> {
    if let Some(reason) = sources::missing(session, mart).await? {
        state::wait_for(session, mart, &reason).await?;
        return Ok((waiting(mart, reason), Vec::new()));
    }
    sources::index(session, mart).await?;
    stage::clear(session, mart).await?;
    let mut snapshot = session.another().await?;
    let seen_marks = Seen::begin(&mut snapshot, mart).await?;
    stage::compute(session, &mut snapshot, mart, &Part::Whole).await?;
    snapshot.stay().await?;
    session.begin().await?;
    let swapped = stage::swap(session, mart, &[Part::Whole]).await?;
    seen_marks.settle(session, mart, seen(outlook), Fate::Wait).await?;
    state::refreshed(session, mart, &state::counted(mart), seen_marks.newest_us, outlook.marking).await?;
    if outlook.abandoned {
        forget_abandoned(session, mart).await?;
    }
    failpoint::reach("marts.before-whole-commit");
    session.commit().await?;
    snapshot.close().await;
    failpoint::reach("marts.after-whole-commit");
    stage::clear(session, mart).await?;
    info!(mart = mart.name, rows = swapped.rows(), "mart computed as a whole");
    let refreshed = Refreshed {
        mart: mart.name.clone(),
        whole: true,
        marks: seen_marks.count() as u64,
        changed_rows: swapped.rows(),
        ..Refreshed::default()
    };
    Ok((refreshed, vec![Part::Whole]))
}

/// What becomes of marks that are in the mart now.
fn seen(outlook: Outlook) -> Fate {
    if outlook.rebuilding && !outlook.abandoned { Fate::Flag } else { Fate::Delete }
}

/// Removes the registration of a rebuild that died, and its flagged marks: they are in the mart.
pub(crate) async fn forget_abandoned(session: &mut Session, mart: &Mart) -> Result<()> {
    info!(mart = mart.name, "a rebuild ended before its time; its registration is removed");
    for source in &mart.sources {
        changes::forget_flagged(session, source).await?;
    }
    state::update(session, mart, "rebuilding = NULL").await
}

/// The marks that a computation has seen: those of the snapshot in which it reads.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Ids by source, ascending.
    ids: Vec<Vec<i64>>,
    pub(crate) newest_us: Option<i64>,
}

impl Seen {
    /// Begins the snapshot.
    pub(crate) async fn begin(snapshot: &mut Session, mart: &Mart) -> Result<Self> {
        snapshot.snapshot().await?;
        // From here on no other mart can make an index, which would be too new for this snapshot (error 1412).
        for source in &mart.sources {
            snapshot.run(&format!("SELECT 1 FROM {} LIMIT 1", quote_identifier(&source.replica))).await?;
        }
        let newest_us = sources::newest_commit_us(snapshot, mart).await?;
        let mut ids = Vec::new();
        for source in &mart.sources {
            let marks = changes::all(snapshot, source).await?;
            ids.push(marks.into_iter().map(|(id, _)| id).collect());
        }
        Ok(Self { ids, newest_us })
    }

    pub(crate) fn count(&self) -> usize {
        self.ids.iter().map(Vec::len).sum()
    }

    /// After a swap of everything: these marks are in it. None that came later is where it was computed in the snapshot
    /// (they wait); some may be where it was not (they wait again, [`Fate::Again`]).
    pub(crate) async fn settle(
        &self,
        session: &mut Session,
        mart: &Mart,
        fate: Fate,
        later: Fate,
    ) -> Result<()> {
        for (source, seen) in mart.sources.iter().zip(&self.ids) {
            let (_, others) = split(session, source, |id, _| seen.binary_search(&id).is_ok()).await?;
            changes::settle(session, source, seen, fate).await?;
            changes::settle(session, source, &others, later).await?;
        }
        Ok(())
    }

    /// After a swap of a month: its marks that were refreshed meanwhile are in it; what waits concerns other months
    /// too, and goes on waiting.
    pub(crate) async fn settle_month(&self, session: &mut Session, mart: &Mart) -> Result<()> {
        for (source, seen) in mart.sources.iter().zip(&self.ids) {
            let is_done = |id, flagged| flagged && seen.binary_search(&id).is_ok();
            let (done, again) = split(session, source, is_done).await?;
            changes::settle(session, source, &done, Fate::Delete).await?;
            changes::settle(session, source, &again, Fate::Again).await?;
        }
        Ok(())
    }
}

/// The ids of a source's marks for which this is so, given whether they are flagged, and those of the others.
async fn split(
    session: &mut Session,
    source: &MartSource,
    is: impl Fn(i64, bool) -> bool,
) -> Result<(Vec<i64>, Vec<i64>)> {
    let marks = changes::all(session, source).await?;
    let (yes, no): (Vec<_>, Vec<_>) = marks.into_iter().partition(|(id, flagged)| is(*id, *flagged));
    let ids = |marks: Vec<(i64, bool)>| marks.into_iter().map(|(id, _)| id).collect();
    Ok((ids(yes), ids(no)))
}
