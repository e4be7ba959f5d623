//! The rules of a leader, one by one.

use crate::common::{Owned, Rng, T0, build, legacy_message, random_records, read_bytes};
use ottla_record::inspect::{Inspected, Source, inspect};
use ottla_record::validate::{InvalidBatch, Origin, Rules, TargetCompression, Validated, check, validate};
use ottla_record::{
    BatchBuilder, BatchView, Codec, Compression, EndTxnMarker, Limits, RecordError, TimestampType, patch,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};

const NOW: i64 = T0 + 10_000;

fn topic() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

fn run(bytes: &mut [u8], rules: &Rules<'_>) -> Result<Validated, InvalidBatch> {
    validate(bytes, rules, Offset(500), LeaderEpoch(8), NOW)
}

/// Changes the header of a batch, and makes its checksum right again.
fn edited(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    patch::update_crc(&mut bytes);
    bytes
}

fn sample(codec: Compression) -> Vec<u8> {
    build(codec, &random_records(&mut Rng::new(1), 0, 20, 50))
}

fn refused(mut bytes: Vec<u8>, rules: &Rules<'_>) -> String {
    let before = bytes.clone();
    let error = run(&mut bytes, rules).unwrap_err();
    assert_eq!(bytes, before, "a refused batch stays as it was");
    match error {
        InvalidBatch::Refused(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keeps_a_good_batch_and_patches_its_header_only() {
    let topic = topic();
    for codec in Compression::ALL {
        let records = random_records(&mut Rng::new(2), 0, 20, 50);
        let given = build(codec, &records);
        let mut bytes = given.clone();
        let valid = run(&mut bytes, &Rules::defaults(&topic)).unwrap();
        assert_eq!(valid.rebuilt, None);
        let mut expected = given;
        expected[..8].copy_from_slice(&500_i64.to_be_bytes());
        expected[12..16].copy_from_slice(&8_i32.to_be_bytes());
        assert_eq!(valid.bytes(&bytes), expected, "{codec}");
        let newest = records.iter().map(|record| record.timestamp).max().unwrap();
        let index = records.iter().position(|record| record.timestamp == newest).unwrap();
        assert_eq!((valid.max_timestamp, valid.log_append_time), (newest, None));
        assert_eq!(valid.offset_of_max_timestamp, Offset(500 + index as i64));
        assert_eq!(valid.last_offset, Offset(500 + records.len() as i64 - 1));
        assert_eq!(valid.record_count, records.len() as i32);
    }
}

#[test]
fn corrects_a_wrong_max_timestamp() {
    let topic = topic();
    let records = random_records(&mut Rng::new(3), 0, 20, 50);
    let newest = records.iter().map(|record| record.timestamp).max().unwrap();
    for codec in Compression::ALL {
        let mut bytes = edited(build(codec, &records), 35, &(T0 + 99_999).to_be_bytes());
        let valid = run(&mut bytes, &Rules::defaults(&topic)).unwrap();
        let (batch, _) = BatchView::parse(valid.bytes(&bytes)).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!((batch.max_timestamp(), valid.max_timestamp), (newest, newest));
    }
}

#[test]
fn stamps_the_append_time() {
    let topic = topic();
    let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..Rules::defaults(&topic) };
    for codec in Compression::ALL {
        let mut bytes = sample(codec);
        let valid = run(&mut bytes, &rules).unwrap();
        let (batch, _) = BatchView::parse(valid.bytes(&bytes)).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, NOW));
        assert_eq!((valid.log_append_time, valid.max_timestamp), (Some(NOW), NOW));
        assert_eq!(valid.offset_of_max_timestamp, valid.last_offset);
    }
}

