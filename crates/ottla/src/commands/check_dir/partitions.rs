//! The logs: opened as a start opens them.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use ottla_metadata::image::{ConfigResource, MetadataImage};
use ottla_storage::dir::{Admission, DirLoad, LoadJob, LoadOutcome, LogDirs, take_twins};
use ottla_storage::log::{CleanupPolicy, LoadEvent, LoadReport, Log, LogConfig};
use ottla_types::TopicPartition;

use super::inspect::refused;
use super::report::{Cut, Partition, Recovery, Report};

/// Opens every log over the changes in memory and writes down what that took.
pub(super) fn inspect(log_dirs: &LogDirs, image: &MetadataImage, report: &mut Report) {
    let mut loads = match log_dirs.begin_loading(now_ms()) {
        Ok(loads) => loads,
        Err(error) => return refused(&error, report),
    };
    let progress = bar(loads.iter().map(|load| load.jobs.len() as u64).sum());
    let mut settled = Vec::new();
    for twins in take_twins(&mut loads) {
        progress.inc(twins.len() as u64);
        settled.extend(settle(twins, log_dirs, image, report));
    }
    for load in loads {
        let twins = settled.extract_if(.., |outcome| outcome.path().starts_with(load.dir.path())).collect();
        look_at_load(load, twins, log_dirs, image, &progress, report);
    }
    progress.finish_and_clear();
    if let Some(offline) = log_dirs.first_offline() {
        let next = "the node starts without this directory; without its partitions, if it is the only one not at all";
        report.repairs(offline.to_string(), next);
    }
    find_missing(log_dirs, image, report);
    report.partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
}

/// Opens what is one partition in several directories; what remains to be admitted.
fn settle(
    twins: Vec<LoadJob>,
    log_dirs: &LogDirs,
    image: &MetadataImage,
    report: &mut Report,
) -> Vec<LoadOutcome> {
    let Some(id) = twins.first().map(|job| job.key().partition.clone()) else { return Vec::new() };
    let node = log_dirs.node_id();
    let config = log_config(image, &id);
    let outcomes: Vec<LoadOutcome> =
        twins.into_iter().map(|job| job.run(config.clone(), 0, now_ms())).collect();
    let paths: Vec<_> = outcomes.iter().map(|outcome| outcome.path().to_owned()).collect();
    let is_stray = |id: &TopicPartition, topic_id| !image.topics().has_replica(id, topic_id, node);
    let assigned = image.topics().partition_named(&id).and_then(|found| found.directory(node));
    let (left, aside) = log_dirs.settle_twins(outcomes, &is_stray, assigned, 0);
    if !aside.is_empty() {
        for path in paths.iter().filter(|path| !left.iter().any(|outcome| outcome.path() == *path)) {
            let what = format!("{}: another directory has all of this partition too", path.display());
            report.repairs(
                what,
                "the start renames it to -stray and keeps it; Apache Kafka does not start with it",
            );
        }
    }
    left
}

fn look_at_load(
    load: DirLoad,
    twins: Vec<LoadOutcome>,
    log_dirs: &LogDirs,
    image: &MetadataImage,
    progress: &ProgressBar,
    report: &mut Report,
) {
    let path = load.dir.path().to_owned();
    let (mut logs, mut bytes, mut future) = (0, 0, 0);
    let is_clean = load.was_clean || (load.jobs.is_empty() && twins.is_empty());
    if !is_clean {
        let what = format!("{}: the last stop was not clean", path.display());
        report.repairs(
            what,
            "the start reads what lies above the recovery points again; nothing is to be done",
        );
    }
    for stray in &load.strays {
        let what = format!("{} was set aside by an earlier start and is not served", stray.display());
        report.note(what, "look into it, and remove it when it is not needed");
    }
    let opened = load.jobs.into_iter().map(|job| {
        let id = job.key().partition.clone();
        progress.set_message(id.to_string());
        progress.inc(1);
        job.run(log_config(image, &id), 0, now_ms())
    });
    for outcome in twins.into_iter().chain(opened) {
        if let Some(partition) = admit(outcome, log_dirs, image, report) {
            logs += 1;
            bytes += partition.bytes;
            future += usize::from(partition.future);
            for cut in &partition.recovery.cut {
                let what = format!(
                    "{}-{}: the last {} bytes of segment {} are cut off, so that the log ends at offset {}: {}",
                    partition.topic,
                    partition.partition,
                    cut.bytes,
                    cut.segment,
                    cut.new_end_offset,
                    cut.reason
                );
                report.repairs(what, "a crash left them incomplete; Apache Kafka cuts them as well");
            }
            for other in &partition.recovery.other {
                report.repairs(format!("{}-{}: {other}", partition.topic, partition.partition), "");
            }
            if partition.recovery.rebuilt_segments > 0 && is_clean {
                let what = format!(
                    "{}-{}: indexes of {} segments are made anew",
                    partition.topic, partition.partition, partition.recovery.rebuilt_segments
                );
                report.repairs(what, "");
            }
            report.partitions.push(partition);
        }
    }
    if let Some(dir) = report.dirs.iter_mut().find(|dir| dir.path == path) {
        dir.clean = Some(load.was_clean);
        (dir.logs, dir.bytes, dir.future) = (logs, bytes, future);
        dir.deleted = load.deleted;
        dir.stray = load.strays;
    }
}

