//! One behaviour each.

use ottla_record::Codec;
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_storage::log::{
    AppendError, CleanupPolicy, FlushTicket, LoadEvent, Log, LogConfig, LogError, LogOpen, ReadError,
    RemovalReason, VerificationRequest,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Uuid};

use super::support::*;

fn producer(id: i64, sequence: i32) -> Producer {
    Producer { id, epoch: 0, sequence, transactional: false }
}

fn transactional(id: i64, sequence: i32) -> Producer {
    Producer { transactional: true, ..producer(id, sequence) }
}

fn unverified() -> LogConfig {
    LogConfig { transaction_verification: false, ..small_config() }
}

#[test]
fn assigns_offsets_and_reads_back_what_was_appended() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for n in 1..=5 {
        append(&mut log, plain(n)).unwrap();
    }
    assert_eq!(log.log_end_offset(), Offset(15));
    let read = log.read(request(4, Offset(15))).unwrap();
    assert_eq!(ranges(&read), [(3, 5), (6, 9), (10, 14)]);
    assert_eq!(read.start.offset, Offset(3));
}

#[test]
fn never_returns_bytes_at_or_above_the_bound() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for _ in 0..10 {
        append(&mut log, plain(3)).unwrap();
    }
    for recent in [true, false] {
        if !recent {
            log.flush(NOW).unwrap();
            log.close_idle(NOW, 0).unwrap();
            log.close_idle(NOW, 0).unwrap();
        }
        for bound in 0..=30 {
            for offset in 0..=bound {
                let read = log.read(request(offset, Offset(bound))).unwrap();
                for (base, last) in ranges(&read) {
                    assert!(last < bound && last >= offset, "{base}..{last} from {offset} below {bound}");
                }
                let batch_fits = offset / 3 * 3 + 3 <= bound;
                assert_eq!(!read.is_empty(), batch_fits, "from {offset} below {bound}");
            }
        }
    }
}

#[test]
fn first_batch_is_returned_whole_when_asked_for() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(10)).unwrap();
    let small = ottla_storage::log::ReadRequest { max_bytes: 10, ..request(0, Offset(10)) };
    assert_eq!(ranges(&log.read(small).unwrap()), [(0, 9)]);
    let cut = ottla_storage::log::ReadRequest { min_one_batch: false, ..small };
    let read = log.read(cut).unwrap();
    assert_eq!((read.len(), read.first_batch_incomplete), (10, true));
}

#[test]
fn reads_out_of_range_are_refused() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(5)).unwrap();
    log.set_high_watermark(Offset(5));
    assert!(log.advance_log_start(Offset(3)).unwrap());
    for offset in [2, 6] {
        let result = log.read(request(offset, Offset(5)));
        assert!(matches!(result, Err(ReadError::OffsetOutOfRange { .. })), "{offset}");
    }
    assert!(log.read(request(5, Offset(5))).unwrap().is_empty());
    assert!(matches!(log.advance_log_start(Offset(6)), Err(ReadError::OffsetOutOfRange { .. })));
}

#[test]
fn rolls_by_size_and_names_segments_by_their_first_offset() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    let size = plain(10).len() as u64;
    let per_segment = 2000 / size;
    for _ in 0..per_segment * 2 + 1 {
        append(&mut log, plain(10)).unwrap();
    }
    let bases: Vec<i64> = log.segment_base_offsets().map(|base| base.0).collect();
    let step = i64::try_from(per_segment * 10).unwrap();
    assert_eq!(bases, [0, step, 2 * step]);
    let names: Vec<String> = fs.list(log.dir()).unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&format!("{step:020}.timeindex")));
    assert!(names.contains(&format!("{step:020}.snapshot")));
}

#[test]
fn rolls_by_record_time() {
    let fs = MemFs::new();
    let mut log = open(&fs, LogConfig { segment_ms: 1000, ..LogConfig::default() });
    for timestamp in [0, 1000, 1001, 1500, 2001, 2002] {
        append(&mut log, batch(&[NOW + timestamp], None, Codec::NONE)).unwrap();
    }
    let bases: Vec<i64> = log.segment_base_offsets().map(|base| base.0).collect();
    assert_eq!(bases, [0, 2, 5]);
}

#[test]
fn refuses_a_batch_larger_than_a_segment() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    let result = append(&mut log, plain(200));
    assert!(matches!(result, Err(AppendError::RecordListTooLarge { .. })));
    assert_eq!(log.log_end_offset(), Offset(0));
    assert!(log.poisoned().is_none());
}

