//! The node: log directories and replicas, run as the broker runs them, on a file system in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ottla_replica::{Durability, Replica};
use ottla_storage::dir::{
    Admission, Checkpoint, DirOffline, Format, LogDir, LogDirs, LogDirsConfig, LogKey, LogOwner, NewLog,
    PlacedLog,
};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_storage::log::cleaner::{Cleaner, CleaningError, CleaningHost};
use ottla_storage::log::{CleanupPolicy, FlushTicket, Log, LogConfig, LogError};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};

pub(crate) const DIR: &str = "/data";
pub(crate) const START_MS: i64 = 1_700_000_000_000;
pub(crate) const ALL: [Checkpoint; 3] =
    [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];
const CLEANER: Cleaner = Cleaner { map_bytes: 24 * 500, load_factor: 0.9, io_bytes: 4096, hash_key: (3, 4) };

/// Whether the world is as it should be, or broken on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// When the replicas count their own copy.
    pub(crate) durability: Durability,
    /// Whether syncs do what they say.
    pub(crate) is_syncing: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { durability: Durability::Sync, is_syncing: true }
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
}

impl Topic {
    pub(crate) const EACH: [Self; 3] = [Self::Retained, Self::Kept, Self::Compacted];

    pub(crate) fn key(self) -> LogKey {
        let name = match self {
            Self::Retained => "retained",
            Self::Kept => "kept",
            Self::Compacted => "compacted",
        };
        LogKey::current(TopicPartition::new(name, 0))
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
            ..LogConfig::default()
        }
    }

    pub(crate) fn of(key: &LogKey) -> Self {
        Self::EACH.into_iter().find(|topic| topic.key() == *key).expect("a topic of this world")
    }
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
    pub(crate) was_clean: bool,
    pub(crate) now_ms: i64,
    pub(crate) rules: Rules,
    /// Flushes that have begun.
    pub(crate) tickets: BTreeMap<Topic, FlushTicket>,
}

impl LogOwner for World {
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log)) {
        if let Some(replica) = self.replicas.lock().expect("no panic before").get_mut(&Topic::of(key)) {
            work(replica.log_mut());
        }
    }
}

