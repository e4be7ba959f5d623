//! A file system in memory that behaves as badly as a real one may.
//!
//! It is deterministic, keeps what is durable apart from what is merely visible, fails where it is told to
//! ([`MemFs::inject`]), and [`MemFs::crash`] makes it forget a seeded choice of everything that was not synced. To try every
//! crash point of a piece of code, run it with [`MemFs::cut_power_at`] 0, 1, 2, … until it no longer hits the cut, and
//! [`MemFs::fork`] each stopped state to crash it with many seeds.

mod contents;
mod crash;
mod fault;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::fault::{Effect, Fault, Operation};
use self::fault::{Faults, Verdict};
use self::tree::{InodeId, Tree};
use super::{FileInfo, FileLock, Fs, FsFile, OpenMode, Sharing, Volume};

const BAD_DESCRIPTOR: i32 = 9;
const STALE_HANDLE: i32 = 116;

/// What [`Fs::space`] says: memory is never full, as long as no fault says so.
const MEMORY_BYTES: u64 = 1 << 40;

/// A file system in memory; clones are handles of the same one.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    tree: Tree,
    faults: Faults,
    /// Goes up with each crash; handles and locks of an earlier life are dead.
    generation: u64,
    locks: BTreeMap<InodeId, u64>,
    next_lock: u64,
    now_ms: i64,
    capacity_bytes: Option<u64>,
}

impl MemFs {
    /// An empty file system with only the root directory; its clock stands at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time that modifications are stamped with, ms since the epoch.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state().now_ms = now_ms;
    }

    /// Sets how many bytes of file contents fit; a write or extension beyond fails with `ENOSPC`, after a write has stored
    /// what still fits.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// How many bytes of file contents there are.
    pub fn used_bytes(&self) -> u64 {
        self.state().tree.used_bytes()
    }

    /// Adds a fault; several may be active, the first that matches an operation applies.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.inject(fault);
    }

    /// Removes all injected faults and a pending power cut.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// How many mutating operations (all but open of an existing file, reads and look-ups) were attempted so far.
    pub fn operations(&self) -> u64 {
        self.state().faults.operations()
    }

    /// Cuts the power just before mutating operation number `at` (counted as [`MemFs::operations`] does): that and
    /// every later operation of any kind fails until [`MemFs::crash`] or [`MemFs::heal`].
    pub fn cut_power_at(&self, at: u64) {
        self.state().faults.cut_power_at(at);
    }

    /// Whether the cut of [`MemFs::cut_power_at`] was reached.
    pub fn is_powered_off(&self) -> bool {
        self.state().faults.is_powered_off()
    }

    /// The mutating operations done since the last call, in order, with the path (of a rename, the old one).
    pub fn take_trace(&self) -> Vec<(Operation, PathBuf)> {
        self.state().faults.take_trace()
    }

    /// An independent copy of the present state, durable and visible, without its open handles and locks.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.locks.clear();
        state.tree.forget_handles();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The machine stops and starts again. What was synced is there; of the rest a choice by `seed`: unsynced writes kept,
    /// lost, reordered or torn (at a byte, by sectors or pages, or all but the length lost), unsynced creations, renames and removals kept or undone.
    /// Handles and locks of before are dead, faults are gone.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state();
        crash::crash(&mut state.tree, seed);
        state.generation += 1;
        state.locks.clear();
        state.faults.heal();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bytes that may still be added, as far as the capacity goes.
    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.tree.used_bytes()))
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        let mut state = self.state();
        let creates = mode == OpenMode::CreateNew
            || (mode == OpenMode::CreateOrOpen && state.tree.resolve(path).is_err());
        let operation = if creates { Operation::Create } else { Operation::Open };
        state.faults.check(operation, path)?;
        let now_ms = state.now_ms;
        let inode = state.tree.open(path, mode, now_ms)?;
        let file = MemFile {
            fs: self.clone(),
            inode,
            generation: state.generation,
            writable: mode != OpenMode::Read,
            path: path.to_owned(),
        };
        Ok(Arc::new(file))
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        let mut state = self.state();
        state.faults.check(Operation::Look, path)?;
        state.tree.info(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileInfo)>> {
        let mut state = self.state();
        state.faults.check(Operation::Look, dir)?;
        state.tree.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let now_ms = state.now_ms;
        for missing in state.tree.missing_dirs(dir)? {
            state.faults.check(Operation::CreateDir, &missing)?;
            state.tree.create_dir(&missing, now_ms)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::Rename, from)?;
        state.tree.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::Remove, path)?;
        state.tree.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        // One operation per entry, as it is for a real file system: a crash may come in between.
        let entries = self.state().tree.walk_bottom_up(dir)?;
        for (path, is_dir) in entries {
            let mut state = self.state();
            state.faults.check(Operation::Remove, &path)?;
            if is_dir { state.tree.remove_empty_dir(&path)? } else { state.tree.remove_file(&path)? }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.faults.judge_sync(Operation::SyncDir, dir)? { state.tree.sync_dir(dir) } else { Ok(()) }
    }

    fn volume(&self, dir: &Path) -> io::Result<Option<Arc<dyn Volume>>> {
        let mut state = self.state();
        state.faults.check(Operation::Open, dir)?;
        state.tree.resolve(dir)?;
        let volume = MemVolume { fs: self.clone(), generation: state.generation, path: dir.to_owned() };
        Ok(Some(Arc::new(volume)))
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::SetAttributes, path)?;
        state.tree.set_modified(path, modified_ms)
    }

    fn set_read_only(&self, path: &Path, read_only: bool) -> io::Result<()> {
        let mut state = self.state();
        state.faults.check(Operation::SetAttributes, path)?;
        state.tree.set_read_only(path, read_only)
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.info(path)?;
        Ok((MEMORY_BYTES, MEMORY_BYTES))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        let mut state = self.state();
        let operation = if state.tree.resolve(path).is_err() { Operation::Create } else { Operation::Open };
        state.faults.check(operation, path)?;
        let now_ms = state.now_ms;
        let inode = state.tree.open(path, OpenMode::CreateOrOpen, now_ms)?;
        state.tree.close(inode);
        if state.locks.contains_key(&inode) {
            return Ok(None);
        }
        let id = state.next_lock;
        state.next_lock += 1;
        state.locks.insert(inode, id);
        Ok(Some(Box::new(MemLock { fs: self.clone(), inode, id, generation: state.generation })))
    }
}