#[test]
fn repeated_batches_return_their_old_offsets() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for n in 0..7 {
        append(&mut log, batch(&[NOW, NOW], Some(producer(9, n * 2)), Codec::NONE)).unwrap();
    }
    for n in 2..7 {
        let info = append(&mut log, batch(&[NOW, NOW], Some(producer(9, n * 2)), Codec::NONE)).unwrap();
        let first = i64::from(n) * 2;
        assert_eq!(
            (info.duplicate, info.first_offset, info.last_offset),
            (true, Offset(first), Offset(first + 1))
        );
    }
    // Older than the five that are remembered.
    let result = append(&mut log, batch(&[NOW, NOW], Some(producer(9, 2)), Codec::NONE));
    assert!(matches!(result, Err(AppendError::OutOfOrderSequence { .. })));
    assert_eq!(log.log_end_offset(), Offset(14));
}

#[test]
fn sequences_must_follow_and_may_wrap() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, batch(&[NOW], Some(producer(9, i32::MAX - 1)), Codec::NONE)).unwrap();
    append(&mut log, batch(&[NOW, NOW], Some(producer(9, i32::MAX)), Codec::NONE)).unwrap();
    let info = append(&mut log, batch(&[NOW, NOW], Some(producer(9, i32::MAX)), Codec::NONE)).unwrap();
    assert!(info.duplicate);
    let gap = append(&mut log, batch(&[NOW], Some(producer(9, 2)), Codec::NONE));
    assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { expected: Sequence(1), .. })));
    append(&mut log, batch(&[NOW], Some(producer(9, 1)), Codec::NONE)).unwrap();
}

#[test]
fn a_new_producer_epoch_starts_at_zero_and_fences_the_old() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, batch(&[NOW], Some(producer(9, 0)), Codec::NONE)).unwrap();
    let next = Producer { epoch: 1, ..producer(9, 5) };
    assert!(matches!(
        append(&mut log, batch(&[NOW], Some(next), Codec::NONE)),
        Err(AppendError::OutOfOrderSequence { .. })
    ));
    append(&mut log, batch(&[NOW], Some(Producer { sequence: 0, ..next }), Codec::NONE)).unwrap();
    assert!(matches!(
        append(&mut log, batch(&[NOW], Some(producer(9, 1)), Codec::NONE)),
        Err(AppendError::InvalidProducerEpoch { .. })
    ));
}

#[test]
fn producers_survive_clean_and_unclean_restarts() {
    for clean in [true, false] {
        let fs = MemFs::new();
        let mut log = open(&fs, small_config());
        for n in 0..40 {
            append(
                &mut log,
                batch(&[NOW], Some(producer(n % 3, i32::try_from(n / 3).unwrap())), Codec::NONE),
            )
            .unwrap();
        }
        let before: Vec<_> = log.active_producers().collect();
        if clean {
            log.close(NOW).unwrap();
        }
        let (mut log, _) = open_with(&fs, small_config(), opening(clean, Offset(0)));
        assert_eq!(log.active_producers().collect::<Vec<_>>(), before);
        let again = append(&mut log, batch(&[NOW], Some(producer(0, 13)), Codec::NONE)).unwrap();
        assert!(again.duplicate);
        append(&mut log, batch(&[NOW], Some(producer(0, 14)), Codec::NONE)).unwrap();
    }
}

#[test]
fn transactions_hold_the_stable_offset_until_replicated() {
    let fs = MemFs::new();
    let mut log = open(&fs, unverified());
    append(&mut log, plain(2)).unwrap();
    append(&mut log, batch(&[NOW; 3], Some(transactional(9, 0)), Codec::NONE)).unwrap();
    append(&mut log, plain(1)).unwrap();
    log.set_high_watermark(Offset(6));
    assert_eq!(log.last_stable_offset(), Offset(2));
    assert_eq!(log.first_undecided_offset(), Some(Offset(2)));
    log.append_as_leader(&mut marker(9, 0, true, 1, NOW), coordinator(0)).unwrap();
    assert_eq!((log.last_stable_offset(), log.first_undecided_offset()), (Offset(2), None));
    log.set_high_watermark(Offset(7));
    assert_eq!(log.last_stable_offset(), Offset(7));
}

