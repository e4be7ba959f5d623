//! Side by side with Apache Kafka's own classes.
//!
//! Runs when `OTTLA_KAFKA_CLASSPATH` names a directory with the jars of Apache Kafka (kafka-clients, kafka-storage and
//! what they need; 4.4.0) and there is a JDK; says SKIPPED otherwise.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::{Owned, Rng, T0, build, compress, random_records, read, read_bytes};
use ottla_record::validate::{InvalidBatch, Origin, Rules, TargetCompression, Validated, validate};
use ottla_record::{
    BatchBuilder, BatchView, Batches, Codec, Compression, EndTxnMarker, HEADER_LEN, Limits, TimestampType,
    patch,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jvm/RecordPeer.java");

/// A JVM that answers line by line (see `RecordPeer.java`).
struct Kafka {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Past the capture of the test's output.
fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

impl Kafka {
    fn start(test: &str) -> Option<Self> {
        let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH") else {
            skipped(test, "OTTLA_KAFKA_CLASSPATH (directory of Kafka's jars) is not set");
            return None;
        };
        let started = Command::new("java")
            .arg("-Xmx400m")
            .arg("-cp")
            .arg(Path::new(&jars).join("*"))
            .arg(PEER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                skipped(test, &format!("java cannot be run: {error}"));
                return None;
            }
        };
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Some(Self { process, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        let answer = answer.trim_end_matches('\n');
        match answer.split_once(' ') {
            Some(("ok", answer)) => Ok(answer.to_owned()),
            Some(("err", answer)) => Err(answer.to_owned()),
            _ => panic!("no answer to {command:.200}: '{answer}'"),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Owned>, String> {
        let answer = self.ask(&format!("read {}", hex(bytes)))?;
        Ok(answer.split(' ').filter(|record| !record.is_empty()).map(parse_record).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a batch")]
    fn write(
        &mut self,
        magic: u8,
        codec: &str,
        level: Option<i32>,
        append_time: Option<i64>,
        producer: (i64, i16, i32),
        transactional: bool,
        records: &[Owned],
    ) -> Vec<u8> {
        let text = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let records: Vec<_> = records.iter().map(print_record).collect();
        let (id, epoch, sequence) = producer;
        let base = records[0].split_once(',').unwrap().0;
        let (level, append_time) = (text(level.map(i64::from)), text(append_time));
        let command = format!(
            "write {magic} {codec} {level} {base} {append_time} {id} {epoch} {sequence} {transactional} 3 {}",
            records.join(" ")
        );
        unhex(&self.ask(&command).unwrap())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn text_of(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or("-".to_owned(), |bytes| hex(bytes))
}

fn print_record(record: &Owned) -> String {
    let Owned { offset, timestamp, key, value, headers } = record;
    let headers: String = headers
        .iter()
        .map(|(key, value)| format!(",{}={}", hex(key.as_bytes()), text_of(value.as_ref())))
        .collect();
    format!("{offset},{timestamp},{},{}{headers}", text_of(key.as_ref()), text_of(value.as_ref()))
}

fn parse_record(text: &str) -> Owned {
    let bytes = |text: &str| (text != "-").then(|| unhex(text));
    let fields: Vec<_> = text.split(',').collect();
    Owned {
        offset: fields[0].parse().unwrap(),
        timestamp: fields[1].parse().unwrap(),
        key: bytes(fields[2]),
        value: bytes(fields[3]),
        headers: fields[4..]
            .iter()
            .map(|header| {
                let (key, value) = header.split_once('=').unwrap();
                (String::from_utf8(unhex(key)).unwrap(), bytes(value))
            })
            .collect(),
    }
}

const LEVELS: [(Compression, Option<i32>); 13] = [
    (Compression::None, None),
    (Compression::Gzip, None),
    (Compression::Gzip, Some(1)),
    (Compression::Gzip, Some(9)),
    (Compression::Snappy, None),
    (Compression::Lz4, None),
    (Compression::Lz4, Some(1)),
    (Compression::Lz4, Some(17)),
    (Compression::Zstd, None),
    (Compression::Zstd, Some(-131_072)),
    (Compression::Zstd, Some(1)),
    (Compression::Zstd, Some(19)),
    (Compression::Zstd, Some(22)),
];

fn codec_of(compression: Compression, level: Option<i32>) -> Codec {
    level.map_or(Codec::from(compression), |level| Codec::new(compression, level).unwrap())
}

#[test]
fn reads_what_kafka_writes() {
    let Some(mut kafka) = Kafka::start("reads_what_kafka_writes") else { return };
    let mut rng = Rng::new(1);
    for (compression, level) in LEVELS {
        for round in 0..12 {
            let max_value = [20, 300, 60_000][round % 3];
            let base = rng.below(1_000_000) as i64;
            let records = random_records(&mut rng, base, 30, max_value);
            let append_time = rng.chance(4).then_some(T0 + 77_777);
            let transactional = rng.chance(3);
            let bytes =
                kafka.write(2, compression.name(), level, append_time, (9, 1, 40), transactional, &records);
            let expected: Vec<_> = records
                .iter()
                .map(|record| Owned { timestamp: append_time.unwrap_or(record.timestamp), ..record.clone() })
                .collect();
            assert_eq!(read_bytes(&bytes), expected, "{compression} {level:?}");
            let (batch, _) = BatchView::parse(&bytes).unwrap();
            assert_eq!(batch.attributes().is_transactional(), transactional);
            if compression == Compression::None {
                let mut builder = BatchBuilder::new()
                    .base_offset(Offset(base))
                    .leader_epoch(LeaderEpoch(3))
                    .producer(ProducerId(9), ProducerEpoch(1), Sequence(40))
                    .transactional(transactional);
                if let Some(now) = append_time {
                    builder = builder.log_append_time(now);
                }
                records.iter().for_each(|record| record.append_to(&mut builder));
                assert_eq!(builder.build().unwrap(), bytes, "the same bytes");
            }
        }
    }
}

#[test]
fn reads_the_messages_that_kafka_wrote_before_batches() {
    let Some(mut kafka) = Kafka::start("reads_the_messages_that_kafka_wrote_before_batches") else { return };
    let mut rng = Rng::new(2);
    for magic in [0, 1] {
        for codec in ["none", "gzip", "snappy", "lz4"] {
            for _ in 0..8 {
                let base = 1 + rng.below(1000) as i64;
                let mut records = random_records(&mut rng, base, 20, 5000);
                records.iter_mut().for_each(|record| record.headers.clear());
                let append_time = (magic == 1 && rng.chance(3)).then_some(T0 + 5);
                let bytes = kafka.write(magic, codec, None, append_time, (-1, -1, -1), false, &records);
                let mut ours = Vec::new();
                for batch in Batches::new(&bytes) {
                    let batch = batch.unwrap();
                    batch.verify_crc().unwrap();
                    assert_eq!(batch.magic(), magic as i8);
                    ours.extend(read(&batch).unwrap());
                }
                let expected: Vec<_> = records
                    .into_iter()
                    .map(|record| Owned {
                        timestamp: if magic == 0 { -1 } else { append_time.unwrap_or(record.timestamp) },
                        ..record
                    })
                    .collect();
                assert_eq!(ours, expected, "magic {magic} {codec}");
                assert_eq!(kafka.read(&bytes).unwrap(), expected);
            }
        }
    }
}

#[test]
fn kafka_reads_what_we_write() {
    let Some(mut kafka) = Kafka::start("kafka_reads_what_we_write") else { return };
    let mut rng = Rng::new(3);
    for (compression, level) in LEVELS {
        for round in 0..12 {
            let max_value = [20, 300, 60_000][round % 3];
            let base = rng.below(1_000_000) as i64;
            let records = random_records(&mut rng, base, 30, max_value);
            let bytes = build(codec_of(compression, level), &records);
            assert_eq!(kafka.read(&bytes).unwrap(), records, "{compression} {level:?}");
        }
    }
    for committed in [true, false] {
        let ours = EndTxnMarker { committed, coordinator_epoch: 7 }.batch(
            Offset(12),
            LeaderEpoch(4),
            T0,
            ProducerId(99),
            ProducerEpoch(3),
        );
        assert_eq!(kafka.ask(&format!("marker 12 4 {T0} 99 3 {committed} 7")).unwrap(), hex(&ours));
    }
}

const NOW: i64 = T0 + 10_000;

/// A produced batch, good or damaged, and the rules of a topic.
struct Case {
    bytes: Vec<u8>,
    client: bool,
    target: Option<Compression>,
    compacted: bool,
    append_time: bool,
    before: i64,
    after: i64,
    max_bytes: usize,
    max_record: usize,
}

fn random_case(rng: &mut Rng) -> Case {
    let mut bytes = random_batch(rng);
    if rng.chance(20) {
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
    if rng.chance(10) {
        let more = random_batch(rng);
        let cut = if rng.chance(3) { more.len() } else { rng.below(more.len()) };
        bytes.extend_from_slice(&more[..cut]);
    }
    let small = rng.chance(8);
    // What a codec makes of a batch may differ by some bytes, and so what is too large.
    let targets = if small { 1 } else { 5 };
    Case {
        bytes,
        client: !rng.chance(4),
        target: (!rng.chance(3)).then(|| Compression::ALL[rng.below(targets)]),
        compacted: rng.chance(4),
        append_time: rng.chance(3),
        before: [i64::MAX, 10_050, 9_000][rng.below(3)],
        after: [3_600_000, 0, i64::MAX][rng.below(3)],
        max_bytes: if small { 200 } else { 1_048_588 },
        max_record: if rng.chance(8) { 60 } else { 2_147_483_639 },
    }
}

fn random_batch(rng: &mut Rng) -> Vec<u8> {
    let mut records = random_records(rng, 0, 6, 40);
    for record in &mut records {
        if rng.chance(10) {
            record.timestamp = [-1, -5, NOW, NOW + 1, NOW + 3_600_001, 0, i64::MAX][rng.below(7)];
        }
    }
    let mut builder = BatchBuilder::new().transactional(rng.chance(4)).control(rng.chance(30));
    if rng.chance(3) {
        builder = builder.producer(ProducerId(5), ProducerEpoch(0), Sequence(rng.below(100) as i32 - 2));
    }
    if rng.chance(8) {
        builder = builder.log_append_time([NOW, T0, -1][rng.below(3)]);
    }
    records.iter().for_each(|record| record.append_to(&mut builder));
    let plain = builder.build().unwrap();
    let mut body = plain[HEADER_LEN..].to_vec();
    if rng.chance(2) {
        damage(rng, &mut body);
    }
    let compression = Compression::ALL[rng.below(5)];
    let mut body = if compression == Compression::None { body } else { compress(compression, &body) };
    if rng.chance(8) && compression != Compression::None {
        damage(rng, &mut body);
    }
    let mut bytes = [&plain[..HEADER_LEN], &body].concat();
    let len = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&len.to_be_bytes());
    bytes[22] |= compression.id();
    if rng.chance(4) {
        damage_header(rng, &mut bytes);
    }
    if bytes[16] == 2 {
        patch::update_crc(&mut bytes);
    }
    bytes
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(2) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len());
        match rng.below(5) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0xff, 0x80, 0x7f][rng.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.next() as u8),
            _ => bytes[at] = bytes[at].wrapping_add(2),
        }
    }
}

fn damage_header(rng: &mut Rng, bytes: &mut [u8]) {
    let small = |rng: &mut Rng| (rng.below(9) as i64) - 2;
    // Field and width: offset, attributes, last offset delta, timestamps, producer, epoch, sequence, count.
    let fields =
        [(0, 8), (22, 1), (23, 4), (27, 8), (35, 8), (43, 8), (51, 2), (53, 4), (57, 4), (12, 4), (16, 1)];
    let (at, width) = fields[rng.below(fields.len())];
    let value = match (at, rng.below(4)) {
        (22, _) => i64::from(bytes[22] ^ (1 << rng.below(7))),
        (16, _) => rng.below(4) as i64,
        (_, 0) => [i64::from(i32::MAX), i64::from(i32::MIN), T0, NOW][rng.below(4)],
        _ => small(rng),
    };
    bytes[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

impl Case {
    fn ours(&self) -> Result<(Validated, Vec<u8>), InvalidBatch> {
        let topic = TopicPartition::new("orders", 3);
        let rules = Rules {
            topic_partition: &topic,
            origin: if self.client { Origin::Client } else { Origin::Coordinator },
            compression: self
                .target
                .map_or(TargetCompression::Producer, |target| TargetCompression::Fixed(Codec::from(target))),
            timestamp_type: if self.append_time {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            timestamp_before_max_ms: self.before,
            timestamp_after_max_ms: self.after,
            compacted: self.compacted,
            max_message_bytes: self.max_bytes,
            limits: Limits { max_record_bytes: self.max_record, ..Limits::DEFAULT },
        };
        let mut bytes = self.bytes.clone();
        let valid = validate(&mut bytes, &rules, Offset(500), LeaderEpoch(8), NOW)?;
        let written = valid.bytes(&bytes).to_vec();
        Ok((valid, written))
    }

    fn kafkas(&self, kafka: &mut Kafka) -> Result<(i64, Vec<u8>), String> {
        let Self { client, compacted, append_time, before, after, max_bytes, max_record, .. } = self;
        let origin = if *client { "client" } else { "coordinator" };
        let target = self.target.map_or("producer", Compression::name);
        let bytes = hex(&self.bytes);
        let answer = kafka.ask(&format!(
            "validate {origin} {target} {compacted} {append_time} {before} {after} {max_bytes} {max_record} 500 8 \
             {NOW} {bytes}"
        ))?;
        let (max_timestamp, bytes) = answer.split_once(' ').unwrap();
        Ok((max_timestamp.parse().unwrap(), unhex(bytes)))
    }
}

/// Kafka's exception for a refusal of ours.
fn exception_of(error: &InvalidBatch) -> &'static str {
    match error {
        InvalidBatch::Corrupt(_) => "CorruptRecordException",
        InvalidBatch::TooLarge { .. } => "RecordTooLargeException",
        InvalidBatch::Refused(_) | InvalidBatch::Records { .. } => "InvalidRecordException",
        InvalidBatch::Timestamps { .. } => "InvalidTimestampException",
        InvalidBatch::Undecodable(_) => "KafkaException",
    }
}

const API_EXCEPTIONS: [&str; 4] = [
    "CorruptRecordException",
    "RecordTooLargeException",
    "InvalidRecordException",
    "InvalidTimestampException",
];

/// Message and record errors, as [`Kafka::ask`] gives them.
fn visible_text(error: &InvalidBatch) -> Option<String> {
    let message = error.wire_message()?;
    let faults: String = error
        .record_faults()
        .iter()
        .map(|fault| format!(" {}={}", fault.index, hex(fault.message.as_bytes())))
        .collect();
    Some(format!("{} {}{faults}", exception_of(error), hex(message.as_bytes())))
}

#[derive(Default, Debug)]
struct Tally {
    same_bytes: usize,
    same_records: usize,
    same_exception: usize,
    same_record_errors: usize,
    internal_exception: usize,
    stricter: usize,
}

fn has_text_headers(bytes: &[u8]) -> bool {
    let mut records = BatchView::parse(bytes).unwrap().0.records().unwrap();
    while let Some(record) = records.try_next().unwrap() {
        if record.headers.into_iter().any(|header| std::str::from_utf8(header.key).is_err()) {
            return false;
        }
    }
    true
}

fn compare(case: &Case, kafka: &mut Kafka, tally: &mut Tally) {
    let described = || format!("{} as {:?}", hex(&case.bytes), case.target);
    match (case.ours(), case.kafkas(kafka)) {
        (Ok((valid, ours)), Ok((max_timestamp, theirs))) => {
            assert_eq!(valid.max_timestamp, max_timestamp, "{}", described());
            let compressed = ours[22] & 7 != 0;
            if valid.rebuilt.is_some() && (compressed || !has_text_headers(&ours)) {
                // The codecs' bytes may differ, the header but for length and checksum may not. And Kafka writes
                // header keys that are no UTF-8 with U+FFFD, while we leave them.
                for range in [0..8, 12..17, 21..HEADER_LEN] {
                    assert_eq!(ours[range.clone()], theirs[range], "{}", described());
                }
                assert_eq!(read_bytes(&ours), kafka.read(&theirs).unwrap());
                assert_eq!(kafka.read(&ours).unwrap(), read_bytes(&theirs));
                tally.same_records += 1;
            } else {
                assert_eq!(hex(&ours), hex(&theirs), "{}", described());
                tally.same_bytes += 1;
            }
        }
        (Ok(_), Err(theirs)) => panic!("we accept what Kafka refuses with {theirs}: {}", described()),
        (Err(ours), Ok((_, theirs))) => {
            // Kafka does not look whether compressed records are as long as they say. Its readers do.
            assert!(kafka.read(&theirs).is_err(), "{ours}, but Kafka reads it: {}", described());
            tally.stricter += 1;
        }
        (Err(ours), Err(theirs)) => {
            let exception = theirs.split(' ').next().unwrap();
            // Which of two faults in a compressed body is met first depends on how far a decoder reads ahead.
            if !API_EXCEPTIONS.contains(&exception) || matches!(ours, InvalidBatch::Undecodable(_)) {
                tally.internal_exception += 1;
            } else if matches!(ours, InvalidBatch::Refused(_)) && exception == "InvalidTimestampException" {
                // A record that is not as long as it says, met before Kafka had counted the timestamps.
                assert!(case.bytes[22] & 7 != 0, "{ours}: {}", described());
                tally.stricter += 1;
            } else if let Some(text) = visible_text(&ours) {
                assert_eq!(text, theirs, "{}", described());
                tally.same_record_errors += 1;
            } else {
                assert_eq!(exception_of(&ours), exception, "{ours}: {}", described());
                tally.same_exception += 1;
            }
        }
    }
}

#[test]
fn validates_as_kafkas_log_validator() {
    let Some(mut kafka) = Kafka::start("validates_as_kafkas_log_validator") else { return };
    let mut rng = Rng::new(4);
    let mut tally = Tally::default();
    for _ in 0..6000 {
        let case = random_case(&mut rng);
        // Kafka forgets the control bit of a compressed batch that it rebuilds. Nobody writes such; we keep the bit.
        let forgets_control = case.bytes[22] & 0x20 != 0 && case.bytes[22] & 7 != 0;
        // Kafka lets a coordinator append nothing. We do not.
        let empty = !case.client && case.bytes[57..61] == [0; 4];
        if !forgets_control && !empty {
            compare(&case, &mut kafka, &mut tally);
        }
    }
    eprintln!("{tally:?}");
    let Tally { same_bytes, same_records, same_exception, same_record_errors, .. } = tally;
    assert!(same_bytes > 300 && same_records > 300 && same_exception > 300 && same_record_errors > 100);
}
