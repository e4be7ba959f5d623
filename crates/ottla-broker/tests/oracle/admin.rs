//! What administrators ask of a cluster of one: AlterConfigs, ListConfigResources, elections, reassignments, the quorum,
//! features, credentials, registrations.

use ottla_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_protocol::messages::describe_user_scram_credentials_request::UserName;
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterUserScramCredentialsRequest,
    DescribeQuorumRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, MetadataRequest, RemoveRaftVoterRequest,
    UnregisterBrokerRequest, UnregisterControllerRequest, UpdateFeaturesRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::make_topic;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "administered", 3, &[("retention.ms", "60000")]);
    alter_configs(peer);
    list_config_resources(peer);
    elect_leaders(peer);
    reassign(peer);
    describe_quorum(peer);
    remove_raft_voter(peer);
    scram(peer);
    unregister(peer);
    update_features(peer);
}

fn alter_configs(peer: &mut Peer) {
    for version in versions::<AlterConfigsRequest<'_>>() {
        type Entries = &'static [(&'static str, Option<&'static str>)];
        let resource = |kind, name: &'static str, entries: Entries| AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: entries
                .iter()
                .map(|(name, value)| AlterableConfig { name: (*name).into(), value: value.map(Into::into) })
                .collect(),
        };
        let cases: &[(&str, i8, &str, Entries)] = &[
            ("two keys", TOPIC, "administered", &[("retention.ms", Some("70000")), ("flush.ms", Some("9"))]),
            ("one stays", TOPIC, "administered", &[("flush.ms", Some("9"))]),
            ("none stays", TOPIC, "administered", &[]),
            ("null", TOPIC, "administered", &[("retention.ms", None)]),
            ("unknown key", TOPIC, "administered", &[("no.such", Some("1"))]),
            ("bad value", TOPIC, "administered", &[("retention.ms", Some("soon"))]),
            ("key twice", TOPIC, "administered", &[("flush.ms", Some("1")), ("flush.ms", Some("2"))]),
            ("unknown topic", TOPIC, "nobody", &[("retention.ms", Some("1"))]),
            ("invalid topic", TOPIC, "a b", &[("retention.ms", Some("1"))]),
            ("empty topic", TOPIC, "", &[("retention.ms", Some("1"))]),
            ("broker", BROKER, "1", &[("log.cleaner.threads", Some("1"))]),
            ("broker, read-only key", BROKER, "1", &[("log.dirs", Some("/x"))]),
            ("broker, unknown key", BROKER, "1", &[("no.such", Some("1"))]),
            ("broker, bad value", BROKER, "1", &[("log.cleaner.threads", Some("0"))]),
            ("broker, back to its file", BROKER, "1", &[]),
            ("another broker", BROKER, "2", &[("log.cleaner.threads", Some("2"))]),
            ("broker that is no number", BROKER, "one", &[("log.cleaner.threads", Some("2"))]),
            (
                "cluster default",
                BROKER,
                "",
                &[("log.retention.ms", Some("9900000000000")), ("min.insync.replicas", Some("1"))],
            ),
            ("cluster default, without what must stay", BROKER, "", &[]),
            ("cluster default, one broker's key", BROKER, "", &[("listeners", Some("PLAINTEXT://:1"))]),
            ("group", GROUP, "altered-group", &[("consumer.session.timeout.ms", Some("50000"))]),
            ("group, bad value", GROUP, "altered-group", &[("consumer.session.timeout.ms", Some("1"))]),
            ("group, unknown key", GROUP, "altered-group", &[("no.such", Some("1"))]),
            ("group without name", GROUP, "", &[("consumer.session.timeout.ms", Some("50000"))]),
            ("client metrics", CLIENT_METRICS, "altered", &[("interval.ms", Some("1000"))]),
            ("client metrics, bad value", CLIENT_METRICS, "altered", &[("interval.ms", Some("1"))]),
            ("client metrics without name", CLIENT_METRICS, "", &[("interval.ms", Some("1000"))]),
            ("logger", BROKER_LOGGER, "1", &[("kafka", Some("INFO"))]),
            ("type unknown", 0, "x", &[("a", Some("1"))]),
            ("no such type", 77, "x", &[("a", Some("1"))]),
        ];
        for (case, kind, name, entries) in cases {
            let request = |validate_only| AlterConfigsRequest {
                resources: vec![resource(*kind, name, entries)],
                validate_only,
            };
            peer.call(version, &format!("{case}, checked"), &request(true));
            peer.call(version, case, &request(false));
            described(peer, version, &format!("described after: {case}"), *kind, name);
        }
        let several = vec![
            resource(TOPIC, "nobody", &[]),
            resource(TOPIC, "administered", &[("retention.ms", Some("60000"))]),
            resource(BROKER_LOGGER, "1", &[]),
        ];
        let request = AlterConfigsRequest { resources: several, validate_only: false };
        peer.call(version, "several", &request);
        peer.call(version, "nothing", &AlterConfigsRequest::default());
    }
}

