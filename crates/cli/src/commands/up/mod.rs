//! `tidemart up`: the whole cycle on this machine, by private servers.

mod detach;
mod fill;
mod platform;
mod roles;
mod servers;
mod settings;
mod show;

use std::{fmt::Display, path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use tidemart_local::{Account, Cache, DEFAULT_ACCOUNT, DataFolder, Error};
use tidemart_shop::Preset;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    platform::{Part, Platform, Surroundings},
    roles::Roles,
    servers::Servers,
    show::Show,
};
use crate::{
    commands::consumer::Engine,
    config::{Config, DEFAULT_FILE},
    status::Sampler,
    telemetry::Telemetry,
};

/// Start private servers (Postgres, Kafka, MariaDB), fill the shop with history, replicate it, build the marts, go live;
/// or go on where it was. Needs no root rights. Ctrl-C stops everything.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder that everything lies in
    #[arg(long, env = "TIDEMART_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// How big the shop's history is; only the first start may choose
    #[arg(long)]
    size: Option<Size>,

    /// Everything that the shop draws follows from this number; only the first start may choose
    #[arg(long)]
    seed: Option<u64>,

    /// Days of history; only the first start may choose
    #[arg(long, value_name = "DAYS", value_parser = |text: &str| of_shop(text, |shop, days| shop.history_days = days), help = format!("Days of history, {} by default; only the first start may choose", tidemart_shop::Config::default().history_days))]
    history_days: Option<u32>,

    /// Business transactions a second when live
    #[arg(long, value_name = "TX/S", value_parser = |text: &str| of_shop(text, |shop, rate| shop.rate = rate), help = format!("Business transactions a second when live, {} by default", tidemart_shop::Config::default().rate))]
    rate: Option<f64>,

    /// Simulated seconds per real second when live
    #[arg(long, value_parser = |text: &str| of_shop(text, |shop, speed| shop.speed = speed), help = format!("Simulated seconds per real second when live, {} by default", tidemart_shop::Config::default().speed))]
    speed: Option<f64>,

    /// Go on in the background; `tidemart down` stops it
    #[arg(long)]
    detach: bool,

    /// Parts beside the core, parted by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    with: Vec<Part>,

    /// All parts
    #[arg(long, conflicts_with = "with")]
    all: bool,

    /// Who applies the changes to MariaDB; spark brings its part with it
    #[arg(long, value_enum, default_value_t = Engine::Native)]
    engine: Engine,

    /// A folder of folders, each a mart of your own beside the shop's; read at the start, edits need a new one. Later
    /// starts keep it
    #[arg(long, env = FOLDER_VARIABLE, value_name = "FOLDER")]
    marts: Option<PathBuf>,

    /// Forget the folder of marts that an earlier start was given
    #[arg(long, conflicts_with = "marts")]
    forget_marts: bool,

    /// Folder of `postgres` and `initdb`, instead of the fetched ones
    #[arg(long, value_name = "FOLDER")]
    postgres_bin: Option<PathBuf>,

    /// Folder of Kafka's jars, instead of the fetched ones
    #[arg(long, value_name = "FOLDER")]
    kafka_lib: Option<PathBuf>,

    /// Folder of `mariadb-install-db`, instead of the fetched one
    #[arg(long, value_name = "FOLDER")]
    mariadb_bin: Option<PathBuf>,
}

/// Names the setting `marts.folder`, too.
const FOLDER_VARIABLE: &str = "TIDEMART_MARTS_FOLDER";

const EXAMPLES: &str = "\
Examples:
  tidemart up                               two years of a medium shop, about 1.2 million rows
  tidemart up --size small --rate 200       a smaller history, a busier shop
  tidemart up --with spark                  a Spark cluster beside it; --all for every part
  tidemart up --engine spark                the consumer is a streaming query on that cluster
  tidemart up --detach && tidemart status   in the background; tidemart logs capture, tidemart down
  tidemart up --data /tmp/other --seed 7    another shop beside the first
  tidemart up --marts my-marts              marts of your own, too; `tidemart marts check-folder` looks at one
  tidemart up --forget-marts                the shop's marts alone again

Sizes: tiny about 2,000 rows, small 100,000, medium 1.2 million, large 12 million. A shop that is there keeps its size, seed
and length of history; another one needs another --data.";

impl Args {
    /// The parts that were chosen.
    fn parts(&self) -> Vec<Part> {
        let named = if self.all { Part::value_variants() } else { &self.with };
        let mut parts = named.to_vec();
        if self.engine == Engine::Spark && !parts.contains(&Part::Spark) {
            parts.push(Part::Spark);
        }
        parts
    }
}

/// How big the history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Size {
    /// About 2,000 rows
    Tiny,
    /// About 100,000 rows
    Small,
    /// About 1.2 million rows
    Medium,
    /// About 12 million rows
    Large,
}

impl From<Size> for Preset {
    fn from(size: Size) -> Self {
        match size {
            Size::Tiny => Self::Tiny,
            Size::Small => Self::Small,
            Size::Medium => Self::Medium,
            Size::Large => Self::Large,
        }
    }
}

/// A number that the shop takes.
fn of_shop<T: FromStr<Err: Display> + Copy>(
    text: &str,
    set: fn(&mut tidemart_shop::Config, T),
) -> Result<T, String> {
    let value = text.parse().map_err(|error: T::Err| error.to_string())?;
    let mut shop = tidemart_shop::Config::default();
    set(&mut shop, value);
    shop.validate().map_err(|error| error.to_string())?;
    Ok(value)
}

