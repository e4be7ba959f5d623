//! The file of leader epochs, `leader-epoch-checkpoint`: when it must be written, and by whom.
//!
//! An epoch in which nothing was appended need not be in the file: whoever opens the log forgets it, Kafka too, because it does not
//! begin below the log end. So a log that is only led anew after a restart leaves its file alone. A file that is written has all epochs,
//! as Kafka's has.
//!
//! Records are durable without it, since the start after a crash reads the epochs of what lies above the recovery point from the
//! batches. So it is not part of a flush that somebody waits for: the recovery point stays where the file lacks something
//! ([`Log::recovery_point`]) until the checkpoints are due, or until a flush for which nobody waits.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_types::Offset;

use super::epoch_cache::{self, EpochCache, EpochEntry};
use super::{Log, LogError};
use crate::fs::{Fs, replace_file, temporary_path, write_whole};

/// What a log knows of its file.
#[derive(Debug, Default)]
pub(super) struct EpochFile {
    /// The entries that the file has for good.
    entries: Vec<EpochEntry>,
    /// Number of the ticket that wrote them.
    written: u64,
    /// Tickets that were cut.
    cut: u64,
    /// The last ticket, of a log that is being closed together with others.
    closing: Option<EpochTicket>,
    writer: Arc<Mutex<Writer>>,
}

/// Who writes the file, one at a time: a ticket may be carried out late, when a newer one has been written. Numbers are of tickets.
#[derive(Debug, Default)]
struct Writer {
    /// What the file has, or is about to have.
    written: u64,
    /// What waits under the temporary name.
    staged: Option<u64>,
}

/// New contents of `leader-epoch-checkpoint`. Cut under the log's lock, and written without it: either with
/// [`EpochTicket::sync`], or, for many logs of a volume, with [`EpochTicket::stage`], a sync of the volume,
/// [`EpochTicket::publish`], and another sync of it. Handed back with [`Log::complete_epochs`].
#[derive(Debug)]
#[must_use = "the file is not written before the ticket is"]
pub struct EpochTicket {
    writer: Arc<Mutex<Writer>>,
    path: PathBuf,
    number: u64,
    entries: Vec<EpochEntry>,
}

impl EpochFile {
    /// The file that was read.
    pub(super) fn with(entries: &[EpochEntry]) -> Self {
        Self { entries: entries.to_vec(), ..Self::default() }
    }

    /// Whether the file says of what is in the log what the cache does.
    fn is_current(&self, cache: &EpochCache, log_end: Offset) -> bool {
        below(&self.entries, log_end) == below(cache.entries(), log_end)
    }

    fn ticket(&mut self, dir: &Path, cache: &EpochCache) -> EpochTicket {
        self.cut += 1;
        EpochTicket {
            writer: Arc::clone(&self.writer),
            path: dir.join(epoch_cache::FILE_NAME),
            number: self.cut,
            entries: cache.entries().to_vec(),
        }
    }
}

impl EpochTicket {
    /// Replaces the file, durably; `false` when a newer one was written meanwhile.
    ///
    /// # Errors
    /// The disk.
    pub fn sync(&self, fs: &dyn Fs) -> Result<bool, LogError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(&mut writer, fs)
    }

    fn replace(&self, writer: &mut Writer, fs: &dyn Fs) -> Result<bool, LogError> {
        if writer.written >= self.number {
            return Ok(false);
        }
        writer.staged = None;
        let text = epoch_cache::format(&self.entries);
        replace_file(fs, &self.path, text.as_bytes()).map_err(LogError::io("replace", &self.path))?;
        writer.written = self.number;
        Ok(true)
    }

    /// Writes the contents under the temporary name.
    ///
    /// # Errors
    /// The disk.
    pub fn stage(&self, fs: &dyn Fs) -> Result<(), LogError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.written < self.number {
            writer.staged = None;
            let path = temporary_path(&self.path);
            let text = epoch_cache::format(&self.entries);
            write_whole(fs, &path, text.as_bytes()).map_err(LogError::io("write", &path))?;
            writer.staged = Some(self.number);
        }
        Ok(())
    }

    /// Gives the file that was staged, and is durable now, its name. Where another ticket was written over it, this one is written
    /// again.
    ///
    /// # Errors
    /// The disk.
    pub fn publish(&self, fs: &dyn Fs) -> Result<(), LogError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.written >= self.number {
            return Ok(());
        }
        if writer.staged != Some(self.number) {
            return self.replace(&mut writer, fs).map(|_| ());
        }
        let renamed = fs.rename(&temporary_path(&self.path), &self.path);
        renamed.map_err(LogError::io("replace", &self.path))?;
        *writer = Writer { written: self.number, staged: None };
        Ok(())
    }
}

