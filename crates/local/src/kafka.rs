mod archive;
mod probe;

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::process::Command;

use crate::cache::{Cache, Distribution, Unpack};
use crate::error::{Error, Result, at};
use crate::folder::{DataFolder, Site};
use crate::java;
use crate::processes::FILLS;
use crate::program;
use crate::random;
use crate::server::{HOST, Keep, Kind, Server};

pub(crate) const DISTRIBUTION: Distribution = Distribution {
    name: "kafka",
    version: "4.3.1",
    pom: include_str!("../servers/kafka/pom.xml"),
    unpack: Unpack::Jars,
};

/// The Java that Kafka's own tools are run with.
#[cfg(feature = "testing")]
pub(crate) async fn find_java() -> Result<PathBuf> {
    java::find().await.map(|java| java.path)
}

/// A private Apache Kafka: one node, broker and controller in one, no account needed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// The folder of Kafka's jars where they are on the machine already; fetched otherwise.
    pub lib: Option<PathBuf>,
    /// The port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// The largest heap, in MiB.
    pub heap_mb: u32,
    /// Whether each write is flushed to the disk before it is acknowledged. Without, a power cut
    /// (not a crash of Kafka) can take the last writes.
    pub flush_each_write: bool,
    /// Writes an archive of the loaded classes when the server ends. Only used to make that archive.
    #[serde(skip)]
    pub train: bool,
    /// More lines of the broker's properties, over ours.
    #[serde(skip)]
    pub properties: Vec<String>,
    /// More arguments of `kafka-storage format`.
    #[serde(skip)]
    pub format: Vec<String>,
    /// Listeners for clients that come through a proxy. Only tests have some.
    #[serde(skip)]
    pub behind: Vec<Behind>,
}

/// A further listener, and the port that its clients are told instead of its own.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// The listener's own port.
    pub port: u16,
    /// The proxy's port.
    pub advertised: u16,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            lib: None,
            port: None,
            heap_mb: 256,
            flush_each_write: false,
            train: false,
            behind: Vec::new(),
            properties: Vec::new(),
            format: Vec::new(),
        }
    }
}

impl Kafka {
    /// Starts it; [`Server::ready`] waits for it.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Server> {
        Server::launch(self, folder, cache, keep).await
    }

    /// The folder of Kafka's jars, fetched where that is needed: the class path of Kafka's own tools.
    pub async fn jars(&self, cache: &Cache) -> Result<PathBuf> {
        let Some(lib) = &self.lib else { return cache.install(&DISTRIBUTION).await };
        let files = std::fs::read_dir(lib).map_err(at("read", lib))?.flatten();
        if files.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "jar")) {
            return Ok(lib.clone());
        }
        let advice = "name the folder that holds Kafka's jars, `libs` in its distribution";
        Err(Error::MissingProgram { program: format!("kafka in {}", lib.display()), advice })
    }

    fn java(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let logging = site.write_run_file("log4j2.properties", include_str!("kafka/log4j2.properties"))?;
        let mut java = site.account.command(&programs.java, parent_death);
        java.arg(format!("-Xmx{}m", self.heap_mb));
        java.args(["-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"]);
        // Without the optimizing compiler, which takes a quarter of a core for minutes, for little on a few cores.
        java.arg("-XX:TieredStopAtLevel=1");
        java.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        if let Some(archive) = &programs.archive {
            java.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        Ok(java)
    }

    fn write_properties(&self, site: &Site) -> Result<PathBuf> {
        let [port, controller_port] = site.ports[..] else { return Err(ports_missing()) };
        let flush = if self.flush_each_write { "log.flush.interval.messages=1\n" } else { "" };
        let more = self.properties.join("\n");
        let properties = format!("{}{more}\n", include_str!("kafka/server.properties"))
            .replace("{port}", &port.to_string())
            .replace("{controller_port}", &controller_port.to_string())
            .replace("{listeners}", &self.listeners(|behind| behind.port))
            .replace("{advertised}", &self.listeners(|behind| behind.advertised))
            .replace("{protocols}", &self.protocols())
            .replace("{data}", &escaped(checked_path(&site.data)?));
        site.write_run_file("server.properties", &format!("{properties}{flush}"))
    }
}

