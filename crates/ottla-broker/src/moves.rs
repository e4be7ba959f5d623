//! Moves of replicas between log directories (`ReplicaAlterLogDirsThread`, KIP-113).
//!
//! A move copies the log, batch by batch as a follower does, into a *future* log beside it. When that has caught up it takes the
//! place of the current one: the replica is taken out for the moment of a few renames, and requests wait for it; those who hold
//! the names of a directory (flushers) do not, since the renames wait for them. A start finds unfinished moves and goes on with them.
//!
//! Each of `num.replica.alter.log.dirs.threads` threads copies one partition at a time; all share one rate, measured as Kafka's
//! quota of these moves is (`ReplicationQuotaManager`).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_config::Values;
use ottla_protocol::ErrorCode;
use ottla_security::quota::{Rate, Windows};
use ottla_storage::dir::{Checkpoint, CreateError, DirOffline, LogDir, LogKey, NewLog, PlacedLog};
use ottla_storage::log::{AppendError, LogError, ReadError, Taken};
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::clock;
use crate::partition::{Future, Partition};
use crate::publisher;
use crate::random;

/// Bytes copied at once; a batch that is larger is copied all the same.
const CHUNK_BYTES: u32 = 1 << 20;
/// How often the end of a move waits for a moment in which nobody waits for an acknowledgement.
const PATIENCE: u32 = 100;
/// The longest pause of a thread that is too fast: the rate may be another one after it.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The moves of a broker, and the threads that make them.
pub(crate) struct Moves {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Bytes that were copied lately.
    copied: Mutex<Rate>,
    windows: Windows,
}

#[derive(Default)]
struct Queue {
    /// Future logs found at the start, until their partitions are there.
    found: Vec<PlacedLog>,
    moves: VecDeque<Move>,
    /// Whose moves the threads have taken out to work on.
    at_work: Vec<Arc<Partition>>,
    is_closed: bool,
}

struct Move {
    partition: Arc<Partition>,
    future: PlacedLog,
    /// How often the end was put off.
    waited: u32,
    /// Whether the journal of the future log's directory knows nothing of the partition.
    is_forgotten: bool,
}

/// What became of a step.
enum Step {
    GoOn(Box<Move>),
    /// It can end at another moment.
    PutOff(Box<Move>),
    /// It is finished, or has ended otherwise.
    Over,
}

impl Queue {
    fn works_on(&self, partition: &Arc<Partition>) -> bool {
        self.at_work.iter().any(|other| Arc::ptr_eq(other, partition))
    }
}