/// What is set on a resource.
fn described(peer: &mut Peer, version: i16, case: &str, kind: i8, name: &'static str) {
    use ottla_protocol::messages::DescribeConfigsRequest;
    use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
    let keys: &[&str] = match kind {
        TOPIC => &["retention.ms", "flush.ms"],
        BROKER => &["log.cleaner.threads", "log.retention.ms", "min.insync.replicas"],
        GROUP => &["consumer.session.timeout.ms"],
        CLIENT_METRICS => &["interval.ms"],
        _ => return,
    };
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: Some(keys.iter().map(|key| (*key).into()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    // A change is answered when the controller has it; here it arrives a moment later.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut answer = peer.ask(4, &request).expect("an answer");
    let configs = answer.results.iter_mut().flat_map(|result| {
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
        std::mem::take(&mut result.configs)
    });
    let configs: Vec<_> = configs.map(|config| (config.name, config.value, config.synonyms)).collect();
    peer.note(version, case, &configs);
}

fn list_config_resources(peer: &mut Peer) {
    let of = |types: &[i8]| ListConfigResourcesRequest { resource_types: types.to_vec() };
    for version in versions::<ListConfigResourcesRequest>() {
        peer.call(version, "all", &of(&[]));
        if version == 0 {
            continue;
        }
        for (case, types) in [
            ("topics", &[TOPIC][..]),
            ("brokers", &[BROKER]),
            ("loggers", &[BROKER_LOGGER]),
            ("client metrics", &[CLIENT_METRICS]),
            ("groups", &[GROUP]),
            ("groups and brokers", &[GROUP, BROKER]),
            ("brokers twice", &[BROKER, BROKER]),
            ("type unknown", &[0]),
            ("no such type", &[TOPIC, 3]),
        ] {
            peer.call(version, case, &of(types));
        }
    }
}

fn elect_leaders(peer: &mut Peer) {
    for version in versions::<ElectLeadersRequest<'_>>() {
        let topics = |topics: &[(&'static str, &[i32])]| {
            let topic = |(topic, partitions): &(&'static str, &[i32])| TopicPartitions {
                topic: (*topic).into(),
                partitions: partitions.to_vec(),
            };
            Some(topics.iter().map(topic).collect::<Vec<_>>())
        };
        for (kind, election_type) in [("preferred", 0), ("unclean", 1), ("no such kind", 7), ("negative", -1)]
        {
            if version == 0 && election_type != 0 {
                continue;
            }
            for (case, topic_partitions) in [
                ("all", None),
                ("none", topics(&[])),
                ("not needed", topics(&[("administered", &[0, 2])])),
                ("unknown", topics(&[("administered", &[1, 9, -1]), ("nobody", &[0])])),
                ("twice", topics(&[("administered", &[1, 1]), ("administered", &[1])])),
                ("no partitions", topics(&[("administered", &[])])),
            ] {
                let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 9000 };
                peer.call(version, &format!("{kind}, {case}"), &request);
            }
        }
    }
}

fn reassign(peer: &mut Peer) {
    type Targets = &'static [(&'static str, &'static [(i32, Option<&'static [i32]>)])];
    let cases: &[(&str, Targets)] = &[
        ("where it is", &[("administered", &[(0, Some(&[1]))])]),
        ("several", &[("administered", &[(0, Some(&[1])), (1, Some(&[1])), (9, Some(&[1]))])]),
        ("another broker", &[("administered", &[(0, Some(&[2]))])]),
        ("one more broker", &[("administered", &[(0, Some(&[1, 2]))])]),
        ("the same broker twice", &[("administered", &[(0, Some(&[1, 1]))])]),
        ("no brokers", &[("administered", &[(0, Some(&[]))])]),
        ("negative broker", &[("administered", &[(0, Some(&[-1]))])]),
        ("cancel", &[("administered", &[(0, None)])]),
        ("unknown topic", &[("nobody", &[(0, Some(&[1])), (1, None)])]),
        ("unknown partition", &[("administered", &[(7, Some(&[1])), (-1, None)])]),
        ("none", &[]),
    ];
    for version in versions::<AlterPartitionReassignmentsRequest<'_>>() {
        for allow_replication_factor_change in [true, false] {
            if version == 0 && !allow_replication_factor_change {
                continue;
            }
            for (case, targets) in cases {
                let partition = |(index, replicas): &(i32, Option<&'static [i32]>)| ReassignablePartition {
                    partition_index: *index,
                    replicas: replicas.map(<[i32]>::to_vec),
                };
                let topic = |(name, partitions): &(&'static str, &[_])| ReassignableTopic {
                    name: (*name).into(),
                    partitions: partitions.iter().map(partition).collect(),
                };
                let request = AlterPartitionReassignmentsRequest {
                    timeout_ms: 9000,
                    allow_replication_factor_change,
                    topics: targets.iter().map(topic).collect(),
                };
                let case = format!("{case}, {allow_replication_factor_change}");
                peer.call(version, &case, &request);
            }
        }
    }
    let topic = |name: &'static str, partitions: &[i32]| ListPartitionReassignmentsTopics {
        name: name.into(),
        partition_indexes: partitions.to_vec(),
    };
    for (case, topics) in [
        ("all", None),
        ("none", Some(Vec::new())),
        ("known", Some(vec![topic("administered", &[0, 1])])),
        ("unknown", Some(vec![topic("administered", &[9, -1]), topic("nobody", &[0]), topic("", &[])])),
    ] {
        peer.call(0, case, &ListPartitionReassignmentsRequest { topics, ..Default::default() });
    }
}

