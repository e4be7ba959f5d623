//! What may differ between two servers that both are right: all of it in one table.

use std::collections::BTreeMap;

use crate::tree::Tree;

/// How a field's value is made comparable.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// The n-th different value of this kind becomes `kind#n`: who chose the value may choose freely, but the same value must
    /// stand in the same places. Nothing, "", 0 and negative numbers stay.
    Named(&'static str),
    /// Whether there is a text counts, not its words.
    Present,
    /// A number from the clock or from a log's length: only whether it is there (not negative).
    NotNegative,
    /// A time: `<now>` when the server's clock gave it during the run; times that requests gave stay as they are.
    Clock,
    /// The order of this array means nothing: both are sorted.
    AnyOrder,
}

struct Rule {
    /// The response, or `*`.
    message: &'static str,
    field: &'static str,
    how: How,
    why: &'static str,
}

const fn rule(message: &'static str, field: &'static str, how: How, why: &'static str) -> Rule {
    Rule { message, field, how, why }
}

const RANDOM: &str = "drawn at random by the server";
const WORDS: &str = "text for people; Kafka words it anew from release to release";
const CLOCK: &str = "the server's clock";
const HASHED: &str = "Kafka answers in the order of a hash table";

const METADATA_LOG: &str = "the length of the metadata log";

