//! What it was measured on.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Instant,
};

/// Writes that are timed.
const WRITES: u32 = 200;

/// Cores, memory, kernel, and the disk that a folder is on.
pub fn describe(folder: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = first("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / 1_048_576.0));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disk = sync_ms(folder).map_or_else(String::new, |ms| format!(", fdatasync {ms:.2} ms"));
    format!("{cores} cores of {model}{memory}, Linux {}{disk}", kernel.trim())
}

/// The value of the first line with a name.
fn first(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(['\t', ' ', ':']).trim().to_owned())
}

/// What it takes to bring 4 KiB to the disk, in milliseconds.
fn sync_ms(folder: &Path) -> Option<f64> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path).ok()?;
    let begun = Instant::now();
    for _ in 0..WRITES {
        file.write_all(&[1; 4096]).ok()?;
        file.sync_data().ok()?;
    }
    let took = begun.elapsed().as_secs_f64() * 1e3 / f64::from(WRITES);
    fs::remove_file(&path).ok()?;
    Some(took)
}
