//! Compaction side by side with Apache Kafka's `Cleaner`: the same log, cleaned again and again by both, must be the same
//! files. Runs as the tests in `kafka.rs` do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::{BatchBuilder, Batches, Codec, Compression, TimestampType, crc32, patch};
use ottla_storage::fs::{Fs as _, RealFs};
use ottla_storage::log::cleaner::Cleaner;
use ottla_storage::log::{
    AppendOrigin, CleanupPolicy, LeaderAppend, Log, LogConfig, LogOpen, VerificationGuard,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

use super::cleaner::OneLog;
use super::kafka::{Kafka, Rng, copy, files, hex, state};
use super::support::*;

const RETENTION_MS: i64 = 20_000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4000,
        index_interval_bytes: 300,
        segment_ms: 50_000,
        retention_ms: -1,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        delete_retention_ms: RETENTION_MS,
        transaction_verification: false,
        ..LogConfig::default()
    }
}

struct Pair {
    kafka: Kafka,
    host: OneLog,
    our_dir: PathBuf,
    kafka_dir: PathBuf,
    rng: Rng,
    now: i64,
    epoch: i32,
    codecs: bool,
    /// The topic has the broker's time.
    append_time: bool,
    /// Nothing is of a producer. Otherwise all is stable when it is cleaned: of a producer whose last batch a crash can still take
    /// away, we keep the one before, and Kafka does not.
    plain: bool,
    /// Epoch, next sequence, and whether a transaction is open.
    producers: BTreeMap<i64, (i16, i32, bool)>,
    checkpoint: Option<i64>,
}

impl Pair {
    fn start(test: &str, root: &Path, seed: u64, codecs: bool) -> Option<Self> {
        let mut kafka = Kafka::start(test)?;
        let (our_dir, kafka_dir) = (root.join("ours/t-0"), root.join("kafka/t-0"));
        std::fs::create_dir_all(&our_dir).unwrap();
        std::fs::create_dir_all(&kafka_dir).unwrap();
        kafka.open(&kafka_dir, false, 0, 0, NOW);
        kafka.ask("config cleanup.policy compact").unwrap();
        kafka.ask(&format!("config delete.retention.ms {RETENTION_MS}")).unwrap();
        let append_time = seed == 3;
        if append_time {
            kafka.ask("config message.timestamp.type LogAppendTime").unwrap();
        }
        let log = open_ours(&our_dir);
        Some(Self {
            kafka,
            host: OneLog { fs: Arc::new(RealFs), log: RefCell::new(Some(log)), stop_after: None.into() },
            our_dir,
            kafka_dir,
            rng: Rng::new(seed),
            now: NOW,
            epoch: 0,
            codecs,
            append_time,
            plain: seed == 2,
            producers: BTreeMap::new(),
            checkpoint: None,
        })
    }

    fn ours<T>(&self, f: impl FnOnce(&mut Log) -> T) -> T {
        f(self.host.log.borrow_mut().as_mut().unwrap())
    }

