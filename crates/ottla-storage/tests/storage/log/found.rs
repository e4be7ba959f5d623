//! What the simulation of a node's storage (`ottla-replica`) found in one log, each by itself.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_storage::fs::{Fs, MemFs, OpenMode, read_file};
use ottla_storage::log::{Log, LogConfig, Taken};
use ottla_types::{LeaderEpoch, Offset, Uuid};

use super::support::*;

fn config() -> LogConfig {
    segments_of(600)
}

fn bytes(fs: &MemFs, base: i64, extension: &str) -> Vec<u8> {
    read_file(fs, &segment_file(base, extension), 1 << 20).unwrap()
}

/// A log of several flushed segments, the time of each record its offset's.
fn segments(fs: &MemFs, epoch_of: impl Fn(i64) -> i32) -> Log {
    let mut log = open(fs, config());
    for at in 0..30 {
        let mut batch = batch(&[NOW + at], None, ottla_record::Codec::NONE);
        log.append_as_leader(&mut batch, client(epoch_of(at))).unwrap();
    }
    log.flush(NOW).unwrap();
    assert!(log.segment_count() > 3);
    log
}

/// A power cut may bring a removed segment back without its time index; it hid the times of later segments.
#[test]
fn the_lost_time_index_of_an_old_segment_is_rebuilt() {
    for is_clean in [true, false] {
        for is_there in [true, false] {
            let fs = MemFs::new();
            let mut log = segments(&fs, |_| 0);
            if is_clean {
                log.close(NOW).unwrap();
            }
            let first = log.segment_base_offsets().next().unwrap().0;
            let (end, whole) = (log.log_end_offset(), bytes(&fs, first, "timeindex"));
            drop(log);
            fs.remove_file(&segment_file(first, "timeindex")).unwrap();
            if is_there {
                // What was to be written in its place never came to the disk.
                fs.open(&segment_file(first, "timeindex"), OpenMode::CreateNew).unwrap();
                if is_clean {
                    continue;
                }
            }
            let (log, _) = open_with(&fs, config(), opening(is_clean, end));
            assert_eq!(bytes(&fs, first, "timeindex"), whole, "clean: {is_clean}, empty: {is_there}");
            for at in 0..end.0 {
                let found = log.find_timestamp(NOW + at).unwrap();
                assert_eq!(found.map(|found| found.offset.0), Some(at));
            }
        }
    }
}

#[test]
fn reading_a_damaged_old_segment_again_keeps_the_epochs_of_later_ones() {
    let fs = MemFs::new();
    let log = segments(&fs, |at| i32::try_from(at / 4).unwrap());
    let (end, epochs) = (log.log_end_offset(), log.epoch_entries().to_vec());
    drop(log);
    fs.remove_file(&segment_file(0, "index")).unwrap();
    let (log, _) = open_with(&fs, config(), opening(false, end));
    assert_eq!(log.epoch_entries().to_vec(), epochs);
}

#[test]
fn what_recovery_has_cut_does_not_come_back_behind_new_records() {
    for seed in 0..64 {
        let fs = MemFs::new();
        let mut log = open(&fs, LogConfig { segment_bytes: 4000, ..config() });
        append(&mut log, plain(1)).unwrap();
        log.flush(NOW).unwrap();
        drop(log);
        // A good batch behind one that is torn.
        let mut tail = plain(3);
        ottla_record::patch::set_base_offset(&mut tail, Offset(1));
        let whole = tail.len();
        let mut next = plain(3);
        ottla_record::patch::set_base_offset(&mut next, Offset(4));
        tail[whole - 1] ^= 1;
        tail.append(&mut next);
        let log_file = fs.open(&segment_file(0, "log"), OpenMode::Write).unwrap();
        log_file.write_at(&tail, log_file.len().unwrap()).unwrap();
        log_file.sync_data().unwrap();
        drop(log_file);
        let mut log = open(&fs, LogConfig { segment_bytes: 4000, ..config() });
        assert_eq!(log.log_end_offset(), Offset(1));
        // As long as the torn one, so that the good one would follow it.
        append(&mut log, plain(3)).unwrap();
        drop(log);
        fs.crash(seed);
        let log = open(&fs, LogConfig { segment_bytes: 4000, ..config() });
        assert!(log.log_end_offset() <= Offset(4), "seed {seed}: {}", log.log_end_offset());
    }
}

