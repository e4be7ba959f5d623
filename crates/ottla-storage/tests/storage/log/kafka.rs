//! Side by side with Apache Kafka: its `UnifiedLog` does what ours does, the files must be the same bytes, and each opens what
//! the other wrote.
//!
//! Runs when `OTTLA_KAFKA_CLASSPATH` names a directory with the jars of Apache Kafka (4.4.0) and there is a JDK; says SKIPPED
//! otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use ottla_record::{Codec, Compression};
use ottla_storage::fs::RealFs;
use ottla_storage::log::{
    AppendError, AppendOrigin, LeaderAppend, Log, LogConfig, LogOpen, ReadRequest, VerificationGuard,
};
use ottla_types::{LeaderEpoch, Offset, SplitMix64};

use super::support::*;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storage/log/LogPeer.java");
const SEGMENT_BYTES: u32 = 4000;
const INDEX_INTERVAL_BYTES: u32 = 300;
const SEGMENT_MS: i64 = 50_000;

fn jars(test: &str) -> Option<PathBuf> {
    let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH") else {
        eprintln!("SKIPPED: {test}: OTTLA_KAFKA_CLASSPATH (directory of Kafka's jars) is not set");
        return None;
    };
    Some(PathBuf::from(jars))
}

/// A JVM that answers line by line (see `LogPeer.java`).
pub(crate) struct Kafka {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Kafka {
    pub(crate) fn start(test: &str) -> Option<Self> {
        let started = Command::new("java")
            .arg("-Xmx400m")
            .arg("-cp")
            .arg(jars(test)?.join("*"))
            .arg(PEER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                eprintln!("SKIPPED: {test}: java cannot be run: {error}");
                return None;
            }
        };
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Some(Self { process, input, output: BufReader::new(output) })
    }

    pub(crate) fn ask(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        if std::env::var_os("OTTLA_LOG_TRACE").is_some() {
            eprintln!("{command:.60} -> {}", answer.trim_end());
        }
        let answer = answer.trim_end();
        match answer.split_once(' ').unwrap_or((answer, "")) {
            ("ok", answer) => Ok(answer.to_owned()),
            ("err", answer) => Err(answer.to_owned()),
            _ => panic!("no answer to {command:.200}: '{answer}'"),
        }
    }

    pub(crate) fn open(&mut self, dir: &Path, clean: bool, recovery_point: i64, start: i64, now: i64) {
        let dir = dir.display();
        self.ask(&format!(
            "open {dir} {clean} {recovery_point} {start} {now} {SEGMENT_BYTES} {INDEX_INTERVAL_BYTES} {SEGMENT_MS}"
        ))
        .unwrap();
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: INDEX_INTERVAL_BYTES,
        segment_ms: SEGMENT_MS,
        retention_ms: -1,
        transaction_verification: false,
        ..LogConfig::default()
    }
}

fn open_ours(dir: &Path, clean: bool, recovery_point: i64, start: i64, now_ms: i64) -> Log {
    let open = LogOpen {
        clean_shutdown: clean,
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset(start),
        topic_id: None,
        jitter_seed: 0,
        now_ms,
    };
    Log::open(Arc::new(RealFs), dir, config(), open).unwrap().0
}

pub(crate) fn state(log: &Log, sizes: &BTreeMap<i64, u64>) -> String {
    let segments: Vec<_> = log
        .segment_base_offsets()
        .map(|b| format!("{}:{}", b.0, sizes.get(&b.0).copied().unwrap_or(0)))
        .collect();
    let epochs: Vec<_> = log.epoch_entries().iter().map(|e| format!("{}@{}", e.epoch, e.start)).collect();
    let producers: Vec<_> = log
        .active_producers()
        .map(|p| {
            let txn = p.txn_first_offset.map_or(-1, |o| o.0);
            format!(
                "{}:{}:{}:{}:{}:{txn}",
                p.producer_id, p.epoch, p.last_sequence, p.last_timestamp, p.coordinator_epoch
            )
        })
        .collect();
    format!(
        "end={} start={} hw={} lso={} segments={} epochs={} producers={}",
        log.log_end_offset(),
        log.log_start_offset(),
        log.high_watermark(),
        log.last_stable_offset(),
        segments.join(","),
        epochs.join(","),
        producers.join(",")
    )
}

/// Sizes of the segment files, by base offset.
fn sizes(dir: &Path) -> BTreeMap<i64, u64> {
    files(dir)
        .into_iter()
        .filter_map(|(name, bytes)| {
            Some((name.strip_suffix(".log")?.parse().ok()?, u64::try_from(bytes.len()).unwrap()))
        })
        .collect()
}