/// Makes the directory one of Kafka's.
pub(crate) fn format(fs: &MemFs) {
    let dirs = [PathBuf::from(DIR)];
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
    pub(crate) fn start(fs: &MemFs, now_ms: i64, rules: Rules) -> Result<Self, Stopped> {
        fs.set_now_ms(now_ms);
        if !rules.is_syncing {
            fs.inject(Fault::new(Effect::Pretended).on(Operation::Sync));
        }
        let config = LogDirsConfig {
            dirs: vec![PathBuf::from(DIR)],
            metadata_dir: PathBuf::from(DIR),
            node_id: NodeId(1),
            cluster_id: None,
        };
        let dirs = LogDirs::open(Arc::new(fs.clone()), &config, &mut || Uuid::from_parts(1, 1))
            .map_err(|_| Stopped::Disk)?;
        let loads = dirs.begin_loading(now_ms).map_err(|_| Stopped::Disk)?;
        let mut replicas = Replicas::new();
        let mut was_clean = false;
        for load in loads {
            was_clean = load.was_clean;
            for job in load.jobs {
                let topic = Topic::of(job.key());
                let outcome = job.run(topic.config(), 1, now_ms);
                match dirs.admit(outcome, &|_, _| false, 1).expect("no log is there twice") {
                    Admission::Admitted(placed, _) => {
                        replicas.insert(topic, Replica::new(placed.log, rules.durability));
                    }
                    Admission::SetAside(path) => panic!("{} was set aside", path.display()),
                    Admission::Failed(offline) => {
                        assert!(fs.is_powered_off(), "{topic:?} cannot be opened: {offline}");
                        return Err(Stopped::Disk);
                    }
                }
            }
        }
        for topic in Topic::EACH {
            let Entry::Vacant(missing) = replicas.entry(topic) else { continue };
            let new = NewLog {
                key: topic.key(),
                topic_id: Uuid::from_parts(7, topic as u64 + 1),
                is_new: true,
                dir_id: None,
                config: topic.config(),
                unique: 1,
                now_ms,
            };
            let placed = dirs.create(&new).map_err(|_| Stopped::Disk)?;
            missing.insert(Replica::new(placed.log, rules.durability));
        }
        let replicas = Mutex::new(replicas);
        Ok(Self { fs: fs.clone(), dirs, replicas, was_clean, now_ms, rules, tickets: BTreeMap::new() })
    }

    pub(crate) fn dir(&self) -> &Arc<LogDir> {
        &self.dirs.dirs()[0]
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
        Topic::EACH.into_iter().flat_map(|topic| self.with(topic, |replica| replica.lead(epoch))).collect()
    }

    /// Who waited is told that this node does not lead any more.
    pub(crate) fn forget_waiters(&self, topic: Topic) {
        let mut replicas = self.replicas.lock().expect("no panic before");
        let (log, _) = replicas.remove(&topic).expect("each topic has its replica").into_log();
        replicas.insert(topic, Replica::new(log, self.rules.durability));
    }

    /// Takes the end of a flush, or its failure, as the flusher does.
    fn settle(&self, outcome: Result<Vec<Ack>, (LogError, Vec<Ack>)>) -> Result<Vec<Ack>, Stopped> {
        outcome.map_err(|(error, _)| {
            self.dir().fail(&error);
            Stopped::Disk
        })
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
            Err(error) => self.settle(Err(error)),
        }
    }

    pub(crate) fn end_flush(&mut self, topic: Topic) -> Result<Vec<Ack>, Stopped> {
        let ticket = self.tickets.remove(&topic).ok_or(Stopped::Idle)?;
        let outcome = ticket.sync(&self.fs);
        let outcome = self.with(topic, |replica| replica.complete_flush(outcome));
        self.settle(outcome)
    }

    /// What the cleaner does with one log.
    pub(crate) fn clean(&self, topic: Topic) -> Result<Offset, Stopped> {
        let key = topic.key().partition;
        let checkpoint = self.dir().read_checkpoint(Checkpoint::CleanerOffsets)?.get(&key).copied();
        let dirt = self.with(topic, |replica| replica.log().dirtiness(checkpoint, self.now_ms));
        let dirt = dirt.map_err(|_| Stopped::Disk)?;
        if dirt.first_uncleanable <= dirt.first_dirty {
            return Err(Stopped::Idle);
        }
        let host = Host { world: self, topic };
        let cleaned = CLEANER.clean(&host, dirt.first_dirty, dirt.first_uncleanable, self.now_ms);
        let cleaned = cleaned.map_err(|error| match error {
            CleaningError::Aborted => Stopped::Idle,
            CleaningError::Log(error) => self.dir().failed(&error).into(),
            error @ CleaningError::Batch { .. } => panic!("{error}"),
        })?;
        self.dir().update_checkpoint(Checkpoint::CleanerOffsets, |entries| {
            entries.insert(key, cleaned.end);
        })?;
        Ok(cleaned.end)
    }

    /// The orderly end.
    pub(crate) fn stop(self) -> Result<(), Stopped> {
        let dir = Arc::clone(self.dir());
        let logs = self.replicas.into_inner().expect("no panic before").into_iter();
        let placed = |(topic, replica): (Topic, Replica<Ack>)| PlacedLog {
            key: topic.key(),
            dir: Arc::clone(&dir),
            log: replica.into_log().0,
        };
        for shutdown in self.dirs.begin_shutdown(logs.map(placed).collect()) {
            shutdown.write_high_watermarks()?;
            shutdown.close_logs(self.now_ms)?;
            if !shutdown.finish(Some(1))? {
                return Err(Stopped::Disk);
            }
        }
        Ok(())
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