#[test]
fn rebuilds_for_the_codec_of_the_topic() {
    let topic = topic();
    let records = random_records(&mut Rng::new(4), 0, 20, 50);
    for from in Compression::ALL {
        for to in Compression::ALL {
            let rules =
                Rules { compression: TargetCompression::Fixed(Codec::from(to)), ..Rules::defaults(&topic) };
            let mut bytes = build(from, &records);
            let valid = run(&mut bytes, &rules).unwrap();
            assert_eq!(valid.rebuilt.is_some(), from != to, "{from} to {to}");
            let written = valid.bytes(&bytes);
            let (batch, _) = BatchView::parse(written).unwrap();
            assert_eq!(batch.attributes().compression(), Ok(to));
            assert_eq!((batch.base_offset(), batch.leader_epoch()), (Offset(500), LeaderEpoch(8)));
            assert_eq!((batch.producer_id(), batch.producer_epoch()), (ProducerId(9), ProducerEpoch(1)));
            assert_eq!(batch.base_sequence(), Sequence(40));
            let expected: Vec<_> = records
                .iter()
                .map(|record| Owned { offset: record.offset + 500, ..record.clone() })
                .collect();
            assert_eq!(read_bytes(written), expected);
        }
    }
}

#[test]
fn wants_exactly_one_batch_of_magic_2() {
    let topic = topic();
    let rules = Rules::defaults(&topic);
    let good = sample(Compression::None);
    assert!(refused(vec![], &rules).contains("here is none"));
    assert!(refused(good[..50].to_vec(), &rules).contains("here is none"));
    assert!(refused([good.clone(), good.clone()].concat(), &rules).contains("here are more"));
    let old = legacy_message(1, 0, 0, T0, None, None);
    assert!(refused(old, &rules).contains("magic 2"));
    let mut cut = [good.clone(), good[..50].to_vec()].concat();
    let valid = run(&mut cut, &rules).unwrap();
    assert_eq!(valid.size_in_bytes, good.len(), "a cut batch is left out");
    let mut junk = [good, vec![0; 20]].concat();
    assert!(matches!(run(&mut junk, &rules), Err(InvalidBatch::Corrupt(RecordError::TooSmall { .. }))));
}

#[test]
fn refuses_headers_that_contradict_themselves() {
    let topic = topic();
    let rules = Rules::defaults(&topic);
    for codec in Compression::ALL {
        let good = sample(codec);
        let count = BatchView::parse(&good).unwrap().0.record_count();
        assert!(refused(edited(good.clone(), 0, &1_i64.to_be_bytes()), &rules).contains("base offset"));
        assert!(refused(edited(good.clone(), 23, &(-1_i32).to_be_bytes()), &rules).contains("offset range"));
        assert!(refused(edited(good.clone(), 57, &0_i32.to_be_bytes()), &rules).contains("reported count"));
        assert!(
            refused(edited(good.clone(), 57, &(-1_i32).to_be_bytes()), &rules).contains("reported count")
        );
        let more = edited(good.clone(), 57, &(count + 1).to_be_bytes());
        assert!(refused(more, &rules).contains("Inconsistent"));
        let more = edited(edited(good.clone(), 57, &(count + 1).to_be_bytes()), 23, &count.to_be_bytes());
        let mut bytes = more;
        assert!(run(&mut bytes, &rules).is_err(), "a record more than there are");
        assert!(refused(edited(good.clone(), 53, &(-1_i32).to_be_bytes()), &rules).contains("sequence"));
        let control = edited(good.clone(), 22, &[good[22] | 0x20]);
        assert!(refused(control, &rules).contains("control records"));
    }
}

#[test]
fn sizes_and_checksums_are_checked_first() {
    let topic = topic();
    let good = sample(Compression::None);
    let rules = Rules { max_message_bytes: good.len() - 1, ..Rules::defaults(&topic) };
    let too_large = Err(InvalidBatch::TooLarge { size: good.len(), max: good.len() - 1 });
    assert_eq!(run(&mut good.clone(), &rules), too_large);
    let rules = Rules { max_message_bytes: good.len(), ..rules };
    assert!(run(&mut good.clone(), &rules).is_ok());
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert!(matches!(run(&mut bad, &rules), Err(InvalidBatch::Corrupt(RecordError::CrcMismatch { .. }))));
    let unknown = edited(good, 22, &[5]);
    assert_eq!(
        run(&mut unknown.clone(), &rules),
        Err(InvalidBatch::Undecodable(RecordError::UnknownCompression(5)))
    );
}

#[test]
fn a_rebuilt_batch_must_fit_too() {
    let topic = topic();
    let zeros = Owned { offset: 0, timestamp: T0, key: None, value: Some(vec![0; 100_000]), headers: vec![] };
    let mut bytes = build(Compression::Zstd, &[zeros]);
    let rules = Rules {
        max_message_bytes: 50_000,
        compression: TargetCompression::Fixed(Codec::NONE),
        ..Rules::defaults(&topic)
    };
    assert!(matches!(run(&mut bytes, &rules), Err(InvalidBatch::TooLarge { max: 50_000, .. })));
}

