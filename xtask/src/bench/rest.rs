//! Rest before a measurement, the same for every system: what was written earlier is on the disk, and the disk has nothing more to
//! do. Otherwise one case pays for another: after a flood syncs take tens of milliseconds for a while.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What is known of the machine at rest.
pub(super) struct Rest {
    /// The least that a sync took so far, ms.
    sync_ms: Cell<f64>,
}

/// How often the disk is looked at.
const STEP: Duration = Duration::from_millis(200);
/// So many looks one after the other have to find it idle.
const LOOKS: usize = 3;
/// Busy for less of a step is idle: others write logs.
const BUSY: Duration = Duration::from_millis(40);

impl Rest {
    pub(super) fn new() -> Self {
        Self { sync_ms: Cell::new(f64::INFINITY) }
    }

    /// Waits until the disk below `dir` rests: it is hardly busy, and a sync takes little more than the least seen. `false`: it did
    /// not within `limit`.
    pub(super) fn wait(&self, dir: &Path, limit: Duration) -> Result<bool> {
        rustix::fs::sync();
        fs::create_dir_all(dir)?;
        let probe = dir.join("rest");
        let start = Instant::now();
        let mut idle = 0;
        while idle < LOOKS && start.elapsed() < limit {
            let before = busy(dir)?;
            std::thread::sleep(STEP);
            let is_idle = busy(dir)?.saturating_sub(before) < BUSY;
            let sync_ms = sync_ms(&probe)?;
            self.sync_ms.set(self.sync_ms.get().min(sync_ms));
            idle = if is_idle && sync_ms < self.sync_ms.get() * 3.0 + 1.0 { idle + 1 } else { 0 };
        }
        if probe.exists() {
            fs::remove_file(&probe)?;
        }
        Ok(idle >= LOOKS)
    }
}

/// The time that the disk of `dir` was busy so far; zero where the kernel does not tell, as of a file system in memory.
fn busy(dir: &Path) -> Result<Duration> {
    let device = fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(device).to_string(), rustix::fs::minor(device).to_string());
    let stats = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let line = stats.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = line.into_iter().find(|fields| fields.len() > 12 && fields[0] == major && fields[1] == minor);
    own.map_or(Ok(Duration::ZERO), |fields| Ok(Duration::from_millis(fields[12].parse()?)))
}

/// The middle of five syncs of 4 KiB each.
fn sync_ms(probe: &Path) -> Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(probe)?;
    let mut taken = [0.0; 5];
    for ms in &mut taken {
        file.write_all(&[b'x'; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        *ms = start.elapsed().as_secs_f64() * 1000.0;
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken[2])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Rest, busy, sync_ms};

    #[test]
    fn waits_no_longer_than_the_limit_and_leaves_nothing() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(!Rest::new().wait(dir.path(), Duration::ZERO)?, "nothing was looked at");
        assert!(busy(dir.path())? <= busy(dir.path())?);
        assert!(sync_ms(&dir.path().join("probe"))? > 0.0);
        assert!(!dir.path().join("rest").exists());
        Ok(())
    }
}