impl Kafka {
    /// The further listeners with one of their ports, to follow the others.
    fn listeners(&self, port: impl Fn(&Behind) -> u16) -> String {
        let listener = |(number, behind)| format!(",BEHIND{number}://{HOST}:{}", port(behind));
        self.behind.iter().enumerate().map(listener).collect()
    }

    fn protocols(&self) -> String {
        (0..self.behind.len()).map(|number| format!(",BEHIND{number}:PLAINTEXT")).collect()
    }
}

/// Java, Kafka's jars and, where there is one, the archive of loaded classes that makes the start faster.
pub(crate) struct Programs {
    java: PathBuf,
    class_path: String,
    archive: Option<PathBuf>,
}

impl Kind for Kafka {
    type Programs = Programs;

    const NAME: &'static str = "kafka";
    const PORTS: usize = 2;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        let java = java::find().await?;
        let lib = self.jars(cache).await?;
        for folder in [java.path.parent().unwrap_or(Path::new("/")), &lib] {
            site.account.check_reach(folder).await?;
        }
        // An archive fits one class path and one Java.
        let archive = match (&self.lib, self.train) {
            (None, false) => archive::of(cache, &site.account, &lib, &java).await,
            _ => None,
        };
        Ok(Programs { java: java.path, class_path: format!("{}/*", lib.display()), archive })
    }

    async fn initialize(&self, programs: &Programs, site: &Site) -> Result<()> {
        let properties = self.write_properties(site)?;
        let mut format = self.java(programs, site, Signal::SIGKILL)?;
        format.env(FILLS, &site.mark);
        format.args(["-cp", &programs.class_path, "kafka.tools.StorageTool", "format"]);
        format.args(["-t", &cluster_id()?, "-c"]).arg(properties).args(&self.format);
        program::run("kafka.tools.StorageTool", java::ADVICE, &mut format).await?;
        Ok(())
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let properties = self.write_properties(site)?;
        let mut java = self.java(programs, site, parent_death)?;
        if self.train {
            java.arg(format!("-XX:ArchiveClassesAtExit={}", archive::made_in(site).display()));
        }
        java.arg(format!("-Dtidemart.server={}", site.mark));
        java.args(["-cp", &programs.class_path, "kafka.Kafka"]).arg(properties);
        Ok(java)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        probe::ask(site.port()).await
    }
}

/// 16 random bytes as Kafka writes them: base64 for URLs. Hexadecimal digits are such characters too.
fn cluster_id() -> Result<String> {
    let digits = random::hex::<11>()?;
    Ok(format!("{}A", &digits[..21]))
}

/// A properties file gives a comma and a backslash a meaning of their own.
fn checked_path(path: &Path) -> Result<&str> {
    let plain = path.to_str().filter(|text| !text.contains([',', '\\', '\n']));
    plain.ok_or_else(|| Error::Setting {
        name: "data folder",
        reason: format!("Kafka cannot use the path {}; choose one without , and \\", path.display()),
    })
}

/// A properties file is read as Latin-1: other characters stand in it as their UTF-16 units.
fn escaped(text: &str) -> String {
    let unit = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    text.encode_utf16().map(unit).collect()
}

fn ports_missing() -> Error {
    Error::Setting { name: "ports", reason: "kafka needs two".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_maven_fetches() {
        assert!(DISTRIBUTION.pom.contains(&format!("<version>{}</version>", DISTRIBUTION.version)));
    }

    #[test]
    fn a_cluster_id_has_22_characters() {
        assert_eq!(cluster_id().unwrap().len(), 22);
    }

    #[test]
    fn other_characters_than_ascii_are_escaped() {
        assert_eq!(escaped("/data/ü😀 b"), "/data/\\u00fc\\ud83d\\ude00 b");
    }

    #[test]
    fn a_path_that_properties_would_misread_is_refused() {
        assert!(checked_path(Path::new("/data/a,b")).is_err());
        assert_eq!(checked_path(Path::new("/data/a b")).unwrap(), "/data/a b");
    }
}
