//! The broker's replicas on its log directories: opening, creating, deleting, closing, and the duties in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_metadata::image::MetadataImage;
use ottla_replica::Replica;
use ottla_storage::dir::{
    Admission, Checkpoint, CreateError, DirOffline, LoadJob, LoadOutcome, LogDir, LogDirs, LogKey, LogOwner,
    NewLog, PlacedLog, StartError, take_twins, write_checkpoints,
};
use ottla_storage::log::Log;
use ottla_types::{TopicPartition, Uuid};
use tracing::{error, info, warn};

use crate::broker::{Broker, TopicSettingsOf};
use crate::clock;
use crate::flusher::Flusher;
use crate::load_notes;
use crate::metrics::Latency;
use crate::partition::{Partition, Place};
use crate::random;
use crate::settings::TopicSettings;
use crate::waiter::{Waiter, wake_all};

/// The log directories with a flusher each.
pub(crate) struct Replicas {
    dirs: Arc<LogDirs>,
    flushers: BTreeMap<PathBuf, Arc<Flusher>>,
}

impl Replicas {
    /// `journal_bytes`: `ottla.journal.bytes`.
    pub(crate) fn new(dirs: LogDirs, journal_bytes: u64) -> Self {
        let dirs = Arc::new(dirs);
        let mut flushers = BTreeMap::new();
        for (index, dir) in dirs.dirs().iter().enumerate() {
            let flusher = Flusher::new(format!("flusher-{index}"), Arc::clone(dir), journal_bytes);
            flushers.insert(dir.path().to_owned(), flusher);
        }
        Self { dirs, flushers }
    }

    /// How long syncs took, by directory.
    pub(crate) fn flush_latency(&self) -> Vec<(String, Latency)> {
        let flushers = self.flushers.iter();
        flushers.map(|(dir, flusher)| (dir.display().to_string(), flusher.latency())).collect()
    }

    /// The directories.
    pub(crate) fn dirs(&self) -> &Arc<LogDirs> {
        &self.dirs
    }