const RULES: &[Rule] = &[
    rule("*", "topic_id", How::Named("topic"), RANDOM),
    rule("*", "cluster_id", How::Named("cluster"), RANDOM),
    rule("*", "member_id", How::Named("member"), RANDOM),
    rule("JoinGroupResponse", "leader", How::Named("member"), RANDOM),
    rule("FetchResponse", "session_id", How::Named("session"), RANDOM),
    rule("*", "producer_id", How::Named("producer"), "blocks of ids are given out in order of need"),
    rule("*", "client_instance_id", How::Named("instance"), RANDOM),
    rule("*", "port", How::Named("port"), "each server has a free port"),
    rule("*", "log_dir", How::Named("dir"), "each server has directories of its own"),
    rule("DescribeLogDirsResponse", "total_bytes", How::NotNegative, "others write to the volume"),
    rule("DescribeLogDirsResponse", "usable_bytes", How::NotNegative, "others write to the volume"),
    rule("AlterReplicaLogDirsResponse", "results", How::AnyOrder, HASHED),
    rule("AlterReplicaLogDirsResponse", "partitions", How::AnyOrder, HASHED),
    rule("DescribeLogDirsResponse", "topics", How::AnyOrder, HASHED),
    rule("DescribeLogDirsResponse", "partitions", How::AnyOrder, HASHED),
    rule("*", "error_message", How::Present, WORDS),
    rule("*", "batch_index_error_message", How::Present, WORDS),
    rule("*", "documentation", How::Present, WORDS),
    rule(
        "ApiVersionsResponse",
        "finalized_features_epoch",
        How::NotNegative,
        "an offset of the metadata log",
    ),
    rule("DescribeQuorumResponse", "replica_directory_id", How::Named("directory"), RANDOM),
    rule("DescribeQuorumResponse", "leader_epoch", How::NotNegative, "a slow start takes several elections"),
    rule("DescribeQuorumResponse", "log_end_offset", How::NotNegative, METADATA_LOG),
    rule("DescribeQuorumResponse", "high_watermark", How::NotNegative, METADATA_LOG),
    rule("DescribeQuorumResponse", "last_fetch_timestamp", How::NotNegative, CLOCK),
    rule("DescribeQuorumResponse", "last_caught_up_timestamp", How::NotNegative, CLOCK),
    rule("AlterConfigsResponse", "responses", How::AnyOrder, HASHED),
    rule("ListConfigResourcesResponse", "config_resources", How::AnyOrder, HASHED),
    rule("ElectLeadersResponse", "replica_election_results", How::AnyOrder, HASHED),
    rule("ElectLeadersResponse", "partition_result", How::AnyOrder, HASHED),
    rule("UpdateFeaturesResponse", "results", How::AnyOrder, HASHED),
    rule("AlterUserScramCredentialsResponse", "results", How::AnyOrder, HASHED),
    rule("DescribeUserScramCredentialsResponse", "results", How::AnyOrder, HASHED),
    rule("DescribeUserScramCredentialsResponse", "credential_infos", How::AnyOrder, HASHED),
    rule("DescribeTransactionsResponse", "transaction_start_time_ms", How::NotNegative, CLOCK),
    rule("DescribeProducersResponse", "last_timestamp", How::NotNegative, "markers have the server's time"),
    rule("DescribeTransactionsResponse", "topics", How::AnyOrder, HASHED),
    rule("DescribeTransactionsResponse", "partitions", How::AnyOrder, HASHED),
    rule("ListTransactionsResponse", "transaction_states", How::AnyOrder, HASHED),
    rule("ListTransactionsResponse", "unknown_state_filters", How::AnyOrder, HASHED),
    rule("DescribeProducersResponse", "active_producers", How::AnyOrder, HASHED),
    rule("AddPartitionsToTxnResponse", "results_by_transaction", How::AnyOrder, HASHED),
    rule("AddPartitionsToTxnResponse", "results_by_topic_v3_and_below", How::AnyOrder, HASHED),
    rule("AddPartitionsToTxnResponse", "topic_results", How::AnyOrder, HASHED),
    rule("AddPartitionsToTxnResponse", "results_by_partition", How::AnyOrder, HASHED),
    rule("WriteTxnMarkersResponse", "markers", How::AnyOrder, HASHED),
    rule("WriteTxnMarkersResponse", "topics", How::AnyOrder, HASHED),
    rule("WriteTxnMarkersResponse", "partitions", How::AnyOrder, HASHED),
    rule("TxnOffsetCommitResponse", "topics", How::AnyOrder, HASHED),
    rule("ProduceResponse", "log_append_time_ms", How::NotNegative, CLOCK),
    rule("ListOffsetsResponse", "timestamp", How::Clock, CLOCK),
    rule("Batches", "timestamp", How::Clock, CLOCK),
    rule("Batches", "base_timestamp", How::Clock, CLOCK),
    rule("Batches", "max_timestamp", How::Clock, CLOCK),
    rule("Batches", "producer_id", How::Named("producer"), "blocks of ids are given out in order of need"),
    rule("MetadataResponse", "topics", How::AnyOrder, HASHED),
    rule("MetadataResponse", "brokers", How::AnyOrder, HASHED),
    rule("DescribeClusterResponse", "brokers", How::AnyOrder, HASHED),
    rule("ApiVersionsResponse", "supported_features", How::AnyOrder, HASHED),
    rule("ApiVersionsResponse", "finalized_features", How::AnyOrder, HASHED),
    rule("CreateTopicsResponse", "topics", How::AnyOrder, HASHED),
    rule("CreateTopicsResponse", "configs", How::AnyOrder, HASHED),
    rule("DeleteTopicsResponse", "responses", How::AnyOrder, HASHED),
    rule("CreatePartitionsResponse", "results", How::AnyOrder, HASHED),
    rule("DescribeConfigsResponse", "results", How::AnyOrder, HASHED),
    rule("DescribeConfigsResponse", "configs", How::AnyOrder, HASHED),
    rule("IncrementalAlterConfigsResponse", "responses", How::AnyOrder, HASHED),
    rule("DescribeClientQuotasResponse", "entries", How::AnyOrder, HASHED),
    rule("DescribeClientQuotasResponse", "entity", How::AnyOrder, HASHED),
    rule("DescribeClientQuotasResponse", "values", How::AnyOrder, HASHED),
    rule("AlterClientQuotasResponse", "entries", How::AnyOrder, HASHED),
    rule("AlterClientQuotasResponse", "entity", How::AnyOrder, HASHED),
    rule("ListGroupsResponse", "groups", How::AnyOrder, HASHED),
    rule("DescribeGroupsResponse", "members", How::AnyOrder, HASHED),
    rule("DescribeGroupsResponse", "groups", How::AnyOrder, HASHED),
    rule("JoinGroupResponse", "members", How::AnyOrder, HASHED),
    rule("ConsumerGroupHeartbeatResponse", "topic_partitions", How::AnyOrder, HASHED),
    rule("ConsumerGroupHeartbeatResponse", "partitions", How::AnyOrder, HASHED),
    rule("ConsumerGroupDescribeResponse", "groups", How::AnyOrder, HASHED),
    rule("ConsumerGroupDescribeResponse", "members", How::AnyOrder, HASHED),
    rule("ConsumerGroupDescribeResponse", "topic_partitions", How::AnyOrder, HASHED),
    rule("ConsumerGroupDescribeResponse", "partitions", How::AnyOrder, HASHED),
    rule("ConsumerGroupDescribeResponse", "subscribed_topic_names", How::AnyOrder, HASHED),
    rule("DeleteGroupsResponse", "results", How::AnyOrder, HASHED),
    rule("OffsetDeleteResponse", "topics", How::AnyOrder, HASHED),
    rule("OffsetDeleteResponse", "partitions", How::AnyOrder, HASHED),
    rule("OffsetFetchResponse", "topics", How::AnyOrder, HASHED),
    rule("OffsetFetchResponse", "groups", How::AnyOrder, HASHED),
    rule("OffsetFetchResponse", "partitions", How::AnyOrder, HASHED),
    rule("DeleteRecordsResponse", "topics", How::AnyOrder, HASHED),
    rule("DeleteRecordsResponse", "partitions", How::AnyOrder, HASHED),
    rule("OffsetForLeaderEpochResponse", "topics", How::AnyOrder, HASHED),
    rule("OffsetForLeaderEpochResponse", "partitions", How::AnyOrder, HASHED),
    rule("ListOffsetsResponse", "topics", How::AnyOrder, HASHED),
    rule("ListOffsetsResponse", "partitions", How::AnyOrder, HASHED),
    rule("ProduceResponse", "responses", How::AnyOrder, HASHED),
    rule("ProduceResponse", "partition_responses", How::AnyOrder, HASHED),
];

