//! A page cache that is full before a measurement, as it is on a machine that has run for a while, the same for every system.
//!
//! Where a hypervisor takes free pages away ("free page reporting"), whoever first uses one again pays several times what writing to it
//! costs, so that a case on a machine with much free memory is slower than the same one later. Pages of the page cache stay.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::machine::meminfo;

/// Fills the page cache by reading a file that takes no space on the disk.
pub(super) struct Filler {
    /// All of it a hole, as long as the memory of the machine.
    hole: File,
    /// Where to read on.
    at: Cell<u64>,
    length: u64,
}

/// Less free memory than this is a full page cache, in KiB: the kernel itself keeps a few hundred MiB.
const FULL: u64 = 512 << 10;
/// What is read at a time.
const STEP: usize = 16 << 20;

impl Filler {
    /// Keeps its file in `dir`, without a name.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("hole");
        let hole = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        let length = meminfo("MemTotal:")? << 10;
        hole.set_len(length)
            .with_context(|| format!("a sparse file of {length} bytes at {}", path.display()))?;
        fs::remove_file(&path)?;
        Ok(Self { hole, at: Cell::new(0), length })
    }

    /// Reads until little memory is free, at most as much as there is memory.
    pub(super) fn fill(&self) -> Result<()> {
        let mut chunk = vec![0; STEP];
        let mut left = self.length;
        while left > 0 && meminfo("MemFree:")? > FULL {
            let read = self.hole.read_at(&mut chunk, self.at.get())? as u64;
            // After its end it is read from the beginning.
            self.at.set(if read == 0 { 0 } else { self.at.get() + read });
            left = left.saturating_sub(read.max(1));
        }
        Ok(())
    }
}