#[test]
fn aborted_transactions_are_listed_for_their_readers() {
    let fs = MemFs::new();
    let mut log = open(&fs, unverified());
    append(&mut log, batch(&[NOW; 3], Some(transactional(1, 0)), Codec::NONE)).unwrap();
    append(&mut log, batch(&[NOW; 3], Some(transactional(2, 0)), Codec::NONE)).unwrap();
    log.append_as_leader(&mut marker(1, 0, false, 1, NOW), coordinator(0)).unwrap();
    log.append_as_leader(&mut marker(2, 0, true, 1, NOW), coordinator(0)).unwrap();
    append(&mut log, plain(1)).unwrap();
    let read = |log: &ottla_storage::log::Log, offset| {
        let wanted = ottla_storage::log::ReadRequest {
            aborted_transactions: true,
            ..request(offset, log.log_end_offset())
        };
        let aborted = log.read(wanted).unwrap().aborted.unwrap();
        aborted
            .iter()
            .map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0, t.last_stable_offset.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&log, 0), [(1, 0, 6, 3)]);
    assert_eq!(read(&log, 6), [(1, 0, 6, 3)]);
    assert_eq!(read(&log, 7), []);
    for clean in [true, false] {
        if clean {
            log.close(NOW).unwrap();
        }
        log = open_with(&fs, unverified(), opening(clean, Offset(0))).0;
        assert_eq!(read(&log, 0), [(1, 0, 6, 3)], "clean: {clean}");
    }
}

#[test]
fn first_transactional_batch_needs_a_guard() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    let mut records = batch(&[NOW], Some(transactional(9, 0)), Codec::NONE);
    let refused = log.append_as_leader(&mut records.clone(), client(0));
    assert!(matches!(refused, Err(AppendError::InvalidTxnState { .. })));
    let request = VerificationRequest {
        producer_id: ProducerId(9),
        epoch: ProducerEpoch(0),
        sequence: Sequence(0),
        supports_epoch_bump: false,
    };
    let guard = log.start_transaction_verification(request, NOW).unwrap();
    let verified = ottla_storage::log::LeaderAppend { guard, ..client(0) };
    log.append_as_leader(&mut records, verified).unwrap();
    // Open now: nothing to verify until the marker.
    assert_eq!(log.start_transaction_verification(request, NOW).unwrap(), Default::default());
    append(&mut log, batch(&[NOW], Some(transactional(9, 1)), Codec::NONE)).unwrap();
    log.append_as_leader(&mut marker(9, 0, true, 1, NOW), coordinator(0)).unwrap();
    let mut late = batch(&[NOW], Some(transactional(9, 2)), Codec::NONE);
    assert!(matches!(log.append_as_leader(&mut late, verified), Err(AppendError::InvalidTxnState { .. })));
}

#[test]
fn markers_are_fenced_by_epoch_and_coordinator() {
    let fs = MemFs::new();
    let mut log = open(&fs, unverified());
    append(&mut log, batch(&[NOW], Some(transactional(9, 0)), Codec::NONE)).unwrap();
    log.append_as_leader(&mut marker(9, 0, true, 5, NOW), coordinator(0)).unwrap();
    let fenced = log.append_as_leader(&mut marker(9, 0, true, 4, NOW), coordinator(0));
    assert!(matches!(fenced, Err(AppendError::CoordinatorFenced { found: 4, current: 5, .. })));
    // Transaction version 2: the same epoch only if it is a repetition, i.e. nothing is open.
    let strict = ottla_storage::log::LeaderAppend { transaction_version: 2, ..coordinator(0) };
    log.append_as_leader(&mut marker(9, 0, true, 5, NOW), strict).unwrap();
    append(&mut log, batch(&[NOW], Some(transactional(9, 1)), Codec::NONE)).unwrap();
    let stale = log.append_as_leader(&mut marker(9, 0, true, 5, NOW), strict);
    assert!(matches!(stale, Err(AppendError::InvalidProducerEpoch { .. })));
    log.append_as_leader(&mut marker(9, 1, true, 5, NOW), strict).unwrap();
    assert_eq!(log.first_undecided_offset(), None);
}

#[test]
fn followers_keep_bytes_and_gaps() {
    let fs = MemFs::new();
    let mut leader = open(&fs, small_config());
    for n in 0..30 {
        leader.append_as_leader(&mut plain(3), client(n / 10)).unwrap();
    }
    let batches = all_batches(&leader);
    let other = MemFs::new();
    let mut follower = open(&other, small_config());
    for (n, batch) in batches.iter().enumerate() {
        if n % 4 != 1 {
            follower.append_as_follower(batch, LeaderEpoch(2), NOW).unwrap();
        }
    }
    let kept: Vec<_> =
        batches.iter().enumerate().filter(|(n, _)| n % 4 != 1).map(|(_, b)| b.clone()).collect();
    assert_eq!(all_batches(&follower), kept);
    assert_eq!(follower.epoch_entries(), leader.epoch_entries());
    let below = follower.append_as_follower(&batches[3], LeaderEpoch(2), NOW);
    assert!(matches!(below, Err(AppendError::UnexpectedOffset { .. })));
}

