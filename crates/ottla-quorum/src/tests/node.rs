//! A node of one: election, appends, commits, restarts.

use std::path::Path;
use std::sync::Arc;

use ottla_storage::fs::{Fs, MemFs, read_file};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::{DIRECTORY, LOG_DIR, config, formatted, open_with, started, voter};
use crate::{
    BatchRecords, Control, METADATA_DIR, QuorumConfig, QuorumError, Voter, VoterSet, read_bootstrap,
};

fn quorum_state(fs: &Arc<dyn Fs>) -> String {
    let path = Path::new(LOG_DIR).join(METADATA_DIR).join("quorum-state");
    String::from_utf8(read_file(fs.as_ref(), &path, 4096).unwrap()).unwrap()
}

#[test]
fn the_only_voter_leads_and_begins_its_epoch_as_kafka_does() {
    let fs = formatted();
    let mut node = open_with(&fs, config(9093)).unwrap();
    assert_eq!(node.quorum().kraft_version(), 1);
    node.start(2_000).unwrap();
    assert!(node.quorum().is_leader());
    assert_eq!(node.quorum().high_watermark(), None, "nothing is durable yet");
    assert_eq!(node.flush(2_000).unwrap(), Some(Offset(3)));
    let batches = node.read_committed(Offset(0), 1 << 20).unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].epoch, LeaderEpoch(1));
    let voters = VoterSet::new([voter(9093)]);
    let leader =
        Control::LeaderChange { leader: NodeId(1), voters: vec![NodeId(1)], granting: vec![NodeId(1)] };
    assert_eq!(
        batches[0].records,
        BatchRecords::Control(vec![leader, Control::KRaftVersion(1), Control::Voters(voters)])
    );
    assert_eq!(
        quorum_state(&fs),
        r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#
    );
}

#[test]
fn a_restart_begins_a_new_epoch_with_a_leader_change_alone() {
    let fs = formatted();
    drop(started(&fs));
    let node = started(&fs);
    assert_eq!(node.quorum().election().epoch, LeaderEpoch(2));
    let batches = node.read_committed(Offset(3), 1 << 20).unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].controls().len(), 1, "the voters are in the log already");
    assert_eq!(node.quorum().high_watermark(), Some(Offset(4)));
}

#[test]
fn a_changed_endpoint_is_written_at_the_next_start() {
    let fs = formatted();
    drop(started(&fs));
    let mut node = open_with(&fs, config(19_093)).unwrap();
    node.start(3_000).unwrap();
    node.flush(3_000).unwrap();
    assert_eq!(node.quorum().voters(), &VoterSet::new([voter(19_093)]));
    let controls = node.read_committed(Offset(3), 1 << 20).unwrap().remove(0);
    assert_eq!(controls.controls().len(), 3);
    drop(node);
    let node = open_with(&fs, config(19_093)).unwrap();
    assert_eq!(node.quorum().voters(), &VoterSet::new([voter(19_093)]));
}

