//! Embeds the folders of files that parts are started with: `up` works from the program alone.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// The constant and the folder below the repository's root.
const FOLDERS: [(&str, &str); 5] = [
    ("AIRFLOW_DAGS", "airflow/dags"),
    ("AIRFLOW_PLUGINS", "airflow/plugins"),
    ("AIRFLOW_PYTHON", "airflow/python"),
    ("JUPYTERHUB_SANDBOX", "jupyterhub/sandbox"),
    ("JUPYTERHUB_NOTEBOOKS", "jupyterhub/notebooks"),
];

fn main() -> io::Result<()> {
    let package = variable("CARGO_MANIFEST_DIR")?;
    let mut code = String::new();
    for (name, folder) in FOLDERS {
        let folder = Path::new("../..").join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let folder = package.join(folder);
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        writeln!(code, "pub(crate) const {name}: &[(&str, &str)] = &[").map_err(io::Error::other)?;
        for file in files {
            let inside = file.strip_prefix(&folder).unwrap_or(&file);
            // No path of this machine: what is built here is also used for another clone.
            let path = Path::new("/").join(file.strip_prefix(&package).unwrap_or(&file));
            let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})");
            writeln!(code, "    ({inside:?}, include_str!({path})),").map_err(io::Error::other)?;
        }
        code.push_str("];\n");
    }
    fs::write(variable("OUT_DIR")?.join("embedded.rs"), code)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set")))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        match (path.is_dir(), hidden) {
            // What an editor or Python left there.
            (_, true) => {}
            (true, false) => collect(&path, files)?,
            (false, false) => files.push(path),
        }
    }
    Ok(())
}