/// All files but those on their way out.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with(".deleted"))
        .collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for (name, bytes) in files(from) {
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

/// Kafka's name for our refusal.
fn refusal(error: &AppendError) -> &'static str {
    match error {
        AppendError::OutOfOrderSequence { .. } => "OutOfOrderSequenceException",
        AppendError::InvalidProducerEpoch { .. } => "InvalidProducerEpochException",
        AppendError::InvalidTxnState { .. } => "InvalidTxnStateException",
        AppendError::CoordinatorFenced { .. } => "TransactionCoordinatorFencedException",
        AppendError::RecordListTooLarge { .. } => "RecordBatchTooLargeException",
        AppendError::UnexpectedOffset { .. } => "UnexpectedAppendOffsetException",
        AppendError::OffsetsOutOfOrder { .. } => "OffsetsOutOfOrderException",
        AppendError::CorruptBatch { .. } => "CorruptRecordException",
        _ => "another",
    }
}

/// What a comparison is drawn with.
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub(crate) fn i64_below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.below(u64::try_from(bound.max(1)).unwrap())).unwrap()
    }
}

/// The same log twice.
struct Pair {
    kafka: Kafka,
    ours: Log,
    kafka_dir: PathBuf,
    our_dir: PathBuf,
    rng: Rng,
    now: i64,
    epoch: i32,
    /// Next sequence and epoch per producer, as a well-behaved client keeps them.
    producers: BTreeMap<i64, (i16, i32)>,
    refused: BTreeMap<&'static str, u32>,
}

impl Pair {
    fn step(&mut self) {
        match self.rng.below(100) {
            0..55 => self.append_data(),
            55..68 => self.append_marker(),
            68..72 => {
                self.epoch += 1;
                let end = self.ours.log_end_offset();
                self.ours.assign_epoch_start(LeaderEpoch(self.epoch), end);
                self.kafka.ask(&format!("epoch {} {end}", self.epoch)).unwrap();
            }
            72..78 => {
                let start = self.ours.log_start_offset().0;
                let to = start + self.rng.i64_below(self.ours.log_end_offset().0 - start + 1);
                let to = self.batch_start(to).max(self.ours.high_watermark().0);
                self.ours.set_high_watermark(Offset(to));
                self.kafka.ask(&format!("watermark {to}")).unwrap();
            }
            78..80 => self.truncate(),
            80..82 => {
                let start = self.ours.log_start_offset().0;
                let to = start + self.rng.i64_below((self.ours.high_watermark().0 - start) / 3 + 1);
                let to = self.batch_start(to);
                self.ours.advance_log_start(Offset(to)).unwrap();
                self.kafka.ask(&format!("start {to}")).unwrap();
            }
            82..84
                if self.ours.log_end_offset()
                    > *self.ours.segment_base_offsets().last().as_ref().unwrap() =>
            {
                self.ours.roll(self.now).unwrap();
                self.kafka.ask("roll").unwrap();
            }
            84..86 => {
                let bytes = 10_000 + self.rng.i64_below(10_000);
                self.ours.update_config(LogConfig { retention_bytes: bytes, ..config() });
                let removed = self.ours.delete_old_segments(self.now, usize::MAX).unwrap().removed.len();
                assert_eq!(self.kafka.ask(&format!("retain {bytes}")).unwrap(), removed.to_string());
            }
            86..88 => self.reopen(),
            88..89 => {
                let at = self.ours.log_end_offset().0 + self.rng.i64_below(50);
                self.ours.truncate_fully_and_start_at(Offset(at), None, self.now).unwrap();
                self.kafka.ask(&format!("restart {at}")).unwrap();
            }
            _ => self.look_up(),
        }
        self.now += self.rng.i64_below(900);
        assert_eq!(self.kafka.ask("state").unwrap(), state(&self.ours, &sizes(&self.our_dir)));
    }

