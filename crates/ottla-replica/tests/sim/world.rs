//! The node: log directories and replicas, run as the broker runs them, on a file system in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ottla_replica::{Durability, Replica};
use ottla_storage::dir::{
    Admission, Checkpoint, DirOffline, Format, LoadOutcome, LogDir, LogDirs, LogDirsConfig, LogKey, LogOwner,
    NewLog, PlacedLog, take_twins, write_checkpoints,
};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_storage::log::cleaner::{Cleaner, CleaningError, CleaningHost};
use ottla_storage::log::{
    AppendError, CleanupPolicy, FlushTicket, LoadReport, Log, LogConfig, LogError, ReadError, Taken,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};

use crate::journal::Journaling;

/// `log.dirs`.
pub(crate) const DIRS: [&str; 2] = ["/data", "/more"];
pub(crate) const START_MS: i64 = 1_700_000_000_000;
pub(crate) const ALL: [Checkpoint; 3] =
    [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];
const CLEANER: Cleaner = Cleaner { map_bytes: 24 * 500, load_factor: 0.9, io_bytes: 4096, hash_key: (3, 4) };

/// Whether the world is as it should be, or broken on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// When the replicas of topics with policy `sync` count their own copy.
    pub(crate) durability: Durability,
    /// Which syncs do nothing and say that all is well, and of what paths.
    pub(crate) pretended: Option<(Operation, &'static str)>,
    /// Whether logs are made durable in place before the journal forgets them.
    pub(crate) is_retiring: bool,
    /// Whether the journal is told what it must not bring back: of logs that are cut, or come to its directory.
    pub(crate) is_forgetting: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { durability: Durability::Sync, pretended: None, is_retiring: true, is_forgetting: true }
    }
}

/// The topics, with one partition each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// `cleanup.policy=delete`, and not much is kept.
    Retained,
    /// Everything is kept.
    Kept,
    /// `cleanup.policy=compact`.
    Compacted,
    /// `log.durability.policy=page-cache`.
    Cached,
    /// The same with `flush.messages` and `flush.ms`.
    Flushed,
}

/// `flush.messages` and `flush.ms` of [`Topic::Flushed`].
const FLUSH_MESSAGES: i64 = 7;
const FLUSH_MS: i64 = 150;

impl Topic {
    pub(crate) const EACH: [Self; 5] =
        [Self::Retained, Self::Kept, Self::Compacted, Self::Cached, Self::Flushed];

    pub(crate) fn key(self) -> LogKey {
        let name = match self {
            Self::Retained => "retained",
            Self::Kept => "kept",
            Self::Compacted => "compacted",
            Self::Cached => "cached",
            Self::Flushed => "flushed",
        };
        LogKey::current(TopicPartition::new(name, 0))
    }

    pub(crate) fn id(self) -> Uuid {
        Uuid::from_parts(7, self as u64 + 1)
    }

    pub(crate) fn is_synced(self) -> bool {
        !matches!(self, Self::Cached | Self::Flushed)
    }

    fn durability(self, rules: Rules) -> Durability {
        if self.is_synced() { rules.durability } else { Durability::PageCache }
    }

    /// How many records a power cut may take that were acknowledged and are not known to be durable.
    pub(crate) fn may_lose(self) -> i64 {
        match self {
            Self::Cached => i64::MAX,
            Self::Flushed => FLUSH_MESSAGES - 1,
            Self::Retained | Self::Kept | Self::Compacted => 0,
        }
    }

    pub(crate) fn config(self) -> LogConfig {
        LogConfig {
            segment_bytes: if self == Self::Kept { 5000 } else { 1400 },
            index_interval_bytes: 150,
            retention_bytes: if self == Self::Retained { 4000 } else { -1 },
            retention_ms: -1,
            cleanup_policy: CleanupPolicy {
                delete: self != Self::Compacted,
                compact: self == Self::Compacted,
            },
            delete_retention_ms: 2000,
            file_delete_delay_ms: 300,
            producer_id_expiration_ms: i64::MAX,
            transaction_verification: false,
            flush_messages: if self == Self::Flushed { FLUSH_MESSAGES } else { i64::MAX },
            flush_ms: if self == Self::Flushed { FLUSH_MS } else { i64::MAX },
            ..LogConfig::default()
        }
    }

    pub(crate) fn of(key: &LogKey) -> Self {
        let is_it = |topic: &Self| topic.key().partition == key.partition;
        Self::EACH.into_iter().find(is_it).expect("a topic of this world")
    }
}