#[test]
fn followers_drop_batches_of_later_epochs_and_cut_tails() {
    let fs = MemFs::new();
    let mut leader = open(&fs, small_config());
    for epoch in [1, 1, 2] {
        leader.append_as_leader(&mut plain(3), client(epoch)).unwrap();
    }
    let mut bytes = all_batches(&leader).concat();
    let mut follower = open(&MemFs::new(), small_config());
    let info = follower.append_as_follower(&bytes, LeaderEpoch(1), NOW).unwrap();
    assert_eq!((info.last_offset, follower.log_end_offset()), (Offset(5), Offset(6)));
    bytes.truncate(bytes.len() - 1);
    let rest = bytes.split_off(bytes.len() * 2 / 3 + 1);
    assert_eq!(follower.append_as_follower(&rest[..5], LeaderEpoch(2), NOW).unwrap().written_bytes, 0);
    let mut corrupt = plain(1);
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    let refused = follower.append_as_follower(&corrupt, LeaderEpoch(2), NOW);
    assert!(matches!(refused, Err(AppendError::CorruptBatch { position: 0, .. })));
}

#[test]
fn finds_records_by_time() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for codec in [Codec::NONE, ottla_record::Compression::Zstd.into(), ottla_record::Compression::Lz4.into()]
    {
        for _ in 0..30 {
            let base = NOW + log.log_end_offset().0 * 10;
            append(&mut log, batch(&[base, base + 30, base + 20], None, codec)).unwrap();
        }
    }
    for (records, reopened) in [(0, false), (1, true)] {
        let _ = records;
        if reopened {
            log.close(NOW).unwrap();
            log = open_with(&fs, small_config(), opening(true, Offset(0))).0;
        }
        for offset in (0..270).step_by(3) {
            let found = log.find_timestamp(NOW + offset * 10).unwrap().unwrap();
            // Before it, only the second record of the batch before has a time that late.
            assert_eq!(found.offset.0, if offset == 0 { 0 } else { offset - 2 }, "{offset}");
            assert_eq!(found.leader_epoch, Some(LeaderEpoch(0)));
        }
        assert!(log.find_timestamp(NOW + 1_000_000).unwrap().is_none());
        let max = log.find_max_timestamp().unwrap().unwrap();
        assert_eq!((max.offset.0, max.timestamp), (268, NOW + 2670 + 30));
    }
}

#[test]
fn clean_restart_reads_no_segment() {
    let fs = MemFs::new();
    let mut log = open(&fs, LogConfig { segment_bytes: 700, ..small_config() });
    for _ in 0..20 {
        append(&mut log, plain(3)).unwrap();
    }
    log.close(NOW).unwrap();
    fs.inject(Fault::new(Effect::Io).at(".log"));
    fs.inject(Fault::new(Effect::Io).at("index"));
    let (mut log, report) = open_with(&fs, small_config(), opening(true, Offset(0)));
    assert_eq!((log.log_end_offset(), log.recovery_point()), (Offset(60), Offset(60)));
    assert_eq!(report.events, []);
    fs.heal();
    append(&mut log, plain(1)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(61));
}

#[test]
fn unclean_restart_reads_only_above_the_recovery_point() {
    let fs = MemFs::new();
    let config = LogConfig { segment_bytes: 700, ..small_config() };
    let mut log = open(&fs, config.clone());
    for _ in 0..20 {
        append(&mut log, plain(3)).unwrap();
    }
    log.flush(NOW).unwrap();
    let bases: Vec<Offset> = log.segment_base_offsets().collect();
    assert!(bases.len() > 4);
    let (log, report) = open_with(&fs, config, opening(false, log.recovery_point()));
    assert_eq!(log.log_end_offset(), Offset(60));
    let read: Vec<Offset> = report
        .events
        .iter()
        .filter_map(|event| match event {
            LoadEvent::RecoveredSegment { base, .. } => Some(*base),
            _ => None,
        })
        .collect();
    assert_eq!(read, bases[bases.len() - 1..]);
}

