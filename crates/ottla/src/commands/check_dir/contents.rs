//! What the records are: formats and codecs of the batches, groups and transactions in the internal topics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use ottla_protocol::messages::TransactionLogValue;
use ottla_protocol::records::{decode_value, split_prefix};
use ottla_record::{BatchView, RecordView};

use super::report::{Partition, Report};
use crate::log_file::{BadBatch, BatchFile, base_and_extension};

/// Kinds of groups by the record types of `__consumer_offsets`, that each kind writes once per group.
const GROUP_KINDS: [(i16, &str); 4] = [(2, "classic"), (3, "consumer"), (11, "share"), (17, "streams")];
/// Record types of committed offsets.
const OFFSETS: [i16; 2] = [0, 1];
const TRANSACTION_STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Looks into the segments. Damaged ends were reported when the logs were opened; here they end the reading.
pub(super) fn inspect(scan: bool, report: &mut Report) {
    let partitions = std::mem::take(&mut report.partitions);
    if scan {
        let progress = bar(partitions.iter().map(|partition| partition.bytes).sum());
        for partition in &partitions {
            progress.set_message(format!("{}-{}", partition.topic, partition.partition));
            for segment in segments(partition) {
                count_batches(&segment, &progress, report);
            }
        }
        progress.finish_and_clear();
    }
    // Keys are bytes: group by group and id by id, the last value counts.
    let (mut groups, mut transactions) = (BTreeMap::new(), BTreeMap::new());
    for partition in &partitions {
        let found = match &*partition.topic {
            "__consumer_offsets" => &mut groups,
            "__transaction_state" => &mut transactions,
            _ => continue,
        };
        for segment in segments(partition) {
            read_keys(&segment, found);
        }
    }
    count_groups(&groups, report);
    for value in transactions.into_values().flatten() {
        let Ok((value, _)) = decode_value::<TransactionLogValue<'_>>(&value) else { continue };
        let state = usize::try_from(value.transaction_status).ok();
        let state = state.and_then(|state| TRANSACTION_STATES.get(state)).unwrap_or(&"unknown");
        *report.contents.transactions.entry((*state).to_owned()).or_default() += 1;
    }
    report.partitions = partitions;
}

fn count_groups(last: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, report: &mut Report) {
    let (mut with_offsets, mut known) = (BTreeSet::new(), BTreeSet::new());
    for (key, _) in last.iter().filter(|(_, value)| value.is_some()) {
        let Some((record_type, rest)) = split_prefix(key) else { continue };
        // All these keys begin with the group's id.
        let group = split_prefix(rest)
            .and_then(|(len, text)| text.get(..usize::try_from(len).ok()?))
            .unwrap_or_default();
        if OFFSETS.contains(&record_type) {
            report.contents.committed_offsets += 1;
            with_offsets.insert(group);
        }
        if let Some((_, kind)) = GROUP_KINDS.iter().find(|(of, _)| *of == record_type) {
            *report.contents.groups.entry((*kind).to_owned()).or_default() += 1;
            known.insert(group);
        }
    }
    for kind in ["share", "streams"] {
        if let Some(count) = report.contents.groups.get(kind) {
            let what = format!("groups of kind {kind}, which are not served yet: {count}");
            report.note(what, "their records are kept");
        }
    }
    let simple = with_offsets.difference(&known).count();
    if simple > 0 {
        report.contents.groups.insert("without members ever".to_owned(), simple);
    }
}

/// The segment files of a partition, oldest first.
fn segments(partition: &Partition) -> Vec<PathBuf> {
    let dir = partition.dir.join(format!("{}-{}", partition.topic, partition.partition));
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut segments: Vec<PathBuf> =
        paths.filter(|path| base_and_extension(path).is_some_and(|(_, kind)| kind == "log")).collect();
    segments.sort();
    segments
}

fn count_batches(segment: &Path, progress: &ProgressBar, report: &mut Report) {
    let Ok(mut file) = BatchFile::open(segment) else { return };
    let mut before = 0;
    while let Ok(Some((_, header))) = file.next_header() {
        let format = format!("v{}", header.magic());
        let codec = header.attributes().compression().map_or("unknown", |codec| codec.name());
        *report.contents.formats.entry(format).or_default() += 1;
        *report.contents.codecs.entry(codec.to_owned()).or_default() += 1;
        progress.inc(file.position() - before);
        before = file.position();
    }
}

/// The last value of each key.
fn read_keys(segment: &Path, last: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
    let Ok(mut file) = BatchFile::open(segment) else { return };
    while let Ok(Some((_, bytes))) = file.next_batch() {
        // The rest of a damaged segment is cut at the start.
        if read_batch(&bytes, &mut |record| {
            if let Some(key) = record.key {
                last.insert(key.to_vec(), record.value.map(<[u8]>::to_vec));
            }
        })
        .is_err()
        {
            return;
        }
    }
}

fn read_batch(bytes: &[u8], take: &mut dyn FnMut(&RecordView<'_>)) -> Result<(), BadBatch> {
    let (batch, _) = BatchView::parse(bytes)?;
    if batch.attributes().is_control() {
        return Ok(());
    }
    batch.verify_crc()?;
    let mut records = batch.records()?;
    while let Some(record) = records.try_next()? {
        take(&record);
    }
    Ok(())
}

fn bar(bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("reading batches {bar:30} {bytes}/{total_bytes} {eta} {wide_msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
