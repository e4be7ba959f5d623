//! Bytes that the classes of Apache Kafka 4.4.0 made of known records.

use ottla_record::{BatchBuilder, BatchView, EndTxnMarker, Header};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const TWO_RECORDS: &str = "00000000000000640000004900000005021df40bc50000000000010000018bcfe568000000018bcfe56805000000000000000700030000000a000000021c000000046b31047631020268027810000a020104763200";
const COMMIT: &str = "00000000000000c800000042000000050255ca70ad0030000000000000018bcfe56be80000018bcfe56be800000000000000070004ffffffff000000012000000008000000010c00000000000900";
const EMPTY: &str = "0000000000000064000000310000000502a15373bf000000000001ffffffffffffffff0000018bcfe56805000000000000000700030000000a00000000";

const T0: i64 = 1_700_000_000_000;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn builder() -> BatchBuilder {
    BatchBuilder::new().base_offset(Offset(100)).leader_epoch(LeaderEpoch(5)).producer(
        ProducerId(7),
        ProducerEpoch(3),
        Sequence(10),
    )
}

#[test]
fn builds_two_records_as_kafka_does() {
    let mut builder = builder();
    builder.append(T0, Some(b"k1"), Some(b"v1"), &[Header::new("h", Some(b"x"))]).unwrap();
    builder.append(T0 + 5, None, Some(b"v2"), &[]).unwrap();
    assert_eq!(builder.uncompressed_size(), 85);
    assert_eq!(builder.build().unwrap(), hex(TWO_RECORDS));
}

#[test]
fn builds_markers_as_kafka_does() {
    let marker = |committed| {
        EndTxnMarker { committed, coordinator_epoch: 9 }.batch(
            Offset(200),
            LeaderEpoch(5),
            T0 + 1000,
            ProducerId(7),
            ProducerEpoch(4),
        )
    };
    assert_eq!(marker(true), hex(COMMIT));
    let abort = marker(false);
    assert_eq!(BatchView::parse(&abort).unwrap().0.crc(), 0xa1f4_a6e5);
    BatchView::parse(&abort).unwrap().0.verify_crc().unwrap();
}

#[test]
fn builds_an_empty_batch_as_compaction_does() {
    assert_eq!(builder().build_empty(Offset(101), T0 + 5).unwrap(), hex(EMPTY));
}
