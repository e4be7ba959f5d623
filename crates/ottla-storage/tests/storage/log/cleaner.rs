//! Compaction against a model, with aborts, and with power cuts at every step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_record::{BatchBuilder, Batches, Codec, Compression};
use ottla_storage::fs::{Fs, MemFs};
use ottla_storage::log::cleaner::{Cleaned, Cleaner, CleaningError, CleaningHost};
use ottla_storage::log::{CleanupPolicy, Log, LogConfig, LogError};
use ottla_types::Offset;
use proptest::prelude::*;

use super::support::*;

/// A log that nobody else has.
pub(crate) struct OneLog {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) log: RefCell<Option<Log>>,
    /// Questions until the cleaning is told to stop.
    pub(crate) stop_after: Cell<Option<u32>>,
}

impl CleaningHost for OneLog {
    fn with_log(&self, work: &mut dyn FnMut(&mut Log)) -> bool {
        self.log.borrow_mut().as_mut().map(work).is_some()
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let dir = self.log.borrow().as_ref().unwrap().dir().to_path_buf();
        self.fs.sync_dir(&dir).map_err(|source| LogError::Io { action: "sync", path: dir, source })
    }

    fn is_stopped(&self) -> bool {
        let left = self.stop_after.get();
        self.stop_after.set(left.map(|left| left.saturating_sub(1)));
        left == Some(0)
    }

    fn throttle(&self, _bytes: usize) {}
}

const RETENTION_MS: i64 = 1000;
const CLEANER: Cleaner = Cleaner { map_bytes: 24 * 500, load_factor: 0.9, io_bytes: 4096, hash_key: (3, 4) };

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 100,
        retention_ms: -1,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        delete_retention_ms: RETENTION_MS,
        ..LogConfig::default()
    }
}

fn host(fs: &MemFs) -> OneLog {
    OneLog {
        fs: Arc::new(fs.clone()),
        log: RefCell::new(Some(open(fs, config()))),
        stop_after: Cell::new(None),
    }
}