/// An open file in memory.
#[derive(Debug)]
struct MemFile {
    fs: MemFs,
    inode: InodeId,
    generation: u64,
    writable: bool,
    /// Where it was opened: what faults are matched against.
    path: PathBuf,
}

impl MemFile {
    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.fs.state();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::from_raw_os_error(STALE_HANDLE))
        }
    }

    fn live_for_writing(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable { self.live() } else { Err(io::Error::from_raw_os_error(BAD_DESCRIPTOR)) }
    }
}

impl FsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.live()?;
        state.faults.check(Operation::Read, &self.path)?;
        Ok(state.tree.file(self.inode)?.read_at(buf, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.live_for_writing()?;
        let verdict = state.faults.judge_write(&self.path, bytes.len())?;
        let grows =
            offset.saturating_add(bytes.len() as u64).saturating_sub(state.tree.file(self.inode)?.len());
        let missing = usize::try_from(grows.saturating_sub(state.free_bytes())).unwrap_or(usize::MAX);
        let (fits, error) = match verdict {
            Verdict::Torn(kept, error) => (kept, Some(error)),
            Verdict::Proceed if missing > 0 => {
                (bytes.len().saturating_sub(missing), Some(Effect::NoSpace.error()))
            }
            Verdict::Proceed => (bytes.len(), None),
        };
        let now_ms = state.now_ms;
        state.tree.file_mut(self.inode)?.write_at(&bytes[..fits], offset, now_ms);
        error.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.live()?;
        state.faults.check(Operation::Look, &self.path)?;
        Ok(state.tree.file(self.inode)?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.live_for_writing()?;
        state.faults.check(Operation::SetLen, &self.path)?;
        if len.saturating_sub(state.tree.file(self.inode)?.len()) > state.free_bytes() {
            return Err(Effect::NoSpace.error());
        }
        let now_ms = state.now_ms;
        state.tree.file_mut(self.inode)?.set_len(len, now_ms);
        Ok(())
    }

    fn sharing(&self) -> io::Result<Sharing> {
        let mut state = self.live()?;
        state.faults.check(Operation::Look, &self.path)?;
        Ok(if state.tree.handles(self.inode) == 1 { Sharing::Alone } else { Sharing::Open })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.live()?;
        let verdict = state.faults.judge_sync(Operation::Sync, &self.path);
        let powered_off = state.faults.is_powered_off();
        let file = state.tree.file_mut(self.inode)?;
        match verdict {
            Ok(true) => file.sync(),
            Ok(false) => {}
            Err(_) if powered_off => {}
            Err(_) => file.lose_unsynced(),
        }
        verdict.map(|_| ())
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut state = self.live()?;
        state.faults.check(Operation::Look, &self.path)?;
        state.tree.file_mut(self.inode)?.forget_cached();
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.live() {
            state.tree.close(self.inode);
        }
    }
}

/// All of it.
#[derive(Debug)]
struct MemVolume {
    fs: MemFs,
    generation: u64,
    /// Where it was opened: what faults are matched against.
    path: PathBuf,
}

impl Volume for MemVolume {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.fs.state();
        if state.generation != self.generation {
            return Err(io::Error::from_raw_os_error(STALE_HANDLE));
        }
        let verdict = state.faults.check(Operation::SyncVolume, &self.path);
        match verdict {
            Ok(()) => state.tree.sync_all(),
            Err(_) if state.faults.is_powered_off() => {}
            Err(_) => state.tree.lose_all_unsynced(),
        }
        verdict
    }
}

#[derive(Debug)]
struct MemLock {
    fs: MemFs,
    inode: InodeId,
    id: u64,
    generation: u64,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut state = self.fs.state();
        if state.generation == self.generation && state.locks.get(&self.inode) == Some(&self.id) {
            state.locks.remove(&self.inode);
        }
    }
}
