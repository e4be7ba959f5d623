//! Repairs that a crash interrupts, and repairs of what a failed sync has left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::Codec;
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, OpenMode, Operation, read_file};
use ottla_storage::log::{Log, LogConfig};
use ottla_types::Offset;

use super::support::*;

fn config() -> LogConfig {
    segments_of(900)
}

/// A directory for logs that a power cut does not take.
fn with_logs_dir() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new(DIR).parent().unwrap()).unwrap();
    fs.sync_dir("/".as_ref()).unwrap();
    fs
}

/// A flushed log of several segments with an aborted transaction in each of the first; where it ends.
fn with_segments() -> (MemFs, Offset, Vec<i64>) {
    let fs = with_logs_dir();
    let mut log = open(&fs, config());
    for n in 0..16 {
        let producer = Producer { id: 5, epoch: 0, sequence: n, transactional: true };
        let mut records = batch(&[NOW + i64::from(n)], Some(producer), Codec::NONE);
        log.append_as_leader(&mut records, client(0)).unwrap();
        append(&mut log, plain(2)).unwrap();
        if n % 3 == 2 {
            let mut end = marker(5, 0, false, 1, NOW);
            log.append_as_leader(&mut end, coordinator(0)).unwrap();
        }
    }
    log.flush(NOW).unwrap();
    let sealed: Vec<i64> = log.segment_base_offsets().map(Offset::value).collect();
    let sealed = sealed.split_last().map(|(_, sealed)| sealed.to_vec()).unwrap();
    assert!(sealed.len() > 2, "{sealed:?}");
    (fs, log.log_end_offset(), sealed)
}

/// The indexes of some segments, by name.
fn indexes(fs: &MemFs, bases: &[i64]) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let files = bases
        .iter()
        .flat_map(|base| ["index", "timeindex", "txnindex"].map(|extension| segment_file(*base, extension)));
    files.map(|path| (path.clone(), read_file(fs, &path, 1 << 20).ok())).collect()
}

/// The next start looks at indexes below the recovery point only if one is missing. Zeros in the place of entries that never came to the
/// disk stayed there, and hid what the segment has.
#[test]
fn a_crash_while_indexes_below_the_recovery_point_are_rebuilt_has_them_rebuilt_again() {
    for lost in [&["index"][..], &["timeindex"], &["index", "timeindex"]] {
        let (fs, end, sealed) = with_segments();
        let wanted = indexes(&fs, &sealed);
        assert!(wanted.values().flatten().filter(|index| !index.is_empty()).count() > 6);
        for base in &sealed[..2] {
            lost.iter().for_each(|extension| fs.remove_file(&segment_file(*base, extension)).unwrap());
        }
        fs.sync_dir(DIR.as_ref()).unwrap();
        for at in 0.. {
            let cut = fs.fork();
            cut.cut_power_at(cut.operations() + at);
            let open = opening(false, end);
            let opened = Log::open(Arc::new(cut.clone()), DIR.as_ref(), config(), open);
            let is_cut = cut.is_powered_off();
            assert_eq!(opened.is_err(), is_cut);
            drop(opened);
            for seed in 0..8 {
                let crashed = cut.fork();
                crashed.crash(seed);
                let context = format!("without {lost:?}, cut at {at}, seed {seed}");
                let (log, _) = open_with(&crashed, config(), open);
                assert_eq!(log.log_end_offset(), end, "{context}");
                assert_eq!(indexes(&crashed, &sealed), wanted, "{context}");
            }
            if !is_cut {
                assert!(at > 10, "{at} operations");
                break;
            }
        }
    }
}

/// A rebuild of nothing costs nothing: no sync when all is there.
#[test]
fn a_start_after_a_crash_syncs_nothing_below_the_recovery_point() {
    let (fs, end, _) = with_segments();
    fs.take_trace();
    open_with(&fs, config(), opening(false, end));
    let trace = fs.take_trace();
    let is_sync = |(operation, path): &(Operation, PathBuf)| match operation {
        Operation::Sync => !path.to_string_lossy().contains("snapshot"),
        _ => false,
    };
    assert!(trace.iter().filter(|entry| is_sync(entry)).count() <= 4, "{trace:?}");
}