fn how(message: &str, field: &str) -> Option<How> {
    let is_it = |rule: &&Rule| (rule.message == "*" || rule.message == message) && rule.field == field;
    RULES.iter().find(is_it).map(|rule| rule.how)
}

/// The names given to one server's values so far.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<&'static str, Vec<String>>);

impl Names {
    /// Makes a response comparable with another server's.
    pub(crate) fn normalise(&mut self, message: &str, tree: &mut Tree) {
        self.order(message, tree);
        self.replace(message, tree);
    }

    /// Sorts what has no order, by what the rules leave comparable.
    fn order(&self, message: &str, tree: &mut Tree) {
        match tree {
            Tree::Leaf(_) => {}
            Tree::List(items) => items.iter_mut().for_each(|item| self.order(message, item)),
            Tree::Fields(fields) => {
                for (field, value) in fields {
                    self.order(message, value);
                    if let (Some(How::AnyOrder), Tree::List(items)) = (how(message, field), &mut *value) {
                        items.sort_by_cached_key(|item| self.sort_key(message, item));
                    }
                }
            }
        }
    }

    fn sort_key(&self, message: &str, tree: &Tree) -> String {
        let mut tree = tree.clone();
        self.hide(message, &mut tree);
        tree.leaves().join("\n")
    }

    /// Replaces what is not comparable: by its name when it has one already, else by a mark.
    fn hide(&self, message: &str, tree: &mut Tree) {
        match tree {
            Tree::Leaf(_) => {}
            Tree::List(items) => items.iter_mut().for_each(|item| self.hide(message, item)),
            Tree::Fields(fields) => {
                for (field, value) in fields {
                    match (how(message, field), &mut *value) {
                        (Some(How::Named(kind)), Tree::Leaf(text)) => {
                            let known =
                                self.0.get(kind).and_then(|all| all.iter().position(|name| name == text));
                            *text = known.map_or_else(|| masked(text), |index| format!("{kind}#{index:06}"));
                        }
                        (Some(How::Present | How::NotNegative), Tree::Leaf(text)) => *text = masked(text),
                        (Some(How::Clock), Tree::Leaf(text)) if is_now(text) => *text = "<now>".to_owned(),
                        _ => self.hide(message, value),
                    }
                }
            }
        }
    }

    fn replace(&mut self, message: &str, tree: &mut Tree) {
        match tree {
            Tree::Leaf(_) => {}
            Tree::List(items) => items.iter_mut().for_each(|item| self.replace(message, item)),
            Tree::Fields(fields) => {
                for (field, value) in fields {
                    match (how(message, field), &mut *value) {
                        (Some(How::Named(kind)), Tree::Leaf(text)) if is_chosen(text) => {
                            *text = self.name(kind, text);
                        }
                        (Some(How::Present | How::NotNegative), Tree::Leaf(text)) => *text = masked(text),
                        (Some(How::Clock), Tree::Leaf(text)) if is_now(text) => *text = "<now>".to_owned(),
                        _ => self.replace(message, value),
                    }
                }
            }
        }
    }

    fn name(&mut self, kind: &'static str, value: &str) -> String {
        let known = self.0.entry(kind).or_default();
        let index = known.iter().position(|name| name == value).unwrap_or_else(|| {
            known.push(value.to_owned());
            known.len() - 1
        });
        format!("{kind}#{index}")
    }
}

/// Whether a value is one that the server chose.
fn is_chosen(text: &str) -> bool {
    !(matches!(text, "null" | "\"\"" | "0" | "AAAAAAAAAAAAAAAAAAAAAA")
        || text.starts_with('-') && text.parse::<i64>().is_ok())
}

fn masked(text: &str) -> String {
    if is_chosen(text) || text == "0" { "<there>".to_owned() } else { text.to_owned() }
}

/// Whether a number is a time of the last hours, in milliseconds.
fn is_now(text: &str) -> bool {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let Ok(time_ms) = text.parse::<u128>() else { return false };
    now.as_millis().abs_diff(time_ms) < 6 * 3_600_000
}

#[test]
fn rules_have_reasons_and_appear_once() {
    for (index, rule) in RULES.iter().enumerate() {
        assert!(!rule.why.is_empty());
        let is_twin = |other: &Rule| (other.message, other.field) == (rule.message, rule.field);
        assert!(!RULES[..index].iter().any(is_twin), "{}.{} twice", rule.message, rule.field);
    }
}
