//! What the builder writes, the views read: every codec and level, sizes beyond one block, bounds on the way.

use crate::common::{Owned, Rng, T0, build, compress, legacy_message, random_records, read, read_bytes};
use ottla_record::{
    BatchBuilder, BatchHeader, BatchView, Batches, Codec, Compression, HEADER_LEN, Limits, RecordError,
    TimestampType, crc32c, patch,
};
use ottla_types::{LeaderEpoch, Offset};
use proptest::prelude::*;

type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn record() -> impl Strategy<Value = Fields> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let header = ("\\PC{0,8}", bytes());
    (any::<i64>(), bytes(), bytes(), proptest::collection::vec(header, 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_codec_gives_back_what_was_appended(
        fields in proptest::collection::vec(record(), 1..20),
        codec in 0_u8..5,
        base in 0_i64..i64::MAX / 2,
    ) {
        let records: Vec<_> = fields
            .into_iter()
            .zip(base..)
            .map(|((timestamp, key, value, headers), offset)| Owned { offset, timestamp, key, value, headers })
            .collect();
        let bytes = build(Compression::from_id(codec).unwrap(), &records);
        prop_assert_eq!(read_bytes(&bytes), records);
    }
}

#[test]
fn large_records_cross_the_blocks_of_every_codec() {
    let mut rng = Rng::new(1);
    for compression in Compression::ALL {
        let mut records = random_records(&mut rng, 5, 10, 100_000);
        records.push(Owned {
            offset: 900,
            timestamp: T0,
            key: Some(vec![7; 300_000]),
            value: Some((0..300_000_u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect()),
            headers: vec![("large".to_owned(), Some(vec![1; 70_000]))],
        });
        assert_eq!(read_bytes(&build(compression, &records)), records, "{compression}");
    }
}

#[test]
fn levels_are_kafkas() {
    let mut rng = Rng::new(2);
    let records = random_records(&mut rng, 0, 50, 200);
    let ranges = [
        (Compression::Gzip, vec![-1, 1, 6, 9], vec![-2, 0, 10]),
        (Compression::Lz4, vec![1, 9, 17], vec![-1, 0, 18]),
        (Compression::Zstd, vec![-131_072, -1, 0, 3, 19, 22], vec![-131_073, 23]),
        (Compression::Snappy, vec![], vec![0, 1]),
    ];
    for (compression, good, bad) in ranges {
        for level in good {
            let codec = Codec::new(compression, level).unwrap();
            assert_eq!(read_bytes(&build(codec, &records)), records, "{compression} {level}");
        }
        for level in bad {
            assert_eq!(Codec::new(compression, level), Err(RecordError::BadLevel { compression, level }));
        }
    }
}

/// A batch whose body is `body`, marked with `compression`, claiming `count` records.
fn with_body(compression: Compression, count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = BatchBuilder::new().build().unwrap();
    bytes.extend_from_slice(body);
    let len = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&len.to_be_bytes());
    bytes[22] = compression.id();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    patch::update_crc(&mut bytes);
    bytes
}

fn plain_body(records: &[Owned]) -> Vec<u8> {
    build(Compression::None, records)[HEADER_LEN..].to_vec()
}

fn with_offsets_and_times_of(records: &[Owned], read: Vec<Owned>) -> Vec<Owned> {
    read.into_iter()
        .zip(records)
        .map(|(read, record)| Owned { offset: record.offset, timestamp: record.timestamp, ..read })
        .collect()
}

fn read_body(compression: Compression, records: &[Owned], body: &[u8]) -> Vec<Owned> {
    let bytes = with_body(compression, records.len() as i32, body);
    with_offsets_and_times_of(records, read_bytes(&bytes))
}

#[test]
fn bare_snappy_reads_as_framed_snappy_does() {
    let mut rng = Rng::new(3);
    let records = random_records(&mut rng, 0, 300, 2000);
    let plain = plain_body(&records);
    let bare = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(read_body(Compression::Snappy, &records, &bare), records);
}

#[test]
fn concatenated_streams_read_as_one() {
    let mut rng = Rng::new(4);
    let records = random_records(&mut rng, 0, 100, 2000);
    let plain = plain_body(&records);
    let (left, right) = plain.split_at(plain.len() / 2);
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
        let body = [compress(compression, left), compress(compression, right)].concat();
        assert_eq!(read_body(compression, &records, &body), records, "{compression}");
    }
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write as _;
    let mut rng = Rng::new(5);
    let records = random_records(&mut rng, 0, 100, 9000);
    let plain = plain_body(&records);
    let encode = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new()
            .block_size(size)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(plain.len() as u64));
        assert_eq!(read_body(Compression::Lz4, &records, &encode(info)), records);
    }
    let linked = encode(FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB));
    let bytes = with_body(Compression::Lz4, 1, &linked);
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    assert!(
        matches!(batch.records().err(), Some(RecordError::Decompression { .. })),
        "Kafka refuses them too"
    );
}

