//! The state of one replica and the rules by which its high watermark moves.

use ottla_storage::log::{
    AppendError, AppendInfo, FlushOutcome, FlushTicket, JournalTicket, LeaderAppend, Log, LogError,
    VolumeTicket,
};
use ottla_types::{LeaderEpoch, Offset};

use crate::waiters::{ReaderKey, Waiters};

/// Bytes of a segment after which they are written back, though nobody waits for it. Left to itself the kernel lets gigabytes collect, and
/// then those who append wait while it maps their blocks (`docs/performance.md`).
const WRITE_BACK_BYTES: u32 = 4 * 1024 * 1024;

/// When a leader counts its own copy of a record towards the high watermark (`log.durability.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the record is on disk: what is acknowledged or read survives a power failure.
    Sync,
    /// When the operating system has it, as Apache Kafka does.
    PageCache,
}

/// Why a replica does not serve a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// This replica does not lead the partition (`NotLeaderOrFollowerException`).
    #[error("this replica does not lead the partition")]
    NotLeader,
    /// The request comes from a time before the current leader (`FencedLeaderEpochException`).
    #[error("leader epoch {requested} is over, the current one is {current}")]
    FencedLeaderEpoch {
        /// Epoch of the request.
        requested: LeaderEpoch,
        /// Epoch of this leader.
        current: LeaderEpoch,
    },
    /// The request knows of a leader that this replica does not know yet (`UnknownLeaderEpochException`).
    #[error("leader epoch {requested} is not known here, the current one is {current}")]
    UnknownLeaderEpoch {
        /// Epoch of the request.
        requested: LeaderEpoch,
        /// Epoch of this leader.
        current: LeaderEpoch,
    },
    /// The log failed and is offline until it is opened again (`KafkaStorageException`).
    #[error("the log is offline: {0}")]
    Offline(String),
}

/// One replica: a log with a role. The shell puts one lock around it.
///
/// Call order: [`Replica::lead`], then appends and reads. After each append of policy `Sync` the shell sees to it that a
/// flusher calls [`Replica::begin_flush`], syncs the ticket without the lock, and hands it to [`Replica::complete_flush`].
/// Every call that may move the high watermark returns the waiters it released; the shell wakes them when it has let the
/// lock go.
#[derive(Debug)]
pub struct Replica<W> {
    log: Log,
    leader_epoch: Option<LeaderEpoch>,
    epoch_start: Offset,
    durability: Durability,
    waiters: Waiters<W>,
}

/// A replica whose log is out.
#[derive(Debug)]
pub struct Detached<W> {
    leader_epoch: Option<LeaderEpoch>,
    epoch_start: Offset,
    durability: Durability,
    waiters: Waiters<W>,
}

impl<W> Detached<W> {
    /// The replica with a log again, which holds what the other one held.
    pub fn attach(self, log: Log) -> Replica<W> {
        let Self { leader_epoch, epoch_start, durability, waiters } = self;
        Replica { log, leader_epoch, epoch_start, durability, waiters }
    }
}

impl<W> Replica<W> {
    /// A replica without role of a log that was opened.
    pub fn new(log: Log, durability: Durability) -> Self {
        Self { log, leader_epoch: None, epoch_start: Offset::ZERO, durability, waiters: Waiters::new() }
    }

    /// The log, for reading and for questions.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The log, for upkeep: retention, idle files, truncation. Follow with [`Replica::advance`] when its end or start moved.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Gives the log back, for closing or deleting it, with everyone who waited.
    pub fn into_log(self) -> (Log, Vec<W>) {
        let mut waiters = self.waiters;
        (self.log, waiters.release_all())
    }

    /// Takes the log out, to put another copy of it in its place ([`Detached::attach`]). Who waits goes on waiting.
    pub fn detach(self) -> (Log, Detached<W>) {
        let Self { log, leader_epoch, epoch_start, durability, waiters } = self;
        (log, Detached { leader_epoch, epoch_start, durability, waiters })
    }

    /// The epoch in which this replica leads; `None` when it does not.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// Where the current leader epoch began in the log.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// Changes the durability policy; what was appended is held to the new one.
    pub fn set_durability(&mut self, durability: Durability) -> Vec<W> {
        self.durability = durability;
        self.advance()
    }

    /// Becomes leader in `epoch`, or stays it in a newer one: the epoch is noted in the log before any append.
    pub fn lead(&mut self, epoch: LeaderEpoch) -> Vec<W> {
        if self.leader_epoch.is_none_or(|known| known < epoch) {
            self.leader_epoch = Some(epoch);
            self.epoch_start = self.log.log_end_offset();
            self.log.assign_epoch_start(epoch, self.epoch_start);
        }
        self.advance()
    }

    /// Whether this replica leads and the epoch of a request (-1 for "any") is the current one.
    ///
    /// # Errors
    /// Not leader, fenced or unknown epoch.
    pub fn check_leader(&self, requested: LeaderEpoch) -> Result<LeaderEpoch, ReplicaError> {
        let current = self.leader_epoch.ok_or(ReplicaError::NotLeader)?;
        if let Some(reason) = self.log.poisoned() {
            return Err(ReplicaError::Offline(reason.to_owned()));
        }
        match requested {
            LeaderEpoch::NONE => Ok(current),
            epoch if epoch < current => Err(ReplicaError::FencedLeaderEpoch { requested, current }),
            epoch if epoch > current => Err(ReplicaError::UnknownLeaderEpoch { requested, current }),
            _ => Ok(current),
        }
    }

