//! What the commands of all of Spark's servers have in common.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use super::{JARS, LOCK, ports_missing};
use crate::{
    cache::{Cache, remove},
    error::{Result, at},
    folder::{Site, make_folder, set_mode},
    java,
    server::HOST,
    walls::Walls,
};

const COMMON: &str = include_str!("../../../../spark/cluster.properties");
const LOGGING: &str = include_str!("../../../../spark/log4j2.properties");

/// What Spark's own launcher tells every Java to open (`JavaModuleOptions`).
const OPENED: [&str; 15] = [
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
];

/// Java, Spark's Python environment, the jars that it lacks, and the walls that all of it runs behind: who may use the
/// cluster can run any code there.
pub(crate) struct Programs {
    walls: Walls,
    java: PathBuf,
    pub(super) environment: PathBuf,
    home: PathBuf,
    pub(super) jars: PathBuf,
}

pub(super) async fn install(cache: &Cache, site: &Site) -> Result<Programs> {
    let walls = Walls::find(&site.account, "spark").await?;
    let java = java::find().await?.path;
    let environment = cache.environment(&LOCK, &site.account).await?;
    let jars = cache.install(&JARS).await?;
    let home = home(&environment)?;
    for folder in [java.parent().unwrap_or(Path::new("/")), &jars] {
        site.account.check_reach(folder).await?;
    }
    Ok(Programs { walls, java, environment, home, jars })
}

/// `lib/python3.11/site-packages/pyspark`, whatever the version.
fn home(environment: &Path) -> Result<PathBuf> {
    let lib = environment.join("lib");
    let versions = fs::read_dir(&lib).map_err(at("read", &lib))?.flatten();
    let mut homes = versions.map(|entry| entry.path().join("site-packages/pyspark"));
    let missing = || at("find pyspark in", &lib)(std::io::ErrorKind::NotFound.into());
    homes.find(|home| home.join("jars").is_dir()).ok_or_else(missing)
}

/// The options of Java, up to the class; ends up in the command line, the mark in it. It sees what it `reads`, besides its
/// own files and the programs.
pub(super) fn command(
    programs: &Programs,
    site: &Site,
    parent_death: Signal,
    heap_mb: u32,
    reads: &[PathBuf],
) -> Result<Command> {
    let configuration = configuration(site)?;
    let reads = [&programs.folders()?, reads].concat();
    let mut java = programs.walls.command(site, &reads, &programs.java, parent_death);
    java.arg(format!("-Xmx{heap_mb}m")).args([
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
    ]);
    java.args(["-XX:+IgnoreUnrecognizedVMOptions", "-Djava.net.preferIPv4Stack=true"]);
    java.args(OPENED.map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
    java.args(["-Dio.netty.tryReflectionSetAccessible=true", "-Dio.netty.allocator.type=pooled"]);
    java.args(["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]);
    java.arg(format!("-Dtidemart.server={}", site.mark));
    java.arg(format!("-Djava.io.tmpdir={}", fresh(site, "tmp")?.display()));
    let class_path = format!(
        "{}:{}/jars/slf4j-api-2.0.17.jar:{}/jars/*:{}/*",
        configuration.display(),
        programs.home.display(),
        programs.home.display(),
        programs.jars.display()
    );
    java.args(["-cp", &class_path]);
    java.env("SPARK_HOME", &programs.home).env("SPARK_CONF_DIR", &configuration);
    java.env("JAVA_HOME", programs.java.ancestors().nth(2).unwrap_or(Path::new("/")));
    java.env("SPARK_LOCAL_DIRS", fresh(site, "local")?);
    java.envs([("SPARK_LOCAL_IP", HOST), ("SPARK_SCALA_VERSION", "2.13"), ("SPARK_USER", "tidemart")]);
    // Each arena of the C library keeps what it once had; the JVMs are many and small.
    java.env("MALLOC_ARENA_MAX", "2");
    Ok(java)
}

impl Programs {
    /// Where they lie, also those of the system's that are elsewhere than the system.
    fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = vec![self.environment.clone(), self.jars.clone()];
        for program in [&self.java, &self.environment.join("bin/python")] {
            let path = program.canonicalize().map_err(at("find", program))?;
            folders
                .extend(path.ancestors().nth(2).filter(|home| !home.starts_with("/usr")).map(Path::to_owned));
        }
        Ok(folders)
    }
}

/// Python of the driver and of the executors finds the wheel.
pub(super) fn with_wheel(java: &mut Command, wheel: Option<&PathBuf>) {
    java.envs(wheel.map(|folder| ("PYTHONPATH", folder)));
}

/// The folder of the configuration. Executors have its path in their class path, and so the mark of their worker.
fn configuration(site: &Site) -> Result<PathBuf> {
    let folder = site.run.join(&site.mark);
    make_folder(&folder)?;
    let file = folder.join("log4j2.properties");
    fs::write(&file, LOGGING).map_err(at("write", &file))?;
    set_mode(&file, 0o644)?;
    Ok(folder)
}

/// An empty folder in the server's data: nothing in it outlives the server.
pub(super) fn fresh(site: &Site, name: &str) -> Result<PathBuf> {
    let folder = site.data.join(name);
    remove(&folder)?;
    fs::create_dir_all(&folder).map_err(at("create", &folder))?;
    set_mode(&folder, 0o700)?;
    site.account.own(&folder)?;
    Ok(folder)
}

/// Writes the server's properties: what all have, and its own, with these values. Only its account reads them.
pub(super) fn properties(
    site: &Site,
    own: &str,
    secret: &SecretString,
    values: &[(&str, &str)],
) -> Result<PathBuf> {
    let mut text = format!("{COMMON}{own}").replace("{secret}", secret.expose_secret());
    for (name, value) in values {
        // A backslash would begin an escape.
        text = text.replace(&format!("{{{name}}}"), &value.replace('\\', "\\\\"));
    }
    site.write_run_file("spark.properties", &text)
}

/// Its port and its page's.
pub(super) fn ports(site: &Site) -> Result<[u16; 2]> {
    <[u16; 2]>::try_from(&site.ports[..]).map_err(|_| ports_missing())
}
