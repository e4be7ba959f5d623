//! Against Apache Kafka itself: its metadata log and snapshots are read, replayed and written again byte for byte; its dump tool
//! reads ours; it starts on a metadata log of ours.
//!
//! Runs when `OTTLA_KAFKA_CLASSPATH` names a directory with the jars of Apache Kafka 4.4.0 and there is a JDK; the dump tool is
//! in `OTTLA_KAFKA_TOOLS_CLASSPATH`. Without them the tests say SKIPPED and pass.

mod java;
mod ours;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::java::{Kafka, Tools};
use ottla_metadata::decode;
use ottla_metadata::features::{MetadataVersion, default_levels};
use ottla_metadata::image::{Loader, MetadataImage};
use ottla_protocol::records::FramedRecord as _;
use ottla_quorum::snapshot::{Snapshot, SnapshotFile, SnapshotId};
use ottla_quorum::{
    BatchRecords, Control, FormatMetadata, METADATA_DIR, MetadataBatch, VoterSet, data_batch, read_bootstrap,
};
use ottla_record::Batches;
use ottla_storage::fs::{Fs, RealFs};
use ottla_types::{Offset, Uuid};

fn metadata_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(METADATA_DIR).join(name)
}

fn log_file(dir: &Path) -> Vec<u8> {
    fs::read(metadata_file(dir, "00000000000000000000.log")).unwrap()
}

fn snapshots(dir: &Path) -> Vec<Snapshot> {
    let names = fs::read_dir(dir.join(METADATA_DIR)).unwrap();
    let mut ids: Vec<_> = names
        .filter_map(|entry| match SnapshotFile::parse(entry.unwrap().file_name().to_str().unwrap()) {
            Some(SnapshotFile::Finished(id)) => Some(id),
            _ => None,
        })
        .collect();
    ids.sort();
    let read = |id: SnapshotId| Snapshot::read(&RealFs, &metadata_file(dir, &id.file_name()), id).unwrap();
    ids.into_iter().map(read).collect()
}

fn image_of(snapshot: &Snapshot) -> MetadataImage {
    let SnapshotId { end_offset, epoch } = snapshot.id;
    MetadataImage::from_snapshot(end_offset, epoch, snapshot.last_contained_log_timestamp, snapshot.values())
        .unwrap()
}

/// Every batch is built again of what was read; every record is encoded again.
fn assert_rebuilds(bytes: &[u8]) -> usize {
    let mut records = 0;
    for batch in Batches::new(bytes) {
        let view = batch.unwrap();
        let batch = MetadataBatch::read(&view).unwrap();
        let again = match &batch.records {
            BatchRecords::Control(controls) => {
                Control::batch(controls, batch.base_offset, batch.epoch, batch.timestamp_ms).unwrap()
            }
            BatchRecords::Data(values) => {
                for value in values {
                    let (record, version) = decode(value).unwrap();
                    assert_eq!(&record.encode(version).unwrap(), value, "{record:?}");
                    records += 1;
                }
                data_batch(values, batch.base_offset, batch.epoch, batch.timestamp_ms).unwrap()
            }
        };
        assert_eq!(again, view.bytes(), "{batch:?}");
    }
    records
}

fn load_until(loader: &mut Loader, batches: &[MetadataBatch], end: Offset) {
    for batch in batches.iter().filter(|batch| batch.last_offset < end) {
        match &batch.records {
            BatchRecords::Control(_) => {
                loader.skip_batch(batch.last_offset, batch.epoch, batch.timestamp_ms);
            }
            BatchRecords::Data(_) => {
                loader
                    .load_batch(batch.base_offset, batch.epoch, batch.timestamp_ms, batch.values())
                    .unwrap();
            }
        }
    }
    loader.publish();
}

#[test]
fn kafkas_log_and_snapshots_are_understood_to_the_byte() {
    let Some(kafka) = Kafka::find("kafkas_log_and_snapshots_are_understood_to_the_byte") else { return };
    let node = kafka.node();
    kafka.format(&node);
    let running = kafka.start(&node);
    assert_eq!(kafka.cluster("fill", &node).last().map(String::as_str), Some("filled"));
    running.stop();
    let log = log_file(&node.dir);
    assert!(assert_rebuilds(&log) > 40, "the log has records");
    let batches = MetadataBatch::read_all(&log).unwrap();
    let snapshots = snapshots(&node.dir);
    // Besides the one from formatting; how many more depends on how fast Kafka runs.
    assert!(snapshots.len() > 1, "Kafka made no snapshot");
    for snapshot in &snapshots {
        assert_rebuilds(&fs::read(metadata_file(&node.dir, &snapshot.id.file_name())).unwrap());
        if snapshot.id == SnapshotId::BOOTSTRAP {
            continue;
        }
        // What we make of the log up to there is what Kafka's snapshot says.
        let mut loader = Loader::default();
        load_until(&mut loader, &batches, snapshot.id.end_offset);
        assert_eq!(loader.image(), &image_of(snapshot), "{}", snapshot.id);
    }
    let mut loader = Loader::default();
    load_until(&mut loader, &batches, Offset::MAX);
    let image = loader.image();
    assert_eq!(image.topics().by_name("plain").unwrap().partitions.len(), 5);
    assert!(image.topics().by_name("doomed").is_none());
    assert_eq!(image.quotas().iter().count(), 1);
    assert_eq!(image.scram().iter().count(), 1);
    assert!(image.producer_ids().next() >= 1000);
    assert!(image.features().elr_enabled());
    assert_eq!(read_bootstrap(&RealFs, &node.dir).unwrap().unwrap().len(), 6);
}

