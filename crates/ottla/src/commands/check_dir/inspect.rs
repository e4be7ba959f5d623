//! The order of a start, with a look at each step.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_config::BrokerConfig;
use ottla_storage::dir::{
    LOCK_FILE, LogDirs, LogDirsConfig, MetaProperties, MetaVersion, StartError, read_marker,
};
use ottla_storage::fs::{OverlayFs, RealFs};
use ottla_types::{NodeId, Uuid};

use super::report::{Dir, Report};
use super::{contents, metadata, partitions};

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) metadata_dir: PathBuf,
    /// The configured one; else that of the directories.
    pub(crate) node_id: Option<NodeId>,
    pub(crate) config: Option<BrokerConfig>,
}

/// Looks at everything. What cannot be looked at is a finding.
pub(crate) fn inspect(place: &Place, scan: bool) -> Report {
    let mut report = Report::default();
    for path in &place.dirs {
        let dir = look_at_dir(path.clone(), &mut report);
        report.dirs.push(dir);
    }
    if !report.findings.is_empty() {
        return report;
    }
    let found = report.dirs.iter().find_map(|dir| dir.node_id).map(NodeId);
    let Some(node_id) = place.node_id.or(found) else {
        report.blocks(
            "no directory says of which node it is",
            "format the directories, or name the right ones",
        );
        return report;
    };
    let fs = Arc::new(OverlayFs::new(Arc::new(RealFs)));
    let config = LogDirsConfig {
        dirs: place.dirs.clone(),
        metadata_dir: place.metadata_dir.clone(),
        node_id,
        cluster_id: None,
    };
    // Directories without an id get one at the start; any will do here.
    let mut next_id = 1_000;
    let mut new_id = || {
        next_id += 1;
        Uuid::from_parts(1, next_id)
    };
    let log_dirs = match LogDirs::open(fs, &config, &mut new_id) {
        Ok(log_dirs) => log_dirs,
        Err(error) => {
            report.blocks(error.to_string(), advice(&error));
            return report;
        }
    };
    if let Some(offline) = log_dirs.first_offline() {
        report.repairs(
            offline.to_string(),
            "the node starts without this directory; repair or replace the disk",
        );
    }
    let Some(image) = metadata::inspect(place, &log_dirs, &mut report) else { return report };
    partitions::inspect(&log_dirs, &image, &mut report);
    contents::inspect(scan, &mut report);
    report
}

fn look_at_dir(path: PathBuf, report: &mut Report) -> Dir {
    let mut dir = Dir { path: path.clone(), ..Dir::default() };
    if !path.is_dir() {
        report.blocks(format!("{} is not a directory", path.display()), "name the directories of log.dirs");
        return dir;
    }
    match RealFs.lock_holder(&path.join(LOCK_FILE)) {
        Ok(None) => {}
        Ok(Some(pid)) => {
            dir.locked_by = Some(pid);
            let what = format!("{} is in use: process {pid} holds its lock", path.display());
            report.blocks(what, "stop the node that runs on it, then check again");
        }
        Err(error) => {
            let what = format!("cannot look at {}: {error}", path.join(LOCK_FILE).display());
            report.blocks(what, "run the check as the user that owns the directory");
        }
    }
    match MetaProperties::read(&RealFs, &path) {
        Ok(Some(meta)) => {
            dir.cluster_id = meta.cluster_id;
            dir.node_id = meta.node_id.map(NodeId::value);
            dir.directory_id = meta.directory_id.map(|id| id.to_string());
            dir.meta_version = Some(match meta.version {
                MetaVersion::V0 => 0,
                MetaVersion::V1 => 1,
            });
            if meta.version == MetaVersion::V0 && dir.node_id.is_some() {
                report.note(
                    format!(
                        "{} has a meta.properties of version 0, from the time of ZooKeeper",
                        path.display()
                    ),
                    "a cluster must have been migrated to KRaft by Kafka 3.x before",
                );
            }
        }
        Ok(None) => {
            let what = format!("{} has no meta.properties: it was never formatted", path.display());
            report.blocks(
                what,
                "name the directories of log.dirs; an empty one is formatted by `ottla format`",
            );
        }
        Err(error) => {
            let next = "the start leaves out a directory whose meta.properties cannot be read";
            report.blocks(error.to_string(), next);
        }
    }
    if let Ok(marker) = read_marker(&RealFs, &path) {
        dir.broker_epoch = marker.and_then(|marker| marker.broker_epoch);
    }
    dir
}

fn advice(error: &StartError) -> &'static str {
    match error {
        StartError::NotFormatted(_) => "name all directories of log.dirs, and no other",
        StartError::WrongNode { .. } => "use the node.id that the directory has",
        StartError::WrongCluster { .. } => "directories of two clusters were mixed: name those of one",
        StartError::MisplacedMetadataLog { .. } => {
            "name the directory with the metadata log first, or with --metadata-log-dir"
        }
        StartError::DuplicateDirectoryId { .. } => "one is a copy of the other: leave the copy out",
        StartError::ForeignDir { .. } => "move it elsewhere: Apache Kafka does not start with it either",
        StartError::DuplicateLog { .. } => "compare the two, and move the older one out of the way",
        _ => "",
    }
}

/// Refused later in the start.
pub(super) fn refused(error: &StartError, report: &mut Report) {
    report.blocks(error.to_string(), advice(error));
}