impl Log {
    /// New contents of `leader-epoch-checkpoint`, if what the file lacks holds the recovery point back.
    pub fn begin_epochs(&mut self) -> Option<EpochTicket> {
        let holds_back = self.epochs_lack_from().is_some_and(|from| from < self.durable);
        (holds_back && self.poisoned().is_none()).then(|| self.epoch_ticket())
    }

    /// Whether a ticket is of this log, where the log still is: to be asked before each step of the ticket, while the names of the
    /// directory are held.
    pub fn is_valid(&self, ticket: &EpochTicket) -> bool {
        self.is_own(ticket) && ticket.path.parent() == Some(&self.dir)
    }

    /// A ticket was written, durably.
    pub fn complete_epochs(&mut self, ticket: EpochTicket) {
        if self.is_own(&ticket) && self.epoch_file.written < ticket.number {
            self.epoch_file.written = ticket.number;
            self.epoch_file.entries = ticket.entries;
        }
    }

    fn is_own(&self, ticket: &EpochTicket) -> bool {
        Arc::ptr_eq(&self.epoch_file.writer, &ticket.writer)
    }

    /// Whether `leader-epoch-checkpoint` must be written before a clean end.
    pub(super) fn epochs_unsynced(&self) -> bool {
        !self.epoch_file.is_current(&self.epochs, self.log_end)
    }

    /// A ticket, if the file is not as a clean end leaves it.
    pub(super) fn cut_epochs(&mut self) -> Option<EpochTicket> {
        self.epochs_unsynced().then(|| self.epoch_ticket())
    }

    fn epoch_ticket(&mut self) -> EpochTicket {
        self.epoch_file.ticket(&self.dir, &self.epochs)
    }

    /// The first offset of which the file says something else than is so; nobody asks about those below the log start.
    pub(super) fn epochs_lack_from(&self) -> Option<Offset> {
        let (file, cache) = (self.epoch_file.entries.as_slice(), self.epochs.entries());
        if self.log_start >= self.log_end || !self.epochs_unsynced() {
            return None;
        }
        let starts = file.iter().chain(cache).map(|entry| entry.start);
        let inside = starts.filter(|start| (self.log_start..self.log_end).contains(start));
        let differing = |at: &Offset| epoch_cache::epoch_at(file, *at) != epoch_cache::epoch_at(cache, *at);
        std::iter::once(self.log_start).chain(inside).filter(differing).min()
    }

    /// [`Log::sync_epochs`] of many logs, first step: the volume is synced after it.
    pub(super) fn stage_epochs(&mut self) -> Result<(), LogError> {
        self.epoch_file.closing = self.cut_epochs();
        match &self.epoch_file.closing {
            Some(ticket) => ticket.stage(self.fs.as_ref()),
            None => Ok(()),
        }
    }

    /// [`Log::sync_epochs`] of many logs, second step: the volume is synced after it.
    pub(super) fn publish_epochs(&mut self) -> Result<(), LogError> {
        let Some(ticket) = self.epoch_file.closing.take() else { return Ok(()) };
        ticket.publish(self.fs.as_ref())?;
        self.complete_epochs(ticket);
        Ok(())
    }

    /// Writes `leader-epoch-checkpoint` after a cut, durably: no epoch of what was cut stays in it.
    pub(super) fn sync_cut_epochs(&mut self) -> Result<(), LogError> {
        if self.epoch_file.entries != self.epochs.entries() {
            let ticket = self.epoch_ticket();
            ticket.sync(self.fs.as_ref())?;
            self.complete_epochs(ticket);
        }
        Ok(())
    }

    /// Writes `leader-epoch-checkpoint` if it must be before a clean end, durably.
    pub(super) fn sync_epochs(&mut self) -> Result<(), LogError> {
        if let Some(ticket) = self.cut_epochs() {
            ticket.sync(self.fs.as_ref())?;
            self.complete_epochs(ticket);
        }
        Ok(())
    }
}

/// The entries that begin below `end`.
fn below(entries: &[EpochEntry], end: Offset) -> &[EpochEntry] {
    entries.get(..entries.partition_point(|entry| entry.start < end)).unwrap_or_default()
}