#[test]
fn corrupt_tail_is_cut_and_reported() {
    let fs = MemFs::new();
    let config = LogConfig { segment_bytes: 700, ..small_config() };
    let mut log = open(&fs, config.clone());
    for _ in 0..20 {
        append(&mut log, plain(3)).unwrap();
    }
    let damaged: Vec<Offset> = log.segment_base_offsets().collect();
    let path = log.dir().join(format!("{:020}.log", damaged[2].0));
    let file = fs.open(&path, ottla_storage::fs::OpenMode::Write).unwrap();
    let at = file.len().unwrap() - 30;
    file.write_at(&[0xff; 4], at).unwrap();
    drop(log);
    let (log, report) = open_with(&fs, config, opening(false, Offset(0)));
    assert_eq!(log.log_end_offset(), damaged[3] - 3);
    assert!(
        report.events.iter().any(|e| matches!(e, LoadEvent::CutTail { base, .. } if *base == damaged[2]))
    );
    assert!(
        report
            .events
            .iter()
            .any(|e| matches!(e, LoadEvent::RemovedSegments { bases } if *bases == damaged[3..]))
    );
    assert_eq!(log.segment_base_offsets().collect::<Vec<_>>(), damaged[..3]);
    assert_eq!(all_batches(&log).len() as i64, log.log_end_offset().0 / 3);
}

#[test]
fn truncation_cuts_batches_epochs_and_producers() {
    let fs = MemFs::new();
    let mut log = open(&fs, LogConfig { segment_bytes: 700, ..small_config() });
    for n in 0..20 {
        let mut records = batch(&[NOW; 3], Some(producer(1, n * 3)), Codec::NONE);
        log.append_as_leader(&mut records, client(n / 7)).unwrap();
    }
    log.set_high_watermark(Offset(60));
    assert!(log.truncate_to(Offset(31), NOW).unwrap());
    // The batch that holds 31 is gone whole.
    assert_eq!(all_batches(&log).len(), 10);
    assert_eq!(log.log_end_offset(), Offset(30));
    assert_eq!(log.high_watermark(), Offset(30));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    let info = append(&mut log, batch(&[NOW; 3], Some(producer(1, 30)), Codec::NONE)).unwrap();
    assert!(!info.duplicate);
    assert!(!log.truncate_to(Offset(99), NOW).unwrap());
    let (log, _) = open_with(&fs, small_config(), opening(false, log.recovery_point()));
    assert_eq!(log.log_end_offset(), Offset(33));
}

#[test]
fn starts_over_at_an_offset() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for _ in 0..30 {
        append(&mut log, plain(3)).unwrap();
    }
    log.truncate_fully_and_start_at(Offset(1000), None, NOW).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset(), log.high_watermark()),
        (Offset(1000), Offset(1000), Offset(1000))
    );
    assert!(log.epoch_entries().is_empty());
    append(&mut log, plain(3)).unwrap();
    log.close(NOW).unwrap();
    let (log, _) = open_with(&fs, small_config(), opening(true, Offset(0)));
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(1000), Offset(1003)));
}

#[test]
fn a_slice_outlives_its_segment() {
    let fs = MemFs::new();
    let mut log = open(&fs, LogConfig { retention_ms: 0, ..small_config() });
    for _ in 0..30 {
        append(&mut log, plain(3)).unwrap();
    }
    let read = log.read(request(0, log.log_end_offset())).unwrap();
    let slice = read.slice.unwrap();
    let before = slice.read().unwrap();
    log.set_high_watermark(log.log_end_offset());
    let outcome = log.delete_old_segments(NOW + 1, 100).unwrap();
    assert!(outcome.removed.len() > 1 && outcome.removed.iter().all(|r| r.reason == RemovalReason::Time));
    assert_eq!(log.delete_expired_files(NOW + 60_000).unwrap(), 0);
    assert!(log.delete_expired_files(NOW + 60_001).unwrap() > 0);
    assert_eq!(slice.read().unwrap(), before);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(90), Offset(90)));
}