#[test]
fn an_abort_that_never_came_to_the_log_is_not_told_of() {
    let fs = MemFs::new();
    let mut log = open(&fs, config());
    let producer = Producer { id: 7, epoch: 0, sequence: 0, transactional: true };
    append(&mut log, batch(&[NOW], Some(producer), ottla_record::Codec::NONE)).unwrap();
    log.append_as_leader(&mut marker(7, 0, false, 0, NOW), coordinator(0)).unwrap();
    log.close(NOW).unwrap();
    let end = log.log_end_offset();
    drop(log);
    // The same once more, as of an abort at later offsets.
    let entry = bytes(&fs, 0, "txnindex");
    let mut later = entry.clone();
    for at in [10, 18, 26] {
        let offset = i64::from_be_bytes(later[at..at + 8].try_into().unwrap());
        later[at..at + 8].copy_from_slice(&(offset + 2).to_be_bytes());
    }
    fs.open(&segment_file(0, "txnindex"), OpenMode::Write)
        .unwrap()
        .write_at(&later, entry.len() as u64)
        .unwrap();
    let (log, _) = open_with(&fs, config(), opening(false, end));
    assert_eq!(log.log_end_offset(), end);
    drop(log);
    assert_eq!(bytes(&fs, 0, "txnindex"), entry);
}

/// Has a future log take all that the current one has.
fn copy_all(future: &mut Log, current: &Log) {
    loop {
        let chunk = current.chunk_after(future.log_end_offset(), future.latest_epoch(), 300).unwrap();
        let bytes = chunk.read().unwrap();
        if future.take_chunk(&chunk, bytes.as_deref(), NOW).unwrap() == Taken::Nothing {
            break;
        }
    }
}

/// A power cut took from the log what its copy in another directory has, and other records came in their place.
#[test]
fn a_future_log_is_cut_to_what_the_current_one_has_of_its_epochs() {
    let fs = MemFs::new();
    let mut current = open(&fs, config());
    append(&mut current, plain(3)).unwrap();
    let place = PathBuf::from("/other/t-0.future");
    let (mut future, _) =
        Log::open(Arc::new(fs.clone()), &place, config(), opening(true, Offset(0))).unwrap();
    for _ in 0..4 {
        append(&mut current, plain(2)).unwrap();
    }
    copy_all(&mut future, &current);
    assert_eq!(future.log_end_offset(), Offset(11));
    current.truncate_to(Offset(5), NOW).unwrap();
    for at in 0..10 {
        let mut batch = batch(&[NOW + at], None, ottla_record::Codec::NONE);
        current.append_as_leader(&mut batch, client(2)).unwrap();
    }
    copy_all(&mut future, &current);
    assert_eq!(all_batches(&future), all_batches(&current));
    future.take_over(&current, NOW).unwrap();
    assert_eq!(future.epoch_entries().to_vec(), current.epoch_entries().to_vec());
}

/// The copy kept what it had from below the start of the other log, with a hole behind it in which the end of a transaction was.
#[test]
fn a_future_log_that_was_left_behind_by_the_log_start_begins_anew_there() {
    let fs = MemFs::new();
    let producer = Producer { id: 21, epoch: 0, sequence: 0, transactional: true };
    let mut current = open(&fs, config());
    append(&mut current, batch(&[NOW], Some(producer), ottla_record::Codec::NONE)).unwrap();
    append(&mut current, plain(2)).unwrap();
    let place = PathBuf::from("/other/t-0.future");
    let (mut future, _) =
        Log::open(Arc::new(fs.clone()), &place, config(), opening(true, Offset(0))).unwrap();
    copy_all(&mut future, &current);
    let mut end = marker(21, 0, true, 0, NOW);
    current.append_as_leader(&mut end, coordinator(0)).unwrap();
    for _ in 0..4 {
        append(&mut current, plain(2)).unwrap();
    }
    current.set_high_watermark(current.log_end_offset());
    current.advance_log_start(Offset(7)).unwrap();
    copy_all(&mut future, &current);
    assert_eq!((future.log_start_offset(), future.log_end_offset()), (Offset(6), Offset(12)));
    assert_eq!(future.first_undecided_offset(), None);
}