    fn append_data(&mut self) {
        let id = self.rng.i64_below(6);
        let records = 1 + self.rng.below(8);
        let codecs = [
            Codec::NONE,
            Compression::Lz4.into(),
            Compression::Gzip.into(),
            Compression::Zstd.into(),
            Compression::Snappy.into(),
        ];
        let codec = codecs[usize::try_from(self.rng.below(8)).unwrap().min(5) % 5];
        let timestamps: Vec<i64> = (0..records).map(|_| self.now - 2000 + self.rng.i64_below(4000)).collect();
        let producer = if id == 0 {
            None
        } else {
            let (epoch, sequence) = *self.producers.entry(id).or_default();
            // Now and then a client misbehaves.
            let (epoch, sequence) = match self.rng.below(14) {
                0 => (epoch + 1, 0),
                1 => (epoch, sequence + 1),
                2 => (epoch, (sequence - i32::try_from(records).unwrap()).max(0)),
                3 => ((epoch - 1).max(0), 0),
                _ => (epoch, sequence),
            };
            let misplaced = self.rng.below(30) == 0;
            Some(Producer { id, epoch, sequence, transactional: (id > 3) != misplaced })
        };
        let value_len = usize::try_from(self.rng.below(60)).unwrap();
        let bytes = batch_of(&timestamps, producer, codec, value_len);
        if self.append("client", 0, bytes)
            && let Some(p) = producer
        {
            self.producers.insert(id, (p.epoch, p.sequence + i32::try_from(records).unwrap()));
        }
    }

    fn append_marker(&mut self) {
        let id = 4 + self.rng.i64_below(2);
        let (epoch, _) = self.producers.get(&id).copied().unwrap_or_default();
        let version = i16::try_from(self.rng.below(3)).unwrap();
        let marker_epoch = if version == 2 && self.rng.below(4) > 0 { epoch + 1 } else { epoch };
        let coordinator_epoch = 10 - i32::try_from(self.rng.below(20) / 18).unwrap();
        let bytes = marker(id, marker_epoch, self.rng.below(2) == 0, coordinator_epoch, self.now);
        if self.append("coordinator", version, bytes) && marker_epoch != epoch {
            self.producers.insert(id, (marker_epoch, 0));
        }
    }

    /// Appends to both; whether they took it.
    fn append(&mut self, origin: &str, version: i16, mut bytes: Vec<u8>) -> bool {
        let theirs = self.kafka.ask(&format!("leader {origin} {} {version} {}", self.epoch, hex(&bytes)));
        let append = LeaderAppend {
            origin: if origin == "client" { AppendOrigin::Client } else { AppendOrigin::Coordinator },
            leader_epoch: LeaderEpoch(self.epoch),
            guard: VerificationGuard::default(),
            transaction_version: version,
            now_ms: self.now,
        };
        match (self.ours.append_as_leader(&mut bytes, append), theirs) {
            (Ok(info), theirs) => {
                let ours = format!("{} {}", info.first_offset, info.last_offset);
                assert_eq!(theirs.as_deref(), Ok(ours.as_str()));
                *self.refused.entry(if info.duplicate { "duplicate" } else { "accepted" }).or_default() += 1;
                !info.duplicate
            }
            (Err(error), Err(theirs)) => {
                assert_eq!(theirs.split(' ').next(), Some(refusal(&error)), "{error} / {theirs}");
                *self.refused.entry(refusal(&error)).or_default() += 1;
                false
            }
            (Err(error), Ok(theirs)) => panic!("we refuse ({error}) what Kafka accepts ({theirs})"),
        }
    }

    /// At a batch's start: elsewhere Kafka leaves a gap.
    fn truncate(&mut self) {
        let span = (self.ours.log_end_offset().0 - self.ours.high_watermark().0).min(40);
        let target = self.ours.log_end_offset().0 - self.rng.i64_below(span + 1);
        let target = self.batch_start(target);
        self.ours.truncate_to(Offset(target), self.now).unwrap();
        self.kafka.ask(&format!("truncate {target}")).unwrap();
        // Kafka's last stable offset is stale after a cut, until the next append.
        self.ours.set_high_watermark(Offset(target));
        self.kafka.ask(&format!("watermark {target}")).unwrap();
    }

    /// The start of the batch that holds `offset`. Elsewhere Kafka rounds high watermarks and last stable offsets
    /// down, even below the log start.
    fn batch_start(&self, offset: i64) -> i64 {
        match self.ours.read(request(offset, self.ours.log_end_offset())) {
            Ok(read) if !read.is_empty() => read.start.offset.0.max(self.ours.log_start_offset().0),
            _ => self.ours.log_end_offset().0,
        }
    }

