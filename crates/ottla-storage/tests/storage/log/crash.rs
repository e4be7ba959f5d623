//! Power cuts at every step, and what must be left after them: every record that a flush has promised, nothing that was
//! never written, in order.

use ottla_record::{Batches, Codec};
use ottla_storage::fs::{Fs, MemFs, Operation};
use ottla_storage::log::{Log, LogConfig, LogError};
use ottla_types::{LeaderEpoch, Offset};

use super::support::*;

/// What the outside knows when the power fails.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Everything ever handed to the log, as bytes with their offsets, after truncations.
    written: Vec<Vec<u8>>,
    /// The same from before a truncation that may or may not have happened.
    uncut: Option<Vec<Vec<u8>>>,
    /// Durable offset last reported.
    durable: i64,
    /// Recovery point and log start as last checkpointed.
    recovery_point: i64,
    /// Epochs assigned, with their start.
    epochs: Vec<(i32, i64)>,
}

impl Known {
    fn checkpoint(&mut self, log: &Log) {
        self.recovery_point = log.recovery_point().0;
    }

    fn cut(&mut self, offset: i64) {
        self.uncut = Some(self.written.clone());
        self.written.retain(|batch| last_offset(batch) < offset);
        let end = self.written.last().map_or(0, |batch| last_offset(batch) + 1);
        self.durable = self.durable.min(end);
        self.epochs.retain(|(_, start)| *start < offset);
    }
}

fn last_offset(batch: &[u8]) -> i64 {
    Batches::new(batch).next().unwrap().unwrap().last_offset().0
}

fn config() -> LogConfig {
    segments_of(900)
}