/// The other log's batches of an older epoch are gone, and those of a newer one lie over the copy's end.
#[test]
fn a_future_log_that_ends_inside_of_a_batch_of_the_current_one_is_cut_before_it() {
    for is_empty in [false, true] {
        let fs = MemFs::new();
        let mut current = open(&fs, config());
        append(&mut current, plain(1)).unwrap();
        append(&mut current, plain(3)).unwrap();
        append(&mut current, plain(2)).unwrap();
        let (mut future, _) = Log::open(
            Arc::new(fs.clone()),
            &PathBuf::from("/other/t-0.future"),
            config(),
            opening(true, Offset(0)),
        )
        .unwrap();
        for _ in 0..2 {
            append(&mut future, plain(1)).unwrap();
        }
        if is_empty {
            // Empty there, as a copy that began anew.
            future.truncate_fully_and_start_at(Offset(2), None, NOW).unwrap();
        }
        current.set_high_watermark(Offset(6));
        current.advance_log_start(Offset(2)).unwrap();
        let mut cuts = 0;
        loop {
            let chunk = current.chunk_after(future.log_end_offset(), future.latest_epoch(), 300).unwrap();
            match future.take_chunk(&chunk, chunk.read().unwrap().as_deref(), NOW).unwrap() {
                Taken::Cut => cuts += 1,
                Taken::Bytes(_) => {}
                Taken::Nothing => break,
            }
        }
        assert_eq!((cuts, future.log_end_offset()), (1, Offset(6)));
        assert!(all_batches(&future).ends_with(&all_batches(&current)));
    }
}

/// The first records of an epoch were compacted away while they were in the copy already. It did not know their epoch any more.
#[test]
fn a_future_log_knows_the_epoch_of_records_that_only_it_has() {
    let fs = MemFs::new();
    let batch_at = |at: i64, epoch: i32| {
        let mut batch = plain(1);
        ottla_record::patch::set_base_offset(&mut batch, Offset(at));
        ottla_record::patch::set_leader_epoch(&mut batch, LeaderEpoch(epoch));
        batch
    };
    let all = [(0, 1), (1, 2), (2, 2)];
    let mut current = open(&fs, config());
    for (at, epoch) in [all[0], all[2]] {
        current.append_as_follower(&batch_at(at, epoch), LeaderEpoch(3), NOW).unwrap();
    }
    current.assign_epoch_start(LeaderEpoch(3), Offset(3));
    let path = PathBuf::from("/other/t-0.future");
    let (mut future, _) = Log::open(Arc::new(fs.clone()), &path, config(), opening(true, Offset(0))).unwrap();
    for (at, epoch) in all {
        future.append_as_follower(&batch_at(at, epoch), LeaderEpoch(3), NOW).unwrap();
    }
    future.take_over(&current, NOW).unwrap();
    let epochs = [0, 1, 2, 3].map(|offset| future.epoch_for_offset(Offset(offset)));
    assert_eq!(epochs, [1, 2, 2, 3].map(|epoch| Some(LeaderEpoch(epoch))));
}

/// What compaction left of a log may end before the log does. A copy that had all of it was emptied to come to the same end.
#[test]
fn a_future_log_keeps_its_records_when_the_last_ones_were_compacted_away() {
    let fs = MemFs::new();
    let compacted = LogConfig { segment_bytes: 4000, ..config() };
    let mut current = open(&fs, compacted.clone());
    append(&mut current, plain(3)).unwrap();
    current.flush(NOW).unwrap();
    drop(current);
    // As after a roll at offset 7 and a compaction that left nothing of 3 to 6.
    for extension in ["log", "index", "timeindex"] {
        fs.open(&segment_file(7, extension), OpenMode::CreateNew).unwrap();
    }
    let compacted = LogConfig {
        cleanup_policy: ottla_storage::log::CleanupPolicy { delete: false, compact: true },
        ..compacted
    };
    let (current, _) = open_with(&fs, compacted.clone(), opening(true, Offset(7)));
    assert_eq!(current.log_end_offset(), Offset(7));
    let place = PathBuf::from("/other/t-0.future");
    let (mut future, _) =
        Log::open(Arc::new(fs.clone()), &place, compacted, opening(true, Offset(0))).unwrap();
    copy_all(&mut future, &current);
    assert_eq!(future.log_end_offset(), Offset(7));
    assert_eq!(all_batches(&future), all_batches(&current));
    assert!(!all_batches(&future).is_empty());
}

