//! A node as far as log directories need one: it owns the logs and runs what the shell would run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ottla_record::BatchBuilder;
use ottla_storage::dir::{
    Admission, CheckpointFile, CreateError, DirLoad, DirOffline, Format, LogDirs, LogDirsConfig, LogKey,
    LogOwner, NewLog, PartitionOffsets, PlacedLog, StartError, take_twins,
};
use ottla_storage::fs::{Fs, MemFs, OpenMode};
use ottla_storage::log::{AppendOrigin, LeaderAppend, Log, LogConfig, VerificationGuard};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const CLUSTER: &str = "5L6g3nShT-eMCtK--X86sw";
pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const TOPIC_ID: Uuid = Uuid::from_parts(7, 7);

/// Ids that nobody else has: 1000.7, 1001.7, …
pub(crate) fn ids() -> impl FnMut() -> Uuid {
    let mut next = 1000;
    move || {
        next += 1;
        Uuid::from_parts(next - 1, 7)
    }
}

pub(crate) fn paths(dirs: &[&str]) -> Vec<PathBuf> {
    dirs.iter().map(PathBuf::from).collect()
}

pub(crate) fn config(dirs: &[&str]) -> LogDirsConfig {
    LogDirsConfig { dirs: paths(dirs), metadata_dir: PathBuf::from(dirs[0]), node_id: NODE, cluster_id: None }
}

pub(crate) fn format(fs: &dyn Fs, dirs: &[&str]) -> Result<(), StartError> {
    let dirs = paths(dirs);
    let format = Format {
        dirs: &dirs,
        cluster_id: CLUSTER,
        node_id: NODE,
        directory_ids: &[],
        ignore_formatted: true,
    };
    format.plan(fs, &mut ids())?.finish(fs)
}

pub(crate) fn formatted(dirs: &[&str]) -> MemFs {
    let fs = MemFs::new();
    fs.set_now_ms(NOW);
    format(&fs, dirs).unwrap();
    fs
}

pub(crate) fn open(fs: &MemFs, dirs: &[&str]) -> Result<LogDirs, StartError> {
    LogDirs::open(Arc::new(fs.clone()), &config(dirs), &mut ids())
}

pub(crate) fn put(fs: &dyn Fs, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open(path, OpenMode::CreateOrOpen).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(path.parent().unwrap()).unwrap();
}

pub(crate) fn names(fs: &dyn Fs, dir: &str) -> Vec<String> {
    fs.list(Path::new(dir)).unwrap().into_iter().map(|(name, _)| name).collect()
}

pub(crate) fn checkpoint(fs: &dyn Fs, dir: &str, name: &str) -> PartitionOffsets {
    CheckpointFile::new(Path::new(dir), name).read(fs).unwrap()
}

pub(crate) fn offsets(entries: &[(&str, i32, i64)]) -> PartitionOffsets {
    entries
        .iter()
        .map(|&(topic, partition, at)| (TopicPartition::new(topic, partition), Offset(at)))
        .collect()
}

pub(crate) fn key(topic: &str, partition: i32) -> LogKey {
    LogKey::current(TopicPartition::new(topic, partition))
}

/// A running node.
pub(crate) struct Node {
    pub(crate) dirs: LogDirs,
    pub(crate) logs: Mutex<BTreeMap<LogKey, PlacedLog>>,
    pub(crate) loads: Vec<DirSummary>,
    pub(crate) set_aside: Vec<PathBuf>,
}

/// What a start found in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DirSummary {
    pub(crate) dir: PathBuf,
    pub(crate) was_clean: bool,
    pub(crate) jobs: usize,
    pub(crate) strays: usize,
    pub(crate) deleted: usize,
}

impl LogOwner for Node {
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log)) {
        if let Some(placed) = self.logs.lock().unwrap().get_mut(key) {
            work(&mut placed.log);
        }
    }
}

impl Node {
    pub(crate) fn start(fs: &MemFs, dirs: &[&str]) -> Result<Self, StartError> {
        Self::start_with(fs, dirs, &|_, _| false)
    }

    pub(crate) fn start_with(
        fs: &MemFs,
        dirs: &[&str],
        is_stray: &dyn Fn(&TopicPartition, Option<Uuid>) -> bool,
    ) -> Result<Self, StartError> {
        let dirs = open(fs, dirs)?;
        let mut node = Self { dirs, logs: Mutex::default(), loads: Vec::new(), set_aside: Vec::new() };
        let mut loads = node.dirs.begin_loading(NOW)?;
        let mut outcomes = Vec::new();
        for twins in take_twins(&mut loads) {
            let opened = twins.into_iter().map(|job| job.run(small_config(), 1, NOW)).collect();
            let (left, aside) = node.dirs.settle_twins(opened, is_stray, node.dirs.dirs()[0].id(), 0xabcd);
            outcomes.extend(left);
            node.set_aside.extend(aside);
        }
        for DirLoad { dir, was_clean, jobs, strays, deleted } in loads {
            let path = dir.path().to_owned();
            node.loads.push(DirSummary {
                dir: path,
                was_clean,
                jobs: jobs.len(),
                strays: strays.len(),
                deleted,
            });
            outcomes.extend(jobs.into_iter().map(|job| job.run(small_config(), 1, NOW)));
        }
        for outcome in outcomes {
            match node.dirs.admit(outcome, is_stray, 0xabcd)? {
                Admission::Admitted(placed, _) => {
                    node.logs.lock().unwrap().insert(placed.key.clone(), *placed);
                }
                Admission::SetAside(path) => node.set_aside.push(path),
                Admission::Failed(_) => {}
            }
        }
        node.drop_offline();
        Ok(node)
    }

