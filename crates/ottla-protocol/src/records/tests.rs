//! Records as Kafka 4.4.0 writes them.

use ottla_types::{ControlType, Uuid};

use super::control::decode_control_key;
use super::*;
use crate::messages::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, EndTxnMarker,
    FeatureLevelRecord, GroupMetadataKey, GroupMetadataValue, LeaderChangeMessage, NoOpRecord,
    OffsetCommitKey, OffsetCommitValue, ProducerSnapshot, RemotePartitionDeleteMetadataRecord,
    ShareSnapshotKey, TransactionLogKey, TransactionLogValue,
    consumer_group_current_member_assignment_value::TopicPartitions,
    consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol},
    group_metadata_value::MemberMetadata,
    leader_change_message::Voter,
    producer_snapshot::ProducerEntry,
    transaction_log_value::PartitionsSchema,
};
use crate::wire::Message;

const TIME_MS: i64 = 1_700_000_000_000;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn check_key<'a, K: CoordinatorKey<'a> + PartialEq + std::fmt::Debug>(key: K, bytes: &'a [u8]) {
    assert_eq!(encode_key(&key).unwrap(), bytes);
    assert_eq!(decode_key::<K>(bytes).unwrap(), key);
    assert_eq!(split_prefix(bytes).unwrap().0, K::TYPE);
}

fn check_value<V>(value: V, version: i16, expected: &str)
where
    V: for<'a> Message<'a> + PartialEq + std::fmt::Debug,
{
    let bytes = encode_value(&value, version).unwrap();
    assert_eq!(bytes, hex(expected));
    assert_eq!(decode_value::<V>(&bytes).unwrap(), (value, version));
}

/// As `check_value`, for values that borrow.
macro_rules! check_borrowed {
    ($value:expr, $version:expr, $expected:expr) => {
        let (value, bytes) = ($value, hex($expected));
        assert_eq!(encode_value(&value, $version).unwrap(), bytes);
        assert_eq!(decode_value(&bytes).unwrap(), (value, $version));
    };
}

#[test]
fn coordinator_keys_carry_their_type() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 1 };
    check_key(key, &hex("000100016700017400000001"));
    check_key(GroupMetadataKey { group: "g".into() }, &hex("0002000167"));
    check_key(ConsumerGroupMetadataKey { group_id: "g".into() }, &hex("0003000167"));
    let key = ConsumerGroupMemberMetadataKey { group_id: "g".into(), member_id: "m".into() };
    check_key(key, &hex("000500016700016d"));
    check_key(TransactionLogKey { transactional_id: "tx".into() }, &hex("000000027478"));
    let key = ShareSnapshotKey { group_id: "g".into(), topic_id: Uuid::from_parts(1, 2), partition: 3 };
    check_key(key, &hex("00000001670000000000000001000000000000000200000003"));
}

