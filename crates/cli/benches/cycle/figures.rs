//! What was measured, by measure and by who.

use std::collections::BTreeMap;

use super::{args::Profile, measure::Measure};

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Ours,
    Peer(Profile),
}

/// All figures of all runs.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<(Measure, Who), Vec<f64>>);

impl Figures {
    /// Takes a figure and says it.
    pub fn add(&mut self, measure: Measure, who: Who, value: f64) {
        let name = match who {
            Who::Ours => "tidemart".to_owned(),
            Who::Peer(profile) => format!("peer ({profile:?})").to_lowercase(),
        };
        eprintln!("  {name}: {measure}: {}", measure.row().unit.show(value));
        self.0.entry((measure, who)).or_default().push(value);
    }

    /// The median of the runs.
    pub fn median(&self, measure: Measure, who: Who) -> Option<f64> {
        self.0.get(&(measure, who)).map(|values| quantile(&mut values.clone(), 0.5))
    }

    /// The peer's medians, by its settings.
    pub fn of_peers(&self, measure: Measure) -> Vec<(Profile, f64)> {
        let found = self.0.keys().filter_map(|(of, who)| match who {
            Who::Peer(profile) if *of == measure => Some(*profile),
            _ => None,
        });
        found.filter_map(|profile| Some((profile, self.median(measure, Who::Peer(profile))?))).collect()
    }
}

/// The value that so large a part of all lies at or below (nearest rank); not a number for none.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
