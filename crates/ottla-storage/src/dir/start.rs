//! The start: which directories there are, whose they are, and taking possession of them (`MetaPropertiesEnsemble`,
//! `KafkaRaftServer.initializeLogDirs`, the constructor of `LogManager`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{NodeId, Uuid};

use super::clean_shutdown::read_marker;
use super::format::fresh_id;
use super::log_dir::LogDir;
use super::log_dirs::LogDirs;
use super::meta_properties::{META_PROPERTIES, MetaProperties};
use super::partition_dir::METADATA_PARTITION_DIR;
use super::{DirOffline, StartError};
use crate::fs::{Fs, exists};

/// The directories of a node, from its configuration.
#[derive(Clone, Debug)]
pub struct LogDirsConfig {
    /// `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// `metadata.log.dir`; usually the first of [`LogDirsConfig::dirs`].
    pub metadata_dir: PathBuf,
    /// `node.id`.
    pub node_id: NodeId,
    /// The cluster that the directories must belong to, if the caller knows.
    pub cluster_id: Option<String>,
}

/// A directory whose `meta.properties` was looked at.
struct Found {
    path: PathBuf,
    meta: Result<MetaProperties, String>,
}

impl LogDirs {
    /// Checks and locks the directories. Those that cannot be read are offline from the start; ids that are missing are
    /// drawn from `new_id` and written. Reads the clean-shutdown markers, which [`LogDirs::begin_loading`] removes.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is locked then.
    pub fn open(
        fs: Arc<dyn Fs>,
        config: &LogDirsConfig,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Self, StartError> {
        let mut found = look(fs.as_ref(), config)?;
        let cluster_id = check(&found, config)?;
        check_metadata_log_place(fs.as_ref(), &found, config)?;
        let mut used: Vec<Uuid> =
            found.iter().filter_map(|dir| dir.meta.as_ref().ok()?.directory_id).collect();
        for dir in &mut found {
            dir.complete(fs.as_ref(), &mut used, new_id);
        }
        let all = lock_all(&fs, &found)?;
        let by_path = |path: &Path| all.iter().find(|dir| dir.path() == path).map(Arc::clone);
        let metadata_dir = by_path(&config.metadata_dir).ok_or(StartError::NoDirs)?;
        let dirs: Vec<Arc<LogDir>> = config.dirs.iter().filter_map(|path| by_path(path)).collect();
        let refusal = match metadata_dir.check_online() {
            Err(offline) => Some(StartError::MetadataDir(offline)),
            Ok(()) => dirs.iter().all(|dir| !dir.is_online()).then(|| all_offline(&dirs)),
        };
        if let Some(refusal) = refusal {
            all.iter().for_each(|dir| dir.unlock());
            return Err(refusal);
        }
        let broker_epoch = common_broker_epoch(&dirs);
        Ok(Self::new(fs, cluster_id, config.node_id, dirs, metadata_dir, broker_epoch))
    }
}

/// All directories as the error that none works.
pub(super) fn all_offline(dirs: &[Arc<LogDir>]) -> StartError {
    StartError::AllOffline(dirs.iter().filter_map(|dir| dir.check_online().err()).collect())
}

/// Reads every `meta.properties`, each directory once.
fn look(fs: &dyn Fs, config: &LogDirsConfig) -> Result<Vec<Found>, StartError> {
    if config.dirs.is_empty() {
        return Err(StartError::NoDirs);
    }
    let mut paths = BTreeSet::new();
    if let Some(twice) = config.dirs.iter().find(|path| !paths.insert(path.as_path())) {
        return Err(StartError::SameDirTwice(twice.clone()));
    }
    paths.insert(&config.metadata_dir);
    let mut found = Vec::new();
    let mut unformatted = None;
    for path in paths {
        match MetaProperties::read(fs, path) {
            Ok(Some(meta)) => found.push(Found { path: path.to_owned(), meta: Ok(meta) }),
            Ok(None) => unformatted = unformatted.or(Some(path)),
            Err(error) => found.push(Found { path: path.to_owned(), meta: Err(error.to_string()) }),
        }
    }
    match unformatted {
        Some(path) => Err(StartError::NotFormatted(path.to_owned())),
        None => Ok(found),
    }
}

/// Everybody must be of this node and of one cluster; returns which.
fn check(found: &[Found], config: &LogDirsConfig) -> Result<String, StartError> {
    let mut cluster_id = config.cluster_id.clone();
    let mut owners: BTreeMap<Uuid, &Path> = BTreeMap::new();
    for Found { path, meta } in found {
        let Ok(meta) = meta else { continue };
        let dir = || path.clone();
        let cluster = meta.cluster_id.as_ref();
        let cluster = cluster.ok_or_else(|| StartError::MissingProperty { dir: dir(), key: "cluster.id" })?;
        let expected = cluster_id.get_or_insert_with(|| cluster.clone());
        if cluster != expected {
            return Err(StartError::WrongCluster {
                dir: dir(),
                found: cluster.clone(),
                expected: expected.clone(),
            });
        }
        match meta.node_id {
            None => return Err(StartError::MissingProperty { dir: dir(), key: "node.id" }),
            Some(found) if found != config.node_id => {
                return Err(StartError::WrongNode { dir: dir(), found, expected: config.node_id });
            }
            Some(_) => {}
        }
        let Some(id) = meta.directory_id else { continue };
        if id.is_reserved() {
            return Err(StartError::ReservedDirectoryId { dir: dir(), id });
        }
        if let Some(first) = owners.insert(id, path) {
            return Err(StartError::DuplicateDirectoryId { id, first: first.to_owned(), second: dir() });
        }
    }
    let unreadable = |found: &Found| {
        let reason = found.meta.as_ref().err()?.clone();
        Some(DirOffline { dir: found.path.clone(), reason })
    };
    if found.iter().all(|dir| dir.meta.is_err()) {
        return Err(StartError::NothingReadable(
            found.iter().filter_map(|dir| dir.meta.as_ref().err().cloned()).collect(),
        ));
    }
    if let Some(offline) = found.iter().filter(|dir| dir.path == config.metadata_dir).find_map(unreadable) {
        return Err(StartError::MetadataDir(offline));
    }
    cluster_id.ok_or(StartError::NoDirs)
}

fn check_metadata_log_place(fs: &dyn Fs, found: &[Found], config: &LogDirsConfig) -> Result<(), StartError> {
    for dir in found.iter().filter(|dir| dir.meta.is_ok() && dir.path != config.metadata_dir) {
        let path = dir.path.join(METADATA_PARTITION_DIR);
        // A disk that cannot answer shows itself when the directory is loaded.
        if exists(fs, &path).unwrap_or(false) {
            return Err(StartError::MisplacedMetadataLog {
                found: path,
                metadata_dir: config.metadata_dir.clone(),
            });
        }
    }
    Ok(())
}

impl Found {
    /// Gives the directory its id, if it has none; if that cannot be written the directory is as good as unreadable.
    fn complete(&mut self, fs: &dyn Fs, used: &mut Vec<Uuid>, new_id: &mut dyn FnMut() -> Uuid) {
        let Ok(meta) = &mut self.meta else { return };
        if meta.directory_id.is_none() {
            let id = fresh_id(used, new_id);
            used.push(id);
            meta.directory_id = Some(id);
            if let Err(error) = meta.write(fs, &self.path) {
                let path = self.path.join(META_PROPERTIES);
                self.meta = Err(format!("cannot write {}: {error}", path.display()));
            }
        }
    }
}

fn lock_all(fs: &Arc<dyn Fs>, found: &[Found]) -> Result<Vec<Arc<LogDir>>, StartError> {
    let mut dirs: Vec<Arc<LogDir>> = Vec::new();
    for Found { path, meta } in found {
        let id = meta.as_ref().ok().and_then(|meta| meta.directory_id);
        let dir = Arc::new(LogDir::new(Arc::clone(fs), path, id));
        if let Err(reason) = meta {
            dir.fail(reason);
        } else if let Ok(false) = dir.try_lock() {
            for taken in &dirs {
                taken.unlock();
            }
            return Err(StartError::InUse(path.clone()));
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

/// The broker epoch of the last shut-down, if it was a clean one in all directories and they agree. The controller takes
/// it as proof that nothing was lost (KIP-966).
fn common_broker_epoch(dirs: &[Arc<LogDir>]) -> Option<i64> {
    let mut epochs = dirs.iter().map(|dir| {
        dir.check_online().ok()?;
        read_marker(dir.fs().as_ref(), dir.path()).ok()??.broker_epoch
    });
    let first = epochs.next()??;
    epochs.all(|epoch| epoch == Some(first)).then_some(first)
}
