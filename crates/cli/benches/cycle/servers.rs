//! Private servers as `tidemart up` starts them, with the same rows in Postgres each time.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use mysql_async::prelude::Queryable;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tidemart_local::{
    Account, Cache, Cluster, DEFAULT_ACCOUNT, DataFolder, Kafka, Keep, Login, MariaDb, Postgres, Server,
    Spark, create_database,
    spark::{unpack_wheel_of, wheels_of},
};
use tokio_postgres::NoTls;

use super::{args::Args, role::TIDEMART};

/// The database in both, the prefix of the topics.
pub const NAME: &str = "shop";
/// What the settings say of the marts while they are on.
const MARTS: &str = "[marts]\nenabled = true\n";
pub const TABLES: [&str; 5] = ["users", "product_categories", "products", "orders", "order_details"];
/// Four JVMs on few cores take their time.
const SPARK_WITHIN: Duration = Duration::from_secs(120);
/// What the settings have besides addresses: what `up` writes for servers on its own machine.
const AS_UP: &str = "refresh_ms = 1000, session_timeout_ms = 6000, instance = \"bench\"";

/// Postgres, Kafka, MariaDB and the settings that name them. Dropping it ends the servers and removes their data.
pub struct Servers {
    pub postgres: Server,
    pub kafka: Server,
    pub mariadb: Server,
    folder: DataFolder,
    pub orders: u64,
    _place: Place,
}

/// A folder that goes with us, unless it is to be kept.
pub struct Place(TempDir);

impl Place {
    pub fn new(args: &Args, name: &str) -> anyhow::Result<Self> {
        let parent = args.keep.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&parent)?;
        let mut builder = tempfile::Builder::new();
        let place = builder.prefix(name).disable_cleanup(args.keep.is_some()).tempdir_in(parent)?;
        // The servers run as another account.
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
        Ok(Self(place))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Servers {
    /// Starts them and loads the rows.
    pub async fn start(args: &Args) -> anyhow::Result<Self> {
        let servers = Self::start_empty(args).await?;
        servers.load(args).await?;
        Ok(servers)
    }

    /// Starts them with an empty database on both ends.
    pub async fn start_empty(args: &Args) -> anyhow::Result<Self> {
        let place = Place::new(args, "tidemart-bench-")?;
        let folder = DataFolder::open(place.path(), Account::choose(DEFAULT_ACCOUNT)?).await?;
        let (cache, keep) = (Cache::of_this_machine(), Keep { restart: false, ..Keep::default() });
        let postgres = Postgres { bin: args.postgres_bin.clone(), ..Postgres::default() };
        let (postgres, kafka, mariadb) = tokio::try_join!(
            postgres.launch(&folder, &cache, keep),
            Kafka::default().launch(&folder, &cache, keep),
            MariaDb::default().launch(&folder, &cache, keep),
        )?;
        tokio::try_join!(postgres.ready(), kafka.ready(), mariadb.ready())?;
        create_database(postgres.address(), NAME).await?;
        let orders = args.scaled(300_000, 1_000);
        let servers = Self { postgres, kafka, mariadb, folder, orders, _place: place };
        servers.mysql_without_database().await?.query_drop(format!("CREATE DATABASE {NAME}")).await?;
        servers.write_settings()?;
        Ok(servers)
    }

    async fn load(&self, args: &Args) -> anyhow::Result<()> {
        let client = self.postgres().await?;
        client.batch_execute(include_str!("sql/tables.sql")).await?;
        let load = include_str!("sql/load.sql")
            .replace("{orders}", &self.orders.to_string())
            .replace("{users}", &args.scaled(50_000, 100).to_string())
            .replace("{products}", &args.scaled(2_000, 50).to_string());
        client.batch_execute(&load).await.context("the rows")?;
        client.batch_execute(include_str!("sql/update.sql")).await?;
        let admin = self.postgres.address().admin.as_ref().context("no superuser")?;
        Ok(self.postgres_as(admin).await?.batch_execute("CHECKPOINT").await?)
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let mut text = format!(
            "[kafka]\nbootstrap = \"{}\"\nprefix = \"{NAME}\"\nconsumer = {{ {AS_UP} }}\n",
            self.kafka.address()
        );
        for (section, server) in [("postgres", &self.postgres), ("mysql", &self.mariadb)] {
            let Login { user, password } = self.owner(server)?;
            let (address, password) = (server.address(), password.expose_secret());
            text += &format!(
                "[{section}]\nhost = \"{}\"\nport = {}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{NAME}\"\n",
                address.nearest_host(),
                address.port
            );
        }
        Ok(std::fs::write(self.settings(), text)?)
    }

    /// Starts a Spark cluster beside them, with the wheel that was built with the binary, and names it in the settings.
    pub async fn spark(&self) -> anyhow::Result<Cluster> {
        let unpacked = self.folder.path().join("wheel");
        let program = Path::new(TIDEMART);
        let found = unpack_wheel_of(program, &unpacked).await?;
        ensure!(found, "no wheel in {}: make wheel", wheels_of(program).display());
        let spark = Spark { wheel: Some(unpacked), ..Spark::default() };
        let keep = Keep { ready_within: SPARK_WITHIN, restart: false, ..Keep::default() };
        let cluster = spark.launch(&self.folder, &Cache::of_this_machine(), keep).await?;
        cluster.ready().await?;
        let (connect, token) = (cluster.connect_url(), cluster.token().expose_secret());
        let section = format!("[spark]\nconnect = \"{connect}\"\ntoken = \"{token}\"\n{MARTS}");
        let text = std::fs::read_to_string(self.settings())?;
        std::fs::write(self.settings(), text + &section)?;
        Ok(cluster)
    }

    /// From the next start on, the consumer marks nothing for the marts.
    pub fn without_marts(&self) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(self.settings())?;
        Ok(std::fs::write(self.settings(), text.replace(MARTS, ""))?)
    }

    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("tidemart.toml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.log_file(name)
    }

