//! ApiVersions, Metadata, DescribeCluster, DescribeTopicPartitions, FindCoordinator, InitProducerId.

use ottla_protocol::Listener;
use ottla_protocol::messages::api_versions_response::ApiVersion;
use ottla_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{
    ApiKey, ApiVersionsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest,
    FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::{make_topic, metadata_of, ready};

pub(crate) fn script(peer: &mut Peer) {
    api_versions(peer);
    metadata(peer);
    auto_create(peer);
    describe_cluster(peer);
    describe_topic_partitions(peer);
    find_coordinator(peer);
    init_producer_id(peer);
}

/// The keys of `dispatch.rs`; Kafka serves more.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::SaslHandshake,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::SaslAuthenticate,
    ApiKey::CreatePartitions,
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::DescribeDelegationToken,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::AlterUserScramCredentials,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
    ApiKey::RemoveRaftVoter,
    ApiKey::UnregisterController,
];

/// Served too, but advertised only when it is asked for.
pub(crate) const UNADVERTISED: &[ApiKey] = &[ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];

/// Leaves the keys that both servers serve, in order.
fn keep_served(keys: &mut Vec<ApiVersion>) {
    keys.retain(|key| ApiKey::from_code(key.api_key).is_some_and(|key| SERVED.contains(&key)));
    keys.sort_by_key(|key| key.api_key);
}

fn api_versions(peer: &mut Peer) {
    let named = |name: &'static str, version: &'static str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..ApiVersionsRequest::default()
    };
    for version in versions::<ApiVersionsRequest<'_>>() {
        peer.call_edited(version, "named client", &named("oracle", "1.0"), |answer| {
            keep_served(&mut answer.api_keys)
        });
        for (case, name, software) in [
            ("no name", "", "1"),
            ("bad name", "a b", "1"),
            ("bad version", "a", "-1"),
            ("dots", "a.b-c", "1."),
        ] {
            peer.call_edited(version, case, &named(name, software), |answer| {
                keep_served(&mut answer.api_keys)
            });
        }
    }
    let cluster_id = peer.ask(5, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    let cluster_id = cluster_id.expect("an answer").cluster_id.expect("an id");
    for (case, cluster, node_id) in [
        ("this node", Some(&*cluster_id), 1),
        ("another node", Some(&*cluster_id), 2),
        ("another cluster", Some("other"), 1),
        ("cluster only", Some(&*cluster_id), -1),
        ("node only", None, 1),
    ] {
        let request =
            ApiVersionsRequest { cluster_id: cluster.map(Into::into), node_id, ..named("oracle", "1") };
        peer.call_edited(5, case, &request, |answer| keep_served(&mut answer.api_keys));
    }
    unknown_version(peer);
    for key in SERVED {
        assert!(key.advertised_versions(Listener::Broker).is_some(), "{key}");
    }
}

/// A version from the future is answered in version 0.
fn unknown_version(peer: &mut Peer) {
    use ottla_protocol::messages::ApiVersionsResponse;
    use ottla_protocol::wire::Message as _;
    let mut connection = crate::client::Connection::open(peer.address).expect("a connection");
    let header = [&[0, 18, 0, 99][..], &[0, 0, 0, 7], &[0, 1, b'x'], &[0, 2, b'y', 2, b'z', 0]].concat();
    connection.write_frame(&header).expect("sent");
    let frame = connection.read_frame().expect("an answer");
    assert_eq!(frame[..4], [0, 0, 0, 7], "the correlation id");
    let answer = ApiVersionsResponse::decode(&frame[4..], 0).expect("version 0");
    peer.note(99, "ApiVersions: unknown version", &answer);
}

fn metadata(peer: &mut Peer) {
    let id = make_topic(peer, "meta", 3, &[]);
    make_topic(peer, "meta.other", 1, &[]);
    for version in versions::<MetadataRequest<'_>>() {
        let lowest = MetadataRequest { allow_auto_topic_creation: version < 4, ..MetadataRequest::default() };
        let all = (version > 0).then_some(MetadataRequest { topics: None, ..lowest.clone() });
        if let Some(all) = all {
            peer.call(version, "all", &all);
        }
        peer.call(version, "empty list", &MetadataRequest { topics: Some(Vec::new()), ..lowest.clone() });
        let named = |names: &[&'static str]| MetadataRequest {
            allow_auto_topic_creation: version < 4,
            ..metadata_of(names)
        };
        peer.call(version, "known", &named(&["meta"]));
        peer.call(version, "known twice", &named(&["meta", "meta"]));
        peer.call(version, "invalid names", &named(&["a b", "meta", "..", ""]));
        if version >= 4 {
            peer.call(version, "unknown", &named(&["meta-unknown", "meta", "meta_other"]));
            peer.call(version, "internal", &named(&["__transaction_state"]));
        }
        if version >= 8 {
            let cluster = version <= 10;
            let mut request = named(&["meta", "meta-unknown"]);
            request.include_topic_authorized_operations = true;
            request.include_cluster_authorized_operations = cluster;
            peer.call(version, "operations", &request);
        }
        if version >= 10 {
            by_id(peer, version, id);
        }
    }
}