impl Moves {
    pub(crate) fn new(values: &Values) -> Self {
        let windows = Windows {
            samples: values.int("alter.log.dirs.replication.quota.window.num").unsigned_abs(),
            window_ms: i64::from(values.int("alter.log.dirs.replication.quota.window.size.seconds")) * 1000,
        };
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            threads: Mutex::default(),
            copied: Mutex::default(),
            windows,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A future log that was found at the start.
    pub(crate) fn found(&self, future: PlacedLog) {
        self.queue().found.push(future);
    }

    /// Starts the threads, and goes on with the moves that were found.
    pub(crate) fn start(&self, broker: &Arc<Broker>) {
        let found = std::mem::take(&mut self.queue().found);
        for future in found {
            let topic_id = future.log.topic_id().unwrap_or_default();
            match broker.partition(topic_id, future.key.partition.partition) {
                Some(partition) => self.push(partition, future),
                None => warn!("{} has no replica that it could replace", future.log.dir().display()),
            }
        }
        for index in 0..threads(broker) {
            let working = Arc::clone(broker);
            let thread = std::thread::Builder::new().name(format!("mover-{index}"));
            match thread.spawn(move || working.moves.run(&working)) {
                Ok(thread) => self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
                Err(failure) => error!("a thread that moves replicas between directories: {failure}"),
            }
        }
    }

    /// Begins a move, in place of one to elsewhere that may be under way. A move to where the replica is ends that.
    pub(crate) fn begin(
        &self,
        broker: &Arc<Broker>,
        partition: &Arc<Partition>,
        target: &Arc<LogDir>,
    ) -> Result<(), ErrorCode> {
        if partition.future().is_some_and(|future| future.dir.path() == target.path()) {
            return Ok(());
        }
        self.cancel(broker, partition);
        if partition.dir().path() == target.path() {
            return Ok(());
        }
        let created = broker.replicas.dirs().create(&NewLog {
            key: LogKey::future(partition.id.clone()),
            topic_id: partition.topic_id,
            is_new: true,
            dir_id: target.id(),
            config: partition.settings().log.clone(),
            unique: random::u128(),
            now_ms: clock::now_ms(),
        });
        match created {
            Ok(future) => {
                info!(partition = %partition.id, "moving to {}", target.path().display());
                self.push(Arc::clone(partition), future);
                Ok(())
            }
            Err(CreateError::Exists(_)) => Ok(()),
            Err(failure) => {
                error!(partition = %partition.id, "cannot be moved: {failure}");
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    fn push(&self, partition: Arc<Partition>, future: PlacedLog) {
        partition.set_future(Some(Future::of(&future)));
        self.queue().moves.push_back(Move { partition, future, waited: 0, is_forgotten: false });
        self.changed.notify_all();
    }

    /// Ends a move without effect, once its present step is done.
    fn cancel(&self, broker: &Broker, partition: &Arc<Partition>) {
        let mut queue = self.queue();
        while queue.works_on(partition) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let at = queue.moves.iter().position(|other| Arc::ptr_eq(&other.partition, partition));
        let ended = at.and_then(|at| queue.moves.remove(at));
        drop(queue);
        if let Some(ended) = ended {
            end(broker, ended);
        }
    }

    /// A thread's body.
    fn run(&self, broker: &Arc<Broker>) {
        while let Some(next) = self.next() {
            let partition = Arc::clone(&next.partition);
            let step = self.step(broker, next);
            let mut queue = self.queue();
            queue.at_work.retain(|other| !Arc::ptr_eq(other, &partition));
            match step {
                Step::GoOn(next) => queue.moves.push_front(*next),
                Step::PutOff(next) => queue.moves.push_back(*next),
                Step::Over => partition.set_future(None),
            }
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Move> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(next) = queue.moves.pop_front() {
                queue.at_work.push(Arc::clone(&next.partition));
                return Some(next);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Pauses while more was copied than `replica.alter.log.dirs.io.max.bytes.per.second` allows. `false`: the end has come.
    fn wait_for_quota(&self, broker: &Broker) -> bool {
        let mut queue = self.queue();
        while !queue.is_closed {
            let limit = rate(broker);
            let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
            let pause_ms = copied.throttle_ms(self.windows, limit, clock::now_ms());
            drop(copied);
            if pause_ms == 0 {
                return true;
            }
            let pause = Duration::from_millis(pause_ms.unsigned_abs()).min(LONGEST_PAUSE);
            (queue, _) = self.changed.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is no count")]
    fn note_copied(&self, bytes: usize) {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        copied.record(self.windows, bytes as f64, clock::now_ms());
    }

    fn step(&self, broker: &Arc<Broker>, mut step: Move) -> Step {
        if !self.wait_for_quota(broker) {
            return Step::GoOn(Box::new(step));
        }
        match copy(broker, &mut step) {
            Err(failure) => {
                // Both directories may be the cause; the one that failed says so itself.
                error!(partition = %step.partition.id, "the move has failed: {failure}");
                if let CopyError::Future(failure) = &failure {
                    step.future.dir.fail(failure);
                }
                Step::Over
            }
            Ok(Copied::Gone) => {
                end(broker, step);
                Step::Over
            }
            Ok(Copied::Bytes(bytes)) => {
                step.partition.set_future(Some(Future::of(&step.future)));
                self.note_copied(bytes);
                Step::GoOn(Box::new(step))
            }
            Ok(Copied::All) => finish(broker, step),
        }
    }

    /// Ends the threads; the future logs, to be closed with the others.
    pub(crate) fn shut_down(&self) -> Vec<PlacedLog> {
        self.queue().is_closed = true;
        self.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                error!("a thread that moves replicas panicked");
            }
        }
        let mut queue = self.queue();
        let moving = std::mem::take(&mut queue.moves).into_iter().map(|ended| ended.future);
        moving.chain(std::mem::take(&mut queue.found)).collect()
    }
}

/// `num.replica.alter.log.dirs.threads`; unset, one per log directory.
fn threads(broker: &Broker) -> usize {
    let configured = broker.config().values().opt_int("num.replica.alter.log.dirs.threads");
    let threads = configured.and_then(|threads| usize::try_from(threads).ok());
    threads.unwrap_or_else(|| broker.replicas.dirs().dirs().len()).max(1)
}

/// `replica.alter.log.dirs.io.max.bytes.per.second`.
#[expect(clippy::cast_precision_loss, reason = "a rate is no count")]
fn rate(broker: &Broker) -> f64 {
    broker.config().values().long("replica.alter.log.dirs.io.max.bytes.per.second").max(1) as f64
}

/// Removes the future log of a move that came to nothing.
fn end(broker: &Broker, ended: Move) {
    ended.partition.set_future(None);
    if let Err(offline) = broker.replicas.dirs().delete(ended.future, random::u128(), clock::now_ms()) {
        error!("{offline}");
    }
}

enum Copied {
    Bytes(usize),
    All,
    /// The partition is not here any more.
    Gone,
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("reading: {0}")]
    Current(String),
    #[error("writing: {0}")]
    Future(String),
}

/// Copies the next bytes.
fn copy(broker: &Broker, step: &mut Move) -> Result<Copied, CopyError> {
    let future = &mut step.future.log;
    let (end, epoch) = (future.log_end_offset(), future.latest_epoch());
    let chunk = step.partition.with(|replica| replica.log().chunk_after(end, epoch, CHUNK_BYTES));
    let Some(chunk) = chunk else { return Ok(Copied::Gone) };
    let chunk = chunk.map_err(|error: ReadError| {
        if let ReadError::Log(error) = &error {
            step.partition.note_failed_read(error);
        }
        CopyError::Current(error.to_string())
    })?;
    let bytes = chunk.read().map_err(|source| {
        let path = step.partition.dir().path().join(step.partition.id.to_string());
        let error = LogError::Io { action: "read", path, source };
        step.partition.note_failed_read(&error);
        CopyError::Current(error.to_string())
    })?;
    match future.take_chunk(&chunk, bytes.as_deref(), clock::now_ms()) {
        Ok(Taken::Bytes(written)) => Ok(Copied::Bytes(written)),
        Ok(Taken::Cut) => {
            let written = broker.replicas.dirs().checkpoint_cut(&step.future);
            written.map(|()| Copied::Bytes(0)).map_err(|offline| CopyError::Future(offline.to_string()))
        }
        Ok(Taken::Nothing) => Ok(Copied::All),
        Err(AppendError::Log(error)) => Err(CopyError::Future(error.to_string())),
        Err(error) => Err(CopyError::Current(error.to_string())),
    }
}

/// Does what can be done before the replica is taken out: little is left to be synced then, and the journal of the directory
/// that it comes to has nothing of a time when it was there before.
fn prepare(broker: &Broker, step: &mut Move) -> Result<(), DirOffline> {
    let future = &mut step.future;
    future.log.flush(clock::now_ms()).map_err(|failure| future.dir.failed(&failure))?;
    if !step.is_forgotten {
        let ticket = broker.replicas.dirs().begin_promotion(future)?;
        step.is_forgotten = broker.replicas.place(&future.dir).flusher.forget(ticket)?;
    }
    Ok(())
}

/// Puts a future log that has caught up in the place of the current one, if this is a good moment.
fn finish(broker: &Arc<Broker>, mut step: Move) -> Step {
    let partition = Arc::clone(&step.partition);
    if let Err(offline) = prepare(broker, &mut step) {
        error!(partition = %partition.id, "{offline}");
        return Step::Over;
    }
    let end = step.future.log.log_end_offset();
    step.waited += 1;
    let is_impatient = step.waited > PATIENCE;
    let is_forgotten = step.is_forgotten;
    let taken = partition.take_if(|replica| {
        let log = replica.log();
        is_forgotten && log.log_end_offset() == end && (is_impatient || log.high_watermark() == end)
    });
    let Some(replica) = taken else {
        // The flusher is at work, or there is more to copy, or the journal is full.
        std::thread::sleep(Duration::from_millis(1));
        return Step::PutOff(Box::new(step));
    };
    let (log, rest) = replica.detach();
    let dir = partition.dir();
    let prepared = step.future.log.take_over(&log, clock::now_ms());
    let mut current =
        Some(PlacedLog { key: LogKey::current(partition.id.clone()), dir: Arc::clone(&dir), log });
    let promoted = prepared.map_err(|failure| step.future.dir.failed(&failure)).and_then(|()| {
        let dirs = broker.replicas.dirs();
        dirs.promote_future(&mut current, step.future, random::u128(), clock::now_ms())
    });
    let back = match promoted {
        Ok(placed) => {
            info!(partition = %partition.id, "moved to {}", placed.dir.path().display());
            let place = broker.replicas.place(&placed.dir);
            partition.put_back(rest.attach(placed.log), Some(place))
        }
        Err(offline) => {
            error!(partition = %partition.id, "the move has failed: {offline}");
            let Some(current) = current else {
                partition.give_up();
                return Step::Over;
            };
            partition.put_back(rest.attach(current.log), None)
        }
    };
    if let Some(replica) = back {
        // Deleted in the meantime.
        broker.replicas.delete_taken(&partition, replica);
        return Step::Over;
    }
    partition.update(|replica| ((), replica.advance()));
    let which = [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];
    broker.replicas.checkpoint(broker, &which);
    publisher::report_directory(broker, &partition);
    Step::Over
}

impl std::fmt::Debug for Moves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Moves({})", self.queue().moves.len())
    }
}