    /// Forgets the logs of directories that have failed, as the broker does.
    pub(crate) fn drop_offline(&self) {
        for dir in self.dirs.dirs().iter().filter(|dir| !dir.is_online()) {
            for key in self.dirs.forget_logs_in(dir) {
                self.logs.lock().unwrap().remove(&key);
            }
        }
    }

    pub(crate) fn create(&self, topic: &str, partition: i32) -> Result<(), CreateError> {
        self.create_as(new_log(topic, partition))
    }

    pub(crate) fn create_as(&self, new: NewLog) -> Result<(), CreateError> {
        let placed = self.dirs.create(&new)?;
        self.logs.lock().unwrap().insert(new.key, placed);
        Ok(())
    }

    pub(crate) fn delete(&self, topic: &str, partition: i32) -> Result<(), DirOffline> {
        let placed = self.take(&key(topic, partition));
        self.dirs.delete(placed, 0x1234, NOW)
    }

    /// Removes what was deleted in all directories; how many, and when there is more to do.
    pub(crate) fn remove_deleted(&self, now_ms: i64, delay_ms: i64) -> (usize, Option<i64>) {
        let (mut removed, mut next_ms) = (0, None);
        for dir in self.dirs.dirs() {
            let (count, next) = self.dirs.remove_deleted(dir, now_ms, delay_ms, &mut || true);
            removed += count;
            next_ms = next_ms.into_iter().chain(next).min();
        }
        (removed, next_ms)
    }

    pub(crate) fn take(&self, key: &LogKey) -> PlacedLog {
        self.logs.lock().unwrap().remove(key).expect("the log is there")
    }

    /// Appends batches of one record and makes them committed; a failure takes the directory offline.
    pub(crate) fn append(&self, topic: &str, partition: i32, batches: usize) -> Result<(), DirOffline> {
        self.append_in(topic, partition, LeaderEpoch(0), batches)
    }

    pub(crate) fn append_in(
        &self,
        topic: &str,
        partition: i32,
        leader_epoch: LeaderEpoch,
        batches: usize,
    ) -> Result<(), DirOffline> {
        for _ in 0..batches {
            let mut builder = BatchBuilder::new();
            builder.append(NOW, None, Some(&[9; 100]), &[]).unwrap();
            let append = LeaderAppend {
                origin: AppendOrigin::Client,
                leader_epoch,
                guard: VerificationGuard::default(),
                transaction_version: 0,
                now_ms: NOW,
            };
            self.append_batch(topic, partition, append, builder.build().unwrap())?;
        }
        Ok(())
    }

    /// Appends a batch as it is.
    pub(crate) fn append_batch(
        &self,
        topic: &str,
        partition: i32,
        append: LeaderAppend,
        mut batch: Vec<u8>,
    ) -> Result<(), DirOffline> {
        let mut logs = self.logs.lock().unwrap();
        let placed = logs.get_mut(&key(topic, partition)).expect("the log is there");
        placed.log.append_as_leader(&mut batch, append).map_err(|e| placed.dir.failed(&e))?;
        let end = placed.log.log_end_offset();
        placed.log.set_high_watermark(end);
        Ok(())
    }

    pub(crate) fn flush(&self, topic: &str, partition: i32) -> Result<(), DirOffline> {
        let mut logs = self.logs.lock().unwrap();
        let placed = logs.get_mut(&key(topic, partition)).expect("the log is there");
        placed.log.flush(NOW).map(|_| ()).map_err(|e| placed.dir.failed(&e))
    }

    /// Log start, high watermark and end of a log.
    pub(crate) fn offsets(&self, topic: &str, partition: i32) -> Option<(i64, i64, i64)> {
        let logs = self.logs.lock().unwrap();
        let log = &logs.get(&key(topic, partition))?.log;
        Some((log.log_start_offset().0, log.high_watermark().0, log.log_end_offset().0))
    }

    pub(crate) fn dir_of(&self, topic: &str, partition: i32) -> Option<PathBuf> {
        self.dirs.place(&key(topic, partition)).map(|dir| dir.path().to_owned())
    }

    /// The orderly end; which directories may be called clean.
    pub(crate) fn stop(self, broker_epoch: Option<i64>) -> Vec<(PathBuf, Result<bool, DirOffline>)> {
        let logs = self.logs.into_inner().unwrap().into_values().collect();
        let shutdowns = self.dirs.begin_shutdown(logs);
        shutdowns
            .into_iter()
            .map(|shutdown| {
                let path = shutdown.dir().path().to_owned();
                let closed = shutdown.write_high_watermarks().and_then(|()| shutdown.close_logs(NOW));
                (path, shutdown.finish(broker_epoch).and_then(|clean| closed.map(|()| clean)))
            })
            .collect()
    }
}

pub(crate) fn new_log(topic: &str, partition: i32) -> NewLog {
    NewLog {
        key: key(topic, partition),
        topic_id: TOPIC_ID,
        is_new: true,
        dir_id: None,
        config: small_config(),
        unique: 0x42,
        now_ms: NOW,
    }
}

pub(crate) fn small_config() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 200,
        retention_bytes: 2500,
        ..LogConfig::default()
    }
}