#[test]
fn keys_of_another_type_are_refused() {
    let error = decode_key::<GroupMetadataKey<'_>>(&[0, 3, 0, 1, b'g']).unwrap_err();
    assert_eq!(error.fault, DecodeFault::UnknownRecordType(3));
    assert_eq!(decode_key::<GroupMetadataKey<'_>>(&[0]).unwrap_err().fault, DecodeFault::Truncated);
    assert_eq!(split_prefix(&[0]), None);
}

#[test]
fn offset_commits_in_each_version_that_is_found_on_disk() {
    let value = OffsetCommitValue {
        offset: 42,
        leader_epoch: 5,
        metadata: "m".into(),
        commit_timestamp: TIME_MS,
        ..Default::default()
    };
    let expiring = OffsetCommitValue { leader_epoch: -1, expire_timestamp: TIME_MS + 9999, ..value.clone() };
    check_borrowed!(expiring, 1, "0001000000000000002a00016d0000018bcfe568000000018bcfe58f0f");
    check_borrowed!(value.clone(), 3, "0003000000000000002a0000000500016d0000018bcfe56800");
    check_borrowed!(value.clone(), 4, "0004000000000000002a00000005026d0000018bcfe5680000");
    check_borrowed!(
        OffsetCommitValue { topic_id: Uuid::from_parts(1, 2), ..value },
        4,
        "0004000000000000002a00000005026d0000018bcfe5680001001000000000000000010000000000000002"
    );
}

#[test]
fn classic_and_consumer_groups() {
    let member = MemberMetadata {
        member_id: "m1".into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout: 300_000,
        session_timeout: 45_000,
        subscription: vec![1].into(),
        assignment: vec![2].into(),
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: Some("range".into()),
        leader: Some("m1".into()),
        current_state_timestamp: TIME_MS,
        members: vec![member],
    };
    check_borrowed!(
        group,
        3,
        "00030008636f6e73756d657200000001000572616e676500026d310000018bcfe568000000000100026d31ffff000163000a2f3132372e\
         302e302e31000493e00000afc800000001010000000102"
            .replace(' ', "")
            .as_str()
    );
    check_value(ConsumerGroupMetadataValue { epoch: 3, ..Default::default() }, 0, "00000000000300");
    let plain = ConsumerGroupMemberMetadataValue {
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        subscribed_topic_names: vec!["t".into()],
        rebalance_timeout_ms: 300_000,
        server_assignor: None,
        ..Default::default()
    };
    check_borrowed!(plain.clone(), 0, "000000000263032f6802027401000493e00000");
    let protocol = ClassicProtocol { name: "range".into(), metadata: vec![9].into() };
    let classic = ClassicMemberMetadata { session_timeout_ms: 45_000, supported_protocols: vec![protocol] };
    let value = ConsumerGroupMemberMetadataValue { classic_member_metadata: Some(classic), ..plain };
    check_borrowed!(value, 0, "000000000263032f6802027401000493e000010010010000afc8020672616e676502090000");
    let assigned =
        TopicPartitions { topic_id: Uuid::from_parts(1, 2), partitions: vec![0], ..Default::default() };
    let value = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: 2,
        previous_member_epoch: 1,
        assigned_partitions: vec![assigned],
        ..Default::default()
    };
    check_value(value, 0, "000000000002000000010002000000000000000100000000000000020200000000000100");
}

#[test]
fn transactions_in_both_versions() {
    let partitions = PartitionsSchema { topic: "t".into(), partition_ids: vec![0, 2] };
    let ongoing = TransactionLogValue {
        producer_id: 7,
        producer_epoch: 4,
        transaction_timeout_ms: 60_000,
        transaction_status: 1,
        transaction_partitions: Some(vec![partitions]),
        transaction_last_update_timestamp_ms: TIME_MS + 1,
        transaction_start_timestamp_ms: TIME_MS,
        ..Default::default()
    };
    let text = "0000000000000000000700040000ea6001000000010001740000000200000000000000020000018bcfe568010000018bcfe56800";
    check_borrowed!(ongoing.clone(), 0, text);
    let text = "0001000000000000000700040000ea6001020274030000000000000002000000018bcfe568010000018bcfe568000102020002";
    check_borrowed!(TransactionLogValue { client_transaction_version: 2, ..ongoing.clone() }, 1, text);
    let empty = TransactionLogValue {
        transaction_status: 0,
        transaction_partitions: None,
        transaction_start_timestamp_ms: -1,
        ..ongoing
    };
    check_borrowed!(empty, 0, "0000000000000000000700040000ea6000ffffffff0000018bcfe56801ffffffffffffffff");
}

#[test]
fn producer_snapshot_entries() {
    let entry = ProducerEntry {
        producer_id: 7,
        epoch: 3,
        last_sequence: 11,
        last_offset: 101,
        offset_delta: 1,
        timestamp: TIME_MS + 5,
        coordinator_epoch: 9,
        current_txn_first_offset: -1,
    };
    let snapshot = ProducerSnapshot { crc: 0x8734_924a, producer_entries: vec![entry] };
    let text = "00018734924a00000001000000000000000700030000000b0000000000000065000000010000018bcfe5680500000009ffffffffffffffff";
    check_value(snapshot, 1, text);
    let empty = ProducerSnapshot { crc: 0x4867_4bc7, producer_entries: vec![] };
    check_value(empty, 1, "000148674bc700000000");
}

