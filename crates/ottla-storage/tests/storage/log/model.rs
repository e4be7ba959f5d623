//! Random histories against the simplest model of a log: a list of batches.

use std::collections::VecDeque;

use ottla_record::{Batches, Codec, patch};
use ottla_storage::fs::{Fs, MemFs};
use ottla_storage::log::{Log, LogConfig, LogOpen, LogRead, ReadError, ReadPlaces, ReadRequest, ReadSearch};
use ottla_types::{LeaderEpoch, Offset};
use proptest::prelude::*;

use super::support::*;

#[derive(Clone, Debug)]
enum Op {
    /// Records, their size, and the distance of their time from now.
    Append(u8, u8, i16),
    /// Batches from a leader, after a gap.
    Replicate(u8, u8),
    NewEpoch,
    Roll,
    Flush,
    /// Begin a flush, append, end the flush.
    OverlappedFlush,
    /// Share of the log end, in 256ths, above the high watermark.
    Truncate(u8),
    StartOver(u8),
    Watermark(u8),
    AdvanceStart(u8),
    Retain(u16),
    CloseIdle,
    ReopenClean,
    /// The process is killed.
    Kill,
    /// The machine stops.
    Crash(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..12_u8, 0..200_u8, -300..300_i16).prop_map(|(n, size, time)| Op::Append(n, size, time)),
        4 => (1..12_u8, 0..9_u8).prop_map(|(n, gap)| Op::Replicate(n, gap)),
        2 => Just(Op::NewEpoch),
        1 => Just(Op::Roll),
        2 => Just(Op::Flush),
        1 => Just(Op::OverlappedFlush),
        2 => any::<u8>().prop_map(Op::Truncate),
        1 => any::<u8>().prop_map(Op::StartOver),
        3 => any::<u8>().prop_map(Op::Watermark),
        1 => any::<u8>().prop_map(Op::AdvanceStart),
        1 => (0..6000_u16).prop_map(Op::Retain),
        1 => Just(Op::CloseIdle),
        1 => Just(Op::ReopenClean),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::Crash),
    ]
}

/// What the log should be.
#[derive(Clone, Debug, Default)]
struct Model {
    batches: Vec<Vec<u8>>,
    start: i64,
    end: i64,
    watermark: i64,
    durable: i64,
    epoch: i32,
    checkpointed_start: i64,
    recovery_point: i64,
}

/// A log with gaps is one of a compacted topic; there a hole that a crash has torn cannot be told from a gap, so such a log
/// is only killed, not crashed.
fn config(gaps: bool) -> LogConfig {
    let cleanup_policy = ottla_storage::log::CleanupPolicy { delete: true, compact: gaps };
    LogConfig {
        segment_bytes: 2500,
        index_interval_bytes: 150,
        retention_ms: -1,
        cleanup_policy,
        ..LogConfig::default()
    }
}

fn header(batch: &[u8]) -> ottla_record::BatchHeader<'_> {
    Batches::new(batch).next().unwrap().unwrap().header()
}

struct Run {
    fs: MemFs,
    log: Log,
    model: Model,
    now: i64,
    gaps: bool,
}

impl Run {
    fn new(gaps: bool) -> Self {
        let fs = MemFs::new();
        fs.create_dir_all("/logs".as_ref()).unwrap();
        fs.sync_dir("/".as_ref()).unwrap();
        let log = open(&fs, config(gaps));
        let mut run = Self { fs, log, model: Model::default(), now: NOW, gaps };
        // The model does not know of creations that a crash undoes.
        run.log.flush(NOW).unwrap();
        run
    }

    fn reopen(&mut self, clean: bool) {
        let open = LogOpen {
            clean_shutdown: clean,
            recovery_point: Offset(self.model.recovery_point),
            log_start_offset: Offset(self.model.checkpointed_start),
            now_ms: self.now,
            ..opening(clean, Offset(0))
        };
        self.log = open_with(&self.fs, config(self.gaps), open).0;
        self.log.set_high_watermark(Offset(self.model.watermark));
    }

    /// As the log directory's checkpoints, written now.
    fn checkpoint(&mut self) {
        self.model.recovery_point = self.log.recovery_point().0;
        self.model.checkpointed_start = self.log.log_start_checkpoint().map_or(0, |start| start.0);
    }

