//! What the group coordinator writes.

use std::time::{Duration, Instant};

use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use ottla_protocol::messages::{FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest};
use ottla_record::{Batches, Compression};

use crate::support::{Client, PATIENCE, TestNode};

/// Calls until it gives something.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The group's coordinator, which is found once its topic is there, and answers once it is loaded.
fn commit(client: &mut Client, topic: &str, offset: i64) {
    let find = FindCoordinatorRequest { coordinator_keys: vec!["readers".into()], ..Default::default() };
    wait_for("a coordinator", || {
        let answer = client.ask(4, &find).expect("an answer");
        (answer.coordinators[0].error_code == 0).then_some(())
    });
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some("x".repeat(2000).into()),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned().into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    wait_for("a commit", || {
        let answer = client.ask(8, &request).expect("an answer");
        (answer.topics[0].partitions[0].error_code == 0).then_some(())
    });
}

fn committed(client: &mut Client, topic: &str) -> i64 {
    let request = OffsetFetchRequest {
        group_id: "readers".into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: topic.to_owned().into(),
            partition_indexes: vec![0],
        }]),
        ..Default::default()
    };
    wait_for("the offset", || {
        let answer = client.ask(7, &request).expect("an answer");
        (answer.error_code == 0).then(|| answer.topics[0].partitions[0].committed_offset)
    })
}

#[test]
fn the_offsets_topic_is_written_in_its_codec_and_loaded_again() {
    let mut node = TestNode::start(&[("offsets.topic.compression.codec", "4")]);
    let mut client = node.client();
    client.create("read", 1);
    commit(&mut client, "read", 42);
    drop(client);
    node.stop();
    let log = node.log_dir("data").join("__consumer_offsets-0/00000000000000000000.log");
    let log = std::fs::read(log).expect("the offsets' log");
    let batches: Vec<_> = Batches::new(&log).collect::<Result<_, _>>().expect("whole batches");
    assert!(!batches.is_empty());
    for batch in &batches {
        assert_eq!(batch.attributes().compression(), Ok(Compression::Zstd));
    }
    assert!(log.len() < 1000, "{} bytes for a text that repeats itself", log.len());
    node.start_again();
    assert_eq!(committed(&mut node.client(), "read"), 42);
}
