//! The metadata log: can it be read, and can this program serve what it says?

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ottla_metadata::features::{METADATA_VERSION, MetadataVersion, supported_features};
use ottla_metadata::image::{ConfigResource, Loader, MetadataImage};
use ottla_protocol::messages::MetadataRecord;
use ottla_protocol::records::FramedRecord as _;
use ottla_protocol::wire::Reader;
use ottla_quorum::snapshot::SnapshotId;
use ottla_quorum::{
    BatchRecords, METADATA_DIR, MetadataBatch, MetadataLogConfig, QuorumConfig, QuorumNode, RaftLog, Voter,
    VoterSet, open_metadata_log, read_bootstrap,
};
use ottla_storage::dir::LogDirs;
use ottla_storage::fs::Fs;
use ottla_storage::log::{LoadEvent, Log};
use ottla_types::NodeId;

use super::inspect::Place;
use super::report::{Metadata, Report};

/// Bytes of batches read at a time.
const READ_BYTES: u32 = 4 << 20;
const SECURITY_PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Reads the metadata as a start does. `None`, with a finding that says why, when that cannot be.
pub(super) fn inspect(place: &Place, log_dirs: &LogDirs, report: &mut Report) -> Option<MetadataImage> {
    let dir = log_dirs.metadata_dir().path().to_owned();
    let fs = log_dirs.fs();
    let has_log = fs.info(&dir.join(METADATA_DIR)).is_ok();
    let bootstrap = match read_bootstrap(fs.as_ref(), &dir) {
        Ok(bootstrap) => bootstrap,
        Err(error) => {
            report.blocks(format!("the bootstrap records cannot be read: {error}"), "");
            None
        }
    };
    if !has_log && bootstrap.is_none() {
        let what = format!("{} holds no metadata log: it is of a node that is a broker only", dir.display());
        report.blocks(what, "nodes of a single role are not served yet");
        return None;
    }
    let found = match read(fs, &dir, place, log_dirs, report) {
        Ok(found) => found,
        Err(error) => {
            report.blocks(
                format!("the metadata log cannot be read: {}", crate::output::sentence(&error)),
                "keep a copy of the directory; a newer release may have written it",
            );
            return None;
        }
    };
    let (mut metadata, image) = found;
    if image.features().metadata_version().is_none() {
        features_of_bootstrap(bootstrap.unwrap_or_default(), &mut metadata);
    }
    judge(&metadata, &image, log_dirs.node_id(), report);
    if let Some(class) = place.config.as_ref().and_then(|config| config.authorizer()) {
        report.blocks(
            format!("authorizer.class.name is {class}"),
            "authorizers are not served yet; without the key everybody may do everything",
        );
    }
    report.metadata = Some(metadata);
    Some(image)
}

fn read(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    place: &Place,
    log_dirs: &LogDirs,
    report: &mut Report,
) -> anyhow::Result<(Metadata, MetadataImage)> {
    // No segment is large enough to matter here, and nothing is appended.
    let (log, load) = open_metadata_log(Arc::clone(fs), dir, MetadataLogConfig::default(), 0)?;
    for event in &load.events {
        let next =
            "the records in it were never committed: a single node loses nothing that it has acknowledged";
        match event {
            LoadEvent::CutTail { base, removed_bytes, reason } => {
                let what =
                    format!("metadata log: {removed_bytes} bytes are cut off segment {base}: {reason}");
                report.repairs(what, next);
            }
            LoadEvent::RemovedSegments { bases } => {
                report.repairs(format!("metadata log: segments after the cut are removed: {bases:?}"), next);
            }
            _ => {}
        }
    }
    let directory_id = log_dirs.metadata_dir().id().context("the metadata directory has no id")?;
    let static_voters = place.config.iter().flat_map(|config| config.node().voters.keys()).map(|id| Voter {
        id: NodeId(*id),
        directory: None,
        endpoints: Vec::new(),
        min_kraft_version: 0,
        max_kraft_version: 1,
    });
    let config = QuorumConfig {
        node_id: log_dirs.node_id(),
        directory_id,
        endpoints: Vec::new(),
        static_voters: VoterSet::new(static_voters),
    };
    let node = QuorumNode::open(Arc::clone(fs), dir, config, log, 0)?;
    let image = image_of(&node)?;
    let quorum = node.quorum();
    let metadata = Metadata {
        kraft_version: quorum.kraft_version(),
        voters: quorum.voters().ids().map(NodeId::value).collect(),
        leader_epoch: quorum.election().epoch.value(),
        log_start: node.log().start_offset().value(),
        log_end: node.log().end_offset().value(),
        newest_snapshot: node.snapshots().newest().map(|id| id.to_string()),
        bytes: Log::size_bytes(node.log()),
        ..of_image(&image)
    };
    Ok((metadata, image))
}

/// What snapshot and log say, all of it: the only voter commits what it has.
fn image_of(node: &QuorumNode<Log>) -> anyhow::Result<MetadataImage> {
    let mut loader = Loader::default();
    let mut next = node.log().start_offset();
    if let Some(snapshot) = node.newest_snapshot()? {
        let SnapshotId { end_offset, epoch } = snapshot.id;
        let time = snapshot.last_contained_log_timestamp;
        loader.load_snapshot(MetadataImage::from_snapshot(end_offset, epoch, time, snapshot.values())?);
        next = next.max(end_offset);
    }
    while next < node.log().end_offset() {
        let batches = MetadataBatch::read_all(&RaftLog::read(node.log(), next, READ_BYTES)?)?;
        let before = next;
        for batch in batches.iter().filter(|batch| batch.base_offset >= before) {
            match &batch.records {
                BatchRecords::Data(values) => {
                    let values = values.iter().map(Vec::as_slice);
                    loader.load_batch(batch.base_offset, batch.epoch, batch.timestamp_ms, values)?;
                }
                BatchRecords::Control(_) => {
                    loader.skip_batch(batch.last_offset, batch.epoch, batch.timestamp_ms);
                }
            }
            next = batch.last_offset.next();
        }
        anyhow::ensure!(next > before, "no batch at offset {before}");
    }
    loader.publish();
    Ok(loader.image().clone())
}