fn by_id(peer: &mut Peer, version: i16, id: Uuid) {
    let unknown = Uuid::from_parts(77, 77);
    let topic =
        |topic_id, name: Option<&'static str>| MetadataRequestTopic { topic_id, name: name.map(Into::into) };
    let request = |topics| MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    peer.call(version, "by id", &request(vec![topic(id, None)]));
    peer.call(version, "by unknown id", &request(vec![topic(unknown, None), topic(id, None)]));
    peer.call(version, "by id and name", &request(vec![topic(id, Some("meta"))]));
    peer.call(version, "id and name mixed", &request(vec![topic(id, None), topic(Uuid::ZERO, Some("meta"))]));
    peer.call(version, "neither id nor name", &request(vec![topic(Uuid::ZERO, None)]));
}

fn auto_create(peer: &mut Peer) {
    for version in versions::<MetadataRequest<'_>>() {
        let name = format!("auto-{version}");
        let request = MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&[&name]) };
        peer.call(version, "creates", &request);
        ready(peer, &name, 2);
        peer.call(version, "created", &request);
    }
    let both =
        MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&["auto.1-x", "auto_1-x", "b c"]) };
    peer.call(9, "creates names that collide", &both);
}

fn describe_cluster(peer: &mut Peer) {
    for version in versions::<DescribeClusterRequest>() {
        let plain = DescribeClusterRequest::default();
        peer.call(version, "plain", &plain);
        let operations =
            DescribeClusterRequest { include_cluster_authorized_operations: true, ..plain.clone() };
        peer.call(version, "operations", &operations);
        if version >= 1 {
            for (case, endpoint_type) in [("controllers", 2), ("no such endpoints", 3), ("zero", 0)] {
                peer.call(version, case, &DescribeClusterRequest { endpoint_type, ..plain.clone() });
            }
        }
        if version >= 2 {
            peer.call(version, "fenced", &DescribeClusterRequest { include_fenced_brokers: true, ..plain });
        }
    }
}

fn describe_topic_partitions(peer: &mut Peer) {
    make_topic(peer, "paged-a", 3, &[]);
    make_topic(peer, "paged-b", 2, &[]);
    let request =
        |names: &[&'static str], limit, cursor: Option<(&'static str, i32)>| DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, index)| Cursor { topic_name: name.into(), partition_index: index }),
        };
    let both = &["paged-b", "paged-a"];
    for (case, request) in [
        ("all of two", request(both, 2000, None)),
        ("first page", request(both, 2, None)),
        ("a topic exactly", request(both, 3, None)),
        ("second page", request(both, 2, Some(("paged-a", 2)))),
        ("from the second topic", request(both, 2, Some(("paged-b", 0)))),
        ("behind the last partition", request(both, 9, Some(("paged-a", 3)))),
        ("behind the last topic", request(both, 9, Some(("zzz", 0)))),
        ("cursor between topics", request(both, 9, Some(("paged-aa", 1)))),
        ("cursor at a negative partition", request(both, 9, Some(("paged-a", -1)))),
        ("unknown and invalid", request(&["paged-b", "paged-none", "a b", "paged-a"], 9, None)),
        ("unknown with a small page", request(&["paged-a", "paged-b", "paged-c"], 4, None)),
        ("limit of zero", request(both, 0, None)),
        ("negative limit", request(both, -1, None)),
        ("the same twice", request(&["paged-a", "paged-a"], 9, None)),
        ("internal", request(&["__consumer_offsets"], 9, None)),
        ("none named, one partition", request(&[], 1, None)),
        ("all from a cursor", request(&[], 4, Some(("paged-a", 1)))),
    ] {
        peer.call(0, case, &request);
    }
}

fn find_coordinator(peer: &mut Peer) {
    for version in versions::<FindCoordinatorRequest<'_>>() {
        let one = |key: &'static str, key_type| match version {
            0..=3 => FindCoordinatorRequest { key: key.into(), key_type, ..Default::default() },
            _ => {
                FindCoordinatorRequest { coordinator_keys: vec![key.into()], key_type, ..Default::default() }
            }
        };
        peer.call(version, "group", &one("a-group", 0));
        peer.call(version, "empty group", &one("", 0));
        if version >= 1 {
            peer.call(version, "no such type", &one("a-group", 9));
            peer.call(version, "negative type", &one("a-group", -1));
        }
        if version >= 4 {
            let keys = vec!["a".into(), "b".into(), "a".into()];
            peer.call(
                version,
                "several",
                &FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() },
            );
            peer.call(version, "none", &FindCoordinatorRequest::default());
            peer.call(version, "share key malformed", &one("what", 2));
        }
    }
}

fn init_producer_id(peer: &mut Peer) {
    // Until the first block of ids is there, clients are asked to come again.
    let without_id = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    peer.wait_for(0, &InitProducerIdRequest { transaction_timeout_ms: 1000, ..without_id }, |answer| {
        answer.error_code == 0
    });
    for version in versions::<InitProducerIdRequest<'_>>() {
        // A request's default has an empty transactional id, which is not none.
        let fresh = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        peer.call(version, "fresh", &fresh);
        peer.call(version, "another", &fresh);
        peer.call(
            version,
            "no time-out",
            &InitProducerIdRequest { transaction_timeout_ms: 0, ..fresh.clone() },
        );
        if version >= 3 {
            for (case, producer_id, producer_epoch) in
                [("id only", 5, -1), ("epoch only", -1, 3), ("both", 5, 3)]
            {
                peer.call(
                    version,
                    case,
                    &InitProducerIdRequest { producer_id, producer_epoch, ..fresh.clone() },
                );
            }
        }
        let named = InitProducerIdRequest { transactional_id: Some("".into()), ..fresh };
        peer.call(version, "empty transactional id", &named);
    }
}