#[test]
fn compacted_topics_want_keys() {
    let topic = topic();
    let rules = Rules { compacted: true, ..Rules::defaults(&topic) };
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new().codec(codec);
        builder.append(T0, Some(b"k"), None, &[]).unwrap();
        for _ in 0..4 {
            builder.append(T0, None, Some(b"v"), &[]).unwrap();
        }
        let error = run(&mut builder.build().unwrap(), &rules).unwrap_err();
        let indexes: Vec<_> = error.record_faults().iter().map(|fault| fault.index).collect();
        assert_eq!(indexes, [1, 2, 3, 4]);
        assert_eq!(
            error.record_faults()[0].message,
            "Compacted topic cannot accept message without key in topic partition orders-3"
        );
        let text = error.wire_message().unwrap();
        assert!(text.starts_with(
            "One or more records have been rejected due to 4 record errors in total, and only showing the first \
             three errors at most: [RecordError(batchIndex=1, message='Compacted"
        ));
        assert_eq!(text.matches("RecordError(").count(), 3);
        assert!(matches!(error, InvalidBatch::Records { count: 4, .. }));
    }
}

#[test]
fn timestamps_stay_within_the_range_of_the_topic() {
    let topic = topic();
    let rules =
        Rules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..Rules::defaults(&topic) };
    let of = |timestamp, codec: Compression| {
        let mut builder = BatchBuilder::new().codec(codec);
        builder.append(timestamp, None, None, &[]).unwrap();
        builder.build().unwrap()
    };
    for codec in Compression::ALL {
        for good in [NOW - 1000, NOW, NOW + 500, -1] {
            assert!(run(&mut of(good, codec), &rules).is_ok(), "{good}");
        }
        for bad in [NOW - 1001, NOW + 501, 0] {
            let error = run(&mut of(bad, codec), &rules).unwrap_err();
            assert!(matches!(error, InvalidBatch::Timestamps { count: 1, .. }));
            assert_eq!(
                error.record_faults()[0].message,
                format!(
                    "Timestamp {bad} of message with offset 0 is out of range. The timestamp should be within \
                     [{}, {}]",
                    NOW - 1000,
                    NOW + 500
                )
            );
            assert_eq!(
                error.wire_message().unwrap(),
                "One or more records have been rejected due to invalid timestamp"
            );
        }
    }
}

#[test]
fn producers_may_not_set_the_append_time() {
    let topic = topic();
    let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..Rules::defaults(&topic) };
    for (codec, name) in [(Compression::None, "DefaultRecord"), (Compression::Gzip, "PartialDefaultRecord")] {
        let mut builder = BatchBuilder::new().codec(codec).log_append_time(T0);
        builder.append(T0, Some(b"key"), Some(b"value"), &[]).unwrap();
        let mut bytes = builder.build().unwrap();
        let error = run(&mut bytes, &rules).unwrap_err();
        assert_eq!(
            error.record_faults()[0].message,
            format!(
                "Invalid timestamp type in message {name}(offset=0, timestamp={T0}, key=3 bytes, value=5 bytes). \
                 Producer should not set timestamp type to LogAppendTime."
            )
        );
        // A CreateTime topic takes it when the time is in range, and clears the bit.
        let valid = run(&mut bytes, &Rules::defaults(&topic)).unwrap();
        let (batch, _) = BatchView::parse(valid.bytes(&bytes)).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::CreateTime, T0));
    }
}

#[test]
fn listed_faults_are_bounded() {
    let topic = topic();
    let mut builder = BatchBuilder::new();
    for _ in 0..2000 {
        builder.append(T0, None, None, &[]).unwrap();
    }
    let rules = Rules { compacted: true, ..Rules::defaults(&topic) };
    let error = run(&mut builder.build().unwrap(), &rules).unwrap_err();
    assert_eq!(error.record_faults().len(), InvalidBatch::MAX_FAULTS);
    assert!(error.to_string().contains("due to 2000 record errors"));
}