#[test]
fn records_are_committed_once_they_are_flushed_and_survive_a_restart() {
    let fs = formatted();
    let mut node = started(&fs);
    let appended = node.append(&[b"one".to_vec(), b"two".to_vec()], true, 5_000).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (Offset(3), Offset(4)));
    assert!(node.read_committed(Offset(3), 1 << 20).unwrap().is_empty(), "not durable yet");
    assert_eq!(node.flush(5_000).unwrap(), Some(Offset(5)));
    let batch = node.read_committed(Offset(3), 1 << 20).unwrap().remove(0);
    assert_eq!(batch.timestamp_ms, 5_000);
    assert_eq!(batch.values().collect::<Vec<_>>(), [b"one", b"two"]);
    drop(node);
    let node = started(&fs);
    assert_eq!(node.read_committed(Offset(3), 1 << 20).unwrap()[0], batch);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    for seed in 0..20 {
        let shared = Arc::new(MemFs::new());
        let as_fs: Arc<dyn Fs> = shared.clone();
        as_fs.create_dir_all(Path::new(LOG_DIR)).unwrap();
        as_fs.sync_dir(Path::new("/")).unwrap();
        let features = [("metadata.version", 33)].into();
        crate::FormatMetadata { voters: &VoterSet::new([voter(9093)]), features: &features, extra: &[] }
            .write(Arc::clone(&as_fs), Path::new(LOG_DIR), 1_000, 7)
            .unwrap();
        let mut node = started(&as_fs);
        let mut committed = Offset(3);
        for n in 0..30u8 {
            node.append(&[vec![n; 50]], true, 5_000).unwrap();
            if n % 4 == 0 {
                committed = node.flush(5_000).unwrap().unwrap();
            }
        }
        shared.crash(seed);
        drop(node);
        let node = started(&as_fs);
        assert!(node.quorum().end_offset() > committed, "seed {seed}");
        let mut next = Offset(3);
        while next < committed {
            let batches = node.read_committed(next, 1 << 20).unwrap();
            for batch in &batches {
                assert_eq!(batch.base_offset, next, "seed {seed}");
                next = batch.last_offset.next();
            }
            assert!(!batches.is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn an_atomic_append_is_one_batch_or_refused_and_others_are_split() {
    let fs = formatted();
    let mut node = started(&fs);
    let many = vec![vec![1u8]; 10_001];
    let error = node.append(&many, true, 5_000).unwrap_err();
    assert!(matches!(error, QuorumError::BatchTooLarge { records: 10_001, .. }), "{error}");
    assert_eq!(node.quorum().end_offset(), Offset(3), "a refused append changes nothing");
    node.append(&many, false, 5_000).unwrap();
    node.flush(5_000).unwrap();
    let batches = node.read_committed(Offset(3), 64 << 20).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.values().count()).collect::<Vec<_>>(), [10_000, 1]);
    let large = vec![vec![0u8; 3 << 20]; 4];
    assert!(node.append(&large, true, 5_000).is_err());
    node.append(&large, false, 5_000).unwrap();
    assert!(node.append(&[vec![0u8; 9 << 20]], false, 5_000).is_err());
    node.flush(5_000).unwrap();
    assert_eq!(node.quorum().high_watermark(), Some(Offset(3 + 10_001 + 4)));
}

#[test]
fn static_voters_make_a_quorum_of_version_0() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let only = Voter { directory: None, ..voter(9093) };
    let config = QuorumConfig { static_voters: VoterSet::new([only]), ..config(9093) };
    let mut node = open_with(&fs, config.clone()).unwrap();
    node.start(2_000).unwrap();
    assert_eq!(node.flush(2_000).unwrap(), Some(Offset(1)), "a leader change alone");
    assert!(quorum_state(&fs).ends_with(r#""currentVoters":[{"voterId":1}],"data_version":0}"#));
    drop(node);
    let mut node = open_with(&fs, config).unwrap();
    node.start(2_000).unwrap();
    assert_eq!(node.quorum().election().epoch, LeaderEpoch(2));
}

#[test]
fn one_of_several_voters_and_a_stranger_do_not_lead() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let voters = [1, 2, 3].map(|id| Voter { id: NodeId(id), directory: None, ..voter(9093) });
    let config = QuorumConfig { static_voters: VoterSet::new(voters), ..config(9093) };
    let mut node = open_with(&fs, config).unwrap();
    node.start(2_000).unwrap();
    assert!(!node.quorum().is_leader());
    assert!(matches!(node.append(&[vec![1]], true, 2_000), Err(QuorumError::NotLeader { .. })));

    let fs = formatted();
    let mut stranger = config_of_other_directory();
    stranger.node_id = NodeId(1);
    let mut node = open_with(&fs, stranger).unwrap();
    node.start(2_000).unwrap();
    assert!(!node.quorum().is_leader(), "another directory is another voter");
}

fn config_of_other_directory() -> QuorumConfig {
    let other = ottla_types::Uuid::from_parts(1, 2);
    assert_ne!(other, DIRECTORY);
    QuorumConfig { directory_id: other, ..config(9093) }
}

#[test]
fn bootstrap_records_come_from_either_file() {
    let fs = formatted();
    let values = read_bootstrap(fs.as_ref(), Path::new(LOG_DIR)).unwrap().unwrap();
    assert_eq!(values.len(), 2, "kraft.version is no record");
    assert_eq!(values[0], *b"\x01\x0c\x00\x11metadata.version\x00\x21\x00");
    let empty: Arc<dyn Fs> = Arc::new(MemFs::new());
    empty.create_dir_all(Path::new(LOG_DIR)).unwrap();
    assert_eq!(read_bootstrap(empty.as_ref(), Path::new(LOG_DIR)).unwrap(), None);
    let from = Path::new(LOG_DIR).join(METADATA_DIR).join("00000000000000000000-0000000000.checkpoint");
    let bytes = read_file(fs.as_ref(), &from, 1 << 20).unwrap();
    let old = Path::new(LOG_DIR).join("bootstrap.checkpoint");
    ottla_storage::fs::replace_file(empty.as_ref(), &old, &bytes).unwrap();
    assert_eq!(read_bootstrap(empty.as_ref(), Path::new(LOG_DIR)).unwrap(), Some(values));
}