#[test]
fn retention_obeys_each_rule_and_the_high_watermark() {
    let fs = MemFs::new();
    let config = LogConfig { segment_bytes: 700, retention_ms: -1, ..small_config() };
    let mut log = open(&fs, config.clone());
    for _ in 0..30 {
        append(&mut log, plain(3)).unwrap();
    }
    let bases: Vec<Offset> = log.segment_base_offsets().collect();
    log.update_config(LogConfig { retention_bytes: 1400, ..config.clone() });
    assert_eq!(log.delete_old_segments(NOW, 100).unwrap().removed, []);
    log.set_high_watermark(bases[2]);
    let removed = log.delete_old_segments(NOW, 100).unwrap().removed;
    assert_eq!(
        removed.iter().map(|r| (r.base, r.reason)).collect::<Vec<_>>(),
        [(bases[0], RemovalReason::Size), (bases[1], RemovalReason::Size)]
    );
    assert_eq!(log.log_start_offset(), bases[2]);
    log.set_high_watermark(log.log_end_offset());
    let outcome = log.delete_old_segments(NOW, 1).unwrap();
    assert_eq!((outcome.removed.len(), outcome.more), (1, true));
    while log.delete_old_segments(NOW, 1).unwrap().more {}
    assert!(log.size_bytes() >= 1400 && log.size_bytes() < 2100);
    // Only compacted: nothing goes but what is below the log start.
    let compact = CleanupPolicy { delete: false, compact: true };
    log.update_config(LogConfig { cleanup_policy: compact, retention_bytes: 0, ..config });
    assert_eq!(log.delete_old_segments(NOW, 100).unwrap().removed, []);
    let start = log.segment_base_offsets().nth(1).unwrap();
    log.advance_log_start(start).unwrap();
    let removed = log.delete_old_segments(NOW, 100).unwrap().removed;
    assert_eq!(removed.iter().map(|r| r.reason).collect::<Vec<_>>(), [RemovalReason::LogStart]);
}

#[test]
fn a_failed_write_poisons_the_log() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(3)).unwrap();
    fs.inject(Fault::new(Effect::Torn(17)).on(Operation::Write).at(".log").times(1));
    assert!(matches!(append(&mut log, plain(3)), Err(AppendError::Log(LogError::Io { .. }))));
    assert!(matches!(append(&mut log, plain(3)), Err(AppendError::Log(LogError::Poisoned { .. }))));
    assert!(matches!(log.begin_flush(NOW), Err(LogError::Poisoned { .. })));
    assert_eq!(ranges(&log.read(request(0, Offset(3))).unwrap()), [(0, 2)]);
    drop(log);
    let (mut log, report) = open_with(&fs, small_config(), opening(false, Offset(0)));
    assert!(report.events.iter().any(|e| matches!(e, LoadEvent::CutTail { removed_bytes: 17, .. })));
    append(&mut log, plain(3)).unwrap();
}

#[test]
fn a_read_that_the_disk_refuses_says_so_and_later_ones_may_succeed() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(3)).unwrap();
    log.close(NOW).unwrap();
    let (mut log, _) = open_with(&fs, small_config(), opening(true, Offset(0)));
    for operation in [Operation::Open, Operation::Read] {
        fs.inject(Fault::new(Effect::Io).on(operation).at(".log").times(1));
        let refused = log.read(request(0, Offset(3)));
        assert!(matches!(&refused, Err(ReadError::Log(error)) if error.is_of_disk()), "{refused:?}");
        assert_eq!(ranges(&log.read(request(0, Offset(3))).unwrap()), [(0, 2)]);
        log.close_idle(NOW, 0).unwrap();
    }
    assert_eq!(log.poisoned(), None);
    append(&mut log, plain(3)).unwrap();
}

fn three_records_being_flushed() -> (MemFs, Log, FlushTicket) {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(3)).unwrap();
    let ticket = log.begin_flush(NOW).unwrap().unwrap();
    (fs, log, ticket)
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let (fs, mut log, ticket) = three_records_being_flushed();
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
    let outcome = ticket.sync(&fs);
    assert!(log.complete_flush(outcome).is_err());
    assert!(log.poisoned().is_some());
    assert_eq!(log.durable_offset(), Offset(0));
    assert!(log.begin_flush(NOW).is_err());
}

/// The kernel tells of a failed write-back once: of two syncs the second is told that all is well.
#[test]
fn after_a_failed_sync_another_that_was_under_way_counts_for_nothing() {
    let (fs, mut log, first) = three_records_being_flushed();
    append(&mut log, plain(3)).unwrap();
    let second = log.begin_flush(NOW).unwrap().unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
    let first = first.sync(&fs);
    let second = second.sync(&fs);
    assert!(log.complete_flush(second).is_err());
    assert_eq!(log.durable_offset(), Offset(0));
    assert!(log.complete_flush(first).is_err());
}

#[test]
fn a_failed_sync_that_nobody_hands_back_is_not_forgotten() {
    let (fs, mut log, ticket) = three_records_being_flushed();
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
    drop(ticket.sync(&fs));
    assert!(log.poisoned().is_some());
    assert!(append(&mut log, plain(3)).is_err());
    assert!(log.begin_flush(NOW).is_err());
}