    fn look_up(&mut self) {
        let timestamp = self.now - self.rng.i64_below(200_000);
        let show = |found: Option<ottla_storage::log::FoundTimestamp>| match found {
            Some(f) => format!("{}@{}/{}", f.timestamp, f.offset, f.leader_epoch.map_or(-1, |e| e.0)),
            None => "none".to_owned(),
        };
        let theirs = self.kafka.ask(&format!("time {timestamp}")).unwrap();
        // Kafka gives up when the only such record of a segment lies below the log start; we go on.
        let first_is_cut = self.ours.log_start_checkpoint().is_some();
        if !(theirs == "none" && first_is_cut) {
            assert_eq!(theirs, show(self.ours.find_timestamp(timestamp).unwrap()));
        }
        assert_eq!(self.kafka.ask("time -3").unwrap(), show(self.ours.find_max_timestamp().unwrap()));
        let epoch = i32::try_from(self.rng.below(u64::try_from(self.epoch + 2).unwrap())).unwrap() - 1;
        let end = self.ours.end_offset_for_epoch(LeaderEpoch(epoch));
        let end = end.map_or("none".to_owned(), |e| format!("{}@{}", e.epoch, e.end));
        assert_eq!(self.kafka.ask(&format!("end {epoch}")).unwrap(), end);
        let (start, end) = (self.ours.log_start_offset().0, self.ours.log_end_offset().0);
        let offset = start + self.rng.i64_below(end - start + 1);
        let max_bytes = 1 + u32::try_from(self.rng.below(3000)).unwrap();
        for committed in [false, true] {
            let upper_bound =
                if committed { self.ours.last_stable_offset() } else { self.ours.high_watermark() };
            let read = self
                .ours
                .read(ReadRequest {
                    offset: Offset(offset),
                    max_bytes,
                    min_one_batch: true,
                    upper_bound,
                    aborted_transactions: committed,
                })
                .unwrap();
            let base = ranges(&read).first().map_or(-1, |range| range.0);
            let aborted: Vec<_> = read
                .aborted
                .iter()
                .flatten()
                .map(|t| format!("{}:{}", t.producer_id, t.first_offset))
                .collect();
            let theirs = self.kafka.ask(&format!("read {offset} {max_bytes} {committed}")).unwrap();
            let mut theirs = theirs.split(' ');
            let context = format!("offset {offset}, committed {committed}");
            assert_eq!(theirs.next(), Some(base.to_string().as_str()), "{context}");
            assert_eq!(theirs.next(), Some(read.len().to_string().as_str()), "{context}");
            // Kafka's binary search may take the entry after the right one, and list transactions that begin later.
            let end = ranges(&read).last().map_or(i64::MAX, |range| range.1);
            let theirs: Vec<&str> = theirs
                .next()
                .unwrap_or_default()
                .split(',')
                .filter(|txn| !txn.is_empty())
                .filter(|txn| {
                    let first: i64 = txn.split_once(':').unwrap().1.parse().unwrap();
                    aborted.iter().any(|ours| ours == txn) || first <= end
                })
                .collect();
            assert_eq!(theirs, aborted, "{context}");
        }
    }

    /// Closes both, compares every byte, and lets each open what the other wrote.
    fn reopen(&mut self) {
        let clean = self.rng.below(2) == 0;
        let start = self.ours.log_start_offset().0;
        let watermark = self.ours.high_watermark().0;
        if clean {
            self.ours.close(self.now).unwrap();
            self.kafka.ask("close").unwrap();
            self.compare_files();
        } else {
            // Nothing is lost but what was in memory, and that is read again.
            self.ours.flush(self.now).unwrap();
            self.kafka.ask("flush").unwrap();
        }
        std::mem::swap(&mut self.our_dir, &mut self.kafka_dir);
        if !clean {
            // Kafka's maps still hold its files; give each a copy of what the other had on disk.
            for dir in [&mut self.our_dir, &mut self.kafka_dir] {
                let name = dir.file_name().unwrap().to_owned();
                let copied = dir.parent().unwrap().join("copied").join(name);
                copy(dir, &copied);
                std::fs::remove_dir_all(&*dir).unwrap();
                std::fs::rename(&copied, &*dir).unwrap();
            }
        }
        let recovery_point = if clean { self.ours.log_end_offset().0 } else { start };
        self.kafka.open(&self.kafka_dir, clean, recovery_point, start, self.now);
        self.ours = open_ours(&self.our_dir, clean, recovery_point, start, self.now);
        // Kafka forgets in recovery which finished transactions are not yet replicated; we do not.
        let watermark = if clean { watermark } else { self.ours.log_end_offset().0 };
        self.ours.set_high_watermark(Offset(watermark));
        self.kafka.ask(&format!("watermark {watermark}")).unwrap();
    }

    fn compare_files(&self) {
        let (mut theirs, mut ours) = (files(&self.kafka_dir), files(&self.our_dir));
        // Kafka creates it empty with the log, and writes epochs in which nothing was appended, which it forgets with the next start.
        let end = self.ours.log_end_offset().0;
        for set in [&mut theirs, &mut ours] {
            let file = set.entry("leader-epoch-checkpoint".to_owned()).or_default();
            *file = epochs_with_records(file, end);
        }
        assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
        for (name, bytes) in &theirs {
            assert_eq!(hex(bytes), hex(&ours[name]), "{name}");
        }
    }
}

