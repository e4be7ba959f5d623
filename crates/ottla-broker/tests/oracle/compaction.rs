//! What a compacted topic is left with.

use std::time::{Duration, Instant};

use ottla_protocol::messages::FetchRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_record::{BatchBuilder, Batches, Codec, Compression};

use crate::client::Peer;
use crate::requests::{T0, append, make_topic};

/// The cleaner looks for work several times a second (`servers.rs`); this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn script(peer: &mut Peer) {
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("message.timestamp.type", "CreateTime"),
    ];
    make_topic(peer, "compacted", 1, &configs);
    // A batch is more than segment.ms after the one before, so that each is a segment. The last is the active one.
    for (round, compression) in Compression::ALL.into_iter().cycle().take(12).enumerate() {
        let time = T0 + i64::try_from(round).expect("few") * 5000;
        append(peer, "compacted", 0, batch(round, time, compression.into()));
    }
    let begin = Instant::now();
    loop {
        let left = records(peer, 12 * 5 + 1);
        // Of the first eleven batches: the five keys of the last one and the tombstone; all of the twelfth.
        if left.len() <= 5 + 1 + 5 {
            peer.note(4, "Fetch: a compacted topic", &left);
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "not compacted: {left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Five keys; in the fourth round another one is deleted.
fn batch(round: usize, time: i64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    for key in 0..5 {
        let (key, value) = (format!("key-{key}"), format!("round {round}"));
        builder.append(time, Some(key.as_bytes()), Some(value.as_bytes()), &[]).expect("small");
    }
    if round == 3 {
        builder.append(time, Some(b"gone"), None, &[]).expect("small");
    }
    builder.build().expect("a small batch")
}

#[derive(Debug)]
#[expect(dead_code, reason = "compared by what they show")]
struct Left {
    offset: i64,
    timestamp: i64,
    key: String,
    value: Option<String>,
    /// Ends of its batch.
    batch: (i64, i64),
}

/// All records up to the offset `end`.
fn records(peer: &mut Peer, end: i64) -> Vec<Left> {
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < end {
        let partition = FetchPartition {
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic: "compacted".into(), partitions: vec![partition], ..FetchTopic::default() };
        let request =
            FetchRequest { max_wait_ms: 100, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
        let answer = peer.ask(4, &request).expect("an answer");
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let bytes = partition.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
        let before = offset;
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a batch");
            offset = batch.next_offset().value();
            let mut records = batch.records().expect("readable");
            while let Some(record) = records.try_next().expect("readable") {
                found.push(Left {
                    offset: record.offset.value(),
                    timestamp: record.timestamp,
                    key: String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned(),
                    value: record.value.map(|value| String::from_utf8_lossy(value).into_owned()),
                    batch: (batch.base_offset().value(), batch.last_offset().value()),
                });
            }
        }
        if offset == before {
            break;
        }
    }
    found
}