/// As the metadata tells a broker: what does not say that it is of this topic is not.
fn is_stray(partition: &TopicPartition, topic_id: Option<Uuid>) -> bool {
    topic_id != Some(Topic::of(&LogKey::current(partition.clone())).id())
}

/// An acknowledgement that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) topic: Topic,
    pub(crate) required: Offset,
}

/// What kept something from being done.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The disk failed, or has no power.
    Disk,
    /// There is nothing to do it with.
    Idle,
}

impl From<DirOffline> for Stopped {
    fn from(_: DirOffline) -> Self {
        Self::Disk
    }
}

type Replicas = BTreeMap<Topic, Replica<Ack>>;

pub(crate) struct World {
    pub(crate) fs: MemFs,
    pub(crate) dirs: LogDirs,
    pub(crate) replicas: Mutex<Replicas>,
    /// Future logs of replicas that are being moved.
    pub(crate) moves: Mutex<BTreeMap<Topic, PlacedLog>>,
    /// The directories that were stopped in good order.
    pub(crate) clean: Vec<PathBuf>,
    /// In which directories the metadata says that the topics are, as far as it was told.
    assigned: BTreeMap<Topic, Uuid>,
    /// What opening the logs took.
    pub(crate) reports: Vec<(LogKey, LoadReport)>,
    pub(crate) now_ms: i64,
    pub(crate) rules: Rules,
    /// Flushes that have begun.
    pub(crate) tickets: BTreeMap<Topic, FlushTicket>,
    pub(crate) journaling: BTreeMap<PathBuf, Journaling>,
}

impl LogOwner for World {
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log)) {
        let topic = Topic::of(key);
        if key.is_future {
            if let Some(future) = self.moves.lock().expect("no panic before").get_mut(&topic) {
                work(&mut future.log);
            }
        } else if let Some(replica) = self.replicas.lock().expect("no panic before").get_mut(&topic) {
            work(replica.log_mut());
        }
    }
}

/// Makes the directories Kafka's.
pub(crate) fn format(fs: &MemFs) {
    fs.set_now_ms(START_MS);
    for dir in DIRS {
        fs.create_dir_all(dir.as_ref()).expect("nothing fails yet");
    }
    fs.sync_dir("/".as_ref()).expect("nothing fails yet");
    let dirs = DIRS.map(PathBuf::from);
    let format = Format {
        dirs: &dirs,
        cluster_id: "5L6g3nShT-eMCtK--X86sw",
        node_id: NodeId(1),
        directory_ids: &[],
        ignore_formatted: true,
    };
    let mut next = 100;
    let mut ids = || {
        next += 1;
        Uuid::from_parts(next, 7)
    };
    format.plan(fs, &mut ids).expect("it can be planned").finish(fs).expect("it is formatted");
}

impl World {
    /// The start: opens what is there, and creates what is not.
    pub(crate) fn start(
        fs: &MemFs,
        now_ms: i64,
        rules: Rules,
        assigned: &BTreeMap<Topic, Uuid>,
    ) -> Result<Self, Stopped> {
        fs.set_now_ms(now_ms);
        if let Some((operation, part)) = rules.pretended {
            fs.inject(Fault::new(Effect::Pretended).on(operation).at(part));
        }
        let config = LogDirsConfig {
            dirs: DIRS.map(PathBuf::from).to_vec(),
            metadata_dir: PathBuf::from(DIRS[0]),
            node_id: NodeId(1),
            cluster_id: None,
        };
        let dirs = LogDirs::open(Arc::new(fs.clone()), &config, &mut || Uuid::from_parts(1, 1))
            .map_err(|_| Stopped::Disk)?;
        let mut world = Self {
            fs: fs.clone(),
            dirs,
            replicas: Mutex::default(),
            moves: Mutex::default(),
            clean: Vec::new(),
            assigned: assigned.clone(),
            reports: Vec::new(),
            now_ms,
            rules,
            tickets: BTreeMap::new(),
            journaling: BTreeMap::new(),
        };
        world.load()?;
        for topic in Topic::EACH {
            if !world.topics().contains(&topic) {
                let new = world.new_log(topic.key(), None, 1);
                let placed = world.dirs.create(&new).map_err(|_| Stopped::Disk)?;
                world.enter(topic, Replica::new(placed.log, topic.durability(rules)));
            }
        }
        Ok(world)
    }