/// The entries of `leader-epoch-checkpoint` that begin below the log end.
fn epochs_with_records(file: &[u8], log_end: i64) -> Vec<u8> {
    let text = std::str::from_utf8(file).unwrap();
    let start = |line: &str| line.split_once(' ').unwrap().1.parse::<i64>().unwrap();
    let lines: Vec<&str> = text.lines().skip(2).filter(|line| start(line) < log_end).collect();
    lines.join("\n").into_bytes()
}

#[test]
fn does_what_kafkas_log_does_and_writes_the_same_bytes() {
    let test = "does_what_kafkas_log_does_and_writes_the_same_bytes";
    let seeds = std::env::var("OTTLA_LOG_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    for seed in 0..seeds {
        let Some(mut kafka) = Kafka::start(test) else { return };
        let root = tempfile::tempdir().unwrap();
        let (kafka_dir, our_dir) = (root.path().join("a/t-0"), root.path().join("b/t-0"));
        kafka.open(&kafka_dir, false, 0, 0, NOW);
        let ours = open_ours(&our_dir, false, 0, 0, NOW);
        let mut pair = Pair {
            kafka,
            ours,
            kafka_dir,
            our_dir,
            rng: Rng::new(seed),
            now: NOW,
            epoch: 0,
            producers: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        for _ in 0..600 {
            pair.step();
        }
        println!("seed {seed}: {:?}", pair.refused);
    }
}

/// Runs Kafka's own inspector over every file of a log with segments, codecs, producers and transactions.
#[test]
fn kafkas_inspector_finds_nothing_to_complain_about() {
    let test = "kafkas_inspector_finds_nothing_to_complain_about";
    let Some(jars) = jars(test) else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("t-0");
    let mut log = open_ours(&dir, false, 0, 0, NOW);
    let codecs = [
        Codec::NONE,
        Compression::Gzip.into(),
        Compression::Snappy.into(),
        Compression::Lz4.into(),
        Compression::Zstd.into(),
    ];
    for n in 0..120_i32 {
        let timestamps: Vec<i64> = (0..1 + i64::from(n % 9)).map(|i| NOW + i64::from(n) * 700 + i).collect();
        let id = i64::from(n % 3);
        let producer =
            Producer { id, epoch: i16::try_from(n / 3).unwrap(), sequence: 0, transactional: id == 2 };
        let producer = (n % 4 != 0).then_some(producer);
        let records = batch_of(&timestamps, producer, codecs[usize::try_from(n).unwrap() % 5], 50);
        append(&mut log, records).unwrap();
        if let Some(p) = producer.filter(|p| p.transactional) {
            let mut records = marker(p.id, p.epoch, n % 2 == 0, 1, NOW + i64::from(n) * 700);
            log.append_as_leader(&mut records, coordinator(n / 50)).unwrap();
        }
    }
    assert!(log.segment_count() > 3);
    log.close(NOW).unwrap();
    let names: Vec<String> = files(&dir).into_keys().filter(|name| name.starts_with('0')).collect();
    assert!(names.iter().any(|name| name.ends_with(".txnindex")));
    let inspect = |arguments: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| dir.join(name).display().to_string()).collect();
        let output = Command::new("java")
            .arg("-Xmx400m")
            .arg("-cp")
            .arg(jars.join("*"))
            .arg("org.apache.kafka.tools.DumpLogSegments")
            .args(arguments)
            .arg("--files")
            .arg(paths.join(","))
            .output();
        output.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for arguments in [&["--deep-iteration"][..], &["--index-sanity-check"]] {
        let text = match inspect(arguments) {
            Ok(text) if !text.contains("ClassNotFoundException") => text,
            _ => {
                eprintln!("SKIPPED: {test}: no java, or no kafka-tools jar in OTTLA_KAFKA_CLASSPATH");
                return;
            }
        };
        for complaint in [
            "isvalid: false",
            "ismatch",
            "Mismatch",
            "Exception",
            "corrupt",
            "Found timestamp",
            "not consecutive",
            "failed",
        ] {
            assert!(!text.contains(complaint), "{complaint}:\n{text}");
        }
        let inspected = text.matches("Dumping ").count() + text.matches("passed sanity check").count();
        assert!(inspected >= names.len(), "{inspected} of {}:\n{text}", names.len());
        if arguments[0] == "--deep-iteration" {
            assert_eq!(text.matches("| offset: ").count(), usize::try_from(log.log_end_offset().0).unwrap());
        }
    }
}