    fn append(&mut self, mut records: Vec<u8>, first: Option<i64>) {
        let first = first.unwrap_or(self.model.end);
        let mut expected = records.clone();
        patch::set_base_offset(&mut expected, Offset(first));
        patch::set_leader_epoch(&mut expected, LeaderEpoch(self.model.epoch));
        if first == self.model.end {
            self.log.append_as_leader(&mut records, client(self.model.epoch)).unwrap();
        } else {
            self.log.append_as_follower(&expected, LeaderEpoch(self.model.epoch), self.now).unwrap();
        }
        self.model.end = header(&expected).next_offset().0;
        self.model.batches.push(expected);
    }

    fn cut(&mut self, end: i64) {
        self.model.batches.retain(|batch| header(batch).last_offset().0 < end);
        self.model.end = end;
        self.model.start = self.model.start.min(end);
        self.model.watermark = self.model.watermark.min(end);
        self.model.durable = self.model.durable.min(end);
    }

    fn between(low: i64, high: i64, share: u8) -> i64 {
        low + (high - low) * i64::from(share) / 255
    }

    #[expect(clippy::too_many_lines, reason = "one arm per operation")]
    fn apply(&mut self, op: &Op) {
        self.now += 37;
        let now = self.now;
        match *op {
            Op::Append(n, size, time) => {
                let timestamps: Vec<i64> = (0..i64::from(n)).map(|i| now + i64::from(time) - i * 3).collect();
                self.append(
                    batch_of(&timestamps, None, Codec::NONE, usize::from(size) / usize::from(n)),
                    None,
                );
            }
            Op::Replicate(n, gap) => {
                let first = self.model.end + if self.gaps { i64::from(gap) } else { 0 };
                self.append(batch(&vec![now; usize::from(n)], None, Codec::NONE), Some(first));
            }
            Op::NewEpoch => {
                self.model.epoch += 1;
                self.log.assign_epoch_start(LeaderEpoch(self.model.epoch), self.log.log_end_offset());
            }
            Op::Roll if self.log.segment_base_offsets().last() != Some(self.log.log_end_offset()) => {
                self.log.roll(now).unwrap();
            }
            Op::Roll => {}
            Op::Flush => {
                self.model.durable = self.log.flush(now).unwrap().0;
                assert_eq!(self.model.durable, self.model.end);
                self.checkpoint();
            }
            Op::OverlappedFlush => {
                let ticket = self.log.begin_commit(now).unwrap();
                let before = self.model.end;
                self.append(plain(2), None);
                if let Some(ticket) = ticket {
                    let outcome = ticket.sync(&self.fs);
                    self.model.durable = self.log.complete_flush(outcome).unwrap().0;
                    assert_eq!(self.model.durable, before);
                }
            }
            Op::Truncate(share) => self.truncate(share),
            Op::StartOver(by) => {
                let at = self.model.end + i64::from(by);
                self.log.truncate_fully_and_start_at(Offset(at), None, now).unwrap();
                self.log.flush(now).unwrap();
                self.model = Model {
                    start: at,
                    end: at,
                    watermark: at,
                    durable: at,
                    epoch: self.model.epoch,
                    ..Model::default()
                };
                self.checkpoint();
            }
            Op::Watermark(share) => {
                let to = Self::between(self.model.watermark, self.model.end, share);
                self.model.watermark = to;
                assert_eq!(self.log.set_high_watermark(Offset(to)), Offset(to));
            }
            Op::AdvanceStart(share) => {
                let to = Self::between(self.model.start, self.model.watermark, share);
                self.log.advance_log_start(Offset(to)).unwrap();
                self.model.start = to;
                self.checkpoint();
            }
            Op::Retain(bytes) => {
                self.log.update_config(LogConfig { retention_bytes: i64::from(bytes), ..config(self.gaps) });
                self.log.delete_old_segments(now, 3).unwrap();
                self.model.start = self.log.log_start_offset().0;
                self.log.delete_expired_files(now).unwrap();
                let first = self.log.segment_base_offsets().next().unwrap();
                self.model.batches.retain(|batch| header(batch).base_offset() >= first);
                // A crash may bring segments back that are below the checkpointed start.
                self.log.flush(now).unwrap();
                self.model.durable = self.model.end;
                self.checkpoint();
            }
            Op::CloseIdle => {
                self.log.close_idle(now, 0).unwrap();
                self.log.close_idle(now, 0).unwrap();
            }
            Op::ReopenClean => {
                self.log.close(now).unwrap();
                self.checkpoint();
                self.model.durable = self.model.end;
                self.reopen(true);
            }
            Op::Kill => self.reopen(false),
            Op::Crash(_) if self.gaps => self.reopen(false),
            Op::Crash(seed) => {
                self.fs.crash(seed);
                self.reopen(false);
                let end = self.log.log_end_offset().0;
                assert!(end >= self.model.durable && end <= self.model.end, "{end}, {:?}", self.model);
                let kept = self.model.batches.iter().take_while(|b| header(b).next_offset().0 <= end).count();
                let lost = self.model.batches.get(kept).map(|b| header(b).base_offset().0);
                // A log that lost everything below its start begins anew there.
                assert!(lost.is_none_or(|base| base >= end || end == self.model.start));
                self.cut(end);
                self.model.durable = self.model.durable.min(self.model.end);
                self.log.set_high_watermark(Offset(self.model.watermark));
            }
        }
    }

