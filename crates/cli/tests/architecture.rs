//! The rules of the workspace that no compiler keeps: who may know whom, and how long a file may be.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The crates of the workspace that each crate may depend on, at most.
const ARROWS: [(&str, &[&str]); 11] = [
    ("change", &[]),
    ("pipeline", &[]),
    ("postgres", &["change", "pipeline"]),
    ("kafka", &["change", "pipeline"]),
    ("mysql", &["change", "pipeline"]),
    ("shop", &[]),
    ("spark", &["pipeline"]),
    ("marts", &["change", "mysql", "pipeline", "spark"]),
    ("verify", &["change", "kafka", "mysql", "pipeline", "postgres"]),
    ("local", &[]),
    (
        "cli",
        &["change", "kafka", "local", "marts", "mysql", "pipeline", "postgres", "shop", "spark", "verify"],
    ),
];

/// Libraries that only these crates may name.
const FENCES: [(&str, &[&str]); 6] = [
    ("apache-spark-connect", &["spark"]),
    ("rdkafka", &["kafka"]),
    ("tokio-postgres", &["postgres", "shop", "verify", "local"]),
    ("mysql_async", &["mysql", "marts", "verify", "local"]),
    ("rustls", &["pipeline", "postgres", "shop"]),
    ("clap", &["cli"]),
];

const LONGEST_FILE: usize = 500;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in `[dependencies]` of a crate's manifest.
fn dependencies(name: &str) -> Vec<String> {
    let path = workspace().join("crates").join(name).join("Cargo.toml");
    let manifest = fs::read_to_string(&path).unwrap().parse::<toml::Table>().unwrap();
    manifest["dependencies"].as_table().map_or_else(Vec::new, |table| table.keys().cloned().collect())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the product with its text up to its tests.
fn product() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for (name, _) in ARROWS {
        sources(&workspace().join("crates").join(name).join("src"), &mut paths);
    }
    let text = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
    };
    paths.iter().map(|path| (path.clone(), text(path))).collect()
}

#[test]
fn every_crate_is_listed_here() {
    let listed = ARROWS.map(|(name, _)| name.to_owned()).to_vec();
    let mut found = fs::read_dir(workspace().join("crates")).unwrap();
    assert!(found.all(|entry| listed.contains(&entry.unwrap().file_name().into_string().unwrap())));
}

#[test]
fn arrows_point_one_way() {
    for (name, allowed) in ARROWS {
        for dependency in dependencies(name) {
            let Some(of_ours) = dependency.strip_prefix("tidemart-") else { continue };
            assert!(allowed.contains(&of_ours), "{name} must not know {of_ours}");
        }
    }
}

#[test]
fn heavy_libraries_stay_behind_their_fence() {
    for (name, _) in ARROWS {
        let dependencies = dependencies(name);
        for (library, allowed) in FENCES {
            let uses = dependencies.iter().any(|dependency| dependency == library);
            assert!(!uses || allowed.contains(&name), "{name} must not use {library}");
        }
    }
}

#[test]
fn files_are_short() {
    let long = product().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > LONGEST_FILE).collect::<BTreeMap<_, _>>();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines without their tests: {long:?}");
}

#[test]
fn every_crate_says_what_it_is_for() {
    for (path, text) in product() {
        let root = ["lib.rs", "main.rs"].iter().any(|name| path.ends_with(format!("src/{name}")));
        assert!(!root || text.starts_with("//! "), "{} has no module documentation", path.display());
    }
}

#[test]
fn only_the_binary_reads_the_environment_and_prints() {
    for (path, text) in product() {
        let crate_of = path.strip_prefix(workspace().join("crates")).unwrap();
        let free = ["cli", "local"].iter().any(|name| crate_of.starts_with(name));
        for word in ["std::env::var", "env::var(", "println!", "eprintln!"] {
            assert!(free || !text.contains(word), "{} uses {word}", path.display());
        }
    }
}
