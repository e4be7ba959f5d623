//! How long the disk takes to make a little durable while something is measured, whoever the server is: what of a pause is the
//! disk's own.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// Between two syncs: seldom enough to cost nothing, often enough to meet most pauses of 20 ms.
const PACE: Duration = Duration::from_millis(10);

/// A thread that appends 4 KiB to a file of its own and syncs them, again and again. Ended when dropped.
pub(super) struct Probe {
    file: PathBuf,
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<f64>>>>,
}

/// How long the syncs took, ms, ascending; at least one.
pub(super) struct Syncs(Vec<f64>);

impl Probe {
    /// Starts in `dir`, which is on the server's disk.
    pub(super) fn start(dir: &Path) -> Self {
        let (file, is_done) = (dir.join("probe"), Arc::new(AtomicBool::new(false)));
        let (own, stop) = (file.clone(), Arc::clone(&is_done));
        let thread = std::thread::spawn(move || sync_until(&own, &stop));
        Self { file, is_done, thread: Some(thread) }
    }

    /// Ends it.
    pub(super) fn stop(mut self) -> Result<Syncs> {
        self.is_done.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a probe that runs")?;
        let mut taken = thread.join().map_err(|_| anyhow!("the probe panicked"))??;
        taken.sort_by(f64::total_cmp);
        Ok(Syncs(taken))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever drops it has an error of his own.
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.file);
    }
}

impl Syncs {
    /// What `percent` of the syncs did not exceed, ms.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[((percent / 100.0 * self.0.len() as f64) as usize).min(last)]
    }
}

fn sync_until(file: &Path, is_done: &AtomicBool) -> Result<Vec<f64>> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(file)?;
    let mut taken = Vec::new();
    loop {
        file.write_all(&[b'x'; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        taken.push(start.elapsed().as_secs_f64() * 1000.0);
        if is_done.load(Ordering::Relaxed) {
            return Ok(taken);
        }
        std::thread::sleep(PACE);
    }
}

#[cfg(test)]
mod tests {
    use super::{Probe, Syncs};

    #[test]
    fn measures_and_leaves_nothing() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let syncs = Probe::start(dir.path()).stop()?;
        assert!(syncs.percentile(100.0) > 0.0);
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let syncs = Syncs((1..=100).map(f64::from).collect());
        assert_eq!([0.0, 50.0, 99.0, 100.0].map(|p| syncs.percentile(p)), [1.0, 51.0, 100.0, 100.0]);
        assert!((Syncs(vec![7.0]).percentile(99.0) - 7.0).abs() < f64::EPSILON);
    }
}