    /// Opens all logs of the node, each directory with its own threads; partitions that the metadata does not give to this
    /// node are set aside.
    pub(crate) fn load(
        &self,
        broker: &Broker,
        image: &MetadataImage,
        threads: usize,
    ) -> Result<(), StartError> {
        let mut loads = self.dirs.begin_loading(clock::now_ms())?;
        let settings = &TopicSettingsOf::new(broker, image);
        for twins in take_twins(&mut loads) {
            self.load_twins(settings, twins)?;
        }
        let failure: Mutex<Option<StartError>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for load in loads {
                if !load.was_clean && !load.jobs.is_empty() {
                    info!(dir = %load.dir.path().display(), "the last stop was not clean: recovering {} logs", load.jobs.len());
                }
                for stray in &load.strays {
                    warn!("{} is a stray replica; it is kept and not served", stray.display());
                }
                let jobs = Arc::new(Mutex::new(load.jobs));
                for _ in 0..threads {
                    let (jobs, failure) = (Arc::clone(&jobs), &failure);
                    scope.spawn(move || {
                        while let Some(job) = pop(&jobs) {
                            if let Err(error) = self.load_one(settings, job) {
                                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                                return;
                            }
                        }
                    });
                }
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Opens what is one partition in several directories, of which one remains.
    fn load_twins(&self, settings: &TopicSettingsOf<'_>, twins: Vec<LoadJob>) -> Result<(), StartError> {
        let TopicSettingsOf { broker, image, .. } = *settings;
        let Some(id) = twins.first().map(|job| job.key().partition.clone()) else { return Ok(()) };
        let config = settings.topic(&id.topic).log.clone();
        let open = |job: LoadJob| job.run(config.clone(), random::u64(), clock::now_ms());
        let outcomes = twins.into_iter().map(open).collect();
        let assigned = image.topics().partition_named(&id).and_then(|found| found.directory(broker.node_id));
        let is_stray =
            |id: &TopicPartition, topic_id| !image.topics().has_replica(id, topic_id, broker.node_id);
        let (left, aside) = self.dirs.settle_twins(outcomes, &is_stray, assigned, random::u128());
        for path in aside {
            warn!(
                "{id} was in two directories, as the end of a move can leave it: the copy with less is now {}",
                path.display()
            );
        }
        left.into_iter().try_for_each(|outcome| self.admit(settings, outcome))
    }

    fn load_one(&self, settings: &TopicSettingsOf<'_>, job: LoadJob) -> Result<(), StartError> {
        let config = settings.topic(&job.key().partition.topic).log.clone();
        self.admit(settings, job.run(config, random::u64(), clock::now_ms()))
    }

    fn admit(&self, settings: &TopicSettingsOf<'_>, outcome: LoadOutcome) -> Result<(), StartError> {
        let TopicSettingsOf { broker, image, .. } = *settings;
        let is_stray =
            |id: &TopicPartition, topic_id| !image.topics().has_replica(id, topic_id, broker.node_id);
        match self.dirs.admit(outcome, &is_stray, random::u128())? {
            Admission::Admitted(placed, report) => {
                load_notes::tell(&placed.key.partition.to_string(), &report);
                if placed.key.is_future {
                    broker.moves.found(*placed);
                } else {
                    let topic_id = placed.log.topic_id().unwrap_or_default();
                    let settings = settings.topic(&placed.key.partition.topic);
                    broker.add_partition(self.partition(*placed, topic_id, settings));
                }
            }
            Admission::SetAside(path) => {
                warn!("a replica that this node should not have is now {}", path.display())
            }
            Admission::Failed(offline) => error!("{offline}"),
        }
        Ok(())
    }

    /// Creates the log of a new replica.
    pub(crate) fn create(
        &self,
        settings: &TopicSettingsOf<'_>,
        id: TopicPartition,
        topic_id: Uuid,
        dir_id: Option<Uuid>,
        is_new: bool,
    ) -> Result<Arc<Partition>, CreateError> {
        let settings = settings.topic(&id.topic);
        let placed = self.dirs.create(&NewLog {
            key: LogKey::current(id),
            topic_id,
            is_new,
            dir_id,
            config: settings.log.clone(),
            unique: random::u128(),
            now_ms: clock::now_ms(),
        })?;
        Ok(self.partition(placed, topic_id, settings))
    }

    fn partition(&self, placed: PlacedLog, topic_id: Uuid, settings: Arc<TopicSettings>) -> Arc<Partition> {
        let place = self.place(&placed.dir);
        let replica = Replica::new(placed.log, settings.durability);
        Partition::new(placed.key.partition, topic_id, place, settings, replica)
    }

    /// A directory with its flusher.
    pub(crate) fn place(&self, dir: &Arc<LogDir>) -> Place {
        Place { dir: Arc::clone(dir), flusher: Arc::clone(&self.flushers[dir.path()]) }
    }

    /// Deletes the log of a replica that was taken out of a partition.
    pub(crate) fn delete_taken(&self, partition: &Partition, replica: Replica<Waiter>) {
        let (log, waiting) = replica.into_log();
        wake_all(waiting);
        let placed = PlacedLog { key: LogKey::current(partition.id.clone()), dir: partition.dir(), log };
        if let Err(offline) = self.dirs.delete(placed, random::u128(), clock::now_ms()) {
            error!(partition = %partition.id, "cannot delete the log: {offline}");
        }
    }

    /// Takes the logs of partitions out of service; their files go after `file.delete.delay.ms`.
    pub(crate) fn delete_all(&self, partitions: &[Arc<Partition>]) {
        let logs = partitions.iter().filter_map(|partition| take(partition)).collect();
        for offline in self.dirs.delete_all(logs, random::u128, clock::now_ms()) {
            error!("cannot delete logs: {offline}");
        }
    }

    /// Writes checkpoints of all directories.
    pub(crate) fn checkpoint(&self, broker: &Broker, which: &[Checkpoint]) {
        for dir in self.dirs.online() {
            if let Err(offline) = write_checkpoints(&self.dirs, dir, &Owner(broker), which) {
                error!("{offline}");
            }
        }
    }

    /// Runs a duty on each directory.
    pub(crate) fn each_dir(
        &self,
        broker: &Broker,
        duty: impl Fn(&LogDirs, &Arc<LogDir>, &dyn LogOwner) -> Result<(), DirOffline>,
    ) {
        for dir in self.dirs.online() {
            self.in_dir(broker, dir, &duty);
        }
    }

    /// Runs a duty on one directory.
    pub(crate) fn in_dir(
        &self,
        broker: &Broker,
        dir: &Arc<LogDir>,
        duty: impl FnOnce(&LogDirs, &Arc<LogDir>, &dyn LogOwner) -> Result<(), DirOffline>,
    ) {
        if let Err(offline) = duty(&self.dirs, dir, &Owner(broker)) {
            error!("{offline}");
        }
    }

    /// Ends the flushers and closes all logs, so that the next start finds a clean directory.
    pub(crate) fn shut_down(&self, broker: &Broker, broker_epoch: Option<i64>) {
        broker.deleters.shut_down();
        for flusher in self.flushers.values() {
            flusher.close();
        }
        let moving = broker.moves.shut_down();
        let logs = broker.partitions().iter().filter_map(|partition| take(partition)).chain(moving).collect();
        let shutdowns = self.dirs.begin_shutdown(logs);
        std::thread::scope(|scope| {
            for shutdown in shutdowns {
                scope.spawn(move || {
                    let path = shutdown.dir().path().to_owned();
                    let closed = shutdown
                        .write_high_watermarks()
                        .and_then(|()| shutdown.close_logs(clock::now_ms()))
                        .and_then(|()| shutdown.finish(broker_epoch));
                    match closed {
                        Ok(true) => {}
                        Ok(false) => {
                            warn!(dir = %path.display(), "not closed cleanly; the next start recovers")
                        }
                        Err(offline) => error!("{offline}"),
                    }
                });
            }
        });
    }
}

fn pop(jobs: &Mutex<Vec<LoadJob>>) -> Option<LoadJob> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

/// Takes the log away from a partition; whoever waits there is woken to find it gone.
fn take(partition: &Partition) -> Option<PlacedLog> {
    let (log, waiting) = partition.take()?.into_log();
    wake_all(waiting);
    Some(PlacedLog { key: LogKey::current(partition.id.clone()), dir: partition.dir(), log })
}

/// The broker lends its logs for duties.
struct Owner<'a>(&'a Broker);

impl LogOwner for Owner<'_> {
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log)) {
        if key.is_future {
            return;
        }
        let Some(topic_id) = self.0.image().topics().id(&key.partition.topic) else { return };
        let Some(partition) = self.0.partition(topic_id, key.partition.partition) else { return };
        let released = partition.with_unless_away(|replica| {
            work(replica.log_mut());
            replica.advance()
        });
        wake_all(released.unwrap_or_default());
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replicas({} directories)", self.flushers.len())
    }
}
