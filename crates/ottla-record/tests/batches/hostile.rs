//! Bytes that nobody vouches for: cut, flipped, spliced. Nothing panics, and damage is noticed.

use crate::common::{Rng, T0, build, compress, legacy_message, random_records, read};
use ottla_record::inspect::{Source, inspect};
use ottla_record::validate::{Origin, Rules, TargetCompression, validate};
use ottla_record::{
    BatchHeader, BatchView, Batches, Codec, Compression, EndTxnMarker, HEADER_LEN, Limits, TimestampType,
    control_type, patch,
};
use ottla_types::{LeaderEpoch, Offset, TopicPartition};

fn samples(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut samples: Vec<_> = Compression::ALL
        .into_iter()
        .map(|compression| build(compression, &random_records(rng, 0, 8, 60)))
        .collect();
    for magic in [0, 1] {
        samples.push(legacy_message(magic, 7, 0, T0, Some(b"key"), Some(b"value")));
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
            let inner = [
                legacy_message(magic, 0, 0, T0, None, Some(b"a")),
                legacy_message(magic, 1, 0, T0, None, None),
            ]
            .concat();
            samples.push(legacy_message(
                magic,
                7,
                compression.id(),
                T0,
                None,
                Some(&compress(compression, &inner)),
            ));
        }
    }
    samples
}

#[test]
fn a_batch_cut_at_any_byte_is_incomplete() {
    for bytes in samples(&mut Rng::new(1)) {
        for end in 0..bytes.len() {
            let cut = BatchView::parse(&bytes[..end]);
            assert!(matches!(cut, Err(ottla_record::RecordError::Incomplete { .. })), "{end}: {cut:?}");
        }
    }
}

#[test]
fn a_body_cut_at_any_byte_is_an_error() {
    for bytes in samples(&mut Rng::new(2)).into_iter().filter(|bytes| bytes[16] == 2) {
        for end in HEADER_LEN..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            cut[8..12].copy_from_slice(&(end as i32 - 12).to_be_bytes());
            patch::update_crc(&mut cut);
            let (batch, _) = BatchView::parse(&cut).unwrap();
            assert!(read(&batch).is_err(), "{end} of {}: {batch:?}", bytes.len());
        }
    }
}

/// Every byte but offset and leader epoch is under the checksum, or is the length.
#[test]
fn every_flipped_byte_is_noticed() {
    for bytes in samples(&mut Rng::new(3)) {
        let magic_2 = bytes[16] == 2;
        let covered = if magic_2 { (8..12).chain(16..bytes.len()) } else { (8..12).chain(12..bytes.len()) };
        for at in covered {
            for mask in [1, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= mask;
                let noticed = BatchView::parse(&flipped).is_err_and(|_| true) || {
                    let (batch, rest) = BatchView::parse(&flipped).unwrap();
                    batch.verify_crc().is_err() || !rest.is_empty()
                };
                assert!(noticed, "byte {at} of {bytes:x?}");
            }
        }
    }
}

/// What is done with bytes from outside.
fn exercise(bytes: &[u8], rng: &mut Rng) -> usize {
    let limits = Limits { max_record_bytes: 1 << 20, max_batch_bytes: 4 << 20 };
    let _ = format!("{:?}", BatchHeader::parse(bytes));
    let mut read = 0;
    for batch in Batches::new(bytes).flatten() {
        let _ = (batch.verify_crc(), batch.last_sequence(), batch.next_offset(), batch.delete_horizon_ms());
        let Ok(mut records) = batch.records_within(limits) else { continue };
        while let Ok(Some(record)) = records.try_next() {
            read += 1 + record.headers.count();
            let _ = (control_type(&record), EndTxnMarker::read(&record));
        }
    }
    let _ = inspect(bytes, Source::Replication(LeaderEpoch(3)));
    let topic_partition = TopicPartition::new("fuzz", 0);
    let codec = Codec::from(Compression::ALL[rng.below(5)]);
    let rules = Rules {
        origin: if rng.chance(3) { Origin::Coordinator } else { Origin::Client },
        compression: if rng.chance(2) {
            TargetCompression::Producer
        } else {
            TargetCompression::Fixed(codec)
        },
        timestamp_type: if rng.chance(2) { TimestampType::CreateTime } else { TimestampType::LogAppendTime },
        compacted: rng.chance(2),
        limits,
        ..Rules::defaults(&topic_partition)
    };
    let mut given = bytes.to_vec();
    if let Ok(valid) = validate(&mut given, &rules, Offset(1000), LeaderEpoch(4), T0) {
        let (batch, rest) = BatchView::parse(valid.bytes(&given)).expect("what is valid is a batch");
        assert!(rest.is_empty());
        batch.verify_crc().expect("what is valid has its checksum");
        assert_eq!((batch.last_offset(), batch.leader_epoch()), (valid.last_offset, LeaderEpoch(4)));
        assert_eq!(batch.max_timestamp(), valid.max_timestamp);
        crate::common::read(&batch).expect("what is valid can be read");
    }
    read
}