#[test]
fn durable_offset_is_that_of_the_ticket() {
    let (fs, mut log, first) = three_records_being_flushed();
    append(&mut log, plain(3)).unwrap();
    let second = log.begin_flush(NOW).unwrap().unwrap();
    append(&mut log, plain(3)).unwrap();
    let outcome = second.sync(&fs);
    assert_eq!(log.complete_flush(outcome).unwrap(), Offset(6));
    let outcome = first.sync(&fs);
    assert_eq!(log.complete_flush(outcome).unwrap(), Offset(6));
    let stale = log.begin_flush(NOW).unwrap().unwrap();
    log.truncate_to(Offset(3), NOW).unwrap();
    append(&mut log, plain(9)).unwrap();
    let outcome = stale.sync(&fs);
    assert_eq!(log.complete_flush(outcome).unwrap(), Offset(3));
    assert_eq!(log.flush(NOW).unwrap(), Offset(12));
    assert!(log.begin_flush(NOW).unwrap().is_none());
}

#[test]
fn recovery_point_stays_in_a_segment_whose_indexes_are_not_synced() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(3)).unwrap();
    log.flush(NOW).unwrap();
    assert_eq!((log.durable_offset(), log.recovery_point()), (Offset(3), Offset(2)));
    log.roll(NOW).unwrap();
    assert_eq!((log.durable_offset(), log.recovery_point()), (Offset(3), Offset(2)));
    assert!(!log.flush_due(NOW));
    log.flush(NOW).unwrap();
    assert_eq!(log.recovery_point(), Offset(3));
}

#[test]
fn idle_logs_hold_no_files_and_wake_up_again() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    for _ in 0..30 {
        append(&mut log, plain(3)).unwrap();
    }
    log.close_idle(NOW, 100).unwrap();
    assert!(log.close_idle(NOW + 200, 100).unwrap(), "unsynced data keeps its file");
    log.flush(NOW).unwrap();
    log.close_idle(NOW + 300, 100).unwrap();
    assert!(!log.close_idle(NOW + 500, 100).unwrap());
    assert_eq!(all_batches(&log).len(), 30);
    append(&mut log, plain(3)).unwrap();
    log.close(NOW).unwrap();
    let (log, _) = open_with(&fs, small_config(), opening(true, Offset(0)));
    assert_eq!(all_batches(&log).len(), 31);
}

#[test]
fn topic_id_is_written_once_and_compared() {
    let fs = MemFs::new();
    let id = Uuid::from_parts(5, 6);
    let with_id = LogOpen { topic_id: Some(id), ..opening(false, Offset(0)) };
    let (mut log, _) = open_with(&fs, small_config(), with_id);
    assert_eq!(log.topic_id(), Some(id));
    log.flush(NOW).unwrap();
    assert_eq!(open(&fs, small_config()).topic_id(), Some(id));
    let other = LogOpen { topic_id: Some(Uuid::from_parts(5, 7)), ..opening(false, Offset(0)) };
    let result = ottla_storage::log::Log::open(std::sync::Arc::new(fs), DIR.as_ref(), small_config(), other);
    assert!(matches!(result, Err(LogError::InconsistentTopicId { .. })));
}

#[test]
fn missing_and_bad_files_are_rebuilt() {
    let fs = MemFs::new();
    let config = LogConfig { segment_bytes: 700, ..unverified() };
    let mut log = open(&fs, config.clone());
    for n in 0..15 {
        append(&mut log, batch(&[NOW + n; 2], Some(transactional(n, 0)), Codec::NONE)).unwrap();
        log.append_as_leader(&mut marker(n, 0, n % 2 == 0, 1, NOW + n), coordinator(0)).unwrap();
    }
    log.close(NOW).unwrap();
    let names: Vec<String> = fs.list(log.dir()).unwrap().into_iter().map(|(name, _)| name).collect();
    let contents = |name: &str| ottla_storage::fs::read_file(&fs, &log.dir().join(name), 1 << 20).unwrap();
    let before: Vec<(String, Vec<u8>)> =
        names.iter().filter(|n| n.contains("index")).map(|n| (n.clone(), contents(n))).collect();
    assert!(before.iter().any(|(n, bytes)| n.ends_with("txnindex") && bytes.len() >= 34));
    for (name, _) in &before {
        if name.ends_with(".index") {
            fs.remove_file(&log.dir().join(name)).unwrap();
        }
    }
    let snapshot = names.iter().rfind(|n| n.ends_with(".snapshot")).unwrap();
    let file = fs.open(&log.dir().join(snapshot), ottla_storage::fs::OpenMode::Write).unwrap();
    file.write_at(&[9, 9, 9], 20).unwrap();
    let producers: Vec<_> = log.active_producers().collect();
    let (mut log, report) = open_with(&fs, config, opening(true, Offset(0)));
    assert_eq!(log.active_producers().collect::<Vec<_>>(), producers);
    assert!(!report.events.is_empty());
    log.close(NOW).unwrap();
    for (name, bytes) in &before {
        assert_eq!(&contents(name), bytes, "{name}");
    }
}

