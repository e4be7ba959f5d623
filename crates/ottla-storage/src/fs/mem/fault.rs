//! Which operations of a [`MemFs`](super::MemFs) fail, and how.

use std::io;
use std::path::{Path, PathBuf};

/// What is done to the file system, as far as faults tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Describing a path, listing a directory, asking a file's length.
    Look,
    /// Opening an existing file.
    Open,
    /// Reading.
    Read,
    /// Creating a file.
    Create,
    /// Creating a directory.
    CreateDir,
    /// Writing.
    Write,
    /// Cutting or extending a file.
    SetLen,
    /// Making a file durable.
    Sync,
    /// Making a directory durable.
    SyncDir,
    /// Making the whole volume durable.
    SyncVolume,
    /// Renaming.
    Rename,
    /// Removing a file or an empty directory.
    Remove,
    /// Setting the time of modification or the permissions.
    SetAttributes,
}

impl Operation {
    /// Whether it changes what is there or what is durable; only those are counted and traced.
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Look | Self::Open | Self::Read)
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `EIO`, nothing done. After a failed sync the unsynced writes are lost to the disk, though still visible, and a later
    /// sync succeeds without them, as on Linux.
    Io,
    /// `ENOSPC`, nothing done.
    NoSpace,
    /// `EACCES`, nothing done.
    Denied,
    /// A write stores this many of its bytes, then fails with `EIO`; any other operation as [`Effect::Io`].
    Torn(usize),
    /// A sync says that all is well and does nothing, as a drive whose cache lies; any other operation as [`Effect::Io`].
    Pretended,
}

impl Effect {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io | Self::Torn(_) | Self::Pretended => 5,
            Self::NoSpace => 28,
            Self::Denied => 13,
        })
    }
}

/// A rule for failing operations. By default it hits every operation once it is injected; the methods narrow it.
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    operation: Option<Operation>,
    path_part: Option<String>,
    skip: u64,
    times: u64,
}

impl Fault {
    /// A fault with this effect on all operations, for ever.
    pub fn new(effect: Effect) -> Self {
        Self { effect, operation: None, path_part: None, skip: 0, times: u64::MAX }
    }

    /// Only operations of this kind.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only operations whose path, as text, contains `part`.
    #[must_use]
    pub fn at(mut self, part: &str) -> Self {
        self.path_part = Some(part.to_owned());
        self
    }

    /// Lets the first `n` matching operations pass.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Strikes only `n` times.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    fn strikes(&mut self, operation: Operation, path: &Path) -> bool {
        let matches = self.operation.is_none_or(|wanted| wanted == operation)
            && self.path_part.as_ref().is_none_or(|part| path.to_string_lossy().contains(part.as_str()));
        if !matches || self.times == 0 {
            false
        } else if self.skip > 0 {
            self.skip -= 1;
            false
        } else {
            self.times -= 1;
            true
        }
    }
}

/// What becomes of a write.
pub(super) enum Verdict {
    Proceed,
    Torn(usize, io::Error),
}

/// The active faults and the count of operations.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    faults: Vec<Fault>,
    operations: u64,
    cut_at: Option<u64>,
    powered_off: bool,
    trace: Vec<(Operation, PathBuf)>,
}

/// Longest trace that is kept when nobody takes it.
const MAX_TRACE: usize = 100_000;

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.cut_at = None;
        self.powered_off = false;
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn cut_power_at(&mut self, at: u64) {
        self.cut_at = Some(at);
    }

    pub(super) fn is_powered_off(&self) -> bool {
        self.powered_off
    }

    pub(super) fn take_trace(&mut self) -> Vec<(Operation, PathBuf)> {
        std::mem::take(&mut self.trace)
    }

    /// Counts the operation and says whether it may be done.
    pub(super) fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        match self.strike(operation, path)? {
            Some(effect) => Err(effect.error()),
            None => Ok(()),
        }
    }

    /// As [`Faults::check`], for a sync: whether it does anything.
    pub(super) fn judge_sync(&mut self, operation: Operation, path: &Path) -> io::Result<bool> {
        match self.strike(operation, path)? {
            None => Ok(true),
            Some(Effect::Pretended) => Ok(false),
            Some(effect) => Err(effect.error()),
        }
    }

    /// As [`Faults::check`], for a write of `len` bytes.
    pub(super) fn judge_write(&mut self, path: &Path, len: usize) -> io::Result<Verdict> {
        match self.strike(Operation::Write, path)? {
            None => Ok(Verdict::Proceed),
            Some(effect @ Effect::Torn(kept)) => Ok(Verdict::Torn(kept.min(len), effect.error())),
            Some(effect) => Err(effect.error()),
        }
    }

    fn strike(&mut self, operation: Operation, path: &Path) -> io::Result<Option<Effect>> {
        if operation.is_mutating() && self.cut_at.is_some_and(|at| self.operations >= at) {
            self.powered_off = true;
        }
        if self.powered_off {
            return Err(io::Error::other("the power is off"));
        }
        if operation.is_mutating() {
            self.operations += 1;
            if self.trace.len() < MAX_TRACE {
                self.trace.push((operation, path.to_owned()));
            }
        }
        Ok(self.faults.iter_mut().find_map(|fault| fault.strikes(operation, path).then_some(fault.effect)))
    }
}
