//! Transactions whose end was decided when the server was killed, but not carried out: the decision is in the log of
//! transactions, the markers are nowhere. The next server writes them. That moment is too short to be met by a kill, so the
//! decision is appended to the directory of a stopped server, as its coordinator would have done.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::messages::{DescribeTransactionsRequest, FindCoordinatorRequest};
use ottla_record::{BatchBuilder, Batches};
use ottla_storage::dir::CLEAN_SHUTDOWN_MARKER;
use ottla_storage::fs::RealFs;
use ottla_storage::log::{
    AppendOrigin, LeaderAppend, Log, LogConfig, LogOpen, ReadRequest, VerificationGuard,
};
use ottla_types::{LeaderEpoch, Offset, partition_for_key};

use super::open::{Open, add, init, topic_of};
use super::{make_topic, now_ms};
use crate::peer::Peer;
use crate::server::Site;
use crate::view;

/// One that shall be committed, and one that shall be aborted.
const IDS: [&str; 2] = ["decided, to commit", "decided, to abort"];
/// Partitions of `__transaction_state`, as the site's file has it.
const PARTITIONS: i32 = 5;

// States as the log of transactions has them (`TransactionState`).
const ONGOING: u8 = 1;
const PREPARE_COMMIT: u8 = 2;
const PREPARE_ABORT: u8 = 3;
/// Where a value has the state: behind version, producer id, producer epoch and timeout.
const STATE_AT: usize = 2 + 8 + 2 + 4;

/// Leaves both transactions open, each with a record.
pub(crate) fn begin(peer: &mut Peer) {
    for id in IDS {
        make_topic(peer, topic_of(id), 1, &[]);
        let request = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![id.into()],
            ..FindCoordinatorRequest::default()
        };
        peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
        let producer = init(peer, id);
        add(peer, id, producer);
        let (error, _) = Open::append(peer, id, producer, "decided", false);
        assert_eq!(error, 0, "{id}");
    }
}

/// Decides both in the directories of a stopped server, and makes its end look like a kill.
pub(crate) fn decide(site: &Site) {
    for (id, state) in IDS.into_iter().zip([PREPARE_COMMIT, PREPARE_ABORT]) {
        let name = format!("__transaction_state-{}", partition_for_key(id, PARTITIONS));
        let dir = site.dirs().into_iter().map(|dir| dir.join(&name)).find(|dir| dir.exists());
        append_decision(dir.expect("the coordinator's partition"), id, state);
    }
    for dir in site.dirs() {
        fs::remove_file(dir.join(CLEAN_SHUTDOWN_MARKER)).expect("it was stopped in order");
    }
}

/// Appends the id's newest record once more, with another state.
fn append_decision(dir: PathBuf, id: &str, state: u8) {
    let open = LogOpen {
        clean_shutdown: true,
        recovery_point: Offset::ZERO,
        log_start_offset: Offset::ZERO,
        topic_id: None,
        jitter_seed: 0,
        now_ms: now_ms(),
    };
    let (mut log, _) = Log::open(Arc::new(RealFs), &dir, LogConfig::default(), open).expect("a sound log");
    let end = log.log_end_offset();
    let read = log.read(ReadRequest {
        offset: log.log_start_offset(),
        max_bytes: 1 << 20,
        min_one_batch: true,
        upper_bound: end,
        aborted_transactions: false,
    });
    let bytes = read.expect("readable").slice.expect("records").read().expect("readable");
    let mut newest = None;
    for batch in Batches::new(&bytes) {
        let batch = batch.expect("a sound batch");
        let mut records = batch.records().expect("sound records");
        while let Some(record) = records.try_next().expect("a sound record") {
            let key = record.key.unwrap_or_default();
            if key.ends_with(id.as_bytes()) {
                newest = Some((key.to_vec(), record.value.expect("it is not forgotten").to_vec()));
            }
        }
    }
    let (key, mut value) = newest.expect("a record of the id");
    assert_eq!(value[STATE_AT], ONGOING, "{id} is open");
    value[STATE_AT] = state;
    let mut batch = BatchBuilder::new();
    batch.append(now_ms(), Some(&key), Some(&value), &[]).expect("a record");
    let append = LeaderAppend {
        origin: AppendOrigin::Coordinator,
        leader_epoch: log.latest_epoch().unwrap_or(LeaderEpoch(0)),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: now_ms(),
    };
    log.append_as_leader(&mut batch.build().expect("a batch"), append).expect("appended");
    log.flush(now_ms()).expect("durable");
}

/// Both have come to the end that was decided.
pub(crate) fn are_ended(peer: &mut Peer) {
    for (id, end) in IDS.into_iter().zip(["CompleteCommit", "CompleteAbort"]) {
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
        peer.wait_for(0, &request, |answer| {
            let found = &answer.transaction_states[0];
            found.error_code == 0 && found.transaction_state == end
        });
        let topic = topic_of(id);
        let (stable, high_watermark) = view::ends(peer, topic);
        assert_eq!((stable, high_watermark), (2, 2), "{id}: a record and a marker, and nothing is open");
        let committed = view::committed(peer, topic);
        assert_eq!(committed.len(), usize::from(end == "CompleteCommit"), "{id}: {committed:#?}");
    }
}

/// Their producers go on.
pub(crate) fn go_on(peer: &mut Peer) {
    for id in IDS {
        let producer = init(peer, id);
        add(peer, id, producer);
        assert_eq!(Open::append(peer, id, producer, "the next", false).0, 0, "{id}");
    }
}