fn of_image(image: &MetadataImage) -> Metadata {
    let version = image.features().metadata_version();
    Metadata {
        metadata_version: version.map(|version| version.name().to_owned()),
        metadata_level: version.map_or(0, MetadataVersion::level),
        features: image.features().levels().map(|(name, level)| (name.to_owned(), level)).collect(),
        brokers: image.cluster().brokers().map(|broker| broker.id.value()).collect(),
        topics: image.topics().len(),
        partitions: image.topics().iter().map(|topic| topic.partitions.len()).sum(),
        client_quotas: image.quotas().iter().count(),
        acls: image.acls().iter().count(),
        scram_credentials: image.scram().iter().count(),
        delegation_tokens: image.tokens().iter().count(),
        ..Metadata::default()
    }
}

/// A directory that was formatted and never started: the levels that the first start will write.
fn features_of_bootstrap(values: Vec<Vec<u8>>, metadata: &mut Metadata) {
    for value in values {
        let mut reader = Reader::new(&value);
        let Ok((MetadataRecord::FeatureLevel(level), _)) = MetadataRecord::read(&mut reader) else {
            continue;
        };
        if level.name == METADATA_VERSION {
            metadata.metadata_level = level.feature_level;
            metadata.metadata_version =
                MetadataVersion::from_level(level.feature_level).map(|version| version.name().to_owned());
        } else {
            metadata.features.insert(level.name.into_owned(), level.feature_level);
        }
    }
}

/// What of it is not served.
fn judge(metadata: &Metadata, image: &MetadataImage, node: NodeId, report: &mut Report) {
    let supported = supported_features();
    let levels = metadata.features.iter().map(|(name, level)| (name.as_str(), *level));
    for (name, level) in levels.chain([(METADATA_VERSION, metadata.metadata_level)]) {
        if supported.get(name).is_none_or(|range| !range.contains(level)) {
            let what = match supported.get(name) {
                Some(range) => format!("{name} is at level {level}; this program knows {range}"),
                None => format!("the feature {name} (level {level}) is not known"),
            };
            report.blocks(what, "downgrade it with the release of Kafka that wrote it, or use a newer ottla");
        }
    }
    let others: Vec<i32> = metadata.voters.iter().copied().filter(|id| *id != node.value()).collect();
    if !others.is_empty() {
        let what = format!("the metadata quorum has other voters: {others:?}");
        report.blocks(what, "quorums of several nodes are not served yet");
    }
    let others: Vec<i32> = metadata.brokers.iter().copied().filter(|id| *id != node.value()).collect();
    if !others.is_empty() {
        report.blocks(
            format!("other brokers are registered: {others:?}"),
            "clusters of several nodes are not served yet; a broker that is gone for good can be unregistered with Kafka",
        );
    }
    if metadata.log_end > 0 && !metadata.brokers.is_empty() && image.cluster().broker(node).is_none() {
        report.blocks(
            format!("node {node} is a controller only: no broker of this id is registered"),
            "nodes of a single role are not served yet",
        );
    }
    judge_security(metadata, image, node, report);
    judge_topics(image, node, report);
}

fn judge_security(metadata: &Metadata, image: &MetadataImage, node: NodeId, report: &mut Report) {
    for listener in image.cluster().broker(node).into_iter().flat_map(|broker| &broker.listeners) {
        if listener.security_protocol != 0 {
            let protocol = usize::try_from(listener.security_protocol).ok();
            let protocol =
                protocol.and_then(|id| SECURITY_PROTOCOLS.get(id)).unwrap_or(&"of an unknown protocol");
            report.blocks(
                format!("listener {} is {protocol}", listener.name),
                "TLS and SASL are not served yet; with a configuration of PLAINTEXT listeners the directory opens",
            );
        }
    }
    for (count, what) in [
        (metadata.acls, "ACLs"),
        (metadata.scram_credentials, "SCRAM credentials"),
        (metadata.delegation_tokens, "delegation tokens"),
    ] {
        if count > 0 {
            report.note(
                format!("{count} {what} are kept, but not enforced"),
                "security is not served yet: whoever reaches a listener may do everything",
            );
        }
    }
}

fn judge_topics(image: &MetadataImage, node: NodeId, report: &mut Report) {
    let tiered = image.topics().iter().filter(|topic| {
        let resource = ConfigResource::topic(topic.name.as_str());
        image.configs().value(&resource, "remote.storage.enable") == Some("true")
    });
    let tiered: Vec<&str> = tiered.map(|topic| topic.name.as_str()).collect();
    if !tiered.is_empty() {
        report.blocks(
            format!("topics have records in remote storage: {}", tiered.join(", ")),
            "tiered storage is not served yet: those records could not be read",
        );
    }
    let dangling = image.topics().iter().filter(|topic| {
        topic.partitions.iter().any(|(_, partition)| partition.replicas.iter().any(|id| *id != node))
    });
    let dangling: Vec<&str> = dangling.map(|topic| topic.name.as_str()).collect();
    if !dangling.is_empty() {
        report.blocks(
            format!("partitions have replicas on other nodes: {}", dangling.join(", ")),
            "reassign them to this node first",
        );
    }
}
