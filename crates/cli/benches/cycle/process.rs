//! CPU and memory of processes, from `/proc`: <https://man7.org/linux/man-pages/man5/proc.5.html>.

use std::{collections::BTreeMap, fs};

use anyhow::Context;

/// The kernel counts CPU in hundredths of a second for every program (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;
const KIB_PER_MIB: f64 = 1024.0;

/// CPU that a process has used, with its threads, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_s(id: u32) -> anyhow::Result<f64> {
    let fields = stat(id).with_context(|| format!("process {id} is gone"))?;
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
    // utime and stime are fields 14 and 15; what is split off ends with field 2.
    let (user, system) = (ticks(11), ticks(12));
    Ok((user.context("utime")? + system.context("stime")?) / TICKS_PER_S)
}

/// The most memory that a process ever had resident, in MiB.
///
/// # Errors
/// When there is no such process.
pub fn peak_mib(id: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(kib(&text, "VmHWM:").context("VmHWM")? / KIB_PER_MIB)
}

/// Memory of a process and all its descendants, in MiB; what several share is counted once (PSS).
pub fn tree_mib(root: u32) -> f64 {
    pss_mib(tree(root))
}

/// Memory of all processes whose command lines are such, in MiB, counted in the same way.
pub fn mib_of(is_such: impl Fn(&str) -> bool) -> f64 {
    let line = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    pss_mib(all().into_iter().filter(|id| is_such(&line(id))).collect())
}

fn pss_mib(ids: Vec<u32>) -> f64 {
    let mut sum = 0.0;
    for id in ids {
        // One that has ended meanwhile has no memory.
        let Ok(text) = fs::read_to_string(format!("/proc/{id}/smaps_rollup")) else { continue };
        sum += kib(&text, "Pss:").unwrap_or(0.0);
    }
    sum / KIB_PER_MIB
}

/// A process and all its descendants.
fn tree(root: u32) -> Vec<u32> {
    let parents = all().into_iter().filter_map(|id| Some((id, stat(id)?.get(1)?.parse().ok()?)));
    let parents: BTreeMap<u32, u32> = parents.collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found
}

/// A descendant whose command line holds a word as one of its arguments.
pub fn descendant_with(root: u32, word: &str) -> Option<u32> {
    tree(root).into_iter().skip(1).find(|id| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        // Before it becomes the program it is `setpriv`, which is not it yet.
        !line.starts_with("setpriv") && line.split('\0').any(|argument| argument == word)
    })
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields after the name, which may hold anything.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