    fn load(&mut self) -> Result<(), Stopped> {
        let now_ms = self.now_ms;
        let mut loads = self.dirs.begin_loading(now_ms).map_err(|_| Stopped::Disk)?;
        let clean = loads.iter().filter(|load| load.was_clean);
        self.clean = clean.map(|load| load.dir.path().to_path_buf()).collect();
        for twins in take_twins(&mut loads) {
            let run = |job: ottla_storage::dir::LoadJob| {
                let config = Topic::of(job.key()).config();
                job.run(config, 1, now_ms)
            };
            let assigned = twins.first().and_then(|job| self.assigned.get(&Topic::of(job.key())).copied());
            let outcomes = twins.into_iter().map(run).collect();
            let unique = now_ms.unsigned_abs().into();
            let (left, _) = self.dirs.settle_twins(outcomes, &is_stray, assigned, unique);
            left.into_iter().try_for_each(|outcome| self.admit(outcome))?;
        }
        for job in loads.into_iter().flat_map(|load| load.jobs) {
            let config = Topic::of(job.key()).config();
            self.admit(job.run(config, 1, now_ms))?;
        }
        Ok(())
    }

    fn admit(&mut self, outcome: LoadOutcome) -> Result<(), Stopped> {
        let topic = Topic::of(outcome.key());
        let unique = self.fs.operations().into();
        match self.dirs.admit(outcome, &is_stray, unique).expect("no log is there twice") {
            Admission::Admitted(placed, report) if placed.key.is_future => {
                self.reports.push((placed.key.clone(), report));
                self.moves.lock().expect("no panic before").insert(topic, *placed);
            }
            Admission::Admitted(placed, report) => {
                self.reports.push((placed.key.clone(), report));
                self.enter(topic, Replica::new(placed.log, topic.durability(self.rules)));
            }
            Admission::SetAside(_) => {}
            Admission::Failed(offline) => {
                assert!(self.fs.is_powered_off(), "{topic:?} cannot be opened: {offline}");
                return Err(Stopped::Disk);
            }
        }
        Ok(())
    }

    fn enter(&self, topic: Topic, replica: Replica<Ack>) {
        self.replicas.lock().expect("no panic before").insert(topic, replica);
    }

    fn new_log(&self, key: LogKey, dir_id: Option<Uuid>, unique: u128) -> NewLog {
        let topic = Topic::of(&key);
        NewLog {
            key,
            topic_id: topic.id(),
            is_new: true,
            dir_id,
            config: topic.config(),
            unique,
            now_ms: self.now_ms,
        }
    }