/// The folder that was named, or the usual one.
pub fn folder(data: Option<PathBuf>) -> PathBuf {
    data.unwrap_or_else(DataFolder::default_path)
}

/// Runs until the shutdown, or until a server cannot be kept.
///
/// # Errors
/// Whatever keeps a part from running, with the end of its log.
pub async fn run(args: Args, telemetry: &Telemetry, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let path = folder(args.data.clone());
    if args.detach {
        return detach::run(&path, shutdown).await;
    }
    if args.engine == Engine::Spark {
        platform::spark::require_wheel()?;
    }
    let account = Account::choose(DEFAULT_ACCOUNT)?;
    let folder = DataFolder::open(&path, account).await.map_err(|error| match error {
        Error::InUse { .. } => anyhow!(error).context("cannot start; `tidemart down` stops what runs"),
        other => other.into(),
    })?;
    detach::forget(folder.path());
    let marts = own_marts(&args, &folder)?;
    let servers = Servers::launch(&folder, &args).await?;
    let start = Start { args: &args, marts: marts.as_ref(), telemetry, folder: &folder, servers: &servers };
    let result = Box::pin(serve(&start, &shutdown)).await;
    detach::forget(folder.path());
    servers.stop().await;
    info!("everything is stopped; the next start goes on from here");
    result.map(|()| ExitCode::SUCCESS)
}

/// What a start has.
struct Start<'a> {
    args: &'a Args,
    /// The marts besides the shop's.
    marts: Option<&'a OwnMarts>,
    telemetry: &'a Telemetry,
    folder: &'a DataFolder,
    servers: &'a Servers,
}

/// Marts besides the shop's.
struct OwnMarts {
    /// The folder that this start uses, whatever becomes of the user's meanwhile: roles read it whenever they start.
    copy: PathBuf,
    /// The user's folder.
    origin: PathBuf,
}

/// The folder of marts that was named, or that the last start had; looked at and copied before anything starts.
fn own_marts(args: &Args, folder: &DataFolder) -> anyhow::Result<Option<OwnMarts>> {
    let (origin, named) = match &args.marts {
        _ if args.forget_marts => return Ok(None),
        Some(marts) => {
            let origin = marts.canonicalize();
            (
                origin.with_context(|| format!("--marts: cannot read {}", marts.display()))?,
                "--marts".to_owned(),
            )
        }
        None => match settings::marts(&folder.path().join(DEFAULT_FILE))? {
            Some(kept) => {
                let named = format!(
                    "marts of {}, kept from the last start; name another folder by --marts, or run \
                     `tidemart up --forget-marts`",
                    kept.display()
                );
                (kept, named)
            }
            None => return Ok(None),
        },
    };
    let copy = folder.path().join("run").join("marts");
    tidemart_marts::copy_folder(&origin, &copy).context(named)?;
    Ok(Some(OwnMarts { copy, origin }))
}

/// From servers that are being started to the end of everything.
async fn serve(start: &Start<'_>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let Start { args, marts, folder, servers, .. } = *start;
    let Some(ready) = shutdown.run_until_cancelled(servers.ready()).await else { return Ok(()) };
    ready?;
    let file = folder.path().join(DEFAULT_FILE);
    settings::write(&file, servers, None, &tidemart_shop::Config::default(), marts)?;
    let cache = Cache::of_this_machine();
    let surroundings = Surroundings { folder, cache: &cache, servers, settings: &file };
    let platform = Platform::launch(&args.parts(), &surroundings).await?;
    let result = Box::pin(go_on(start, &platform, shutdown)).await;
    platform.stop().await;
    result
}

/// From the core that answers, and parts that are being started.
async fn go_on(start: &Start<'_>, platform: &Platform, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let Start { args, marts, telemetry, folder, servers } = *start;
    let file = folder.path().join(DEFAULT_FILE);
    let mut config = Config::of_file(&file)?;
    let known = settings::shop(&mut config.shop, args, &settings::connection(servers)?).await?;
    settings::write(&file, servers, Some(platform), &config.shop, marts)?;
    let config = Config::of_file(&file)?;
    tidemart_mysql::check(config.mysql()?).await?;
    tidemart_mysql::migrate(config.mysql()?).await?;
    let Some(filled) = shutdown.run_until_cancelled(fill::run(&config)).await else { return Ok(()) };
    filled?;
    let mut roles = Roles::new(folder, &file, telemetry, args.engine, marts)?;
    let result = tokio::select! { biased;
        () = shutdown.cancelled() => Ok(()),
        failure = servers::failure(servers.all().into_iter().chain(platform.servers())) => Err(failure),
        ended = Box::pin(live(&mut roles, folder, servers, platform, &config, known)) => ended,
    };
    roles.stop().await;
    result
}

/// The roles run; the shop joins them once its own marts are there, whatever marts of the user's do. Ends by an error alone.
async fn live(
    roles: &mut Roles,
    folder: &DataFolder,
    servers: &Servers,
    platform: &Platform,
    config: &Config,
    known: bool,
) -> anyhow::Result<()> {
    roles.launch_replication().await?;
    let mut show = Show::new(Sampler::new(config)?);
    if !known {
        let built = show.until_marts_are_built(roles).await?;
        info!(seconds = built.as_secs_f64(), "the shop's marts are built");
    }
    roles.launch_shop().await?;
    platform.ready().await?;
    show.until_all_work().await;
    let table = show::table(folder, servers, platform, roles, config);
    detach::announce(folder.path(), &table)?;
    show.print(&table)?;
    show.status_for_ever(&detach::log(folder.path())).await
}
