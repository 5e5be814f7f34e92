//! The whole cycle by accounts that hold no more rights than `tidemart migrate --accounts` gives them.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Output};

use mysql_async::prelude::Queryable;
use tidemart_local::testing::{self, TestDatabase};

use crate::cycle::{Cycle, LIMIT, Target, connect, text, wait_for};

const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 100.0\nseed = 12\n";
const ROLES: [&str; 4] = ["capture", "consumer", "marts", "reader"];

/// A shop that its owner has filled, and an administrator's settings.
struct Prepared {
    cycle: Cycle,
    administrator: PathBuf,
    owner: PathBuf,
    owners: TestDatabase,
}

impl Prepared {
    async fn new(target: Target) -> Self {
        let mut cycle = Cycle::new(target).await;
        cycle.write_settings(SHOP);
        let owner = cycle.settings.clone();
        let filled = cycle.run(&["producer", "--fill-only"]);
        assert!(filled.status.success(), "{}", text(&filled));
        let source = testing::postgres().await.admin(&cycle.source.database);
        let server = match target {
            Target::MariaDb => testing::mariadb().await,
            Target::MySql => testing::mysql().await,
        };
        let owners = std::mem::replace(&mut cycle.source, source);
        cycle.target = server.admin(&cycle.target.database);
        cycle.settings = cycle.folder().join("administrator.toml");
        cycle.write_settings(SHOP);
        let administrator = cycle.settings.clone();
        Self { cycle, administrator, owner, owners }
    }

    /// Runs `migrate` as the administrator.
    fn migrate(&mut self, more: &[&str]) -> Output {
        let (folder, prefix) = (self.folder(), self.cycle.slot());
        let arguments = ["migrate", "--accounts", folder.to_str().unwrap(), "--account-prefix", &prefix];
        self.cycle.settings.clone_from(&self.administrator);
        self.cycle.run(&[&arguments, more].concat())
    }

    fn folder(&self) -> PathBuf {
        self.cycle.folder().join("accounts")
    }

    /// From now on the settings are this role's.
    fn become_role(&mut self, role: &str) {
        self.cycle.settings = self.folder().join(format!("{role}.toml"));
    }

    fn files(&self) -> Vec<String> {
        ROLES.map(|role| fs::read_to_string(self.folder().join(format!("{role}.toml"))).unwrap()).into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cycle_runs_by_its_own_accounts_into_mariadb() {
    check(Target::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cycle_runs_by_its_own_accounts_into_mysql() {
    check(Target::MySql).await;
}

async fn check(target: Target) {
    let mut prepared = Prepared::new(target).await;
    let made = prepared.migrate(&[]);
    assert!(made.status.success(), "{}", text(&made));
    let files = prepared.files();
    for role in ROLES {
        let mode = fs::metadata(prepared.folder().join(format!("{role}.toml"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{role}");
    }
    let again = prepared.migrate(&[]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(prepared.files(), files, "a second run changes nothing");

    let mut running = Vec::new();
    for (role, command) in [("capture", "capture"), ("consumer", "consumer"), ("marts", "marts watch")] {
        prepared.become_role(role);
        running.push(prepared.cycle.start(command, None));
    }
    prepared.cycle.settings.clone_from(&prepared.owner);
    let shop = prepared.cycle.start("producer --shop-only", None);
    prepared.become_role("reader");
    wait_for("both marts", || prepared.cycle.marts_are_built()).await;
    wait_for("the shop to go on", || prepared.cycle.published() > 500).await;
    a_table_of_the_owners_waits_for_the_administrator(&mut prepared).await;
    assert!(shop.stop().await.success(), "{}", prepared.cycle.logs());
    prepared.become_role("reader");
    prepared.cycle.assert_equal().await;
    the_rights_end_where_they_should(&prepared, target).await;
    for role in running {
        assert!(role.stop().await.success(), "{}", prepared.cycle.logs());
    }
}

/// A capture that does not own its tables cannot put one into the publication: it says so and goes on.
async fn a_table_of_the_owners_waits_for_the_administrator(prepared: &mut Prepared) {
    let owner = connect(&prepared.owners).await.unwrap();
    owner
        .batch_execute("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1), (2)")
        .await
        .unwrap();
    let made = prepared.migrate(&[]);
    assert!(made.status.success(), "{}", text(&made));
    prepared.become_role("reader");
    prepared.cycle.wait_for_value("SELECT COUNT(*) FROM late", 2, LIMIT).await;
}

async fn the_rights_end_where_they_should(prepared: &Prepared, target: Target) {
    let admin = connect(&prepared.cycle.source).await.unwrap();
    for role in ["capture", "reader", "consumer"] {
        let role = format!("{}_{role}", prepared.cycle.slot());
        let query =
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR has_table_privilege($1, 'orders', 'INSERT')
                OR has_table_privilege($1, 'orders', 'DELETE') OR has_schema_privilege($1, 'public', 'CREATE')
                OR (rolreplication AND $1 NOT LIKE '%capture')
                OR ($1 LIKE '%consumer' AND has_table_privilege($1, 'orders', 'SELECT')) FROM pg_roles WHERE rolname = $1";
        let more: bool = admin.query_one(query, &[&role]).await.unwrap().get(0);
        assert!(!more, "{role} has more rights than it needs");
    }
    let mut mysql = prepared.cycle.mysql().await;
    for role in ["consumer", "marts", "reader"] {
        let grants: Vec<String> =
            mysql.query(format!("SHOW GRANTS FOR '{}_{role}'@'%'", prepared.cycle.slot())).await.unwrap();
        let elsewhere = grants.iter().filter(|grant| grant.contains("ON *.*"));
        assert!(elsewhere.clone().all(|grant| grant.contains("GRANT USAGE ON")), "{target:?}: {grants:?}");
        assert!(!grants.iter().any(|grant| grant.contains("ALL PRIVILEGES")), "{grants:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_that_nobody_knows_are_not_changed_by_the_way() {
    let mut prepared = Prepared::new(Target::MariaDb).await;
    assert!(prepared.migrate(&[]).status.success());
    let before = prepared.files();
    fs::remove_file(prepared.folder().join("consumer.toml")).unwrap();
    let refused = prepared.migrate(&[]);
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("_consumer") && said.contains("--new-passwords"), "{said}");
    assert!(prepared.migrate(&["--new-passwords"]).status.success());
    let after = prepared.files();
    assert!(before.iter().zip(&after).all(|(old, new)| old != new));
    prepared.become_role("consumer");
    drop(prepared.cycle.mysql().await);
}