/// The kernel shows the length that a cut has set, but a sync that failed has not brought it to the disk, and no later one knows of
/// it: what was cut came back behind new records.
#[test]
fn the_length_of_a_segment_whose_cut_failed_to_sync_is_set_again() {
    for recovery_point in [0, 3] {
        for seed in 0..8 {
            let fs = with_logs_dir();
            let mut log = open(&fs, config());
            for _ in 0..3 {
                append(&mut log, plain(1)).unwrap();
            }
            log.flush(NOW).unwrap();
            fs.inject(Fault::new(Effect::Io).on(Operation::Sync).at(".log").times(1));
            assert!(log.truncate_to(Offset(1), NOW).is_err());
            drop(log);
            // The process starts again, the machine does not.
            let (mut log, _) = open_with(&fs, config(), opening(false, Offset(recovery_point)));
            assert_eq!(log.log_end_offset(), Offset(1));
            log.append_as_leader(&mut plain(1), client(1)).unwrap();
            log.flush(NOW).unwrap();
            let wanted = all_batches(&log);
            drop(log);
            fs.crash(seed);
            let (log, _) = open_with(&fs, config(), opening(false, Offset(0)));
            assert_eq!(all_batches(&log), wanted, "recovery point {recovery_point}, seed {seed}");
        }
    }
}

/// What an interrupted compaction has left, if it is large, is not removed in the start, which would hold up the disk.
#[test]
fn large_leftovers_of_a_compaction_wait_for_their_removal() {
    const LARGE: u64 = (4 << 20) + 1;
    let (fs, end, sealed) = with_segments();
    let large = |name: &str| {
        let path = segment_file(sealed[1], name);
        fs.open(&path, OpenMode::CreateOrOpen).unwrap().set_len(LARGE).unwrap();
        path
    };
    let leftover = large("log.cleaned");
    fs.open(&segment_file(sealed[1], "index.cleaned"), OpenMode::CreateNew).unwrap();
    let (log, _) = open_with(&fs, config(), opening(false, end));
    assert_eq!(log.log_end_offset(), end);
    let names: Vec<String> = fs.list(DIR.as_ref()).unwrap().into_iter().map(|(name, _)| name).collect();
    let left: Vec<&String> = names.iter().filter(|name| name.contains("cleaned")).collect();
    assert_eq!(left, [&format!("{:020}.log.cleaned.deleted", sealed[1])]);
    let deleted = PathBuf::from(format!("{}.deleted", leftover.display()));
    assert_eq!(log.expired_files(NOW), [deleted]);
}

/// The segment that a finished compaction replaces, too.
#[test]
fn a_large_segment_that_a_finished_swap_replaces_waits_for_its_removal() {
    const LARGE: u64 = (4 << 20) + 1;
    let (fs, end, sealed) = with_segments();
    for extension in ["log", "index", "timeindex", "txnindex"] {
        let bytes = read_file(&fs, &segment_file(sealed[0], extension), 1 << 20).unwrap();
        let swap =
            fs.open(&segment_file(sealed[0], &format!("{extension}.swap")), OpenMode::CreateNew).unwrap();
        swap.write_at(&bytes, 0).unwrap();
    }
    let wanted = read_file(&fs, &segment_file(sealed[0], "log"), 1 << 20).unwrap();
    fs.open(&segment_file(sealed[0], "log"), OpenMode::Write).unwrap().set_len(LARGE).unwrap();
    let (log, _) = open_with(&fs, config(), opening(false, end));
    assert_eq!(log.log_end_offset(), end);
    assert_eq!(read_file(&fs, &segment_file(sealed[0], "log"), 1 << 20).unwrap(), wanted);
    assert_eq!(log.expired_files(NOW), [segment_file(sealed[0], "log.deleted")]);
}