fn describe_quorum(peer: &mut Peer) {
    let ask = |topics: &[(&'static str, &[i32])]| DescribeQuorumRequest {
        topics: topics
            .iter()
            .map(|(name, partitions)| TopicData {
                topic_name: (*name).into(),
                partitions: partitions
                    .iter()
                    .map(|index| PartitionData { partition_index: *index })
                    .collect(),
            })
            .collect(),
    };
    for version in versions::<DescribeQuorumRequest<'_>>() {
        for (case, request) in [
            ("metadata", ask(&[("__cluster_metadata", &[0])])),
            ("another partition", ask(&[("__cluster_metadata", &[1])])),
            ("one partition too many", ask(&[("__cluster_metadata", &[0, 1])])),
            ("another topic", ask(&[("administered", &[0])])),
            ("one topic too many", ask(&[("__cluster_metadata", &[0]), ("administered", &[0])])),
            ("none", ask(&[])),
        ] {
            peer.call(version, case, &request);
        }
    }
}

fn remove_raft_voter(peer: &mut Peer) {
    let metadata = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let cluster = peer.ask(5, &metadata).expect("an answer").cluster_id.expect("an id").into_owned();
    let quorum = DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![PartitionData::default()],
        }],
    };
    let quorum = peer.ask(2, &quorum).expect("an answer");
    let own = quorum.topics[0].partitions[0].current_voters[0].replica_directory_id;
    for (case, cluster_id, voter_id, voter_directory_id) in [
        ("the only one", Some(&*cluster), 1, own),
        ("without cluster", None, 1, own),
        ("another directory", Some(&*cluster), 1, Uuid::from_parts(7, 7)),
        ("another node", Some(&*cluster), 2, Uuid::from_parts(7, 7)),
        ("another cluster", Some("other"), 1, own),
        ("no directory", Some(&*cluster), 1, Uuid::ZERO),
        ("no node", Some(&*cluster), -1, own),
    ] {
        let request =
            RemoveRaftVoterRequest { cluster_id: cluster_id.map(Into::into), voter_id, voter_directory_id };
        peer.call(0, case, &request);
    }
}