#[test]
fn our_lz4_frame_has_kafkas_header() {
    let frame = compress(Compression::Lz4, b"some bytes");
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_eq!(frame[frame.len() - 4..], [0; 4]);
}

#[test]
fn decompression_stops_at_its_bounds() {
    let zeros = Owned { offset: 0, timestamp: T0, key: None, value: Some(vec![0; 1 << 22]), headers: vec![] };
    for compression in Compression::ALL.into_iter().skip(1) {
        let bytes = build(compression, std::slice::from_ref(&zeros));
        let (batch, _) = BatchView::parse(&bytes).unwrap();
        for limits in [
            Limits { max_record_bytes: 1 << 20, ..Limits::DEFAULT },
            Limits { max_batch_bytes: 1 << 20, ..Limits::DEFAULT },
        ] {
            let error = batch.records_within(limits).unwrap().try_next().map(|_| ()).unwrap_err();
            assert!(matches!(error, RecordError::DecompressedTooLarge { .. }), "{compression}: {error}");
        }
    }
}

#[test]
fn a_claimed_length_is_not_believed() {
    // A record of 2^31-1 bytes, of which nothing is there; and 2^31-1 headers.
    let long = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let headers = [&[22, 0, 0, 0, 1, 1][..], &long, &[0; 5]].concat();
    for body in [&long[..], &headers] {
        for compression in Compression::ALL {
            let body = compress(compression, body);
            let bytes = with_body(compression, 1, &body);
            let (batch, _) = BatchView::parse(&bytes).unwrap();
            let error = batch.records().unwrap().try_next().map(|_| ()).unwrap_err();
            assert!(
                matches!(error, RecordError::InvalidRecord(_) | RecordError::DecompressedTooLarge { .. }),
                "{compression}: {error}"
            );
        }
    }
}

#[test]
fn a_wrong_record_count_is_an_error() {
    let mut rng = Rng::new(6);
    let records = random_records(&mut rng, 0, 10, 30);
    for compression in Compression::ALL {
        let good = build(compression, &records);
        for count in [-1, records.len() as i32 - 1, records.len() as i32 + 1, i32::MAX] {
            let mut bytes = good.clone();
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            let (batch, _) = BatchView::parse(&bytes).unwrap();
            if count != 0 {
                assert!(read(&batch).is_err(), "{compression} {count}");
            }
        }
    }
}

#[test]
fn batches_of_a_buffer_end_before_a_cut_one() {
    let mut rng = Rng::new(7);
    let first = build(Compression::None, &random_records(&mut rng, 0, 5, 30));
    let second = legacy_message(1, 5, 0, T0, None, Some(b"old"));
    let third = build(Compression::Zstd, &random_records(&mut rng, 6, 5, 30));
    let all = [first.clone(), second.clone(), third.clone()].concat();
    for end in 0..=all.len() {
        let mut batches = Batches::new(&all[..end]);
        let whole = batches.by_ref().map(|batch| batch.unwrap().size_in_bytes()).collect::<Vec<_>>();
        let sizes = [first.len(), second.len(), third.len()];
        let expected = (0..=3).rev().find(|n| sizes[..*n].iter().sum::<usize>() <= end).unwrap();
        assert_eq!(whole, sizes[..expected]);
        assert_eq!(batches.position(), sizes[..expected].iter().sum());
        assert_eq!(batches.remaining().len(), end - batches.position());
    }
    let mut broken = all;
    broken[first.len() + 16] = 3;
    let kinds: Vec<_> = Batches::new(&broken).map(|batch| batch.map(|_| ())).collect();
    assert_eq!(kinds, [Ok(()), Err(RecordError::UnknownMagic(3))]);
}