    fn append(&mut self, origin: &str, mut bytes: Vec<u8>) {
        let theirs = self.kafka.ask(&format!("leader {origin} {} 0 {}", self.epoch, hex(&bytes))).unwrap();
        if self.append_time {
            patch::set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, self.now);
        }
        let append = LeaderAppend {
            origin: if origin == "client" { AppendOrigin::Client } else { AppendOrigin::Coordinator },
            leader_epoch: LeaderEpoch(self.epoch),
            guard: VerificationGuard::default(),
            transaction_version: 0,
            now_ms: self.now,
        };
        let info = self.ours(|log| log.append_as_leader(&mut bytes, append)).unwrap();
        assert_eq!(theirs, format!("{} {}", info.first_offset, info.last_offset));
    }

    /// Keyed records, every fourth a tombstone; of nobody, of an idempotent producer, or in a transaction.
    fn append_data(&mut self) {
        let id = if self.plain { 0 } else { self.rng.i64_below(7) };
        let records = 1 + self.rng.below(6);
        let all = [Compression::Lz4, Compression::Gzip, Compression::Zstd, Compression::Snappy];
        let codec = match self.rng.below(7) {
            n @ 0..4 if self.codecs => all[usize::try_from(n).unwrap()].into(),
            _ => Codec::NONE,
        };
        let mut builder = BatchBuilder::new().codec(codec);
        if id > 0 {
            let (epoch, sequence, open) = self.producers.entry(id).or_default();
            builder = builder
                .producer(ProducerId(id), ProducerEpoch(*epoch), Sequence(*sequence))
                .transactional(id > 3);
            *sequence += i32::try_from(records).unwrap();
            *open |= id > 3;
        }
        for _ in 0..records {
            let key = format!("key-{}", self.rng.below(12));
            let value = vec![b'v'; usize::try_from(self.rng.below(80)).unwrap()];
            let value = (self.rng.below(4) > 0).then_some(value.as_slice());
            let timestamp = self.now - 2000 + self.rng.i64_below(4000);
            builder.append(timestamp, Some(key.as_bytes()), value, &[]).unwrap();
        }
        self.append("client", builder.build().unwrap());
    }

    fn end_transaction(&mut self) {
        let id = 4 + self.rng.i64_below(3);
        let Some((epoch, _, open)) = self.producers.get_mut(&id) else { return };
        if std::mem::take(open) {
            let bytes = marker(id, *epoch, self.rng.below(2) == 0, 1, self.now);
            self.append("coordinator", bytes);
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..70 => self.append_data(),
            70..88 => self.end_transaction(),
            88..90 => {
                self.epoch += 1;
                let end = self.ours(|log| {
                    log.assign_epoch_start(LeaderEpoch(self.epoch), log.log_end_offset());
                    log.log_end_offset()
                });
                self.kafka.ask(&format!("epoch {} {end}", self.epoch)).unwrap();
            }
            90..94 => self.settle(),
            94..96 => {
                // A producer that is fenced and begins anew.
                let id = 1 + self.rng.i64_below(3);
                let (epoch, sequence, _) = self.producers.entry(id).or_default();
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            _ => self.clean(),
        }
        self.now += self.rng.i64_below(900);
        let theirs = self.kafka.ask("state").unwrap();
        let producers = self.ours(|log| state(log, &BTreeMap::new()));
        let part = |text: &str, name: &str| text.split_once(name).map(|(_, rest)| rest.to_owned());
        assert_eq!(part(&theirs, " epochs="), part(&producers, " epochs="));
        // The peer's clock.
        self.kafka.ask(&format!("now {}", self.now)).unwrap();
    }

    /// All is stable.
    fn settle(&mut self) {
        let end = self.ours(|log| log.set_high_watermark(log.log_end_offset()));
        self.kafka.ask(&format!("watermark {end}")).unwrap();
    }

    fn clean(&mut self) {
        if !self.plain {
            self.settle();
        }
        let (now, checkpoint) = (self.now, self.checkpoint);
        let lag = [0, 0, 3_000][usize::try_from(self.rng.below(3)).unwrap()];
        self.kafka.ask(&format!("config min.compaction.lag.ms {lag}")).unwrap();
        self.ours(|log| log.update_config(LogConfig { min_compaction_lag_ms: lag, ..config() }));
        let dirt = self.ours(|log| log.dirtiness(checkpoint.map(Offset), now)).unwrap();
        let theirs = self.kafka.ask(&format!("dirty {}", checkpoint.unwrap_or(-1))).unwrap();
        let (dirty, all) = (dirt.dirty_bytes, dirt.dirty_bytes + dirt.clean_bytes);
        let offsets = format!("{} {} {}", dirt.first_dirty, dirt.first_uncleanable, dirt.resets_checkpoint);
        if self.codecs {
            assert!(theirs.starts_with(&offsets), "{theirs}, {offsets}");
        } else {
            assert_eq!(theirs, format!("{offsets} {dirty}/{all}"));
        }
        if dirt.dirty_bytes == 0 {
            return;
        }
        // Now and then the map is too small for all keys.
        let map_bytes = [24 * 8, 24 * 1000][usize::from(self.rng.below(3) > 0)];
        let buffer = [600, 100_000][usize::from(self.rng.below(2) > 0)];
        let (first, end) = (dirt.first_dirty, dirt.first_uncleanable);
        let theirs = self.kafka.ask(&format!("clean {first} {end} {map_bytes} {buffer}")).unwrap();
        let cleaner = Cleaner { map_bytes, load_factor: 0.9, io_bytes: buffer, hash_key: (1, 2) };
        let cleaned = cleaner.clean(&self.host, first, end, now).unwrap();
        assert_eq!(theirs, cleaned.end.to_string());
        self.checkpoint = Some(cleaned.end.value());
        self.ours(|log| log.flush(now)).unwrap();
        self.kafka.ask("flush").unwrap();
        compare(&files(&self.our_dir), &files(&self.kafka_dir), self.codecs);
    }
}