#[test]
fn coordinators_may_write_markers() {
    let topic = topic();
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 2 };
    let batch = marker.batch(Offset(0), LeaderEpoch(-1), T0, ProducerId(5), ProducerEpoch(0));
    assert!(refused(batch.clone(), &Rules::defaults(&topic)).contains("control records"));
    let rules = Rules {
        origin: Origin::Coordinator,
        compression: TargetCompression::Fixed(Codec::from(Compression::Zstd)),
        ..Rules::defaults(&topic)
    };
    let mut bytes = batch.clone();
    let valid = run(&mut bytes, &rules).unwrap();
    assert_eq!(valid.rebuilt, None, "control batches are not compressed");
    assert_eq!((valid.first_offset, valid.last_offset), (Offset(500), Offset(500)));
}

#[test]
fn long_records_are_walked_without_being_kept() {
    let topic = topic();
    let long = |key: usize, value: usize, header: usize| Owned {
        offset: 0,
        timestamp: T0,
        key: Some(vec![1; key]),
        value: Some((0..value as u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect()),
        headers: vec![("h".to_owned(), Some(vec![2; header])), ("n".to_owned(), None)],
    };
    for record in [long(20_000, 10, 0), long(0, 200_000, 5), long(1, 1, 90_000)] {
        for codec in Compression::ALL {
            let mut bytes = build(codec, std::slice::from_ref(&record));
            run(&mut bytes, &Rules::defaults(&topic)).unwrap();
            let limits = Limits { max_record_bytes: 15_000, ..Limits::DEFAULT };
            let rules = Rules { limits, ..Rules::defaults(&topic) };
            let mut bytes = build(codec, std::slice::from_ref(&record));
            assert_eq!(run(&mut bytes, &rules).is_err(), codec != Compression::None);
        }
    }
}

#[test]
fn checking_needs_no_offset() {
    let topic = topic();
    let mut bytes = sample(Compression::Lz4);
    let before = bytes.clone();
    let checked = check(&mut bytes, &Rules::defaults(&topic), NOW).unwrap();
    assert_eq!(bytes, before, "nothing to change yet");
    assert_eq!(checked.batch(&bytes).producer_id(), ProducerId(9));
    let count = checked.record_count();
    let valid = checked.assign(&mut bytes, Offset(7), LeaderEpoch(1));
    assert_eq!((valid.first_offset, valid.last_offset), (Offset(7), Offset(6 + i64::from(count))));
    assert_eq!(BatchView::parse(&bytes).unwrap().0.base_offset(), Offset(7));
}

fn replicated(base: i64, epoch: i32) -> Vec<u8> {
    let mut bytes = build(Compression::None, &random_records(&mut Rng::new(5), base, 1, 10));
    patch::set_leader_epoch(&mut bytes, LeaderEpoch(epoch));
    bytes
}

#[test]
fn replicated_batches_keep_order_and_epoch() {
    let all = [replicated(10, 1), replicated(14, 2), replicated(15, 3)].concat();
    let inspected = inspect(&all, Source::Replication(LeaderEpoch(2))).unwrap().unwrap();
    let two = replicated(10, 1).len() + replicated(14, 2).len();
    let Inspected { bytes, batches, first_offset, last_offset, last_leader_epoch, has_later_epoch, .. } =
        inspected;
    assert_eq!((bytes, batches, has_later_epoch), (two, 2, true));
    assert_eq!((first_offset, last_offset, last_leader_epoch), (Offset(10), Offset(14), LeaderEpoch(2)));
    assert_eq!(inspect(&all[..30], Source::Replication(LeaderEpoch(2))), Ok(None));
    let swapped = [replicated(14, 1), replicated(10, 1)].concat();
    assert!(matches!(inspect(&swapped, Source::Replication(LeaderEpoch(2))), Err(InvalidBatch::Refused(_))));
    let mut flipped = all.clone();
    flipped[70] ^= 1;
    assert!(matches!(
        inspect(&flipped, Source::Replication(LeaderEpoch(2))),
        Err(InvalidBatch::Corrupt(RecordError::CrcMismatch { .. }))
    ));
    assert!(inspect(&all, Source::RaftLeader(LeaderEpoch(1))).is_err());
    assert!(inspect(&replicated(10, 1), Source::RaftLeader(LeaderEpoch(1))).is_ok());
}