#[test]
fn control_records_are_read_back() {
    let voter = Voter { voter_id: 1, ..Default::default() };
    let change = LeaderChangeMessage {
        leader_id: 1,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
        ..Default::default()
    };
    let record = ControlRecord::LeaderChange(change);
    assert_eq!(record.encode_key(), [0, 0, 0, 2]);
    assert_eq!(record.encode_value().unwrap(), hex("00000000000102000000010002000000010000"));
    let value = record.encode_value().unwrap();
    assert_eq!(ControlRecord::decode(&record.encode_key(), &value).unwrap(), Some(record));
    let commit = ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 9 });
    assert_eq!((commit.encode_key(), commit.encode_value().unwrap()), ([0, 0, 0, 1], hex("000000000009")));
    assert_eq!(ControlRecord::decode(&[0, 0, 0, 1], &hex("000000000009")).unwrap(), Some(commit.clone()));
    // A later version of the marker, with more behind what is known.
    assert_eq!(ControlRecord::decode(&[0, 0, 0, 1], &hex("00010000000901")).unwrap(), Some(commit));
}

#[test]
fn unknown_control_types_are_ignored_and_bad_keys_are_not() {
    assert_eq!(ControlRecord::decode(&[0, 0, 0, 7], &[]).unwrap(), None);
    assert_eq!(decode_control_key(&[0, 9, 0, 1, 5]).unwrap(), Some(ControlType::Commit));
    assert_eq!(decode_control_key(&[0, 0, 0]).unwrap_err().fault, DecodeFault::Truncated);
    let fault = decode_control_key(&[0xff, 0xff, 0, 1]).unwrap_err().fault;
    assert_eq!(fault, DecodeFault::UnsupportedVersion);
    for code in 0..7 {
        assert_eq!(ControlType::from_code(code).unwrap().code(), code);
    }
}

#[test]
fn metadata_records_are_framed() {
    let record =
        MetadataRecord::from(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25 });
    let mut expected = hex("010c0011");
    expected.extend(b"metadata.version");
    expected.extend([0, 25, 0]);
    assert_eq!(record.encode(0).unwrap(), expected);
    assert_eq!(MetadataRecord::decode(&expected).unwrap(), (record, 0));
    let no_op = MetadataRecord::from(NoOpRecord::default());
    assert_eq!(no_op.encode(0).unwrap(), [1, 20, 0, 0]);
    assert_eq!((no_op.name(), no_op.record_type(), no_op.versions().high), ("NoOpRecord", 20, 0));
}

#[test]
fn metadata_records_read_from_shared_bytes_outlive_them() {
    let record = MetadataRecord::from(FeatureLevelRecord { name: "f".into(), feature_level: 1 });
    let bytes = bytes::Bytes::from(record.encode(0).unwrap());
    let (read, _): (MetadataRecord<'static>, i16) = FramedRecord::read(&mut Reader::shared(bytes)).unwrap();
    assert_eq!(read, record);
}

#[test]
fn bad_frames_of_metadata_records_are_refused() {
    let fault = |bytes: &[u8]| MetadataRecord::decode(bytes).unwrap_err().fault;
    assert_eq!(fault(&[0, 20, 0, 0]), DecodeFault::BadFrameVersion(0));
    assert_eq!(fault(&[2, 20, 0, 0]), DecodeFault::BadFrameVersion(2));
    assert_eq!(fault(&[1, 6, 0, 0]), DecodeFault::UnknownRecordType(6));
    assert_eq!(fault(&[1, 0xff, 0xff, 0x7f, 0, 0]), DecodeFault::UnknownRecordType(-1));
    assert_eq!(fault(&[1, 20, 1, 0]), DecodeFault::UnsupportedVersion);
    assert_eq!(fault(&[1, 20, 0, 0, 0]), DecodeFault::TrailingBytes);
    assert_eq!(fault(&[1, 20]), DecodeFault::Truncated);
    assert_eq!(fault(&[]), DecodeFault::Truncated);
}

#[test]
fn remote_log_records_have_the_same_frame() {
    let record = RemoteLogRecord::from(RemotePartitionDeleteMetadataRecord::default());
    let bytes = record.encode(0).unwrap();
    assert_eq!(bytes[..3], [1, 2, 0]);
    assert_eq!(RemoteLogRecord::decode(&bytes).unwrap(), (record, 0));
}