    /// Appends a validated batch at the log end. What was appended counts when the high watermark reaches the offset after
    /// it: at once with [`Durability::PageCache`], after a flush with [`Durability::Sync`].
    ///
    /// # Errors
    /// The log's; the producer rules write nothing.
    pub fn append(
        &mut self,
        records: &mut [u8],
        append: LeaderAppend,
    ) -> Result<(AppendInfo, Vec<W>), AppendError> {
        let info = self.log.append_as_leader(records, append)?;
        Ok((info, self.advance()))
    }

    /// Whether a flusher should be at work: something waits for it to count, or the log asks for it (`flush.messages`, a rolled
    /// segment).
    pub fn needs_flush(&self) -> bool {
        match self.durability {
            Durability::Sync => self.log.secured_offset() < self.log.log_end_offset(),
            Durability::PageCache => self.log.flush_due_by_append(),
        }
    }

    /// Whether so much is dirty that an idle flusher should write it back, though nobody waits for it.
    pub fn wants_write_back(&self) -> bool {
        self.log.unflushed_bytes() >= WRITE_BACK_BYTES
    }

    /// Everything below counts: it may be acknowledged and read.
    pub fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// Parks an acknowledgement until the high watermark reaches `required`; gives it back when it has.
    pub fn park_ack(&mut self, required: Offset, waiter: W) -> Option<W> {
        if self.log.high_watermark() >= required || self.log.poisoned().is_some() {
            return Some(waiter);
        }
        self.waiters.park_ack(required, waiter);
        None
    }

    /// Acknowledgements that are parked.
    pub fn parked_acks(&self) -> impl Iterator<Item = &W> {
        self.waiters.acks()
    }

    /// Parks a reader until there is anything new to read.
    pub fn park_reader(&mut self, waiter: W) -> ReaderKey {
        self.waiters.park_reader(waiter)
    }

    /// Takes a reader back, if it was not released meanwhile.
    pub fn unpark_reader(&mut self, key: ReaderKey) -> Option<W> {
        self.waiters.unpark_reader(key)
    }

    /// Whether nobody waits here.
    pub fn is_unwatched(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Cuts a ticket for the flusher; `None` when all records are durable. After an error everyone who waited is released, to find
    /// the log offline.
    ///
    /// # Errors
    /// The log's, with the released waiters.
    pub fn begin_flush(&mut self, now_ms: i64) -> Result<Option<FlushTicket>, (LogError, Vec<W>)> {
        match self.log.begin_commit(now_ms) {
            Ok(ticket) => Ok(ticket),
            Err(error) => Err((error, self.waiters.release_all())),
        }
    }

    /// As [`Replica::begin_flush`], for many replicas whose volume is synced for all of them ([`Log::begin_volume_flush`]).
    ///
    /// # Errors
    /// The log's, with the released waiters.
    pub fn begin_volume_flush(&mut self, now_ms: i64) -> Result<Option<VolumeTicket>, (LogError, Vec<W>)> {
        self.log.begin_volume_flush(now_ms).map_err(|error| (error, self.waiters.release_all()))
    }

    /// Takes a synced ticket in and moves the high watermark.
    ///
    /// # Errors
    /// The sync's, with the released waiters: the log is offline for good.
    pub fn complete_flush(&mut self, outcome: FlushOutcome) -> Result<Vec<W>, (LogError, Vec<W>)> {
        match self.log.complete_flush(outcome) {
            Ok(_) => Ok(self.advance()),
            Err(error) => Err((error, self.waiters.release_all())),
        }
    }

    /// Whether a flusher may put what was appended into the journal instead of syncing it in place.
    pub fn may_journal(&self) -> bool {
        self.durability == Durability::Sync && self.log.may_journal()
    }

    /// As [`Replica::begin_flush`], for the journal; `None` when the log has to be synced in place.
    ///
    /// # Errors
    /// The log's, with the released waiters.
    pub fn begin_journal(&mut self) -> Result<Option<JournalTicket>, (LogError, Vec<W>)> {
        if !self.may_journal() {
            return Ok(None);
        }
        self.log.begin_journal().map_err(|error| (error, self.waiters.release_all()))
    }

    /// The journal has, durably, what a ticket says; moves the high watermark.
    pub fn complete_journal(&mut self, ticket: &JournalTicket) -> Vec<W> {
        self.log.complete_journal(ticket);
        self.advance()
    }

    /// The directory failed: no more writes. Returns everyone who waited, to find the log offline.
    pub fn fail(&mut self, reason: &str) -> Vec<W> {
        self.log.poison(reason);
        self.waiters.release_all()
    }

    /// Moves the high watermark to where the policy allows and returns who was waiting for it. A leader that is the only
    /// replica has itself as its whole in-sync set.
    pub fn advance(&mut self) -> Vec<W> {
        if self.log.poisoned().is_some() {
            return self.waiters.release_all();
        }
        if self.leader_epoch.is_none() {
            return Vec::new();
        }
        let own = match self.durability {
            Durability::Sync => self.log.secured_offset(),
            // With `flush.messages` an append that asks for a flush counts after it, as Kafka makes it before it answers.
            Durability::PageCache if self.log.flush_messages_reached() => self.log.durable_offset(),
            Durability::PageCache => self.log.log_end_offset(),
        };
        let (before, stable_before) = (self.log.high_watermark(), self.log.last_stable_offset());
        // A leader's high watermark never goes back, except where the log start passed it.
        let reached = self.log.set_high_watermark(own.max(before));
        let moved = reached > before || self.log.last_stable_offset() > stable_before;
        if moved { self.waiters.release(reached) } else { Vec::new() }
    }
}
