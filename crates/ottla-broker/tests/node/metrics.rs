//! What a node tells about itself.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    FetchRequest, FindCoordinatorRequest, ListOffsetsRequest, OffsetCommitRequest,
};
use prometheus_client::registry::Registry;

use crate::support::{PATIENCE, TestNode};

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("it can be collected");
    text
}

/// The value of a series; its labels in the order in which they are written.
fn value(text: &str, series: &str) -> Option<f64> {
    let line =
        text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// What the metrics say of a node that was asked for that.
const EXPECTED: &[(&str, f64)] = &[
    ("ottla_requests_total{api=\"Produce\"}", 2.0),
    ("ottla_request_duration_seconds_count{api=\"Produce\"}", 2.0),
    ("ottla_request_duration_seconds_count{api=\"Fetch\"}", 1.0),
    ("ottla_request_errors_total{api=\"ListOffsets\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}", 1.0),
    ("ottla_topic_messages_in_total{topic=\"watched\"}", 2.0),
    ("ottla_partition_log_end_offset{topic=\"watched\",partition=\"0\"}", 2.0),
    ("ottla_partition_high_watermark{topic=\"watched\",partition=\"0\"}", 2.0),
    ("ottla_group_committed_offset{group=\"readers\",topic=\"watched\",partition=\"0\"}", 1.0),
    ("ottla_group_lag{group=\"readers\",topic=\"watched\",partition=\"0\"}", 1.0),
    ("ottla_connections_open{listener=\"PLAINTEXT\"}", 1.0),
    ("ottla_groups", 1.0),
    ("ottla_groups_in_state{type=\"classic\",state=\"Empty\"}", 1.0),
    ("ottla_groups_in_state{type=\"classic\",state=\"Stable\"}", 0.0),
    ("ottla_groups_in_state{type=\"consumer\",state=\"Reconciling\"}", 0.0),
    ("ottla_topic_failed_produce_requests_total{topic=\"watched\"}", 0.0),
    ("ottla_topic_failed_fetch_requests_total{topic=\"watched\"}", 0.0),
    ("ottla_group_offsets_committed_total{group=\"readers\"}", 1.0),
    ("ottla_offsets_committed_total", 1.0),
    ("ottla_partitions_under_min_isr", 0.0),
    ("ottla_partitions_under_replicated", 0.0),
    ("ottla_cluster_partitions_offline", 0.0),
    ("ottla_cluster_partitions_not_preferred", 0.0),
    ("ottla_cluster_brokers_active", 1.0),
    ("ottla_cluster_brokers_fenced", 0.0),
    ("ottla_request_throttle_seconds_total{api=\"Produce\"}", 0.0),
    ("ottla_log_cleaner_runs_total", 0.0),
    ("ottla_log_cleaner_uncleanable_partitions", 0.0),
];

#[test]
fn what_clients_do_can_be_read_from_the_metrics() {
    let mut node = TestNode::start(&[]);
    let running = node.node.as_ref().expect("started");
    let ready = running.readiness();
    let mut registry = Registry::default();
    registry.register_collector(running.metrics());
    assert_eq!(ready(), Ok(()));
    let mut client = node.client();
    client.create("watched", 2);
    client.produce("watched", &[7; 1000]);
    client.produce("watched", &[7; 1000]);
    client.ask(12, &fetch()).expect("an answer");
    let coordinator =
        FindCoordinatorRequest { coordinator_keys: vec!["readers".into()], ..Default::default() };
    let begin = std::time::Instant::now();
    while client.ask(4, &coordinator).expect("an answer").coordinators[0].error_code != 0 {
        assert!(begin.elapsed() < PATIENCE, "no coordinator");
    }
    let committed = || client.ask(8, &commit()).expect("an answer").topics[0].partitions[0].error_code == 0;
    wait_for(committed);
    // No version of this request names a topic that is not there without an error.
    let nobody = ListOffsetsRequest { replica_id: -1, topics: nobody(), ..Default::default() };
    client.ask(5, &nobody).expect("an answer");
    let text = scrape(&registry);
    for (series, wanted) in EXPECTED {
        assert_eq!(value(&text, series), Some(*wanted), "{series} in\n{text}");
    }
    // All of them are led here, and have the one replica that they need.
    let led = value(&text, "ottla_partitions_led");
    assert!(led.is_some_and(|led| led > 2.0), "{text}");
    assert_eq!(value(&text, "ottla_partitions_at_min_isr"), led);
    assert!(
        text.lines().any(|line| line.starts_with("ottla_log_dir_offline{dir=") && line.ends_with(" 0.0"))
    );
    for series in [
        "ottla_topic_bytes_in_total{topic=\"watched\"}",
        "ottla_topic_bytes_out_total{topic=\"watched\"}",
        "ottla_partition_size_bytes{topic=\"watched\",partition=\"0\"}",
        "ottla_network_bytes_in_total{listener=\"PLAINTEXT\"}",
    ] {
        assert!(value(&text, series).is_some_and(|bytes| bytes >= 2000.0), "{series} in\n{text}");
    }
    assert!(text.contains("ottla_log_flush_duration_seconds_count{dir="), "{text}");
    drop(client);
    node.stop();
    assert!(ready().is_err(), "a stopped node is not ready");
}

#[test]
fn compaction_can_be_read_from_the_metrics() {
    let node = TestNode::start(&[
        ("log.cleanup.policy", "compact"),
        ("log.segment.bytes", "1048576"),
        ("log.cleaner.backoff.ms", "20"),
        ("log.cleaner.min.cleanable.ratio", "0.01"),
    ]);
    let mut registry = Registry::default();
    registry.register_collector(node.node.as_ref().expect("started").metrics());
    let mut client = node.client();
    client.create("compacted", 1);
    assert_eq!(value(&scrape(&registry), "ottla_log_cleaner_last_run_timestamp_seconds"), None);
    // Without a key nobody knows what it replaces.
    assert_eq!(client.produce_in_vain("compacted", b"no key"), ErrorCode::InvalidRecord.code());
    // Each in a segment of its own; the last one stays active.
    for _ in 0..4 {
        client.produce_with_key("compacted", Some(b"k"), &[7; 700_000]);
    }
    let mut text = String::new();
    wait_for(|| {
        text = scrape(&registry);
        // Nothing is dirty any more.
        value(&text, "ottla_log_cleaner_bytes_read_total").is_some_and(|bytes| bytes >= 1_400_000.0)
            && value(&text, "ottla_log_cleaner_max_dirty_ratio") == Some(0.0)
    });
    let number = |series: &str| value(&text, series).unwrap_or_else(|| panic!("{series} in\n{text}"));
    assert!(number("ottla_log_cleaner_runs_total") >= 1.0, "{text}");
    let failed = "ottla_topic_failed_produce_requests_total{topic=\"compacted\"}";
    assert!((number(failed) - 1.0).abs() < 0.1, "{text}");
    let written = number("ottla_log_cleaner_bytes_written_total");
    assert!(written >= 700_000.0 && written < number("ottla_log_cleaner_bytes_read_total"), "{text}");
    assert!(number("ottla_log_cleaner_last_run_timestamp_seconds") > 1_700_000_000.0, "{text}");
}

fn fetch() -> FetchRequest<'static> {
    FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "watched".into(),
            partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn commit() -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "watched".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn nobody() -> Vec<ottla_protocol::messages::list_offsets_request::ListOffsetsTopic<'static>> {
    use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() }];
    vec![ListOffsetsTopic { name: "nobody".into(), partitions }]
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "not in time");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