fn scram(peer: &mut Peer) {
    let deletion = |name: &'static str, mechanism| ScramCredentialDeletion { name: name.into(), mechanism };
    let upsertion = |name: &'static str, mechanism, iterations| ScramCredentialUpsertion {
        name: name.into(),
        mechanism,
        iterations,
        salt: vec![1, 2, 3].into(),
        salted_password: vec![9; 32].into(),
    };
    let describe = |peer: &mut Peer, case: &str, users: Option<&[&'static str]>| {
        let users = users.map(|names| names.iter().map(|name| UserName { name: (*name).into() }).collect());
        peer.call(0, case, &DescribeUserScramCredentialsRequest { users });
    };
    describe(peer, "nobody there", None);
    let empty_password =
        ScramCredentialUpsertion { salted_password: vec![].into(), ..upsertion("eve", 1, 4096) };
    let empty_salt = ScramCredentialUpsertion { salt: vec![].into(), ..upsertion("eve", 1, 4096) };
    for (case, deletions, upsertions) in [
        ("two users", vec![], vec![upsertion("alice", 1, 4096), upsertion("bob", 2, 16_384)]),
        ("another mechanism", vec![], vec![upsertion("alice", 2, 8192)]),
        ("too few iterations", vec![], vec![upsertion("carol", 1, 4095), upsertion("dave", 2, 4095)]),
        ("too many iterations", vec![], vec![upsertion("carol", 1, 16_385)]),
        ("unknown mechanisms", vec![deletion("alice", 0)], vec![upsertion("carol", 3, 4096)]),
        ("empty names", vec![deletion("", 1)], vec![upsertion("", 1, 4096)]),
        ("empty name", vec![], vec![upsertion("", 9, 4096)]),
        ("no such user", vec![deletion("nobody", 1), deletion("bob", 1)], vec![]),
        ("user twice", vec![deletion("bob", 2), deletion("bob", 2)], vec![]),
        (
            "user in both",
            vec![deletion("bob", 2)],
            vec![upsertion("bob", 2, 4096), upsertion("zoe", 1, 4096)],
        ),
        (
            "three times",
            vec![],
            vec![upsertion("x", 1, 4096), upsertion("x", 2, 4096), upsertion("x", 2, 4096)],
        ),
        ("an error and then right", vec![], vec![upsertion("x", 1, 1), upsertion("x", 2, 4096)]),
        ("empty password", vec![], vec![empty_password]),
        ("empty salt", vec![], vec![empty_salt]),
        ("nothing", vec![], vec![]),
    ] {
        peer.call(0, case, &AlterUserScramCredentialsRequest { deletions, upsertions });
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    describe(peer, "all", None);
    describe(peer, "all, by an empty list", Some(&[]));
    describe(peer, "some", Some(&["alice", "nobody", ""]));
    describe(peer, "twice", Some(&["alice", "bob", "alice", "nobody", "nobody"]));
    let gone = vec![deletion("alice", 1), deletion("bob", 2), deletion("zoe", 1), deletion("eve", 1)];
    peer.call(0, "delete", &AlterUserScramCredentialsRequest { deletions: gone, upsertions: vec![] });
    std::thread::sleep(std::time::Duration::from_millis(100));
    describe(peer, "after deletions", None);
}

fn unregister(peer: &mut Peer) {
    for (case, broker_id) in [("unknown", 2), ("negative", -1)] {
        peer.call(0, case, &UnregisterBrokerRequest { broker_id });
    }
    for (case, controller_id) in [("the active one", 1), ("unknown", 2), ("negative", -1)] {
        peer.call(0, case, &UnregisterControllerRequest { controller_id });
    }
}

