//! Bytes that the classes of Apache Kafka 4.4.0 made of known records.

use ottla_record::{BatchBuilder, BatchView, Compression, EndTxnMarker, Header, RecordView, TimestampType};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const TWO_RECORDS: &str = "00000000000000640000004900000005021df40bc50000000000010000018bcfe568000000018bcfe56805000000000000000700030000000a000000021c000000046b31047631020268027810000a020104763200";
const COMMIT: &str = "00000000000000c800000042000000050255ca70ad0030000000000000018bcfe56be80000018bcfe56be800000000000000070004ffffffff000000012000000008000000010c00000000000900";
const EMPTY: &str = "0000000000000064000000310000000502a15373bf000000000001ffffffffffffffff0000018bcfe56805000000000000000700030000000a00000000";

const GZIP: &str = "000000000000000000000054ffffffff02574a36580001000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff000000011f8b08000000000000ff9361606060c9366429336462ca60aa0000c4c8e1480f000000";
const LZ4: &str = "00000000000000000000004fffffffff02fd24687c0003000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000104224d186040820f0000801c000000046b31047631020268027800000000";
const SNAPPY: &str = "000000000000000000000056ffffffff021647f4d70002000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000182534e41505059000000000100000001000000110f381c000000046b310476310202680278";
const ZSTD: &str = "00000000000000000000004cffffffff02de9908e60004000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000128b52ffd00587800001c000000046b310476310202680278010000";
const V1: &str = "00000000000000640000001839268c3301000000018bcfe56800000000016b0000000176";
const V0: &str = "0000000000000064000000101fecd70a0000000000016b0000000176";

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

/// The only record of a batch.
fn with_record(bytes: &[u8], check: impl FnOnce(&BatchView<'_>, RecordView<'_>)) {
    let (batch, rest) = BatchView::parse(bytes).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    let mut records = batch.records().unwrap();
    check(&batch, records.try_next().unwrap().unwrap());
    assert_eq!(records.try_next().unwrap(), None);
}

#[test]
fn reads_every_header_field_and_record() {
    let bytes = hex(TWO_RECORDS);
    let (batch, rest) = BatchView::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    assert_eq!(
        (batch.base_offset(), batch.last_offset(), batch.next_offset()),
        (Offset(100), Offset(101), Offset(102))
    );
    assert_eq!((batch.magic(), batch.leader_epoch(), batch.size_in_bytes()), (2, LeaderEpoch(5), 85));
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (T0, T0 + 5));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (ProducerId(7), ProducerEpoch(3)));
    assert_eq!((batch.base_sequence(), batch.last_sequence()), (Sequence(10), Sequence(11)));
    assert_eq!((batch.record_count(), batch.timestamp_type()), (2, TimestampType::CreateTime));
    assert_eq!(batch.attributes().compression(), Ok(Compression::None));
    let mut records = batch.records().unwrap();
    let first = records.try_next().unwrap().unwrap();
    assert_eq!((first.offset, first.timestamp, first.sequence), (Offset(100), T0, Sequence(10)));
    assert_eq!((first.key, first.value), (Some(&b"k1"[..]), Some(&b"v1"[..])));
    assert_eq!(first.headers.collect::<Vec<_>>(), [Header::new("h", Some(b"x"))]);
    let second = records.try_next().unwrap().unwrap();
    assert_eq!((second.offset, second.timestamp, second.sequence), (Offset(101), T0 + 5, Sequence(11)));
    assert_eq!((second.key, second.value, second.headers.len()), (None, Some(&b"v2"[..]), 0));
    assert_eq!(records.try_next(), Ok(None));
}

#[test]
fn reads_a_marker() {
    with_record(&hex(COMMIT), |batch, record| {
        assert!(batch.attributes().is_control() && batch.attributes().is_transactional());
        let marker = EndTxnMarker { committed: true, coordinator_epoch: 9 };
        assert_eq!(EndTxnMarker::read(&record), Ok(Some(marker)));
    });
}

#[test]
fn an_empty_batch_has_no_records() {
    let bytes = hex(EMPTY);
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!((batch.last_offset(), batch.record_count()), (Offset(101), 0));
    assert_eq!(batch.records().unwrap().try_next(), Ok(None));
}

#[test]
fn reads_what_kafka_compressed() {
    let batches = [
        (GZIP, Compression::Gzip),
        (SNAPPY, Compression::Snappy),
        (LZ4, Compression::Lz4),
        (ZSTD, Compression::Zstd),
    ];
    for (text, compression) in batches {
        with_record(&hex(text), |batch, record| {
            assert_eq!(batch.attributes().compression(), Ok(compression));
            assert_eq!((record.offset, record.timestamp), (Offset(0), T0));
            assert_eq!((record.key, record.value), (Some(&b"k1"[..]), Some(&b"v1"[..])));
            assert_eq!(record.headers.last_with_key("h").unwrap().value, Some(&b"x"[..]));
        });
    }
}

#[test]
fn reads_messages_of_magic_0_and_1() {
    for (text, magic, timestamp) in [(V0, 0, -1), (V1, 1, T0)] {
        with_record(&hex(text), |batch, record| {
            assert_eq!(
                (batch.magic(), batch.base_offset(), batch.last_offset()),
                (magic, Offset(100), Offset(100))
            );
            assert_eq!((batch.max_timestamp(), batch.leader_epoch()), (timestamp, LeaderEpoch::NONE));
            assert_eq!((record.offset, record.timestamp), (Offset(100), timestamp));
            assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        });
    }
}