    pub fn owner<'s>(&self, server: &'s Server) -> anyhow::Result<&'s Login> {
        server.address().owner.as_ref().context("no account for the application")
    }

    /// A session in Postgres.
    pub async fn postgres(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.postgres_as(self.owner(&self.postgres)?).await
    }

    async fn postgres_as(&self, login: &Login) -> anyhow::Result<tokio_postgres::Client> {
        let address = self.postgres.address();
        let mut config = tokio_postgres::Config::new();
        config.host(address.host).port(address.port).user(login.user).dbname(NAME);
        let (client, connection) = config.password(login.password.expose_secret()).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A session in MariaDB.
    pub async fn mysql(&self) -> anyhow::Result<mysql_async::Conn> {
        let mut conn = self.mysql_without_database().await?;
        conn.query_drop(format!("USE {NAME}")).await?;
        Ok(conn)
    }

    async fn mysql_without_database(&self) -> anyhow::Result<mysql_async::Conn> {
        let Login { user, password } = self.owner(&self.mariadb)?;
        let address = self.mariadb.address();
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(address.host)
            .tcp_port(address.port)
            .user(Some(*user))
            .pass(Some(password.expose_secret()))
            .prefer_socket(false);
        Ok(mysql_async::Conn::new(options).await?)
    }

    /// Rows of all tables.
    pub async fn rows(&self) -> anyhow::Result<u64> {
        let counts = TABLES.map(|table| format!("(SELECT count(*) FROM {table})")).join(" + ");
        let row = self.postgres().await?.query_one(&format!("SELECT {counts}"), &[]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Stops them and waits for their end.
    pub async fn stop(self) {
        tokio::join!(self.postgres.stop(), self.kafka.stop(), self.mariadb.stop());
    }
}