/// What compaction has left begins above the log start, or there is nothing left; the copy began anew there, and clients saw the log start
/// move.
#[test]
fn a_future_log_begins_where_the_current_one_does_whatever_was_compacted_away() {
    let compacted = LogConfig {
        cleanup_policy: ottla_storage::log::CleanupPolicy { delete: false, compact: true },
        ..config()
    };
    for has_records in [true, false] {
        let fs = MemFs::new();
        let mut current = open(&fs, compacted.clone());
        if has_records {
            let mut left = plain(2);
            ottla_record::patch::set_base_offset(&mut left, Offset(3));
            current.append_as_follower(&left, LeaderEpoch(0), NOW).unwrap();
        } else {
            drop(current);
            for extension in ["log", "index", "timeindex"] {
                fs.open(&segment_file(5, extension), OpenMode::CreateNew).unwrap();
            }
            current = open_with(&fs, compacted.clone(), opening(true, Offset(5))).0;
        }
        let ends = |log: &Log| (log.log_start_offset(), log.log_end_offset());
        assert_eq!(ends(&current), (Offset(0), Offset(5)));
        let place = PathBuf::from("/other/t-0.future");
        let open_future = |at| Log::open(Arc::new(fs.clone()), &place, compacted.clone(), opening(false, at));
        let (mut future, _) = open_future(Offset(0)).unwrap();
        copy_all(&mut future, &current);
        future.take_over(&current, NOW).unwrap();
        assert_eq!((ends(&future), all_batches(&future)), (ends(&current), all_batches(&current)));
        let at = future.recovery_point();
        drop(future);
        let (future, _) = open_future(at).unwrap();
        assert_eq!((ends(&future), all_batches(&future)), (ends(&current), all_batches(&current)));
    }
}

/// The topic id was taken for durable as soon as any flush that was to sync it had begun.
#[test]
fn a_flush_that_is_never_carried_out_does_not_lose_the_topic_id() {
    let fs = MemFs::new();
    let topic_id = ottla_types::Uuid::from_parts(3, 4);
    let new = |recovery_point| ottla_storage::log::LogOpen {
        topic_id: Some(topic_id),
        ..opening(false, recovery_point)
    };
    let (mut log, _) = open_with(&fs, config(), new(Offset(0)));
    append(&mut log, plain(1)).unwrap();
    drop(log.begin_flush(NOW).unwrap());
    log.flush(NOW).unwrap();
    drop(log);
    fs.crash(1);
    assert!(!bytes(&fs, 0, "log").is_empty());
    let (log, _) = open_with(&fs, config(), opening(false, Offset(0)));
    assert_eq!(log.topic_id(), Some(topic_id));
}

/// A process that is killed leaves the topic id, and all names, in memory; the next one must make them durable with its first flush.
#[test]
fn what_a_killed_process_made_is_made_durable_by_the_next() {
    for seed in 0..16 {
        let fs = MemFs::new();
        fs.create_dir_all(std::path::Path::new(DIR).parent().unwrap()).unwrap();
        fs.sync_dir(std::path::Path::new("/")).unwrap();
        let topic_id = ottla_types::Uuid::from_parts(3, 4);
        let (log, _) = open_with(
            &fs,
            config(),
            ottla_storage::log::LogOpen { topic_id: Some(topic_id), ..opening(false, Offset(0)) },
        );
        drop(log);
        let (mut log, _) = open_with(&fs, config(), opening(false, Offset(0)));
        append(&mut log, plain(1)).unwrap();
        log.flush(NOW).unwrap();
        drop(log);
        fs.crash(seed);
        let (log, _) = open_with(&fs, config(), opening(false, Offset(0)));
        assert_eq!((log.topic_id(), log.log_end_offset()), (Some(topic_id), Offset(1)), "seed {seed}");
    }
}

/// With `page-cache` nothing else asks for a flush before a segment is rolled, and a power cut took the file that says of which
/// topic the records are: the start then set the log aside.
#[test]
fn the_first_records_of_a_new_log_ask_for_a_flush_that_its_topic_id_survives() {
    let topic_id = Uuid::from_parts(1, 2);
    for seed in 0..16 {
        let fs = MemFs::new();
        fs.create_dir_all(std::path::Path::new(DIR).parent().unwrap()).unwrap();
        fs.sync_dir(std::path::Path::new("/")).unwrap();
        let mut log = open(&fs, config());
        log.assign_topic_id(topic_id).unwrap();
        assert!(!log.flush_due_by_append(), "there is nothing to lose");
        append(&mut log, plain(1)).unwrap();
        assert!(log.flush_due_by_append());
        log.flush(NOW).unwrap();
        append(&mut log, plain(1)).unwrap();
        assert!(!log.flush_due_by_append());
        drop(log);
        fs.crash(seed);
        let log = open(&fs, config());
        assert_eq!(log.topic_id(), Some(topic_id));
        assert!(log.log_end_offset() >= Offset(1));
    }
}
