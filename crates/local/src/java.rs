//! The Java that runs the servers written in it.

use std::path::PathBuf;

use tokio::process::Command;

use crate::error::{Error, Result};
use crate::program;

pub(crate) const ADVICE: &str =
    "Kafka and Spark need Java 17 or newer: `apt-get install default-jre-headless`, or set JAVA_HOME";
/// Kafka 4 and Spark 4 do not run on an older one.
const OLDEST: u32 = 17;

/// A Java that is new enough.
pub(crate) struct Java {
    pub(crate) path: PathBuf,
    /// Its exact build, such as `17.0.15+6-Debian-1deb12u1`.
    pub(crate) build: String,
}

/// The Java of JAVA_HOME, else the first in PATH.
pub(crate) async fn find() -> Result<Java> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let found = home.filter(|java| java.is_file()).or_else(|| program::find("java"));
    let path = found.ok_or_else(|| Error::MissingProgram { program: "java".to_owned(), advice: ADVICE })?;
    let said = program::run("java", ADVICE, Command::new(&path).arg("-version")).await?;
    program::new_enough("java", &path, major(&said), OLDEST, ADVICE)?;
    Ok(Java { path, build: build(&said) })
}

/// The number in `openjdk version "17.0.15" 2025-04-15`.
fn major(said: &str) -> Option<u32> {
    let version = said.split('"').nth(1)?;
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// What `(build …)` holds, or all that was said.
fn build(said: &str) -> String {
    let build = said.split("(build ").nth(1).and_then(|rest| rest.split([')', ',']).next());
    build.unwrap_or(said).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "openjdk version \"17.0.15\" 2025-04-15\n\
        OpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)\n\
        OpenJDK 64-Bit Server VM (build 17.0.15+6-Debian-1deb12u1, mixed mode, sharing)\n";

    #[test]
    fn the_version_is_read() {
        assert_eq!(major(DEBIAN), Some(17));
        assert_eq!(build(DEBIAN), "17.0.15+6-Debian-1deb12u1");
        assert_eq!(major("openjdk version \"25\" 2025-09-16\n"), Some(25));
        assert_eq!(major("java version \"1.8.0_402\"\n"), Some(1));
        assert_eq!(major("command not found"), None);
    }
}
