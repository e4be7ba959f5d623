//! Segments and metadata snapshots, batch by batch.

use std::io::Write;
use std::path::Path;

use ottla_record::{BatchHeader, BatchView, EndTxnMarker, RecordView, TimestampType};

use super::Health;
use super::decode::{Decoder, control};
use crate::log_file::{BadBatch, BatchFile};

/// What is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) decoder: Option<Decoder>,
    /// Keys and values.
    pub(super) print: bool,
    /// Records, without keys and values.
    pub(super) deep: bool,
    /// What is about a record.
    pub(super) about_records: bool,
    pub(super) max_bytes: u64,
}

pub(super) fn dump(path: &Path, options: Options, out: &mut impl Write) -> anyhow::Result<Health> {
    let mut file = BatchFile::open(path)?;
    let (mut health, mut next) = (Health::Good, None);
    loop {
        let before = file.position();
        if before >= options.max_bytes {
            return Ok(health);
        }
        let (position, bytes) = match file.next_batch() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(health),
            Err(BadBatch::Io(error)) => return Err(error.into()),
            Err(BadBatch::Record(_)) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                writeln!(out, "Found {} invalid bytes at the end of {name}", file.bytes_from(before))?;
                return Ok(Health::Damaged);
            }
        };
        let (batch, _) = BatchView::parse(&bytes)?;
        let is_valid = batch.verify_crc().is_ok();
        if !is_valid {
            health = Health::Damaged;
        }
        print_batch(&batch.header(), position, is_valid, out)?;
        if next.is_some_and(|next| batch.base_offset().value() < next) {
            writeln!(out, "Found non-consecutive offsets in {}", path.display())?;
            health = Health::Damaged;
        }
        next = Some(batch.next_offset().value());
        if is_valid && (options.print || options.deep) && !print_records(&batch, options, out)? {
            health = Health::Damaged;
        }
    }
}

fn print_batch(
    header: &BatchHeader<'_>,
    position: u64,
    is_valid: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if header.magic() >= 2 {
        let horizon = match header.delete_horizon_ms() {
            Some(horizon) => format!("OptionalLong[{horizon}]"),
            None => "OptionalLong.empty".to_owned(),
        };
        write!(
            out,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
             partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon}",
            header.base_offset(),
            header.last_offset(),
            header.record_count(),
            header.base_sequence(),
            header.last_sequence(),
            header.producer_id(),
            header.producer_epoch(),
            header.leader_epoch(),
            header.attributes().is_transactional(),
            header.attributes().is_control(),
        )?;
    } else {
        write!(out, "offset: {}", header.last_offset())?;
    }
    let codec = header.attributes().compression().map_or("unknown", |codec| codec.name());
    writeln!(
        out,
        " position: {position} {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {is_valid}",
        time_name(header.timestamp_type()),
        header.max_timestamp(),
        header.size_in_bytes(),
        header.magic(),
        header.crc(),
    )?;
    Ok(())
}

fn time_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// Prints the records; `false` when they cannot be read.
fn print_records(batch: &BatchView<'_>, options: Options, out: &mut impl Write) -> anyhow::Result<bool> {
    let is_control = batch.attributes().is_control();
    let mut records = match batch.records() {
        Ok(records) => records,
        Err(error) => {
            writeln!(out, "| the records cannot be read: {error}")?;
            return Ok(false);
        }
    };
    loop {
        let record = match records.try_next() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(true),
            Err(error) => {
                writeln!(out, "| the records cannot be read: {error}")?;
                return Ok(false);
            }
        };
        if is_control && !options.about_records {
            continue;
        }
        write!(out, "|")?;
        if options.about_records {
            print_about(&batch.header(), &record, out)?;
        }
        if is_control {
            write!(out, " {}", marker(&record))?;
        } else if options.print {
            print_contents(&record, options.decoder, out)?;
        }
        writeln!(out)?;
    }
}

fn print_about(
    header: &BatchHeader<'_>,
    record: &RecordView<'_>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let size =
        |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    write!(
        out,
        " offset: {} {}: {} keySize: {} valueSize: {}",
        record.offset,
        time_name(header.timestamp_type()),
        record.timestamp,
        size(record.key),
        size(record.value),
    )?;
    if header.magic() >= 2 {
        let keys: Vec<String> = record.headers.map(|header| header.key_text().into_owned()).collect();
        write!(out, " sequence: {} headerKeys: [{}]", record.sequence, keys.join(","))?;
    }
    Ok(())
}

fn print_contents(
    record: &RecordView<'_>,
    decoder: Option<Decoder>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (key, value) = match decoder {
        None => (record.key.map(text), record.value.map(text)),
        Some(decoder) => decoder.read(record.key, record.value),
    };
    if let Some(key) = key {
        write!(out, " key: {key}")?;
    }
    if let Some(value) = value {
        write!(out, " payload: {value}")?;
    }
    Ok(())
}

fn marker(record: &RecordView<'_>) -> String {
    match EndTxnMarker::read(record) {
        Ok(Some(EndTxnMarker { committed, coordinator_epoch })) => {
            let kind = if committed { "COMMIT" } else { "ABORT" };
            format!("endTxnMarker: {kind} coordinatorEpoch: {coordinator_epoch}")
        }
        Ok(None) => control(record.key.unwrap_or_default(), record.value.unwrap_or_default()),
        Err(error) => format!("unreadable control record: {error}"),
    }
}