#[test]
fn headers_alone_are_readable() {
    let mut rng = Rng::new(8);
    let bytes = build(Compression::Lz4, &random_records(&mut rng, 77, 50, 300));
    let header = BatchHeader::parse(&bytes[..HEADER_LEN]).unwrap();
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    assert_eq!(format!("{header:?}"), format!("{batch:?}"));
    assert_eq!(
        BatchHeader::parse(&bytes[..60]).err(),
        Some(RecordError::Incomplete { need: HEADER_LEN, have: 60 })
    );
}

#[test]
fn patches_keep_the_checksum_right() {
    let mut rng = Rng::new(9);
    let mut bytes = build(Compression::None, &random_records(&mut rng, 0, 5, 30));
    let max = BatchView::parse(&bytes).unwrap().0.max_timestamp();
    let crc = BatchView::parse(&bytes).unwrap().0.crc();
    patch::set_base_offset(&mut bytes, Offset(1 << 40));
    patch::set_leader_epoch(&mut bytes, LeaderEpoch(12));
    assert!(!patch::set_max_timestamp(&mut bytes, TimestampType::CreateTime, max));
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(
        (batch.crc(), batch.base_offset(), batch.leader_epoch()),
        (crc, Offset(1 << 40), LeaderEpoch(12))
    );
    assert!(patch::set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, max));
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, max));
    assert!(read(&batch).unwrap().iter().all(|record| record.timestamp == max));
    patch::set_last_offset(&mut bytes, Offset(99));
    assert_eq!(BatchView::parse(&bytes).unwrap().0.last_offset(), Offset(99));
}

#[test]
fn compaction_can_leave_gaps_and_a_last_offset() {
    let mut builder = BatchBuilder::new().base_offset(Offset(10)).delete_horizon_ms(T0 + 99);
    builder.append_at(Offset(12), T0, Some(b"k"), None, &[]).unwrap();
    assert!(builder.append_at(Offset(12), T0, None, None, &[]).is_err());
    assert!(builder.append_at(Offset(12 + (1 << 31)), T0, None, None, &[]).is_err());
    builder.set_last_offset(Offset(20)).unwrap();
    let bytes = builder.build().unwrap();
    let (batch, _) = BatchView::parse(&bytes).unwrap();
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.record_count()), (Offset(10), Offset(20), 1));
    assert_eq!(batch.delete_horizon_ms(), Some(T0 + 99));
    let record = &read(&batch).unwrap()[0];
    assert_eq!((record.offset, record.timestamp), (12, T0));
}

#[test]
fn the_size_bound_of_a_record_holds() {
    let mut rng = Rng::new(10);
    for _ in 0..200 {
        let record = Owned::random(&mut rng, 1 << 30, 300);
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| ottla_record::Header::new(key, value.as_deref()))
            .collect();
        let bound = BatchBuilder::record_size_bound(record.key.as_deref(), record.value.as_deref(), &headers);
        let mut builder = BatchBuilder::new();
        let before = builder.uncompressed_size();
        record.append_to(&mut builder);
        let size = builder.uncompressed_size() - before;
        assert!(size <= bound && bound <= size + 20, "{size} {bound}");
    }
}

/// The plain definition, bit by bit.
fn crc32c_by_bits(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn the_fast_checksum_is_the_slow_one() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let mut rng = Rng::new(11);
    let bytes: Vec<u8> = (0..5000).map(|_| rng.next() as u8).collect();
    for len in (0..300).chain([511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 4999]) {
        for start in [0, 1, 7] {
            let slice = &bytes[start..len.max(start)];
            assert_eq!(crc32c(slice), crc32c_by_bits(slice), "{start}..{len}");
        }
    }
}