/// All inactive segments' files are the same; where codecs are used, their batches' headers and records.
fn compare(ours: &BTreeMap<String, Vec<u8>>, theirs: &BTreeMap<String, Vec<u8>>, codecs: bool) {
    let segments = |files: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        files.keys().filter(|name| name.ends_with(".log") || name.ends_with(".txnindex")).cloned().collect()
    };
    // How well a codec compresses decides which segments are joined.
    assert!(codecs || segments(ours) == segments(theirs));
    let active = segments(ours).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    for (name, bytes) in ours {
        let Some(other) = theirs.get(name) else { continue };
        let is_index = name.ends_with("index") && !name.starts_with(active.trim_end_matches("log"));
        let is_log = name.ends_with(".log");
        if is_log && !codecs {
            assert!(bytes == other, "{name}: {:?}\n{:?}", show(bytes), show(other));
        } else if name.ends_with(".txnindex") || (is_index && !codecs) {
            assert_eq!(hex(bytes), hex(other), "{name}");
        }
    }
    assert_eq!(all_shown(ours), all_shown(theirs));
}

fn all_shown(files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    files.iter().filter(|(name, _)| name.ends_with(".log")).flat_map(|(_, bytes)| show(bytes)).collect()
}

/// Everything in the batches that does not depend on how a codec compresses.
fn show(bytes: &[u8]) -> Vec<String> {
    let mut shown = Vec::new();
    for batch in Batches::new(bytes).flatten() {
        batch.verify_crc().unwrap();
        shown.push(format!(
            "v{} {}..{} {:?} {} {} {} {} {} {} n={}",
            batch.magic(),
            batch.base_offset(),
            batch.last_offset(),
            batch.attributes(),
            batch.leader_epoch(),
            batch.base_timestamp(),
            batch.max_timestamp(),
            batch.producer_id(),
            batch.producer_epoch(),
            batch.base_sequence(),
            batch.record_count()
        ));
        let mut records = batch.records().unwrap();
        while let Some(record) = records.try_next().unwrap() {
            shown.push(format!(
                "  {} {} {:?} {:?}",
                record.offset,
                record.timestamp,
                record.key,
                record.value.map(<[u8]>::len)
            ));
        }
    }
    shown
}

fn open_ours(dir: &Path) -> Log {
    Log::open(Arc::new(RealFs), dir, config(), opening(false, Offset(0))).unwrap().0
}

