//! The same sequences of requests to a node and to Apache Kafka: every answer must be the same, field by field.
//!
//! Written sequences (`written/`) are scripts that both servers play by themselves; generated ones (`generated/`) are drawn
//! from a seed, played on both servers step by step, and shrunk to the shortest that still differs. What may differ between
//! two right servers is declared in `rules.rs` of the oracle, whose client and comparison these tests share.
//!
//! `cargo xtask differential` runs this, with `--seeds`, `--from`, `--ops` and `--script` (see `generated/settings.rs`).

mod batches;
#[allow(dead_code, reason = "shared with the oracle, which uses more of it")]
#[path = "../oracle/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the oracle, which uses more of it")]
#[path = "../oracle/compare.rs"]
mod compare;
mod generated;
mod requests;
#[path = "../oracle/rules.rs"]
mod rules;
#[path = "../oracle/servers.rs"]
mod servers;
#[allow(dead_code, reason = "shared with the oracle, which uses more of it")]
#[path = "../oracle/transactions.rs"]
mod transactions;
#[path = "../oracle/tree.rs"]
mod tree;
mod written;

use std::net::SocketAddr;

use ottla_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest};
use servers::{Kafka, Own};

/// What both servers are configured with beside the oracle's settings.
const SETTINGS: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("group.min.session.timeout.ms", "100"),
    ("max.incremental.fetch.session.cache.slots", "100000"),
    ("log.retention.check.interval.ms", "500"),
    ("log.initial.task.delay.ms", "500"),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200"),
];

/// Where the two servers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Servers {
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
}

#[test]
#[ignore = "takes minutes: `cargo xtask differential`, or the lane of that name, runs it"]
fn answers_sequences_as_kafka_does() {
    let Some(kafka) = Kafka::start(SETTINGS) else { return };
    let own = Own::start(SETTINGS);
    let servers = Servers { ours: own.address, theirs: kafka.address };
    for address in [servers.ours, servers.theirs] {
        let mut peer = client::Peer::new(address);
        requests::settle(&mut peer);
        let coordinator = FindCoordinatorRequest {
            coordinator_keys: vec!["any".into()],
            key_type: 1,
            ..FindCoordinatorRequest::default()
        };
        peer.wait_for(4, &coordinator, |answer| {
            answer.coordinators.iter().all(|found| found.error_code == 0)
        });
        // The producer id 0 stands for itself in the comparison, so no sequence may get it.
        let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
        peer.wait_for(5, &request, |answer| answer.error_code == 0 && answer.producer_id > 0);
    }
    let settings = generated::Settings::from_environment();
    let mut report = String::new();
    if settings.script.is_none() {
        report.push_str(&written::run(servers));
    }
    report.push_str(&generated::run(servers, &settings));
    assert!(report.is_empty(), "\n{report}");
}

#[cfg(test)]
mod canary {
    //! The comparison sees a single field that differs.

    use ottla_protocol::messages::FetchResponse;
    use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use ottla_protocol::messages::{FetchRequest, JoinGroupRequest, JoinGroupResponse};
    use ottla_protocol::wire::Request;

    use crate::client::Peer;
    use crate::compare;

    /// Answers as if they came from a server.
    fn answered<'a, R: Request<'a>>(answers: &[R::Response<'static>]) -> Vec<crate::client::Entry>
    where
        R::Response<'static>: std::fmt::Debug + Clone,
    {
        let mut peer = Peer::new(([127, 0, 0, 1], 1).into());
        for answer in answers {
            peer.record_answer::<R>(1, "canary", answer.clone());
        }
        peer.entries
    }

    fn fetched(change: impl FnOnce(&mut PartitionData<'static>)) -> FetchResponse<'static> {
        let mut partition = PartitionData { high_watermark: 7, ..PartitionData::default() };
        change(&mut partition);
        let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
        FetchResponse { responses: vec![topic], session_id: 4711, ..FetchResponse::default() }
    }

    #[test]
    fn one_changed_field_is_a_difference() {
        let whole = answered::<FetchRequest<'_>>(&[fetched(|_| {})]);
        let same = FetchResponse { session_id: 42, ..fetched(|_| {}) };
        assert_eq!(compare::differences(&whole, &answered::<FetchRequest<'_>>(&[same])), "");
        let changes: [fn(&mut PartitionData<'static>); 5] = [
            |partition| partition.high_watermark = 8,
            |partition| partition.error_code = 1,
            |partition| partition.aborted_transactions = None,
            |partition| partition.diverging_epoch.epoch = 3,
            |partition| partition.partition_index = 1,
        ];
        for change in changes {
            let changed = answered::<FetchRequest<'_>>(&[fetched(change)]);
            assert_ne!(compare::differences(&whole, &changed), "", "{changed:?}");
        }
        let no_session = FetchResponse { session_id: 0, ..fetched(|_| {}) };
        assert_ne!(compare::differences(&whole, &answered::<FetchRequest<'_>>(&[no_session])), "");
    }

    #[test]
    fn ids_may_differ_but_not_change_their_places() {
        let joined = |id: &str, leader: &str| JoinGroupResponse {
            member_id: id.to_owned().into(),
            leader: leader.to_owned().into(),
            ..JoinGroupResponse::default()
        };
        let one = answered::<JoinGroupRequest<'_>>(&[joined("a", "a"), joined("b", "a")]);
        let same = answered::<JoinGroupRequest<'_>>(&[joined("x", "x"), joined("y", "x")]);
        assert_eq!(compare::differences(&one, &same), "");
        let other = answered::<JoinGroupRequest<'_>>(&[joined("x", "x"), joined("y", "y")]);
        assert_ne!(compare::differences(&one, &other), "");
    }

    #[test]
    fn a_missing_answer_is_a_difference() {
        let two = answered::<FetchRequest<'_>>(&[fetched(|_| {}), fetched(|_| {})]);
        assert_ne!(compare::differences(&two, &two[..1]), "");
    }
}