/// Appends, tolerating the power cut; what may have been written is noted before.
fn append_noted(log: &mut Log, known: &mut Known, mut records: Vec<u8>, epoch: i32) -> Result<(), LogError> {
    let mut noted = records.clone();
    ottla_record::patch::set_base_offset(&mut noted, log.log_end_offset());
    ottla_record::patch::set_leader_epoch(&mut noted, LeaderEpoch(epoch));
    known.written.push(noted);
    if known.epochs.last().is_none_or(|last| last.0 != epoch) {
        known.epochs.push((epoch, log.log_end_offset().0));
    }
    match log.append_as_leader(&mut records, client(epoch)) {
        Ok(_) => Ok(()),
        Err(ottla_storage::log::AppendError::Log(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn flush_noted(log: &mut Log, known: &mut Known) -> Result<(), LogError> {
    known.durable = log.flush(NOW)?.0;
    Ok(())
}

/// As a flusher does: the epochs are not written.
fn commit_noted(fs: &MemFs, log: &mut Log, known: &mut Known) -> Result<(), LogError> {
    if let Some(ticket) = log.begin_commit(NOW)? {
        known.durable = log.complete_flush(ticket.sync(fs))?.0;
    }
    Ok(())
}

/// A life of a log: rolls, flushes, transactions, epochs, truncation, retention, a clean stop.
fn life(fs: &MemFs, known: &mut Known) -> Result<(), LogError> {
    let unavailable = |source| LogError::Io { action: "create", path: "/logs".into(), source };
    fs.create_dir_all("/logs".as_ref()).map_err(unavailable)?;
    fs.sync_dir("/".as_ref()).map_err(unavailable)?;
    let (mut log, _) =
        Log::open(std::sync::Arc::new(fs.clone()), DIR.as_ref(), config(), opening(false, Offset(0)))?;
    for n in 0..12 {
        let producer = Producer { id: 5, epoch: 0, sequence: n, transactional: true };
        append_noted(&mut log, known, batch(&[NOW + i64::from(n)], Some(producer), Codec::NONE), n / 5)?;
        append_noted(&mut log, known, plain(2), n / 5)?;
        if n % 4 == 3 {
            append_noted(&mut log, known, marker(5, 0, n == 7, 1, NOW), n / 5)?;
            if n == 3 {
                flush_noted(&mut log, known)?;
            } else {
                commit_noted(fs, &mut log, known)?;
            }
            known.checkpoint(&log);
        }
    }
    append_noted(&mut log, known, plain(3), 2)?;
    let cut = log.log_end_offset() - 8;
    // What is acknowledged is never truncated; here the replica was a follower of somebody else.
    known.cut(cut.0);
    log.truncate_to(cut, NOW)?;
    known.uncut = None;
    known.checkpoint(&log);
    for n in 0..6 {
        append_noted(&mut log, known, plain(4), 4 + n / 3)?;
        if n % 2 == 0 {
            commit_noted(fs, &mut log, known)?;
            known.checkpoint(&log);
        }
    }
    if let Some(ticket) = log.begin_epochs() {
        ticket.sync(fs)?;
        log.complete_epochs(ticket);
    }
    known.checkpoint(&log);
    append_noted(&mut log, known, plain(4), 6)?;
    log.close(NOW)?;
    known.durable = log.log_end_offset().0;
    known.checkpoint(&log);
    Ok(())
}

/// Opens after a crash and compares.
fn check(fs: &MemFs, known: &Known, context: &str) {
    let (mut log, report) = open_with(fs, config(), opening(false, Offset(known.recovery_point)));
    let context = format!("{context}: durable {}, {:?}", known.durable, report.events);
    assert!(log.log_end_offset().0 >= known.durable, "{context}: ends at {}", log.log_end_offset());
    let found = all_batches(&log);
    if known.durable == 0 && log.log_start_offset().0 > 0 {
        // The file system kept the second segment's creation and lost the first one's, which journals do not do.
        return;
    }
    let is_prefix = |written: &Vec<Vec<u8>>| written.starts_with(&found);
    assert!(is_prefix(&known.written) || known.uncut.as_ref().is_some_and(is_prefix), "{context}");
    let end = found.last().map_or(0, |batch| last_offset(batch) + 1);
    assert_eq!(end, log.log_end_offset().0, "{context}");
    // Epochs of what is there are right at every offset.
    for batch in &found {
        let header = Batches::new(batch).next().unwrap().unwrap().header();
        assert_eq!(log.epoch_for_offset(header.base_offset()), Some(header.leader_epoch()), "{context}");
        assert_eq!(log.epoch_for_offset(header.last_offset()), Some(header.leader_epoch()), "{context}");
    }
    let settled = known.uncut.is_none();
    for (epoch, start) in known.epochs.iter().filter(|(_, start)| settled && *start < end) {
        let entry = log.epoch_entries().iter().find(|e| e.epoch.0 == *epoch);
        assert_eq!(entry.map(|e| e.start.0), Some(*start), "{context}: epoch {epoch}");
    }
    check_lookups(&log, &found, &context);
    check_producers(fs, &log, &context);
    append(&mut log, plain(1)).expect("a recovered log takes records");
}

/// Every offset is found through the indexes as it is by reading on.
fn check_lookups(log: &Log, batches: &[Vec<u8>], context: &str) {
    for batch in batches {
        let header = Batches::new(batch).next().unwrap().unwrap().header();
        for offset in [header.base_offset(), header.last_offset()] {
            let read = log.read(request(offset.0, log.log_end_offset())).unwrap();
            assert_eq!(read.start.offset, header.base_offset(), "{context}");
        }
    }
}

/// The producers are those that reading the whole log gives.
fn check_producers(fs: &MemFs, log: &Log, context: &str) {
    let scratch = fs.fork();
    for (name, _) in scratch.list(DIR.as_ref()).unwrap() {
        if name.ends_with(".snapshot") {
            scratch.remove_file(&std::path::Path::new(DIR).join(name)).unwrap();
        }
    }
    let (reread, _) = open_with(&scratch, config(), opening(false, Offset(0)));
    assert_eq!(
        log.active_producers().collect::<Vec<_>>(),
        reread.active_producers().collect::<Vec<_>>(),
        "{context}"
    );
    assert_eq!(log.first_undecided_offset(), reread.first_undecided_offset(), "{context}");
}

#[test]
fn power_cut_at_every_operation_loses_nothing_durable_and_invents_nothing() {
    let whole = MemFs::new();
    life(&whole, &mut Known::default()).unwrap();
    let operations = whole.operations();
    assert!(operations > 100);
    for at in 0..=operations {
        let fs = MemFs::new();
        fs.cut_power_at(at);
        let mut known = Known::default();
        let result = life(&fs, &mut known);
        assert_eq!(result.is_err(), fs.is_powered_off());
        for seed in 0..6 {
            let crashed = fs.fork();
            crashed.crash(seed);
            check(&crashed, &known, &format!("cut at {at}, seed {seed}"));
        }
    }
}

#[test]
fn power_cut_during_recovery_is_recovered_from() {
    let fs = MemFs::new();
    fs.cut_power_at(70);
    let mut known = Known::default();
    assert!(life(&fs, &mut known).is_err());
    for seed in 0..20 {
        let once = fs.fork();
        once.crash(seed);
        for at in 0.. {
            let twice = once.fork();
            let before = twice.operations();
            twice.cut_power_at(before + at);
            let open = opening(false, Offset(known.recovery_point));
            let opened = Log::open(std::sync::Arc::new(twice.clone()), DIR.as_ref(), config(), open);
            let reached = twice.is_powered_off();
            drop(opened);
            twice.crash(seed + 1);
            check(&twice, &known, &format!("seed {seed}, second cut at {at}"));
            if !reached {
                break;
            }
        }
    }
}

#[test]
fn killed_process_loses_nothing_at_all() {
    // No crash of the machine: what was written is there, though nothing was synced.
    let whole = MemFs::new();
    life(&whole, &mut Known::default()).unwrap();
    for at in 0..=whole.operations() {
        let fs = MemFs::new();
        fs.cut_power_at(at);
        let mut known = Known::default();
        let finished = life(&fs, &mut known).is_ok();
        fs.heal();
        let unwritten = usize::from(!finished);
        known.durable = known.written.iter().rev().nth(unwritten).map_or(0, |batch| last_offset(batch) + 1);
        check(&fs, &known, &format!("killed at {at}"));
    }
}

#[test]
fn an_append_never_syncs() {
    let fs = MemFs::new();
    let mut log = open(&fs, config());
    fs.take_trace();
    for n in 0..50 {
        log.append_as_leader(&mut plain(3), client(n)).unwrap();
    }
    let trace = fs.take_trace();
    assert!(log.segment_count() > 5);
    assert!(trace.iter().all(|(op, _)| !matches!(op, Operation::Sync | Operation::SyncDir)), "{trace:?}");
}
