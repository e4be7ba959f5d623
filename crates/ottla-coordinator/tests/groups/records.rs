//! Records of `__consumer_offsets` against bytes written by Kafka 4.4's own classes.

use bytes::Bytes;
use ottla_coordinator::group::{Decoded, GroupMetadata, GroupRecord, MemberRecord, OffsetValue, RecordError};
use ottla_types::{TopicName, Uuid};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn offset(value: OffsetValue) -> GroupRecord {
    GroupRecord::OffsetCommit {
        group: "g".into(),
        topic: TopicName::new("t"),
        partition: 1,
        value: Some(value),
    }
}

fn offset_value() -> OffsetValue {
    OffsetValue {
        offset: 42,
        leader_epoch: 5,
        metadata: "m".into(),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: None,
        topic_id: Uuid::ZERO,
    }
}

fn generation() -> GroupMetadata {
    GroupMetadata {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: Some("range".into()),
        leader: Some("m1".into()),
        state_timestamp_ms: 1_700_000_000_000,
        members: vec![MemberRecord {
            member_id: "m1".into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: Bytes::from_static(&[1]),
            assignment: Bytes::from_static(&[2]),
        }],
    }
}

const OFFSET_KEY: &str = "000100016700017400000001";
const GROUP_KEY: &str = "0002000167";

fn assert_bytes(record: &GroupRecord, key: &str, value: &str) {
    assert_eq!(to_hex(&record.encode_key()), key);
    assert_eq!(to_hex(&record.encode_value().unwrap()), value);
    assert_eq!(GroupRecord::decode(Some(&hex(key)), Some(&hex(value))), Ok(Decoded::Record(record.clone())));
}

#[test]
fn offset_commit_is_written_as_version_4_with_and_without_topic_id() {
    let without = "0004000000000000002a00000005026d0000018bcfe5680000";
    assert_bytes(&offset(offset_value()), OFFSET_KEY, without);
    let with = "0004000000000000002a00000005026d0000018bcfe5680001001000000000000000010000000000000002";
    let value = OffsetValue { topic_id: Uuid::from_parts(1, 2), ..offset_value() };
    assert_bytes(&offset(value), OFFSET_KEY, with);
}

#[test]
fn offset_commit_with_retention_is_written_as_version_1() {
    let value =
        OffsetValue { leader_epoch: -1, expire_timestamp_ms: Some(1_700_000_009_999), ..offset_value() };
    let bytes = "0001000000000000002a00016d0000018bcfe568000000018bcfe58f0f";
    assert_bytes(&offset(value), OFFSET_KEY, bytes);
}

#[test]
fn offset_commit_of_version_3_is_read() {
    let bytes = hex("0003000000000000002a0000000500016d0000018bcfe56800");
    let read = GroupRecord::decode(Some(&hex(OFFSET_KEY)), Some(&bytes));
    assert_eq!(read, Ok(Decoded::Record(offset(offset_value()))));
}

#[test]
fn offset_commit_of_the_legacy_type_is_read() {
    let key = hex("000000016700017400000001");
    let value = hex("0000000000000000002a00016d0000018bcfe56800");
    let expected = offset(OffsetValue { leader_epoch: -1, ..offset_value() });
    assert_eq!(GroupRecord::decode(Some(&key), Some(&value)), Ok(Decoded::Record(expected)));
}

#[test]
fn group_metadata_is_written_as_version_3() {
    let record = GroupRecord::GroupMetadata { group: "g".into(), value: Some(generation()) };
    let bytes = "00030008636f6e73756d657200000001000572616e676500026d310000018bcfe568000000000100026d31ffff000163\
                 000a2f3132372e302e302e31000493e00000afc800000001010000000102";
    assert_bytes(&record, GROUP_KEY, bytes);
}

#[test]
fn tombstones_have_no_value() {
    let offset = GroupRecord::decode(Some(&hex(OFFSET_KEY)), None).unwrap();
    let Decoded::Record(offset) = offset else { panic!("a known type") };
    assert!(matches!(&offset, GroupRecord::OffsetCommit { value: None, .. }));
    assert_eq!(offset.encode_value(), None);
    assert_eq!(to_hex(&offset.encode_key()), OFFSET_KEY);
    let group = GroupRecord::decode(Some(&hex(GROUP_KEY)), None);
    let expected = GroupRecord::GroupMetadata { group: "g".into(), value: None };
    assert_eq!(group, Ok(Decoded::Record(expected)));
}

#[test]
fn records_of_newer_group_types_pass_through_unchanged() {
    for (key, value) in
        [("0003000167", "00000000000300"), ("000500016700016d", "000000000263032f6802027401000493e00000")]
    {
        let read = GroupRecord::decode(Some(&hex(key)), Some(&hex(value))).unwrap();
        let Decoded::Record(record) = read else { panic!("a known type") };
        assert_eq!(record.group().as_ref(), "g");
        assert_eq!(to_hex(&record.encode_key()), key);
        assert_eq!(to_hex(&record.encode_value().unwrap()), value);
    }
}

#[test]
fn unknown_types_are_reported_and_unknown_value_versions_are_fatal() {
    assert_eq!(GroupRecord::decode(Some(&hex("0018000167")), None), Ok(Decoded::UnknownType(24)));
    for (record_type, version, key) in [(1, 5, OFFSET_KEY), (2, 5, GROUP_KEY), (3, 1, "0003000167")] {
        let value = format!("{version:04x}00");
        let read = GroupRecord::decode(Some(&hex(key)), Some(&hex(&value)));
        assert_eq!(read, Err(RecordError::UnknownValueVersion { record_type, version }));
    }
    assert!(GroupRecord::decode(None, Some(&[0, 0])).is_err());
}

#[test]
fn truncated_keys_and_values_are_refused() {
    let value = hex("0004000000000000002a00000005026d0000018bcfe5680000");
    for end in 0..OFFSET_KEY.len() / 2 {
        assert!(
            GroupRecord::decode(Some(&hex(OFFSET_KEY)[..end]), Some(&value)).is_err(),
            "key cut at {end}"
        );
    }
    for end in 0..value.len() {
        assert!(
            GroupRecord::decode(Some(&hex(OFFSET_KEY)), Some(&value[..end])).is_err(),
            "value cut at {end}"
        );
    }
}

#[test]
fn groups_are_placed_on_partitions_as_kafka_does() {
    use ottla_coordinator::group::partition_for_group;
    assert_eq!(partition_for_group("g", 50), 3);
    assert_eq!(partition_for_group("test-group", 50), 12);
}
