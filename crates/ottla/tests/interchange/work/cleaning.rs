//! A topic that is compacted for real in each turn, tombstones and their delete horizons included.

use std::time::{Duration, Instant};

use ottla_record::{BatchBuilder, Compression};

use super::{T0, make_topic, produce};
use crate::peer::Peer;
use crate::view::{self, Detail};

const TOPIC: &str = "cleaned";
const PATIENCE: Duration = Duration::from_secs(60);

/// Three batches, each of them a segment; then waits for the cleaner.
pub(crate) fn work(peer: &mut Peer, turn: usize) {
    if turn == 1 {
        let configs = [
            ("cleanup.policy", "compact"),
            ("segment.ms", "1000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "100"),
        ];
        make_topic(peer, TOPIC, 1, &configs);
    }
    let codecs = Compression::ALL;
    for round in 0..3 {
        let at = turn * 3 + round;
        let mut batch = BatchBuilder::new().codec(codecs[at % codecs.len()]);
        // Later than segment.ms after the one before.
        let time = T0 + i64::try_from(at).expect("few") * 5000;
        let mut put = |key: &str, value: Option<&str>| {
            batch.append(time, Some(key.as_bytes()), value.map(str::as_bytes), &[]).expect("a record");
        };
        for key in 0..5 {
            put(&format!("key {key}"), Some(&format!("turn {turn}, round {round}")));
        }
        match round {
            0 => {
                put(&format!("kept of turn {turn}"), Some("value"));
                put(&gone(turn), Some("value"));
            }
            1 => put(&gone(turn), None),
            _ => {}
        }
        produce(peer, TOPIC, 0, batch.build().expect("a batch"));
    }
    let begin = Instant::now();
    loop {
        let left = view::cleaned(peer, TOPIC);
        if is_clean(&left, turn) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "turn {turn}: not compacted: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn gone(turn: usize) -> String {
    format!("gone in turn {turn}")
}

/// Of all turns the kept keys; of the last cleaned batch its five keys and the tombstone, which waits for its horizon; of the
/// active segment everything. The tombstone of the turn before, whose horizon the other server has set, is gone: this
/// cleaning came later than that.
fn is_clean(left: &[Detail], turn: usize) -> bool {
    let tombstones: Vec<&Detail> = left.iter().filter(|record| record.key.starts_with("gone")).collect();
    let kept = left.iter().filter(|record| record.key.starts_with("kept")).count();
    let waits = matches!(tombstones[..], [one] if one.key == gone(turn) && one.horizon.is_some());
    waits && kept == turn && left.len() == turn + 1 + 5 + 5
}