/// Damages `bytes`; half of the time with a right checksum, so that what lies behind it is reached.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    const NUMBERS: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x40, 0x0f];
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len());
        match rng.below(7) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = NUMBERS[rng.below(NUMBERS.len())],
            2 => bytes.truncate(at.max(1)),
            3 => bytes.insert(at, rng.next() as u8),
            4 => drop(bytes.remove(at).min(bytes.len() as u8)),
            5 => {
                let end = at + rng.below(bytes.len() - at);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill(NUMBERS[rng.below(NUMBERS.len())]);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    if rng.chance(2) && bytes.len() >= HEADER_LEN && bytes[16] == 2 {
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        if rng.chance(2) {
            bytes[..8].fill(0);
        }
        patch::update_crc(bytes);
    }
}

fn fuzz(seed: u64, iterations: usize, mut exercise: impl FnMut(&[u8], &mut Rng) -> usize) -> usize {
    let mut rng = Rng::new(seed);
    let samples = samples(&mut rng);
    let mut read = 0;
    for _ in 0..iterations {
        let mut bytes = samples[rng.below(samples.len())].clone();
        if rng.chance(10) {
            bytes.extend_from_slice(&samples[rng.below(samples.len())]);
        }
        mutate(&mut bytes, &mut rng);
        read += exercise(&bytes, &mut rng);
    }
    read
}

#[test]
fn mutated_batches_never_panic() {
    let read = fuzz(0x0771a, 12_000, exercise);
    assert!(read > 1000, "the mutations are too wild to reach the records: {read}");
}

/// The fuzzer is worth something only if it finds what is there to be found: a parser that trusts one length.
#[test]
fn the_fuzzer_catches_a_parser_that_panics() {
    let careless = |bytes: &[u8], _: &mut Rng| {
        let Ok((batch, _)) = BatchView::parse(bytes) else { return 0 };
        if batch.magic() != 2 || batch.attributes().is_compressed() || batch.verify_crc().is_err() {
            return 0;
        }
        let body = batch.body();
        usize::from(body[(body[0] >> 1) as usize])
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fuzz(0x0771a, 12_000, careless)));
    assert!(caught.is_err(), "no mutation made the careless parser panic");
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(77);
    for _ in 0..3000 {
        let mut bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.next() as u8).collect();
        if bytes.len() > 16 {
            bytes[16] = rng.below(4) as u8;
            bytes[8..12].copy_from_slice(&(rng.below(200) as i32).to_be_bytes());
        }
        exercise(&bytes, &mut rng);
    }
}

#[test]
fn random_bodies_of_every_codec_never_panic() {
    let mut rng = Rng::new(78);
    let frame = build(Compression::None, &random_records(&mut rng, 0, 3, 10));
    for round in 0..4000 {
        let codec = Compression::ALL[1 + round % 4];
        let mut body = compress(codec, &rng.bytes(300));
        let flips = rng.below(4);
        for _ in 0..flips {
            let at = rng.below(body.len());
            body[at] = rng.next() as u8;
        }
        let mut bytes = [&frame[..HEADER_LEN], &body].concat();
        bytes[22] = codec.id();
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        patch::update_crc(&mut bytes);
        exercise(&bytes, &mut rng);
        let _ = ottla_record::compression::decompress(codec, &body, 1 << 20);
    }
}