    fn truncate(&mut self, share: u8) {
        let target = Self::between(self.model.watermark, self.model.end, share);
        self.log.truncate_to(Offset(target), self.now).unwrap();
        let end = self.log.log_end_offset().0;
        if end < self.model.end {
            let left =
                self.model.batches.iter().map(|b| header(b)).take_while(|h| h.last_offset().0 < target);
            let base = self.log.segment_base_offsets().last().unwrap().0;
            assert_eq!(end, left.last().map_or(base, |h| h.next_offset().0.max(base)));
            self.cut(end);
        } else {
            assert!(target >= end);
        }
        self.checkpoint();
    }

    /// Everything that can be asked.
    fn check(&self) {
        let (log, model) = (&self.log, &self.model);
        let now = (log.log_start_offset().0, log.log_end_offset().0, log.high_watermark().0);
        assert_eq!(now, (model.start, model.end, model.watermark));
        assert!(log.recovery_point() <= log.log_end_offset());
        let visible: Vec<&Vec<u8>> =
            model.batches.iter().filter(|b| header(b).last_offset().0 >= model.start).collect();
        assert_eq!(all_batches(log).iter().collect::<Vec<_>>(), visible);
        for offset in [model.start, (model.start + model.end) / 2, model.watermark, model.end] {
            for bound in [model.watermark, model.end] {
                self.check_read(offset, bound);
            }
        }
        for outside in [model.start - 1, model.end + 1] {
            let refused = log.read(request(outside, Offset(model.end)));
            assert!(matches!(refused, Err(ReadError::OffsetOutOfRange { .. })));
        }
        self.check_times();
        for batch in visible {
            let header = header(batch);
            assert_eq!(log.epoch_for_offset(header.last_offset()), Some(header.leader_epoch()));
        }
    }

    fn check_read(&self, offset: i64, bound: i64) {
        let read = self.log.read(request(offset, Offset(bound))).unwrap();
        let first = self.model.batches.iter().map(|b| header(b)).find(|h| h.last_offset().0 >= offset);
        let expected = first.filter(|h| offset < bound && h.last_offset().0 < bound);
        assert_eq!(
            ranges(&read).first().map(|r| r.0),
            expected.map(|h| h.base_offset().0),
            "{offset} below {bound}"
        );
        assert!(ranges(&read).iter().all(|(_, last)| *last < bound));
    }

    /// Searches for reads all over the log.
    fn begin_searches(&self) -> Vec<(ReadRequest, ReadSearch)> {
        let (start, end) = (self.model.start, self.model.end);
        let offsets = (0..8).map(|eighth| start + (end - start) * eighth / 8);
        let requests = offsets.flat_map(|offset| {
            [self.model.watermark, end, end - 1].map(|bound| request(offset, Offset(bound)))
        });
        requests.filter_map(|request| Some((request, self.log.search_for(&request)?))).collect()
    }

    /// What was found before the log changed does not mislead a read after it.
    fn check_found(&self, found: Vec<(ReadRequest, ReadPlaces)>) {
        let answer = |read: Result<LogRead, ReadError>| {
            read.map(|read| (read.start, ranges(&read))).map_err(|e| e.to_string())
        };
        for (request, places) in found {
            let (by_places, plain) = (self.log.read_found(request, places), self.log.read(request));
            assert_eq!(answer(by_places), answer(plain), "{request:?}");
        }
    }