fn compact_side_by_side(test: &str, seed: u64, codecs: bool, steps: usize) {
    let root = tempfile::tempdir().unwrap();
    let Some(mut pair) = Pair::start(test, root.path(), seed, codecs) else { return };
    for _ in 0..steps {
        pair.step();
    }
    // To the end: what is open ends, all is stable, horizons pass.
    for _ in 0..6 {
        for _ in 0..8 {
            pair.end_transaction();
        }
        pair.now += RETENTION_MS / 2;
        pair.kafka.ask(&format!("now {}", pair.now)).unwrap();
        for _ in 0..40 {
            pair.append_data();
        }
        pair.settle();
        pair.clean();
    }
    assert!(pair.checkpoint.is_some_and(|checkpoint| checkpoint > 0), "{test} has cleaned something");
    // Kafka opens what we have cleaned, after a crash, and makes of it what we do.
    let end = pair.ours(|log| log.log_end_offset());
    let copied = root.path().join("copied/t-0");
    copy(&pair.our_dir, &copied);
    pair.kafka.open(&copied, false, 0, 0, pair.now);
    let theirs = pair.kafka.ask("state").unwrap();
    assert!(theirs.starts_with(&format!("end={end} ")), "{theirs}");
    let open = LogOpen { now_ms: pair.now, ..opening(false, Offset(0)) };
    let reopened = Log::open(Arc::new(RealFs), &pair.our_dir, config(), open).unwrap().0;
    assert_eq!(reopened.log_end_offset(), end);
    compare(&files(&pair.our_dir), &files(&copied), false);
    assert!(RealFs.list(&pair.our_dir).unwrap().iter().all(|(name, _)| !name.ends_with(".cleaned")));
}

#[test]
fn cleaned_segments_are_the_bytes_that_kafka_writes() {
    for seed in [1, 2, 3] {
        compact_side_by_side("cleaned_segments_are_the_bytes_that_kafka_writes", seed, false, 500);
    }
}

#[test]
fn compressed_batches_are_cleaned_as_kafka_cleans_them() {
    compact_side_by_side("compressed_batches_are_cleaned_as_kafka_cleans_them", 4, true, 500);
}

/// A message of magic 1; `value` holds the inner messages if there is a codec.
fn legacy_message(offset: i64, codec: Compression, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![1, codec.id()];
    body.extend_from_slice(&(NOW + offset).to_be_bytes());
    for field in [key, value] {
        let len = field.map_or(-1, |field| i32::try_from(field.len()).unwrap());
        body.extend_from_slice(&len.to_be_bytes());
        body.extend_from_slice(field.unwrap_or_default());
    }
    let mut message = offset.to_be_bytes().to_vec();
    message.extend_from_slice(&i32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(&crc32(&body).to_be_bytes());
    message.extend_from_slice(&body);
    message
}

#[test]
fn legacy_messages_are_cleaned_as_kafka_cleans_them() {
    let root = tempfile::tempdir().unwrap();
    let test = "legacy_messages_are_cleaned_as_kafka_cleans_them";
    let Some(mut pair) = Pair::start(test, root.path(), 5, true) else { return };
    let mut offset = 0;
    for n in 0..120 {
        let codec = [Compression::None, Compression::Gzip, Compression::Snappy][n % 3];
        let mut bytes = Vec::new();
        for inner in 0..if codec == Compression::None { 1 } else { 5 } {
            let key = format!("key-{}", pair.rng.below(15));
            let value = vec![b'v'; usize::try_from(pair.rng.below(60)).unwrap()];
            let value = (pair.rng.below(4) > 0).then_some(value.as_slice());
            // Inside of a wrapper offsets count from the first.
            let shown = if codec == Compression::None { offset } else { inner };
            bytes.extend(legacy_message(shown, Compression::None, Some(key.as_bytes()), value));
            offset += 1;
        }
        if codec != Compression::None {
            let mut compressed = Vec::new();
            Codec::from(codec).compress(&bytes, &mut compressed).unwrap();
            bytes = legacy_message(offset - 1, codec, None, Some(&compressed));
        }
        let theirs = pair.kafka.ask(&format!("follower 0 {}", hex(&bytes))).unwrap();
        pair.ours(|log| log.append_as_follower(&bytes, LeaderEpoch(0), NOW)).unwrap();
        assert_eq!(theirs, offset.to_string());
    }
    let end = pair.ours(|log| log.set_high_watermark(log.log_end_offset()));
    pair.kafka.ask(&format!("watermark {end}")).unwrap();
    let before = all_shown(&files(&pair.our_dir)).len();
    for _ in 0..20 {
        pair.clean();
    }
    let after = all_shown(&files(&pair.our_dir)).len();
    assert!(after < before / 2, "{after} of {before} lines are left");
}