fn admit(
    outcome: LoadOutcome,
    log_dirs: &LogDirs,
    image: &MetadataImage,
    report: &mut Report,
) -> Option<Partition> {
    let (id, path) = (outcome.key().partition.clone(), outcome.path().to_owned());
    let node = log_dirs.node_id();
    let is_stray = |id: &TopicPartition, topic_id| !image.topics().has_replica(id, topic_id, node);
    match log_dirs.admit(outcome, &is_stray, 0) {
        Ok(Admission::Admitted(placed, load)) => {
            let mut partition = describe(&placed.log, &load);
            partition.topic = id.topic.to_string();
            partition.partition = id.partition;
            partition.dir = placed.dir.path().to_owned();
            partition.future = placed.key.is_future;
            Some(partition)
        }
        Ok(Admission::SetAside(_)) => {
            let what = format!("{}: the metadata knows no such replica on this node", path.display());
            report.repairs(what, "the start renames it to -stray and keeps it; Apache Kafka does the same");
            None
        }
        Ok(Admission::Failed(offline)) => {
            let next = "the node starts without this directory; without its partitions, if it is the only one not at all";
            report.repairs(format!("{id}: {offline}"), next);
            None
        }
        Err(error) => {
            refused(&error, report);
            None
        }
    }
}

/// What matters for opening.
fn log_config(image: &MetadataImage, id: &TopicPartition) -> LogConfig {
    let resource = ConfigResource::topic(id.topic.as_str());
    let value = |key| image.configs().value(&resource, key);
    let policy = value("cleanup.policy").unwrap_or("delete");
    let has = |wanted: &str| policy.split(',').any(|one| one.trim() == wanted);
    let default = LogConfig::default();
    LogConfig {
        cleanup_policy: CleanupPolicy { delete: has("delete"), compact: has("compact") },
        index_interval_bytes: value("index.interval.bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or(default.index_interval_bytes),
        ..default
    }
}

fn describe(log: &Log, load: &LoadReport) -> Partition {
    let mut recovery = Recovery::default();
    for event in &load.events {
        match event {
            LoadEvent::RecoveredSegment { size_bytes, .. } => {
                recovery.scanned_bytes += size_bytes;
                recovery.rebuilt_segments += 1;
            }
            LoadEvent::CutTail { base, removed_bytes, reason } => recovery.cut.push(Cut {
                segment: base.value(),
                new_end_offset: log.log_end_offset().value(),
                bytes: *removed_bytes,
                reason: reason.clone(),
            }),
            LoadEvent::RemovedSegments { bases } => {
                let bases: Vec<i64> = bases.iter().map(|base| base.value()).collect();
                recovery.other.push(format!("the segments {bases:?} after the cut are removed"));
            }
            LoadEvent::CorruptSnapshot { offset } => {
                let what = format!("the producers' state at offset {offset} is unreadable and made anew");
                recovery.other.push(what);
            }
            LoadEvent::FinishedSwap { segments } => {
                recovery.other.push(format!("an interrupted compaction is finished: {segments:?}"));
            }
            LoadEvent::Replayed { records, end } => {
                recovery
                    .other
                    .push(format!("{records} records come back from the journal, up to offset {end}"));
            }
            LoadEvent::JournalGap { end } => {
                recovery.other.push(format!(
                    "ends at {end}, before what the journal builds on: the disk lost what it had synced"
                ));
            }
            LoadEvent::RemovedFile { name } => {
                recovery.other.push(format!("{name} belongs to nothing and is removed"));
            }
        }
    }
    Partition {
        topic_id: log.topic_id().map(|id| id.to_string()),
        log_start: log.log_start_offset().value(),
        log_end: log.log_end_offset().value(),
        high_watermark: log.high_watermark().value(),
        segments: log.segment_count(),
        bytes: log.size_bytes(),
        recovery,
        ..Partition::default()
    }
}

/// Replicas that the metadata gives to this node and that have no directory: a start makes them, empty.
fn find_missing(log_dirs: &LogDirs, image: &MetadataImage, report: &mut Report) {
    let node = log_dirs.node_id();
    let here: BTreeSet<(String, i32)> =
        report.partitions.iter().filter(|p| !p.future).map(|p| (p.topic.clone(), p.partition)).collect();
    let mut missing = Vec::new();
    for topic in image.topics().iter() {
        for (index, partition) in topic.partitions.iter() {
            if partition.replicas.contains(&node) && !here.contains(&(topic.name.to_string(), *index)) {
                missing.push(format!("{}-{index}", topic.name));
            }
        }
    }
    if !missing.is_empty() {
        missing.sort();
        let (count, some) = (missing.len(), missing.iter().take(5).cloned().collect::<Vec<_>>().join(", "));
        report.repairs(
            format!("{count} partitions of this node have no directory and are made empty: {some}"),
            "if they should hold records, name the log directory that is missing; else they were made just before a crash",
        );
    }
}

fn bar(logs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("opening logs {bar:30} {pos}/{len} {eta} {wide_msg}");
    ProgressBar::new(logs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
