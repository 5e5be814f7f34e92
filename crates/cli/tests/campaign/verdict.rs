//! What was found, for programs and for people.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::checker::Findings;

/// A fault, and how long after its end a change was in the replica again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Met {
    pub fault: String,
    /// `None`: not within the limit.
    pub recovered_s: Option<f64>,
}

/// Of one seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    pub seed: u64,
    pub target: String,
    pub shop: bool,
    /// Records in the topics.
    pub events: usize,
    /// Rows that were compared.
    pub rows: usize,
    pub faults: Vec<Met>,
    #[serde(flatten)]
    pub findings: Findings,
    /// Whether the marts equal ones computed from nothing; `None` without a shop.
    pub marts_equal: Option<bool>,
    /// Why the seed did not come to its end, or what else is wrong.
    pub error: Option<String>,
}

/// Of all seeds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Campaign {
    pub passed: bool,
    pub elapsed_s: f64,
    pub seeds: Vec<Verdict>,
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.error.is_none()
            && self.findings.is_empty()
            && self.marts_equal != Some(false)
            && self.faults.iter().all(|met| met.recovered_s.is_some())
            && self.events > 0
            && self.rows > 0
    }
}

/// What the seeds met of one kind of fault.
#[derive(Default)]
struct Kind {
    times: usize,
    events: usize,
    recovered_s: Vec<f64>,
    lost: usize,
    doubled: usize,
    misordered: usize,
    marts: [usize; 2],
}

impl Campaign {
    pub fn new(seeds: Vec<Verdict>, elapsed_s: f64) -> Self {
        let passed = !seeds.is_empty() && seeds.iter().all(Verdict::passed);
        Self { passed, elapsed_s, seeds }
    }

    /// What an earlier one has left in this folder.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(folder.join("verdict.json")).ok()?).ok()
    }

    /// Writes `verdict.json` and `verdict.md`.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("verdict.json"), serde_json::to_string_pretty(self)?)?;
        fs::write(folder.join("verdict.md"), self.markdown())
    }

    pub fn markdown(&self) -> String {
        let failed = self.seeds.iter().filter(|seed| !seed.passed()).count();
        let sum = |of: fn(&Verdict) -> usize| self.seeds.iter().map(of).sum::<usize>();
        let mut text = format!(
            "{} seeds, {failed} failed; {} faults, {} events, {} rows compared; {} lost, {} doubled, {} misordered; {:.0} s.\n\n",
            self.seeds.len(),
            sum(|seed| seed.faults.len()),
            sum(|seed| seed.events),
            sum(|seed| seed.rows),
            sum(|seed| seed.findings.lost.len()),
            sum(|seed| seed.findings.doubled.len()),
            sum(|seed| seed.findings.misordered.len()),
            self.elapsed_s,
        );
        self.put_kinds(&mut text);
        self.put_seeds(&mut text);
        text
    }

    /// A seed's findings count for each of its faults: which one was to blame is for a person to find out.
    fn put_kinds(&self, text: &mut String) {
        let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
        for seed in &self.seeds {
            for met in &seed.faults {
                let kind = kinds.entry(&met.fault).or_default();
                kind.times += 1;
                kind.events += seed.events;
                kind.recovered_s.extend(met.recovered_s);
                kind.lost += seed.findings.lost.len();
                kind.doubled += seed.findings.doubled.len();
                kind.misordered += seed.findings.misordered.len();
                if let Some(equal) = seed.marts_equal {
                    kind.marts[0] += usize::from(equal);
                    kind.marts[1] += 1;
                }
            }
        }
        text.push_str("| fault | times | recovered | seconds, median | longest | events | lost | doubled | misordered | marts equal |\n|---|---|---|---|---|---|---|---|---|---|\n");
        for (fault, mut kind) in kinds {
            kind.recovered_s.sort_by(f64::total_cmp);
            let median = kind.recovered_s.get(kind.recovered_s.len() / 2).copied().unwrap_or(f64::NAN);
            let longest = kind.recovered_s.last().copied().unwrap_or(f64::NAN);
            let Kind { times, events, recovered_s, lost, doubled, misordered, marts: [equal, of] } = kind;
            let recovered = recovered_s.len();
            let row = writeln!(
                text,
                "| {fault} | {times} | {recovered} | {median:.1} | {longest:.1} | {events} | {lost} | {doubled} | {misordered} | {equal} of {of} |"
            );
            row.unwrap();
        }
        text.push('\n');
    }

    fn put_seeds(&self, text: &mut String) {
        text.push_str("| seed | target | events | rows | faults, seconds to recover | lost | doubled | misordered | marts |\n|---|---|---|---|---|---|---|---|---|\n");
        for seed in &self.seeds {
            let met = |met: &Met| match met.recovered_s {
                Some(seconds) => format!("{} {seconds:.1}", met.fault),
                None => format!("**{} not recovered**", met.fault),
            };
            let mut faults = seed.faults.iter().map(met).collect::<Vec<_>>().join("; ");
            if let Some(error) = &seed.error {
                write!(faults, "; **{}**", error.lines().next().unwrap_or_default()).unwrap();
            }
            let marts = seed.marts_equal.map_or("–", |equal| if equal { "equal" } else { "**different**" });
            let Verdict { seed: number, target, events, rows, findings, .. } = seed;
            let Findings { lost, doubled, misordered } = findings;
            let (lost, doubled, misordered) = (lost.len(), doubled.len(), misordered.len());
            let row = writeln!(
                text,
                "| {number} | {target} | {events} | {rows} | {faults} | {lost} | {doubled} | {misordered} | {marts} |"
            );
            row.unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        let faults = vec![Met { fault: "capture killed".to_owned(), recovered_s: Some(1.0) }];
        Verdict { seed: 1, events: 10, rows: 5, faults, marts_equal: Some(true), ..Verdict::default() }
    }

    fn passes(damage: impl FnOnce(&mut Verdict)) -> bool {
        let mut damaged = verdict();
        damage(&mut damaged);
        Campaign::new(vec![verdict(), damaged], 1.0).passed
    }

    #[test]
    fn one_finding_fails_the_campaign() {
        assert!(passes(|_| {}));
        assert!(!passes(|seed| seed.findings.lost.push(String::new())));
        assert!(!passes(|seed| seed.findings.doubled.push(String::new())));
        assert!(!passes(|seed| seed.findings.misordered.push(String::new())));
        assert!(!passes(|seed| seed.marts_equal = Some(false)));
        assert!(!passes(|seed| seed.error = Some("died".to_owned())));
        assert!(!passes(|seed| seed.faults[0].recovered_s = None));
        assert!(!passes(|seed| seed.events = 0));
        assert!(!passes(|seed| seed.rows = 0));
        assert!(!Campaign::new(Vec::new(), 1.0).passed);
    }
}
