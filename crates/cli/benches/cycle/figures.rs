//! What was measured, by measure and by who.

use std::{collections::BTreeMap, fmt};

use super::{args::Profile, measure::Measure};

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Ours,
    Peer(Profile),
    /// The peer of what Spark does.
    PySpark,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => f.write_str("tidemart"),
            Self::Peer(profile) => f.write_str(&format!("{profile:?}").to_lowercase()),
            Self::PySpark => f.write_str("pyspark"),
        }
    }
}

/// All figures of all runs.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<(Measure, Who), Vec<f64>>);

impl Figures {
    /// Takes a figure and says it.
    pub fn add(&mut self, measure: Measure, who: Who, value: f64) {
        let name = if who == Who::Ours { who.to_string() } else { format!("peer ({who})") };
        eprintln!("  {name}: {measure}: {}", measure.row().unit.show(value));
        self.0.entry((measure, who)).or_default().push(value);
    }

    /// The median of the runs.
    pub fn median(&self, measure: Measure, who: Who) -> Option<f64> {
        self.0.get(&(measure, who)).map(|values| quantile(&mut values.clone(), 0.5))
    }

    /// The peers' medians.
    pub fn of_peers(&self, measure: Measure) -> Vec<(Who, f64)> {
        let found = self.0.keys().filter(|(of, who)| *of == measure && *who != Who::Ours);
        found.filter_map(|(_, who)| Some((*who, self.median(measure, *who)?))).collect()
    }
}

/// The value that so large a part of all lies at or below (nearest rank); not a number for none.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
