//! What was measured, kept as JSON below `target/bench`, one file for each scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A scenario's results.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Outcome {
    pub(super) scenario: String,
    /// How it was called.
    pub(super) command: String,
    pub(super) machine: String,
    /// Of both servers and all clients.
    pub(super) versions: Vec<String>,
    /// Day of the run.
    pub(super) date: String,
    pub(super) repetitions: usize,
    /// How long it took.
    pub(super) seconds: f64,
    /// Turns that were made, `round system`, failed ones included.
    #[serde(default)]
    pub(super) turns: Vec<String>,
    /// What failed, and why. What was measured before is kept.
    #[serde(default)]
    pub(super) failures: Vec<String>,
    /// How many measurements began although the disk had not come to rest.
    #[serde(default)]
    pub(super) restless: usize,
    /// In the order of the columns.
    pub(super) systems: Vec<String>,
    /// In the order of the rows.
    pub(super) figures: Vec<Figure>,
    pub(super) curves: Vec<Curve>,
}

/// One measure in one case: all repetitions of each system.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figure {
    pub(super) case: String,
    pub(super) measure: String,
    pub(super) values: BTreeMap<String, Vec<f64>>,
}

/// Latencies in one case: milliseconds at each percentile, for all repetitions of each system.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Curve {
    pub(super) case: String,
    pub(super) percentiles: Vec<f64>,
    pub(super) values: BTreeMap<String, Vec<Vec<f64>>>,
}

impl Outcome {
    /// Repetitions that were made, of the system that has most.
    pub(super) fn made(&self) -> usize {
        let made = self.turns.len().div_ceil(self.systems.len().max(1));
        if made == 0 { self.repetitions } else { made.min(self.repetitions) }
    }

    /// Adds one repetition of a measure.
    pub(super) fn record(&mut self, system: &str, case: &str, measure: &str, value: f64) {
        let found = self.figures.iter().position(|f| f.case == case && f.measure == measure);
        let index = found.unwrap_or_else(|| {
            // Rows of a case stay together, whichever system came to it first.
            let after =
                self.figures.iter().rposition(|f| f.case == case).map_or(self.figures.len(), |i| i + 1);
            let (case, measure) = (case.to_owned(), measure.to_owned());
            self.figures.insert(after, Figure { case, measure, values: BTreeMap::new() });
            after
        });
        self.figures[index].values.entry(system.to_owned()).or_default().push(value);
    }

    /// Adds one repetition of latencies: percentiles with milliseconds.
    pub(super) fn record_curve(&mut self, system: &str, case: &str, points: &[(f64, f64)]) {
        let found = self.curves.iter().position(|c| c.case == case);
        let index = found.unwrap_or_else(|| {
            let percentiles = points.iter().map(|(percentile, _)| *percentile).collect();
            self.curves.push(Curve { case: case.to_owned(), percentiles, values: BTreeMap::new() });
            self.curves.len() - 1
        });
        let latencies = points.iter().map(|(_, ms)| *ms).collect();
        self.curves[index].values.entry(system.to_owned()).or_default().push(latencies);
    }

    /// The median of a measure.
    pub(super) fn median(&self, system: &str, case: &str, measure: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|f| f.case == case && f.measure == measure)?;
        median(figure.values.get(system)?)
    }

    /// Writes it into `dir`, over an earlier result of the scenario.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join(format!("{}.json", self.scenario)), serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// The result of a scenario in `dir`, if there is one.
    pub(super) fn load(dir: &Path, scenario: &str) -> Result<Option<Self>> {
        let path = dir.join(format!("{scenario}.json"));
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        let outcome = serde_json::from_str(&text);
        Ok(Some(
            outcome.with_context(|| format!("{}: remove it and run the scenario again", path.display()))?,
        ))
    }
}

/// The middle of the values; of an even number, the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length.is_multiple_of(2) => Some(f64::midpoint(sorted[upper - 1], sorted[upper])),
        _ => Some(sorted[upper]),
    }
}

/// Least and greatest of the values.
pub(super) fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some((least, values.iter().copied().max_by(f64::total_cmp)?))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, median, spread};

    #[test]
    fn median_and_spread() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[2.0, 3.0, 1.0]), Some((1.0, 3.0)));
    }

    #[test]
    fn rows_of_a_case_stay_together() {
        let mut outcome = Outcome::default();
        outcome.record("a", "one", "x", 1.0);
        outcome.record("a", "two", "x", 2.0);
        outcome.record("b", "one", "y", 3.0);
        outcome.record("b", "one", "x", 5.0);
        let rows: Vec<_> = outcome.figures.iter().map(|f| (f.case.as_str(), f.measure.as_str())).collect();
        assert_eq!(rows, [("one", "x"), ("one", "y"), ("two", "x")]);
        assert_eq!(outcome.median("b", "one", "x"), Some(5.0));
    }

    #[test]
    fn tells_the_repetitions_that_were_made() {
        let mut outcome =
            Outcome { repetitions: 3, systems: vec!["a".into(), "b".into()], ..Outcome::default() };
        assert_eq!(outcome.made(), 3, "as of a file from before turns were noted");
        outcome.turns = vec!["1 a".into(), "1 b".into()];
        assert_eq!(outcome.made(), 1);
        outcome.turns.push("2 a".into());
        assert_eq!(outcome.made(), 2);
    }

    #[test]
    fn survives_the_file() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(Outcome::load(dir.path(), "some")?.is_none());
        let mut outcome = Outcome { scenario: "some".into(), ..Outcome::default() };
        outcome.record("a", "one", "x", 1.5);
        outcome.record_curve("a", "one", &[(50.0, 0.5), (99.0, 2.0)]);
        outcome.save(dir.path())?;
        let read = Outcome::load(dir.path(), "some")?.expect("what was saved");
        assert_eq!(read.median("a", "one", "x"), Some(1.5));
        assert_eq!(read.curves[0].values["a"], [[0.5, 2.0]]);
        Ok(())
    }
}
