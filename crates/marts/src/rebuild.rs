//! Rebuild of a mart, or of a month of it, while refreshes go on.
//!
//! While a rebuild is registered, refreshes flag their marks as done instead of deleting them. The swap deletes those
//! that the rebuild's snapshot has, and makes all others wait again for the next refresh. A registration is only good
//! while its session holds the rebuild's lock: one that was killed leaves nothing that would last, its stage is a
//! temporary table and the next refresh removes its registration.

use serde::Serialize;
use tidemart_mysql::{Config, quote_string};
use tidemart_pipeline::{Error, Result, failpoint};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog,
    changes::Fate,
    cluster,
    definition::{Mart, Part},
    folder,
    month::Month,
    refresh::{Seen, forget_abandoned},
    session::{Lock, Session},
    sources, stage,
    state::{self, Marking},
};

/// Seconds that a rebuild waits for a refresh that is at work.
const LOCK_WAIT_S: u32 = 100;

/// What is computed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Full,
    /// One month.
    Month(Month),
}

/// Who computes.
#[derive(Clone, Debug)]
pub enum Engine {
    /// The database that holds the replica and the marts.
    MySql,
    /// A Spark cluster, which reads and writes that database.
    Spark(tidemart_spark::Config),
}

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The mart.
    pub mart: String,
    /// Rows that were computed.
    pub computed: u64,
    /// Rows that were not the same before.
    pub changed: u64,
}

/// Computes a mart or a month of it from nothing and replaces it at once.
///
/// # Errors
/// An unknown mart, one whose sources are not complete, another rebuild at work; transient where the connection was
/// lost.
pub async fn rebuild(config: &Config, mart: &str, scope: Scope) -> Result<Rebuilt> {
    rebuild_by(&Engine::MySql, config, mart, scope).await
}

/// The same, computed by this engine.
///
/// # Errors
/// As [`rebuild`]; fatal where Spark finds the mart's SELECT wrong, with file and line; transient where the cluster is away.
pub async fn rebuild_by(engine: &Engine, config: &Config, mart: &str, scope: Scope) -> Result<Rebuilt> {
    rebuild_until(engine, config, mart, scope, &CancellationToken::new()).await
}

/// The same; a cluster that still computes when it is stopped computes no further. Dropping the future is enough for the
/// database, but says nothing to a cluster in time.
///
/// # Errors
/// As [`rebuild_by`]; transient where it was stopped.
pub async fn rebuild_until(
    engine: &Engine,
    config: &Config,
    mart: &str,
    scope: Scope,
    stop: &CancellationToken,
) -> Result<Rebuilt> {
    let mart = catalog::find(mart)?;
    let mut session = Session::open(config).await?;
    let rebuilt = run(&mut session, engine, mart, scope, stop).await;
    let result = folder::explained(config, mart, rebuilt).await;
    // Its locks end with it, but a server may take its time over that.
    drop(session.unlock(Lock::Rebuild, &mart.name).await);
    session.close().await;
    result
}

async fn run(
    session: &mut Session,
    engine: &Engine,
    mart: &'static Mart,
    scope: Scope,
    stop: &CancellationToken,
) -> Result<Rebuilt> {
    state::prepare(session, mart).await?;
    let marking = state::marking(session, mart).await?;
    if let Some(reason) = sources::missing(session, mart).await? {
        return Err(Error::fatal(reason));
    }
    sources::index(session, mart).await?;
    let (part, what) = match scope {
        Scope::Full => (Part::Whole, "full".to_owned()),
        Scope::Month(month) => (Part::Month(month), month.to_string()),
    };
    if !session.lock(Lock::Rebuild, &mart.name, 0).await? {
        return Err(Error::fatal("another rebuild of it is running; wait until it has ended"));
    }
    stage::prepare(session, mart).await?;
    let (seen, mut snapshot) = register(session, mart, scope, &what).await?;
    failpoint::reach("marts.registered");
    let (computed, later) = match engine {
        Engine::MySql => (stage::compute(session, &mut snapshot, mart, &part).await?, Fate::Wait),
        Engine::Spark(spark) => {
            (cluster::compute(session, &mut snapshot, spark, mart, &part, stop).await?, Fate::Again)
        }
    };
    snapshot.stay().await?;
    failpoint::reach("marts.computed");
    let changed = swap(session, mart, part, &seen, (later, marking)).await?;
    snapshot.close().await;
    Ok(Rebuilt { mart: mart.name.clone(), computed, changed })
}

/// Between two refreshes: the rebuild will see whatever one before has taken the marks of, one after flags its marks.
async fn register(session: &mut Session, mart: &Mart, scope: Scope, what: &str) -> Result<(Seen, Session)> {
    lock(session, mart).await?;
    let mut snapshot = session.another().await?;
    let outlook = state::outlook(session, mart).await?;
    if !outlook.built && scope != Scope::Full {
        return Err(Error::fatal("it was not computed yet; run a full rebuild first"));
    }
    session.begin().await?;
    // We hold the rebuild's lock, so a registration that is there is of one that died.
    if outlook.rebuilding {
        forget_abandoned(session, mart).await?;
    }
    state::update(session, mart, &format!("rebuilding = {}", quote_string(what))).await?;
    session.commit().await?;
    let seen = Seen::begin(&mut snapshot, mart).await?;
    session.unlock(Lock::Refresh, &mart.name).await?;
    Ok((seen, snapshot))
}

/// `later`: what becomes of marks that came after the snapshot, when everything was computed.
async fn swap(
    session: &mut Session,
    mart: &Mart,
    part: Part,
    seen: &Seen,
    (later, marking): (Fate, Marking),
) -> Result<u64> {
    lock(session, mart).await?;
    session.begin().await?;
    let swapped = stage::swap(session, mart, std::slice::from_ref(&part)).await?;
    match part {
        Part::Whole => seen.settle(session, mart, Fate::Delete, later).await?,
        Part::Month(_) | Part::Narrow(..) => seen.settle_month(session, mart).await?,
    }
    state::update(session, mart, "rebuilding = NULL").await?;
    let newest_us = if part == Part::Whole { seen.newest_us } else { None };
    state::refreshed(session, mart, &state::counted(mart), newest_us, marking).await?;
    failpoint::reach("marts.before-rebuild-commit");
    session.commit().await?;
    session.unlock(Lock::Refresh, &mart.name).await?;
    Ok(swapped.rows())
}

async fn lock(session: &mut Session, mart: &Mart) -> Result<()> {
    if session.lock(Lock::Refresh, &mart.name, LOCK_WAIT_S).await? {
        return Ok(());
    }
    Err(Error::transient(format!("a refresh has been at work for {LOCK_WAIT_S} s")))
}