    fn check_times(&self) {
        let mut records = Vec::new();
        for batch in &self.model.batches {
            let (batch, _) = ottla_record::BatchView::parse(batch).unwrap();
            let mut all = batch.records().unwrap();
            while let Some(record) = all.try_next().unwrap() {
                records.push((record.offset, record.timestamp));
            }
        }
        let visible: Vec<_> =
            records.iter().copied().filter(|(offset, _)| offset.0 >= self.model.start).collect();
        for timestamp in [NOW, (NOW + self.now) / 2, self.now - 200, self.now + 200] {
            let expected = visible.iter().find(|(_, time)| *time >= timestamp).map(|(offset, _)| *offset);
            let found = self.log.find_timestamp(timestamp).unwrap().map(|found| found.offset);
            // A segment that has such a time below the log start hides the later ones.
            let is_hidden =
                records.iter().any(|(offset, time)| *time >= timestamp && offset.0 < self.model.start);
            assert!(found == expected || is_hidden && found.is_none(), "{timestamp}: {found:?} {expected:?}");
        }
        let max = visible.iter().map(|(_, time)| *time).max();
        let found = self.log.find_max_timestamp().unwrap().map(|found| found.timestamp);
        // The largest time of a segment may belong to a record below the log start.
        assert!(found >= max, "{found:?} {max:?}");
    }

    /// Kafka's rules for the index files, on disk after a clean end (2.7, 2.8).
    fn check_index_files(&mut self) {
        self.log.close(self.now).unwrap();
        let bases: Vec<Offset> = self.log.segment_base_offsets().collect();
        for base in bases {
            let read = |ext: &str| {
                ottla_storage::fs::read_file(
                    &self.fs,
                    &self.log.dir().join(format!("{:020}.{ext}", base.0)),
                    1 << 20,
                )
                .unwrap()
            };
            let (log, index, times) = (read("log"), read("index"), read("timeindex"));
            let mut positions = Vec::new();
            let mut batches = Batches::new(&log);
            while let (position, Some(batch)) = (batches.position(), batches.next()) {
                let batch = batch.unwrap();
                positions.push((batch.last_offset(), position, batch.max_timestamp()));
            }
            assert!(index.len() % 8 == 0 && times.len() % 12 == 0);
            let mut last_position = 0;
            for entry in index.chunks(8) {
                let offset = base + i64::from(i32::from_be_bytes(entry[..4].try_into().unwrap()));
                let position = usize::try_from(i32::from_be_bytes(entry[4..].try_into().unwrap())).unwrap();
                assert!(positions.iter().any(|p| (p.0, p.1) == (offset, position)), "{offset} at {position}");
                assert!(position > last_position);
                last_position = position;
            }
            let mut last = (-1, base.0 - 1);
            for entry in times.chunks(12) {
                let timestamp = i64::from_be_bytes(entry[..8].try_into().unwrap());
                let offset = base.0 + i64::from(i32::from_be_bytes(entry[8..].try_into().unwrap()));
                assert!(timestamp > last.0 && offset >= last.1);
                let first = positions.iter().find(|p| p.2 == timestamp).expect("a batch has it");
                assert_eq!(first.0.0, offset);
                assert!(positions.iter().take_while(|p| p.0.0 <= offset).all(|p| p.2 <= timestamp));
                last = (timestamp, offset);
            }
            let max = positions.iter().map(|p| p.2).max().unwrap_or(-1);
            assert_eq!(last.0, max, "the last entry has the largest time");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_list_of_batches(ops in prop::collection::vec(op(), 1..70), gaps in any::<bool>()) {
        let mut run = Run::new(gaps);
        let mut held = VecDeque::new();
        for op in &ops {
            let mut early = run.begin_searches();
            let late = early.split_off(early.len() / 2);
            held.push_back(early.into_iter().map(|(request, search)| (request, search.run())).collect());
            run.apply(op);
            run.check_found(late.into_iter().map(|(request, search)| (request, search.run())).collect());
            // A cut is seen by its reader when something else has come instead.
            if held.len() > 3 {
                run.check_found(held.pop_front().unwrap());
            }
            run.check();
        }
        held.into_iter().for_each(|found| run.check_found(found));
        run.check_index_files();
    }
}