#[test]
fn formatting_writes_what_kafkas_tool_writes() {
    let Some(kafka) = Kafka::find("formatting_writes_what_kafkas_tool_writes") else { return };
    let node = kafka.node();
    kafka.format(&node);
    let theirs = snapshots(&node.dir).remove(0);
    let Control::Voters(voters) = &theirs.batches[0].controls()[2] else { panic!("voters come third") };
    let ours_dir = node.dir.with_extension("ours");
    fs::create_dir_all(&ours_dir).unwrap();
    let features = default_levels(MetadataVersion::LATEST);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    FormatMetadata { voters, features: &features, extra: &[] }.write(fs, &ours_dir, 5_000, 1).unwrap();
    let ours = snapshots(&ours_dir).remove(0);
    let contents = |snapshot: &Snapshot| -> Vec<_> {
        let without_time = |control: &Control| match control {
            Control::SnapshotHeader { .. } => Control::SnapshotHeader { last_contained_log_timestamp: 0 },
            other => other.clone(),
        };
        let contents = |batch: &MetadataBatch| {
            let controls: Vec<_> = batch.controls().iter().map(without_time).collect();
            let values: Vec<_> = batch.values().map(<[u8]>::to_vec).collect();
            (batch.base_offset, batch.epoch, batch.size_bytes, controls, values)
        };
        snapshot.batches.iter().map(contents).collect()
    };
    assert_eq!(contents(&ours), contents(&theirs));
    let permissions = |dir: &Path| {
        std::fs::metadata(metadata_file(dir, &SnapshotId::BOOTSTRAP.file_name())).unwrap().permissions()
    };
    assert!(permissions(&ours_dir).readonly() && permissions(&node.dir).readonly());
}

#[test]
fn kafkas_dump_tool_reads_our_log_and_snapshots() {
    let test = "kafkas_dump_tool_reads_our_log_and_snapshots";
    let Some(tools) = Tools::find(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut node = ours::Node::format(dir.path(), 9092, 9093, Uuid::from_parts(0x77, 0x99));
    node.fill();
    let id = node.snapshot();
    drop(node);
    let log = tools.dump(&metadata_file(dir.path(), "00000000000000000000.log"));
    let batches = MetadataBatch::read_all(&log_file(dir.path())).unwrap();
    let headers: Vec<_> = log.iter().filter(|line| line.starts_with("baseOffset")).collect();
    assert_eq!(headers.len(), batches.len());
    assert!(headers.iter().all(|line| line.contains("isvalid: true")), "{log:#?}");
    let payloads = log.iter().filter(|line| line.contains("payload: {\"type\":")).count();
    assert_eq!(payloads, batches.iter().map(|batch| batch.values().count()).sum::<usize>(), "{log:#?}");
    for kind in [
        "LeaderChange",
        "KRaftVoters",
        "BEGIN_TRANSACTION_RECORD",
        "REGISTER_BROKER_RECORD",
        "PARTITION_RECORD",
    ] {
        assert!(log.iter().any(|line| line.contains(kind)), "{kind} in {log:#?}");
    }
    let snapshot = tools.dump(&metadata_file(dir.path(), &id.file_name()));
    for kind in ["SnapshotHeader", "KRaftVoters", "FEATURE_LEVEL_RECORD", "TOPIC_RECORD", "SnapshotFooter"] {
        assert!(snapshot.iter().any(|line| line.contains(kind)), "{kind} in {snapshot:#?}");
    }
    assert!(!snapshot.iter().any(|line| line.contains("isvalid: false")));
}

#[test]
fn kafka_starts_on_our_metadata_and_we_go_on_after_it() {
    let Some(kafka) = Kafka::find("kafka_starts_on_our_metadata_and_we_go_on_after_it") else { return };
    let node = kafka.node();
    let directory = Uuid::from_parts(0x1234_5678_9abc_4def, 0x8fed_cba9_8765_4321);
    let mut ours = ours::Node::format(&node.dir, node.port, node.controller_port, directory);
    ours.fill();
    ours.snapshot();
    let expected: BTreeMap<_, _> = ours.topics();
    drop(ours);

    let running = kafka.start(&node);
    let shown = kafka.cluster("show", &node);
    for (name, id) in &expected {
        let line = shown.iter().find(|line| line.starts_with(&format!("{name} {id}")));
        let line = line.unwrap_or_else(|| panic!("{name} {id} in {shown:#?}"));
        assert!(line.contains(" 0:1/1"), "led by broker 1: {line}");
    }
    assert!(shown.iter().any(|line| line.contains("retention.ms=777")), "{shown:#?}");
    assert!(shown.contains(&"metadata.version=33".to_owned()), "{shown:#?}");
    kafka.cluster("fill", &node);
    running.stop();

    let again = ours::Node::open(&node.dir, node.port, node.controller_port, directory);
    let topics = again.topics();
    for (name, id) in &expected {
        assert_eq!(topics.get(name), Some(id));
    }
    assert!(topics.contains_key("plain") && !topics.contains_key("doomed"));
    assert_eq!(again.voters(), VoterSet::new([ours::voter(node.controller_port, directory)]));
}