fn feature_update(feature: &'static str, level: i16, upgrade_type: i8) -> FeatureUpdateKey<'static> {
    FeatureUpdateKey { feature: feature.into(), max_version_level: level, upgrade_type, ..Default::default() }
}

fn update_features_at_first(peer: &mut Peer) {
    const UPGRADE: i8 = 1;
    let version = 0;
    let update = feature_update;
    for allow_downgrade in [false, true] {
        for (feature, max_version_level) in
            [("metadata.version", 33), ("metadata.version", 31), ("group.version", 0), ("no.such", 1)]
        {
            let update = FeatureUpdateKey { allow_downgrade, ..update(feature, max_version_level, UPGRADE) };
            let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
            let case = format!("{feature} to {max_version_level}, {allow_downgrade}");
            peer.call(version, &case, &request);
        }
    }
    let back = vec![update("group.version", 1, UPGRADE)];
    let request = UpdateFeaturesRequest { feature_updates: back, ..Default::default() };
    peer.call(version, "back", &request);
}

fn note_features(peer: &mut Peer, version: i16) {
    use ottla_protocol::messages::ApiVersionsRequest;
    let named = ApiVersionsRequest {
        client_software_name: "oracle".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let begin = std::time::Instant::now();
    let mut answer = peer.ask(4, &named).expect("an answer");
    while answer.finalized_features.iter().all(|f| f.name != "group.version")
        && begin.elapsed().as_secs() < 10
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
        answer = peer.ask(4, &named).expect("an answer");
    }
    answer.finalized_features.sort_by(|a, b| a.name.cmp(&b.name));
    peer.note(version, "features in the end", &answer.finalized_features);
}

fn update_features(peer: &mut Peer) {
    const UPGRADE: i8 = 1;
    const SAFE: i8 = 2;
    const UNSAFE: i8 = 3;
    let update = feature_update;
    for version in versions::<UpdateFeaturesRequest<'_>>() {
        if version == 0 {
            update_features_at_first(peer);
            continue;
        }
        for (case, feature_updates) in [
            ("nothing", vec![]),
            ("as it is", vec![update("metadata.version", 33, UPGRADE)]),
            ("as it is, down", vec![update("metadata.version", 33, SAFE)]),
            ("too high", vec![update("metadata.version", 99, UPGRADE)]),
            ("zero", vec![update("metadata.version", 0, SAFE)]),
            ("negative", vec![update("metadata.version", -1, SAFE)]),
            ("down without saying so", vec![update("metadata.version", 32, UPGRADE)]),
            ("down safely", vec![update("metadata.version", 32, SAFE)]),
            ("down far", vec![update("metadata.version", 25, SAFE)]),
            ("down unsafely", vec![update("metadata.version", 25, UNSAFE)]),
            ("up by a downgrade", vec![update("share.version", 9, SAFE)]),
            ("no such direction", vec![update("group.version", 1, 0), update("no.such", 1, 9)]),
            ("unknown feature", vec![update("no.such", 1, UPGRADE)]),
            ("unknown feature off", vec![update("no.such", 0, UPGRADE)]),
            ("group off", vec![update("group.version", 0, SAFE)]),
            ("group on", vec![update("group.version", 1, UPGRADE)]),
            ("share to one", vec![update("share.version", 1, SAFE)]),
            ("share back", vec![update("share.version", 2, UPGRADE)]),
            ("transactions off", vec![update("transaction.version", 0, UNSAFE)]),
            ("transactions on", vec![update("transaction.version", 2, UPGRADE)]),
            ("eligible leaders off", vec![update("eligible.leader.replicas.version", 0, SAFE)]),
            ("eligible leaders on", vec![update("eligible.leader.replicas.version", 1, UPGRADE)]),
            ("quorum as it is", vec![update("kraft.version", 1, UPGRADE)]),
            ("quorum as it is, down", vec![update("kraft.version", 1, SAFE)]),
            ("quorum down", vec![update("kraft.version", 0, SAFE)]),
            ("quorum up", vec![update("kraft.version", 2, UPGRADE)]),
            ("right and wrong", vec![update("group.version", 1, UPGRADE), update("no.such", 1, UPGRADE)]),
            ("several", vec![update("group.version", 1, UPGRADE), update("streams.version", 1, UPGRADE)]),
        ] {
            for validate_only in [true, false] {
                let request = UpdateFeaturesRequest {
                    feature_updates: feature_updates.clone(),
                    validate_only,
                    ..Default::default()
                };
                let case = if validate_only { format!("{case}, checked") } else { case.to_owned() };
                peer.call(version, &case, &request);
            }
        }
        note_features(peer, version);
    }
}
