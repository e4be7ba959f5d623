//! Records of `__transaction_state` against bytes written by Kafka 4.4's own classes.

use ottla_coordinator::transaction::{
    Decoded, RecordError, Transaction, TransactionRecord, TransactionState,
};
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ongoing() -> Transaction {
    Transaction {
        producer_id: ProducerId(7),
        previous_producer_id: ProducerId::NONE,
        next_producer_id: ProducerId::NONE,
        epoch: ProducerEpoch(4),
        last_epoch: ProducerEpoch::NONE,
        timeout_ms: 60_000,
        state: TransactionState::Ongoing,
        partitions: [(TopicName::new("t"), 0), (TopicName::new("t"), 2)].into(),
        start_ms: 1_700_000_000_000,
        last_update_ms: 1_700_000_000_001,
        client_version: 2,
    }
}

const KEY: &str = "000000027478";

fn record(value: Option<Transaction>) -> TransactionRecord {
    TransactionRecord { id: "tx".into(), value }
}

#[test]
fn bytes_are_kafkas() {
    let plain = "0000000000000000000700040000ea6001000000010001740000000200000000000000020000018bcfe568010000018bcfe56800";
    let tagged = "0001000000000000000700040000ea6001020274030000000000000002000000018bcfe568010000018bcfe568000102020002";
    let empty = "0000000000000000000700040000ea6000ffffffff0000018bcfe56801ffffffffffffffff";
    let of_empty = Transaction {
        state: TransactionState::Empty,
        partitions: [].into(),
        start_ms: -1,
        client_version: 0,
        ..ongoing()
    };
    for (level, value, bytes) in
        [(0, ongoing(), plain), (1, ongoing(), tagged), (2, ongoing(), tagged), (0, of_empty, empty)]
    {
        let written = record(Some(value.clone()));
        assert_eq!(to_hex(&written.encode_key()), KEY);
        assert_eq!(to_hex(&written.encode_value(level).unwrap()), bytes);
        // The older form does not say what the client speaks.
        let client_version = if level == 0 { 0 } else { value.client_version };
        let read = record(Some(Transaction { client_version, ..value }));
        assert_eq!(TransactionRecord::decode(Some(&hex(KEY)), Some(&hex(bytes))), Ok(Decoded::Record(read)));
    }
    assert_eq!(record(None).encode_value(2), None);
    assert_eq!(TransactionRecord::decode(Some(&hex(KEY)), None), Ok(Decoded::Record(record(None))));
}

#[test]
fn previous_and_next_producer_are_kept_from_version_1_on() {
    let value = Transaction {
        previous_producer_id: ProducerId(6),
        next_producer_id: ProducerId(8),
        state: TransactionState::PrepareAbort,
        ..ongoing()
    };
    let written = record(Some(value.clone()));
    let read = TransactionRecord::decode(Some(&hex(KEY)), written.encode_value(1).as_deref());
    assert_eq!(read, Ok(Decoded::Record(written.clone())));
    let older = Transaction {
        previous_producer_id: ProducerId::NONE,
        next_producer_id: ProducerId::NONE,
        client_version: 0,
        ..value
    };
    let read = TransactionRecord::decode(Some(&hex(KEY)), written.encode_value(0).as_deref());
    assert_eq!(read, Ok(Decoded::Record(record(Some(older)))));
}

#[test]
fn what_cannot_be_read_is_told_apart_from_what_may_be_skipped() {
    assert_eq!(TransactionRecord::decode(Some(&hex("0001000161")), None), Ok(Decoded::UnknownType(1)));
    assert_eq!(TransactionRecord::decode(None, None), Err(RecordError::NoKey));
    assert_eq!(TransactionRecord::decode(Some(&[0]), None), Err(RecordError::NoKey));
    let value = record(Some(ongoing())).encode_value(1).unwrap();
    for len in 0..value.len() {
        assert!(TransactionRecord::decode(Some(&hex(KEY)), Some(&value[..len])).is_err(), "{len}");
    }
    let mut future = value.clone();
    future[1] = 2;
    assert!(matches!(
        TransactionRecord::decode(Some(&hex(KEY)), Some(&future)),
        Err(RecordError::Damaged(_))
    ));
    let mut unknown = value;
    unknown[16] = 9;
    assert_eq!(TransactionRecord::decode(Some(&hex(KEY)), Some(&unknown)), Err(RecordError::UnknownState(9)));
}
