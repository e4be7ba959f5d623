//! Removing files without stopping the disk.
//!
//! Where a file system tells its disk of every block that is freed (ext4 and others mounted with `discard`), the removal of gigabytes
//! holds up whatever else the disk is asked for, syncs above all. So a large file is shortened piece by piece, with a pause after each,
//! and removed when it is small. A log directory has one remover at a time, so that the pace is that of the directory.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::DirOffline;
use super::log_dir::LogDir;
use crate::fs::{Fs, FsFile, Sharing, remove_file_if_exists};
use crate::log::files;

/// What is freed between two pauses, bytes. Smaller files are removed at once.
pub const REMOVAL_STEP_BYTES: u64 = 4 << 20;
/// The pause between two steps, which makes 400 MB/s at most.
pub const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Removes files of a log directory.
pub(super) struct Remover<'a> {
    dir: &'a LogDir,
    /// Waits for [`REMOVAL_PAUSE`]; `false`: the rest is to be left as it is.
    pause: &'a mut dyn FnMut() -> bool,
    freed: Freed,
    is_stopped: bool,
    /// The directory whose names are known to be durable.
    synced: Option<PathBuf>,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is gone.
    Done,
    /// Somebody still reads it: again another time. Removing its name would free nothing, and when the reader closes it, all at
    /// once.
    InUse,
    /// There was no time for all of it.
    Stopped,
}

/// What was freed since the last pause.
#[derive(Debug, Default)]
struct Freed(u64);

impl Freed {
    /// Whether it is time for a pause.
    fn add(&mut self, bytes: u64) -> bool {
        self.0 = self.0.saturating_add(bytes);
        let is_due = self.0 >= REMOVAL_STEP_BYTES;
        if is_due {
            self.0 = 0;
        }
        is_due
    }
}

/// The next length of a file that is being shortened; `None` when the rest can go at once.
fn shortened(len: u64) -> Option<u64> {
    len.checked_sub(REMOVAL_STEP_BYTES).filter(|left| *left > 0)
}

impl<'a> Remover<'a> {
    pub(super) fn new(dir: &'a LogDir, pause: &'a mut dyn FnMut() -> bool) -> Self {
        Self { dir, pause, freed: Freed::default(), is_stopped: false, synced: None }
    }

    /// Removes a file that bears a name with which every start removes it (`.deleted`), and that nobody opens any more.
    pub(super) fn remove_file(&mut self, path: &Path) -> Result<Removal, DirOffline> {
        let what = format!("remove {}", path.display());
        let mut len = match self.look(&what, |fs| fs.info(path))? {
            Ok(info) => info.len,
            Err(removal) => return Ok(removal),
        };
        if len > REMOVAL_STEP_BYTES
            && let Some(file) = self.open(path, &what)?
        {
            match self.dir.attempt(&what, |_| file.sharing())? {
                Sharing::Open => return Ok(Removal::InUse),
                Sharing::Linked => len = 0,
                Sharing::Alone => match self.shorten(path, file.as_ref(), len, &what)? {
                    Some(left) => len = left,
                    None => return Ok(Removal::Stopped),
                },
            }
        }
        self.dir.attempt(&what, |fs| remove_file_if_exists(fs, path))?;
        self.free(len);
        Ok(Removal::Done)
    }

    /// Removes a partition directory that was renamed to go.
    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<Removal, DirOffline> {
        let what = format!("remove {}", path.display());
        let entries = match self.look(&what, |fs| fs.list(path))? {
            Ok(entries) => entries,
            Err(removal) => return Ok(removal),
        };
        let files = || entries.iter().filter(|(_, info)| !info.is_dir);
        let mut left = files().map(|(_, info)| info.len).sum();
        if files().any(|(_, info)| info.len > REMOVAL_STEP_BYTES) {
            let mut outcome = Removal::Done;
            for file in self.mark_deleted(path, files().map(|(name, _)| name.as_str()), &what)? {
                match self.remove_file(&file)? {
                    Removal::Done => {}
                    Removal::Stopped => return Ok(Removal::Stopped),
                    Removal::InUse => outcome = Removal::InUse,
                }
            }
            if outcome == Removal::InUse {
                return Ok(outcome);
            }
            left = 0;
        }
        self.dir.attempt(&what, |fs| match fs.remove_dir_all(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        })?;
        self.free(left);
        Ok(Removal::Done)
    }

    /// What is there to remove, if anything is to be done.
    fn look<T>(
        &self,
        what: &str,
        look: impl FnOnce(&dyn Fs) -> io::Result<T>,
    ) -> Result<Result<T, Removal>, DirOffline> {
        if self.is_stopped {
            return Ok(Err(Removal::Stopped));
        }
        self.dir.attempt(what, |fs| match look(fs) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Err(Removal::Done)),
            found => found.map(Ok),
        })
    }

    /// Renames what belongs to segments, so that whoever finds a segment half removed knows what it is. Their new paths.
    fn mark_deleted<'n>(
        &self,
        dir: &Path,
        names: impl Iterator<Item = &'n str>,
        what: &str,
    ) -> Result<Vec<PathBuf>, DirOffline> {
        let mut marked = Vec::new();
        for name in names.filter(|name| files::parse(name).is_some()) {
            let path = dir.join(name);
            if name.ends_with(files::DELETED) {
                marked.push(path);
                continue;
            }
            let deleted = files::with_suffix(&path, files::DELETED);
            self.dir.attempt(what, |fs| fs.rename(&path, &deleted))?;
            marked.push(deleted);
        }
        Ok(marked)
    }

    /// The file, if it may be changed.
    fn open(&self, path: &Path, what: &str) -> Result<Option<Arc<dyn FsFile>>, DirOffline> {
        self.dir.attempt(what, |fs| match fs.open(path, crate::fs::OpenMode::Write) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
            file => file.map(Some),
        })
    }

    /// Shortens a file; what is left of it, `None` when there was no time for all.
    fn shorten(
        &mut self,
        path: &Path,
        file: &dyn FsFile,
        mut len: u64,
        what: &str,
    ) -> Result<Option<u64>, DirOffline> {
        let parent = path.parent().unwrap_or(path);
        if self.synced.as_deref() != Some(parent) {
            // After a power cut it must not be there by its old name, and shorter.
            self.dir.attempt(what, |fs| fs.sync_dir(parent))?;
            self.synced = Some(parent.to_owned());
        }
        while let Some(next) = shortened(len) {
            self.dir.attempt(what, |_| file.set_len(next))?;
            self.free(len - next);
            len = next;
            if self.is_stopped {
                return Ok(None);
            }
        }
        Ok(Some(len))
    }

    fn free(&mut self, bytes: u64) {
        if self.freed.add(bytes) && !self.is_stopped {
            self.is_stopped = !(self.pause)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_shortened_by_equal_steps_until_the_rest_is_small() {
        let lengths = |len| std::iter::successors(Some(len), |len| shortened(*len)).collect::<Vec<u64>>();
        assert_eq!(lengths(0), [0]);
        assert_eq!(lengths(4 * MIB), [4 * MIB]);
        assert_eq!(lengths(4 * MIB + 1), [4 * MIB + 1, 1]);
        assert_eq!(lengths(11 * MIB), [11 * MIB, 7 * MIB, 3 * MIB]);
    }

    #[test]
    fn small_files_count_together_for_a_pause() {
        let mut freed = Freed::default();
        assert!(!freed.add(0) && !freed.add(3 * MIB) && freed.add(MIB));
        assert!(!freed.add(3 * MIB) && freed.add(u64::MAX));
        assert!(!freed.add(1));
    }
}