/// Keys with values; `None` is a tombstone.
fn keyed(records: &[(u8, Option<u8>)], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    for (key, value) in records {
        let value = value.map(|value| vec![value; 30]);
        builder.append(NOW, Some(&[*key]), value.as_deref(), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// Every record of the log: offset, key, value.
fn records(log: &Log) -> Vec<(i64, u8, Option<u8>)> {
    let mut found = Vec::new();
    for bytes in all_batches(log) {
        let batch = Batches::new(&bytes).next().unwrap().unwrap();
        let mut records = batch.records().unwrap();
        while let Some(record) = records.try_next().unwrap() {
            found.push((record.offset.0, record.key.unwrap()[0], record.value.map(|value| value[0])));
        }
    }
    found
}

fn newest(records: &[(i64, u8, Option<u8>)]) -> BTreeMap<u8, (i64, Option<u8>)> {
    records.iter().map(|(offset, key, value)| (*key, (*offset, *value))).collect()
}

fn live(records: &[(i64, u8, Option<u8>)]) -> BTreeMap<u8, (i64, Option<u8>)> {
    newest(records).into_iter().filter(|(_, (_, value))| value.is_some()).collect()
}

fn clean_all(host: &OneLog, checkpoint: &mut Option<Offset>, now_ms: i64) -> Result<Cleaned, CleaningError> {
    let dirt = host.log.borrow().as_ref().unwrap().dirtiness(*checkpoint, now_ms).unwrap();
    let cleaned = CLEANER.clean(host, dirt.first_dirty, dirt.first_uncleanable, now_ms)?;
    *checkpoint = Some(cleaned.end);
    Ok(cleaned)
}

fn append_stable(host: &OneLog, batch: Vec<u8>) {
    let mut log = host.log.borrow_mut();
    let log = log.as_mut().unwrap();
    append(log, batch).unwrap();
    log.set_high_watermark(log.log_end_offset());
}

#[test]
fn tombstones_stay_for_the_delete_horizon_and_then_go() {
    let fs = MemFs::new();
    let host = host(&fs);
    append_stable(&host, keyed(&[(1, Some(1)), (2, Some(1))], Codec::NONE));
    append_stable(&host, keyed(&[(1, None)], Codec::NONE));
    for n in 0..40 {
        append_stable(&host, keyed(&[(3, Some(n))], Codec::NONE));
    }
    let mut checkpoint = None;
    let mut tombstones = Vec::new();
    for now in [NOW, NOW + RETENTION_MS - 1, NOW + RETENTION_MS] {
        let cleaned = clean_all(&host, &mut checkpoint, now).unwrap();
        tombstones.push(records(host.log.borrow().as_ref().unwrap()).iter().any(|r| r.2.is_none()));
        assert_eq!(cleaned.end, checkpoint.unwrap());
        for n in 0..30 {
            append_stable(&host, keyed(&[(4, Some(n))], Codec::NONE));
        }
    }
    assert_eq!(tombstones, [true, true, false]);
    let log = host.log.borrow();
    let found = records(log.as_ref().unwrap());
    assert_eq!(found.iter().filter(|r| r.1 == 2).count(), 1, "{found:?}");
    assert!(found.iter().all(|r| r.1 != 1), "{found:?}");
}

#[test]
fn cleaning_ends_when_it_is_told_to_and_leaves_nothing_behind() {
    for after in 0..30 {
        let fs = MemFs::new();
        let host = host(&fs);
        for n in 0..60 {
            append_stable(&host, keyed(&[(n % 3, Some(n)), (n % 5 + 10, Some(n))], Codec::NONE));
        }
        let before = live(&records(host.log.borrow().as_ref().unwrap()));
        host.stop_after.set(Some(after));
        let outcome = clean_all(&host, &mut None, NOW);
        assert!(matches!(outcome, Err(CleaningError::Aborted)), "{after}: {outcome:?}");
        assert_eq!(live(&records(host.log.borrow().as_ref().unwrap())), before);
        let names = fs.list(DIR.as_ref()).unwrap();
        assert!(names.iter().all(|(name, _)| !name.ends_with(".cleaned") && !name.ends_with(".swap")));
    }
}

/// Cuts the log when the cleaning waits for the disk.
struct Cutter(OneLog);

impl CleaningHost for Cutter {
    fn with_log(&self, work: &mut dyn FnMut(&mut Log)) -> bool {
        self.0.with_log(work)
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let mut log = self.0.log.borrow_mut();
        log.as_mut().unwrap().truncate_fully_and_start_at(Offset(500), None, NOW)
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn throttle(&self, _bytes: usize) {}
}

#[test]
fn a_log_that_was_cut_meanwhile_takes_nothing_that_was_cleaned_before() {
    let fs = MemFs::new();
    let host = host(&fs);
    for n in 0..60 {
        append_stable(&host, keyed(&[(n % 3, Some(n))], Codec::NONE));
    }
    let dirt = host.log.borrow().as_ref().unwrap().dirtiness(None, NOW).unwrap();
    let cutter = Cutter(host);
    let outcome = CLEANER.clean(&cutter, dirt.first_dirty, dirt.first_uncleanable, NOW);
    assert!(matches!(outcome, Err(CleaningError::Aborted)), "{outcome:?}");
    let names = fs.list(DIR.as_ref()).unwrap();
    assert!(
        names.iter().all(|(name, _)| !name.ends_with(".cleaned") && !name.ends_with(".swap")),
        "{names:?}"
    );
    let open = opening(false, Offset(500));
    let (log, _) = open_with(&fs, config(), open);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(500), Offset(500)));
}

/// Appends, cleans twice with appends between; what was durable before is `durable`.
fn life(
    fs: &MemFs,
    written: &mut Vec<(i64, u8, Option<u8>)>,
    durable: &mut usize,
) -> Result<(), CleaningError> {
    let io = |source| LogError::Io { action: "create", path: "/logs".into(), source };
    fs.create_dir_all("/logs".as_ref()).map_err(io)?;
    fs.sync_dir("/".as_ref()).map_err(io)?;
    let opened = Log::open(Arc::new(fs.clone()), DIR.as_ref(), config(), opening(false, Offset(0)))?;
    let host =
        OneLog { fs: Arc::new(fs.clone()), log: RefCell::new(Some(opened.0)), stop_after: Cell::new(None) };
    let mut checkpoint = None;
    for round in 0..3_u8 {
        for n in 0..20_u8 {
            let batch = [(n % 3, Some(n)), (20 + n % 7, (n % 4 != 0).then_some(round))];
            let mut log = host.log.borrow_mut();
            let log = log.as_mut().unwrap();
            let base = log.log_end_offset().0;
            written.extend([(base, batch[0].0, batch[0].1), (base + 1, batch[1].0, batch[1].1)]);
            match append(log, keyed(&batch, Codec::NONE)) {
                Ok(_) => {}
                Err(ottla_storage::log::AppendError::Log(error)) => return Err(error.into()),
                Err(error) => panic!("{error}"),
            }
        }
        {
            let mut log = host.log.borrow_mut();
            let log = log.as_mut().unwrap();
            log.flush(NOW)?;
            *durable = written.len();
            log.set_high_watermark(log.log_end_offset());
        }
        clean_all(&host, &mut checkpoint, NOW + i64::from(round) * RETENTION_MS)?;
        host.log.borrow_mut().as_mut().unwrap().delete_expired_files(NOW + 100_000)?;
    }
    Ok(())
}

#[test]
fn power_cut_at_every_step_loses_no_newest_record_and_keeps_the_order() {
    let whole = MemFs::new();
    life(&whole, &mut Vec::new(), &mut 0).unwrap();
    let operations = whole.operations();
    assert!(operations > 200, "{operations}");
    for at in 0..=operations {
        let fs = MemFs::new();
        fs.cut_power_at(at);
        let (mut written, mut durable) = (Vec::new(), 0);
        let ended = life(&fs, &mut written, &mut durable);
        assert_eq!(ended.is_err(), fs.is_powered_off(), "{at}");
        for seed in 0..3 {
            let crashed = fs.fork();
            crashed.crash(seed);
            let log = open(&crashed, config());
            let found = records(&log);
            let context = format!("cut at {at}, seed {seed}: {found:?}");
            assert!(found.is_sorted_by_key(|record| record.0), "{context}");
            assert!(found.iter().all(|record| written.contains(record)), "{context}");
            // Above what was durable there may be more or less of what was written.
            let kept = found.iter().filter(|r| r.0 >= i64::try_from(durable).unwrap()).copied();
            let expected: Vec<_> = written[..durable].iter().copied().chain(kept).collect();
            assert_eq!(live(&found), live(&expected), "{context}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is appended and whenever it is cleaned: the newest value of a key stays where it was, nothing is invented, the
    /// order is kept, and of the clean part there is nothing but the newest.
    #[test]
    fn newest_values_survive(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..9_u8, proptest::option::weighted(0.8, any::<u8>())), 1..5), 0..5_usize, 0..20_u8),
            1..120,
        ),
        map_entries in 3..60_usize,
    ) {
        let fs = MemFs::new();
        let host = host(&fs);
        let mut written = Vec::new();
        let mut checkpoint = None;
        let mut now = NOW;
        for (batch, codec, clean) in batches {
            let base = host.log.borrow().as_ref().unwrap().log_end_offset().0;
            written.extend((base..).zip(&batch).map(|(offset, (key, value))| (offset, *key, *value)));
            append_stable(&host, keyed(&batch, Compression::ALL[codec].into()));
            now += 100;
            if clean > 0 {
                continue;
            }
            let log = host.log.borrow();
            let dirt = log.as_ref().unwrap().dirtiness(checkpoint, now).unwrap();
            drop(log);
            if dirt.dirty_bytes == 0 {
                continue;
            }
            let cleaner = Cleaner { map_bytes: 24 * map_entries, ..CLEANER };
            let cleaned = cleaner.clean(&host, dirt.first_dirty, dirt.first_uncleanable, now).unwrap();
            prop_assert!(cleaned.end > dirt.first_dirty && cleaned.end <= dirt.first_uncleanable);
            checkpoint = Some(cleaned.end);
            let log = host.log.borrow();
            let found = records(log.as_ref().unwrap());
            prop_assert!(found.is_sorted_by_key(|record| record.0));
            prop_assert!(found.iter().all(|record| written.contains(record)));
            prop_assert_eq!(live(&found), live(&written));
            let clean_part: Vec<_> = found.iter().filter(|r| r.0 < cleaned.end.0).collect();
            let keys: std::collections::BTreeSet<u8> = clean_part.iter().map(|record| record.1).collect();
            prop_assert_eq!(keys.len(), clean_part.len(), "one record of each key: {:?}", clean_part);
        }
        let end = host.log.borrow().as_ref().unwrap().log_end_offset();
        drop(host);
        let reopened = open(&fs, config());
        prop_assert_eq!(reopened.log_end_offset(), end);
        prop_assert_eq!(live(&records(&reopened)), live(&written));
    }
}