#[test]
fn interrupted_swaps_are_finished_or_undone() {
    let fs = MemFs::new();
    let config = LogConfig { segment_bytes: 700, ..small_config() };
    let mut log = open(&fs, config.clone());
    for _ in 0..20 {
        append(&mut log, plain(3)).unwrap();
    }
    let bases: Vec<Offset> = log.segment_base_offsets().collect();
    log.close(NOW).unwrap();
    let whole = all_batches(&log);
    let path = |base: Offset, ext: &str| log.dir().join(format!("{:020}.{ext}", base.0));
    // Segments 1 and 2 are being replaced by a copy of 1 alone; the old ones are still there.
    for ext in ["log", "index", "timeindex"] {
        let bytes = ottla_storage::fs::read_file(&fs, &path(bases[1], ext), 1 << 20).unwrap();
        let file =
            fs.open(&path(bases[1], &format!("{ext}.swap")), ottla_storage::fs::OpenMode::CreateNew).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let stray = fs
            .open(&path(bases[3], &format!("{ext}.deleted")), ottla_storage::fs::OpenMode::CreateNew)
            .unwrap();
        stray.write_at(b"x", 0).unwrap();
    }
    let undone = fs.fork();
    undone.open(&path(bases[0], "log.cleaned"), ottla_storage::fs::OpenMode::CreateNew).unwrap();
    let (swapped, report) = open_with(&fs, config.clone(), opening(false, Offset(60)));
    assert!(
        report
            .events
            .iter()
            .any(|e| matches!(e, LoadEvent::FinishedSwap { segments } if segments.len() == 3))
    );
    assert_eq!(swapped.segment_base_offsets().collect::<Vec<_>>(), bases);
    assert_eq!(all_batches(&swapped), whole);
    let (kept, _) = open_with(&undone, config, opening(false, Offset(60)));
    assert_eq!(all_batches(&kept), whole);
    for fs in [fs, undone] {
        let names: Vec<String> = fs.list(DIR.as_ref()).unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|n| !n.ends_with("swap") && !n.ends_with("deleted") && !n.ends_with("cleaned"))
        );
    }
}

#[test]
fn log_that_ends_below_its_start_starts_over() {
    let fs = MemFs::new();
    let mut log = open(&fs, small_config());
    append(&mut log, plain(5)).unwrap();
    log.close(NOW).unwrap();
    let later = LogOpen { log_start_offset: Offset(100), ..opening(true, Offset(5)) };
    let (log, report) = open_with(&fs, small_config(), later);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(100), Offset(100)));
    assert!(matches!(report.events[0], LoadEvent::RemovedSegments { .. }));
}

#[test]
fn a_read_whose_place_was_found_asks_no_file() {
    let fs = MemFs::new();
    fs.create_dir_all("/logs".as_ref()).unwrap();
    let mut log = open(&fs, small_config());
    for _ in 0..60 {
        append(&mut log, plain(5)).unwrap();
    }
    assert!(log.segment_count() > 3);
    let end = log.log_end_offset();
    log.flush(NOW).unwrap();
    log.close_idle(NOW, 0).unwrap();
    log.close_idle(NOW, 0).unwrap();
    for offset in (0..end.0).step_by(7) {
        for bound in [end, Offset(offset + 6)] {
            let request = request(offset, bound);
            let search = log.search_for(&request).expect("nothing is in memory");
            let places = search.run();
            for operation in [Operation::Open, Operation::Read, Operation::Look] {
                fs.inject(Fault::new(Effect::Io).on(operation));
            }
            let found = log.read_found(request, places).expect("what was found is enough");
            fs.heal();
            assert_eq!(ranges(&found), ranges(&log.read(request).unwrap()), "{offset} below {bound}");
        }
    }
    append(&mut log, plain(5)).unwrap();
    assert!(log.search_for(&request(end.0, end + 5)).is_none(), "the newest batches are in memory");
}
