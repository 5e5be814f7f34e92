//! Embeds the folders of `marts/` into the program: adding a mart is adding a folder.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=marts");
    let root = variable("CARGO_MANIFEST_DIR")?.join("marts");
    let mut code = String::from("&[\n");
    for folder in entries(&root)? {
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display();
        write(&mut code, format_args!("    Folder {{ name: \"{name}\", files: &[\n"))?;
        for file in files {
            let inside = file.strip_prefix(&folder).unwrap_or(&file);
            // No path of this machine: what is built here is also used for another clone.
            let path = Path::new("/marts").join(file.strip_prefix(&root).unwrap_or(&file));
            let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})");
            write(&mut code, format_args!("        ({inside:?}, include_str!({path})),\n"))?;
        }
        write(&mut code, format_args!("    ] }},\n"))?;
    }
    code.push(']');
    fs::write(variable("OUT_DIR")?.join("folders.rs"), code)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set")))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn write(code: &mut String, arguments: std::fmt::Arguments<'_>) -> io::Result<()> {
    code.write_fmt(arguments).map_err(io::Error::other)
}