    /// The topics that are served: not those of a directory that has failed.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.replicas.lock().expect("no panic before").keys().copied().collect()
    }

    /// Where a topic is.
    pub(crate) fn dir_of(&self, topic: Topic) -> Arc<LogDir> {
        self.dirs.place(&topic.key()).expect("each topic has its place")
    }

    pub(crate) fn online(&self) -> Vec<Arc<LogDir>> {
        self.dirs.online().cloned().collect()
    }

    /// Drops what was in directories that have failed, as the broker does; `false` when nothing is left.
    pub(crate) fn drop_failed(&mut self) -> bool {
        for dir in self.dirs.dirs().to_vec().iter().filter(|dir| !dir.is_online()) {
            self.journaling.remove(dir.path());
            for key in self.dirs.forget_logs_in(dir) {
                let topic = Topic::of(&key);
                if key.is_future {
                    self.moves.get_mut().expect("no panic before").remove(&topic);
                } else {
                    self.replicas.get_mut().expect("no panic before").remove(&topic);
                    self.tickets.remove(&topic);
                }
            }
        }
        !self.topics().is_empty()
    }

    pub(crate) fn failed(&self, topic: Topic, error: &LogError) -> Stopped {
        self.dir_of(topic).failed(error).into()
    }

    pub(crate) fn with<R>(&self, topic: Topic, work: impl FnOnce(&mut Replica<Ack>) -> R) -> R {
        work(
            self.replicas
                .lock()
                .expect("no panic before")
                .get_mut(&topic)
                .expect("each topic has its replica"),
        )
    }

    pub(crate) fn offsets(&self, topic: Topic) -> (Offset, Offset, Offset) {
        self.with(topic, |replica| {
            let log = replica.log();
            (log.log_start_offset(), log.high_watermark(), log.log_end_offset())
        })
    }

    pub(crate) fn lead(&self, epoch: LeaderEpoch) -> Vec<Ack> {
        self.topics().into_iter().flat_map(|topic| self.with(topic, |replica| replica.lead(epoch))).collect()
    }

    /// Who waited is told that this node does not lead any more.
    pub(crate) fn forget_waiters(&self, topic: Topic) {
        let mut replicas = self.replicas.lock().expect("no panic before");
        let (log, _) = replicas.remove(&topic).expect("each topic has its replica").into_log();
        replicas.insert(topic, Replica::new(log, topic.durability(self.rules)));
    }

    /// Takes the end of a flush, or its failure, as the flusher does.
    pub(crate) fn settle(
        &self,
        topic: Topic,
        outcome: Result<Vec<Ack>, (LogError, Vec<Ack>)>,
    ) -> Result<Vec<Ack>, Stopped> {
        outcome.map_err(|(error, _)| self.failed(topic, &error))
    }

    pub(crate) fn begin_flush(&mut self, topic: Topic) -> Result<Vec<Ack>, Stopped> {
        if self.tickets.contains_key(&topic) {
            return Err(Stopped::Idle);
        }
        let now_ms = self.now_ms;
        match self.with(topic, |replica| replica.begin_flush(now_ms)) {
            Ok(Some(ticket)) => {
                self.tickets.insert(topic, ticket);
                Ok(Vec::new())
            }
            Ok(None) => Ok(self.with(topic, |replica| replica.advance())),
            Err(error) => self.settle(topic, Err(error)),
        }
    }

    pub(crate) fn end_flush(&mut self, topic: Topic) -> Result<Vec<Ack>, Stopped> {
        let ticket = self.tickets.remove(&topic).ok_or(Stopped::Idle)?;
        let outcome = ticket.sync(&self.fs);
        let outcome = self.with(topic, |replica| replica.complete_flush(outcome));
        self.settle(topic, outcome)
    }

    /// The flush of new logs, for all of them at once.
    pub(crate) fn flush_volume(&mut self, topic: Topic) -> Result<Vec<Ack>, Stopped> {
        if self.rules.pretended.is_some() {
            // It would make durable what another sync only said it had.
            return Err(Stopped::Idle);
        }
        let now_ms = self.now_ms;
        let begun = self.with(topic, |replica| replica.begin_volume_flush(now_ms));
        let ticket = begun.map_err(|(error, _)| self.failed(topic, &error))?.ok_or(Stopped::Idle)?;
        self.dir_of(topic).sync_volume()?;
        let outcome = self.with(topic, |replica| replica.complete_flush(ticket.synced()));
        self.settle(topic, outcome)
    }

    /// What the cleaner does with one log.
    pub(crate) fn clean(&self, topic: Topic) -> Result<Offset, Stopped> {
        let key = topic.key().partition;
        let dir = self.dir_of(topic);
        let checkpoint = dir.read_checkpoint(Checkpoint::CleanerOffsets)?.get(&key).copied();
        let dirt = self.with(topic, |replica| replica.log().dirtiness(checkpoint, self.now_ms));
        let dirt = dirt.map_err(|_| Stopped::Disk)?;
        if dirt.first_uncleanable <= dirt.first_dirty {
            return Err(Stopped::Idle);
        }
        let host = Host { world: self, topic };
        let cleaned = CLEANER.clean(&host, dirt.first_dirty, dirt.first_uncleanable, self.now_ms);
        let cleaned = cleaned.map_err(|error| match error {
            CleaningError::Aborted => Stopped::Idle,
            CleaningError::Log(error) => self.failed(topic, &error),
            error @ CleaningError::Batch { .. } => panic!("{error}"),
        })?;
        dir.update_checkpoint(Checkpoint::CleanerOffsets, |entries| {
            entries.insert(key, cleaned.end);
        })?;
        Ok(cleaned.end)
    }

    /// Begins to move a replica to the other directory.
    pub(crate) fn begin_move(&self, topic: Topic, unique: u128) -> Result<(), Stopped> {
        let here = self.dir_of(topic);
        let other = self.dirs.online().find(|dir| dir.path() != here.path()).ok_or(Stopped::Idle)?;
        let new = self.new_log(LogKey::future(topic.key().partition), other.id(), unique);
        let future = self.dirs.create(&new).map_err(|_| Stopped::Disk)?;
        self.moves.lock().expect("no panic before").insert(topic, future);
        Ok(())
    }

    /// Ends a move without effect.
    pub(crate) fn end_move(&self, topic: Topic, unique: u128) -> Result<(), Stopped> {
        let future = self.moves.lock().expect("no panic before").remove(&topic).ok_or(Stopped::Idle)?;
        Ok(self.dirs.delete(future, unique, self.now_ms)?)
    }

    /// Copies what comes next; `true` when nothing is lacking.
    pub(crate) fn copy(&self, topic: Topic, max_bytes: u32) -> Result<bool, Stopped> {
        let mut moves = self.moves.lock().expect("no panic before");
        let future = moves.get_mut(&topic).ok_or(Stopped::Idle)?;
        let (end, epoch) = (future.log.log_end_offset(), future.log.latest_epoch());
        let chunk = self.with(topic, |replica| replica.log().chunk_after(end, epoch, max_bytes));
        let chunk = chunk.map_err(|error| match error {
            ReadError::Log(error) => self.failed(topic, &error),
            out_of_range @ ReadError::OffsetOutOfRange { .. } => panic!("{topic:?}: {out_of_range}"),
        })?;
        let bytes = chunk.read().map_err(|error| Stopped::from(self.dir_of(topic).failed(&error)))?;
        match future.log.take_chunk(&chunk, bytes.as_deref(), self.now_ms) {
            Ok(Taken::Cut) => Ok(self.dirs.checkpoint_cut(future).map(|()| false)?),
            Ok(taken) => Ok(taken == Taken::Nothing),
            Err(AppendError::Log(error)) => Err(future.failed(&error).into()),
            Err(refused) => panic!("{topic:?}: {refused}"),
        }
    }

    /// Puts a future log that has caught up in the place of the current one.
    pub(crate) fn finish_move(&mut self, topic: Topic, unique: u128) -> Result<(), Stopped> {
        let mut begun = self.journaling.values().flat_map(|journaling| &journaling.begun);
        if self.tickets.contains_key(&topic) || begun.any(|(begun, _)| *begun == topic) {
            return Err(Stopped::Idle);
        }
        let moves = self.moves.get_mut().expect("no panic before");
        let future = moves.get_mut(&topic).ok_or(Stopped::Idle)?;
        future.log.flush(self.now_ms).map_err(|error| Stopped::from(future.failed(&error)))?;
        let (to, ticket) = (Arc::clone(&future.dir), self.dirs.begin_promotion(future)?);
        self.forget(&to, ticket)?;
        let moves = self.moves.get_mut().expect("no panic before");
        let mut future = moves.remove(&topic).expect("it was there just now");
        let dir = self.dir_of(topic);
        let replica = self.replicas.lock().expect("no panic before").remove(&topic);
        let (log, rest) = replica.expect("each topic has its replica").detach();
        let prepared = future.log.take_over(&log, self.now_ms);
        let prepared = prepared.map_err(|error| future.failed(&error));
        let mut current = Some(PlacedLog { key: topic.key(), dir, log });
        let promoted =
            prepared.and_then(|()| self.dirs.promote_future(&mut current, future, unique, self.now_ms));
        match promoted {
            Ok(placed) => {
                self.enter(topic, rest.attach(placed.log));
                Ok(())
            }
            Err(_) => {
                self.enter(topic, rest.attach(current.expect("nothing has changed").log));
                Err(Stopped::Disk)
            }
        }
    }

    pub(crate) fn write_checkpoints(&self, which: &[Checkpoint]) -> Result<(), Stopped> {
        self.online().iter().try_for_each(|dir| Ok(write_checkpoints(&self.dirs, dir, self, which)?))
    }

    /// The orderly end; which directories can say that they were stopped so.
    pub(crate) fn stop(self) -> Vec<PathBuf> {
        let logs = self.replicas.into_inner().expect("no panic before").into_iter();
        let placed = |(topic, replica): (Topic, Replica<Ack>)| PlacedLog {
            key: topic.key(),
            dir: self.dirs.place(&topic.key()).expect("each topic has its place"),
            log: replica.into_log().0,
        };
        let mut logs: Vec<_> = logs.map(placed).collect();
        logs.extend(self.moves.into_inner().expect("no panic before").into_values());
        let mut clean = Vec::new();
        for shutdown in self.dirs.begin_shutdown(logs) {
            let path = shutdown.dir().path().to_path_buf();
            let closed = shutdown.write_high_watermarks().and_then(|()| shutdown.close_logs(self.now_ms));
            if closed.is_ok() && shutdown.finish(Some(1)).is_ok_and(|is_clean| is_clean) {
                clean.push(path);
            }
        }
        clean
    }
}

struct Host<'a> {
    world: &'a World,
    topic: Topic,
}

impl CleaningHost for Host<'_> {
    fn with_log(&self, work: &mut dyn FnMut(&mut Log)) -> bool {
        self.world.with(self.topic, |replica| work(replica.log_mut()));
        true
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let dir = self.world.with(self.topic, |replica| replica.log().dir().to_path_buf());
        self.world.fs.sync_dir(&dir).map_err(|source| LogError::Io { action: "sync", path: dir, source })
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn throttle(&self, _bytes: usize) {}
}
