//! What must be true of a partition.

use std::collections::BTreeMap;

use ottla_record::Batches;
use ottla_storage::log::{Log, ReadRequest};
use ottla_types::{Offset, Sequence};

use crate::life::Life;
use crate::load::shown;
use crate::model::{Model, Record, header, last_offset, records};
use crate::world::{Stopped, Topic};

fn request(offset: Offset, bound: Offset, aborted_transactions: bool) -> ReadRequest {
    ReadRequest { offset, max_bytes: 1 << 20, min_one_batch: true, upper_bound: bound, aborted_transactions }
}

/// All batches of a log, as a follower reads them.
fn batches(log: &Log) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let read = log.read(request(offset, log.log_end_offset(), false)).expect("it can be read");
        let Some(slice) = &read.slice else { break };
        let bytes = slice.read().expect("it can be read");
        let mut next = offset;
        for batch in Batches::new(&bytes) {
            let batch = batch.expect("a whole batch");
            batch.verify_crc().expect("the right checksum");
            next = batch.next_offset();
            found.push(batch.bytes().to_vec());
        }
        assert!(next > offset, "a read makes progress");
        offset = next;
    }
    found
}

/// A start has just been made: compares, and takes down what of the unpromised is lost. Returns what is there.
pub(crate) fn after_restart(life: &mut Life, topic: Topic) -> Result<Vec<Vec<u8>>, Stopped> {
    let world = life.world();
    let was_clean = world.clean.contains(&world.dir_of(topic).path().to_path_buf());
    let (start, watermark, end) = world.offsets(topic);
    life.tell_files(topic);
    let world = life.world();
    let found = world.with(topic, |replica| batches(replica.log()));
    let is_moving = world.moves.get_mut().expect("no panic before").contains_key(&topic);
    life.tell(format_args!("{topic:?} {start} {watermark} {end}, clean: {was_clean}"));
    for batch in &found {
        life.tell(format_args!("{topic:?} has {}", shown(batch)));
    }
    let is_elsewhere = life.is_elsewhere(topic);
    let model = life.models.get_mut(&topic).expect("each topic has its model");
    if is_elsewhere && model.left_behind.is_some() {
        model.uncut.clone_from(&model.left_behind);
    }
    if is_moving {
        // It may take the place of the log, with what it had when its directory failed.
        model.cleaned = None;
    }
    let context = format!(
        "{topic:?} from {start} to {end}, {} must be there, promised {} from {}",
        model.survives, model.promised, model.start
    );
    assert!(end.0 >= model.survives, "records are lost: {context}");
    assert!(start.0 <= model.start, "the log begins after what was removed: {context}");
    assert!(watermark.0 <= model.counted.max(start.0), "what nobody has promised counts: {context}");
    let lost = match topic {
        Topic::Compacted => keep_compacted(model, &found, is_moving, &context),
        Topic::Retained | Topic::Kept | Topic::Cached | Topic::Flushed => {
            keep_prefix(model, &found, (start.0, end.0), &context)
        }
    };
    if end.0 < model.promised {
        model.lose(end.0);
        life.tally.lost_promised += 1;
    }
    life.tally.lost_unpromised += lost;
    let model = &life.models[&topic];
    let expected = model.clone();
    life.world().with(topic, |replica| everything(topic, replica.log(), &expected, &found));
    Ok(found)
}

/// A node at work.
pub(crate) fn running(life: &mut Life, topic: Topic) {
    let model = life.models[&topic].clone();
    life.world().with(topic, |replica| {
        let log = replica.log();
        let found = batches(log);
        // The last batches of a compacted log may be missing before its end.
        let is_whole = log.log_end_offset().0 == model.end() || topic == Topic::Compacted;
        assert!(is_whole, "{topic:?}: ends at {}, not {}", log.log_end_offset(), model.end());
        if topic != Topic::Compacted {
            let is_kept = |batch: &&Vec<u8>| last_offset(batch) >= model.start;
            assert!(found.iter().filter(is_kept).eq(model.batches.iter().filter(is_kept)), "{topic:?}");
        }
        everything(topic, log, &model, &found);
    });
}

/// Of a log without compaction the oldest are there, without a gap, and nothing else.
fn keep_prefix(model: &mut Model, found: &[Vec<u8>], (start, end): (i64, i64), context: &str) -> u64 {
    let fits = |written: &[Vec<u8>]| {
        let mut found = found.iter();
        let mut next = found.next();
        for batch in written.iter().filter(|batch| last_offset(batch) >= start && last_offset(batch) < end) {
            if next == Some(batch) {
                next = found.next();
            } else if last_offset(batch) >= model.start {
                return false;
            }
        }
        next.is_none()
    };
    let was_cut = fits(&model.batches);
    let was_uncut = !was_cut && model.uncut.as_ref().is_some_and(|uncut| fits(uncut));
    assert!(was_cut || was_uncut, "the log is not what was written: {context}");
    if was_uncut && let Some(uncut) = model.uncut.take() {
        model.batches = uncut;
    }
    let before = model.batches.len();
    model.batches.retain(|batch| last_offset(batch) < end);
    let lost = (before - model.batches.len()) as u64;
    model.begun = model.begun.min(end);
    if found.is_empty() && start == end && model.end() < start {
        // What was lost reached below its start.
        model.begun = start;
    }
    assert!(model.end() == end, "{context}: ends at {}", model.end());
    lost
}

/// Of a compacted log the newest record of each key is there, unless it is a tombstone, in order, and nothing that was never
/// written. What was not promised may be there in part: in a compacted log a hole cannot be told from what compaction leaves.
fn keep_compacted(model: &mut Model, found: &[Vec<u8>], is_moving: bool, context: &str) -> u64 {
    let is_back = |batch: &mut Vec<u8>| {
        found.iter().any(|found| {
            last_offset(found) == last_offset(batch)
                && header(found).leader_epoch() == header(batch).leader_epoch()
        })
    };
    let back: Vec<Vec<u8>> = model.elsewhere.extract_if(.., is_back).collect();
    model.batches.extend(back);
    model.batches.sort_by_key(|batch| last_offset(batch));
    let mut written: BTreeMap<i64, Record> = BTreeMap::new();
    for batch in model.uncut.iter().flatten().chain(&model.batches) {
        written.extend(records(batch).into_iter().map(|record| (record.offset, record)));
    }
    let mut newest_found: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut next = 0;
    for batch in found {
        assert!(header(batch).base_offset().0 >= next, "out of order: {context}");
        next = last_offset(batch) + 1;
        for record in records(batch) {
            assert_eq!(written.get(&record.offset), Some(&record), "never written: {context}");
            newest_found.insert(record.key, record.offset);
        }
    }
    let mut newest_promised: BTreeMap<&[u8], &Record> = BTreeMap::new();
    for record in written.values().filter(|record| record.offset < model.promised) {
        newest_promised.insert(&record.key, record);
    }
    for (key, record) in newest_promised {
        let is_there = newest_found.get(key).is_some_and(|found| *found >= record.offset);
        assert!(
            is_there || record.value.is_none(),
            "key {key:?} of offset {} is lost: {context}",
            record.offset
        );
    }
    let is_there = |batch: &Vec<u8>| {
        last_offset(batch) < model.promised
            || found.iter().any(|found| last_offset(found) == last_offset(batch))
    };
    if let Some(uncut) = model.uncut.take() {
        model.batches = uncut;
    }
    let (kept, lost): (Vec<_>, Vec<_>) =
        std::mem::take(&mut model.batches).into_iter().partition(|batch| is_there(batch));
    model.batches = kept;
    let count = lost.len() as u64;
    model.elsewhere.extend(lost);
    if !is_moving {
        model.elsewhere.clear();
    }
    count
}

/// What compaction has removed does not come back.
fn stays_clean(topic: Topic, model: &Model, found: &[Vec<u8>]) {
    let Some((end, left)) = &model.cleaned else { return };
    let is_back = |record: &Record| record.offset < *end && !left.contains(&record.offset);
    let back = found.iter().flat_map(|batch| records(batch)).find(is_back);
    assert_eq!(back, None, "{topic:?}: was compacted away below {end}");
}

/// The cleaner is done with everything below `end`. A copy of the log that is being made elsewhere may have what it removed.
pub(crate) fn note_cleaned(life: &mut Life, topic: Topic, end: Offset) {
    let world = life.world();
    let is_moving = world.moves.get_mut().expect("no panic before").contains_key(&topic);
    let found = world.with(topic, |replica| batches(replica.log()));
    let offsets = found.iter().flat_map(|batch| records(batch)).map(|record| record.offset);
    let left = offsets.filter(|offset| *offset < end.0).collect();
    life.model(topic).cleaned = (!is_moving).then_some((end.0, left));
}

fn everything(topic: Topic, log: &Log, model: &Model, found: &[Vec<u8>]) {
    stays_clean(topic, model, found);
    indexes(topic, log, model, found);
    producers(topic, log, model);
    if topic != Topic::Compacted {
        transactions(topic, log, model);
    }
}

/// Every offset and time is found through the indexes, and the epochs are right.
fn indexes(topic: Topic, log: &Log, model: &Model, found: &[Vec<u8>]) {
    for batch in found {
        let header = header(batch);
        for offset in [header.base_offset(), header.last_offset()] {
            let from = offset.max(log.log_start_offset());
            let read = log.read(request(from, log.log_end_offset(), false)).expect("it can be read");
            assert_eq!(read.start.offset, header.base_offset(), "{topic:?}: {offset}");
        }
        let epoch = log.epoch_for_offset(header.last_offset());
        // Of removed records that a crash has brought back nobody needs the epoch.
        let is_back = header.last_offset().0 < model.start;
        assert!(
            is_back || epoch == Some(header.leader_epoch()),
            "{topic:?}: the epoch of {}..{} is {epoch:?}, not {}: {:?}",
            header.base_offset(),
            header.last_offset(),
            header.leader_epoch(),
            log.epoch_entries()
        );
        let all = records(batch);
        if let Some(record) = all.iter().find(|record| record.offset >= log.log_start_offset().0) {
            let found = log.find_timestamp(header.max_timestamp()).expect("it can be searched");
            // As in Kafka a segment hides what later ones have if its own records of that time are gone: removed by compaction,
            // or below the log start.
            let first = log.segment_base_offsets().next();
            let may_hide =
                topic == Topic::Compacted || first.is_some_and(|first| first < log.log_start_offset());
            let Some(found) = found else {
                assert!(may_hide, "{topic:?}: the time of {} is not found", record.offset);
                continue;
            };
            assert!(
                found.offset.0 <= record.offset && found.timestamp >= header.max_timestamp(),
                "{topic:?}: {found:?}"
            );
        }
    }
}

fn producers(topic: Topic, log: &Log, model: &Model) {
    let mut expected = model.producers();
    // A producer that had to start over in a new epoch may be known by that one, or not at all.
    expected.retain(|id, producer| {
        model.writers.iter().any(|writer| writer.id == *id && writer.epoch == producer.epoch)
    });
    for found in log.active_producers() {
        let id = found.producer_id.value();
        let Some(expected) = expected.remove(&id) else {
            assert!(
                model.writers.iter().any(|writer| writer.id == id && writer.epoch > 0),
                "{topic:?}: producer {id}"
            );
            continue;
        };
        let context = format!("{topic:?}: producer {id}, {found:?}, {expected:?}");
        if found.last_sequence == Sequence::NONE && expected.last_offset < model.start {
            // All but a marker of it was removed.
            continue;
        }
        assert_eq!(found.epoch.value(), expected.epoch, "{context}");
        assert_eq!(found.last_sequence.value(), expected.last_sequence, "{context}");
        // Of a transaction whose first records were removed a start sees only the rest.
        if expected.txn_first.is_none_or(|first| first >= model.start) {
            assert_eq!(found.txn_first_offset.map(|first| first.0), expected.txn_first, "{context}");
        }
    }
    for (id, expected) in expected {
        let is_gone = expected.last_offset < model.start;
        assert!(is_gone, "{topic:?}: producer {id} is forgotten: {expected:?}");
    }
}

/// What was aborted is known, and nothing is stable that is undecided.
fn transactions(topic: Topic, log: &Log, model: &Model) {
    let start = log.log_start_offset();
    let open = model.producers().into_values().filter_map(|producer| producer.txn_first).min();
    let first = log.first_undecided_offset().map(|first| first.0);
    if open.is_none_or(|open| open >= model.start) {
        assert_eq!(first, open, "{topic:?}: the oldest open transaction");
    }
    assert!(log.last_stable_offset() <= log.high_watermark());
    if let Some(open) = open.filter(|open| *open >= model.start) {
        assert!(
            log.last_stable_offset().0 <= open,
            "{topic:?}: {} is stable above {open}",
            log.last_stable_offset()
        );
    }
    if start == log.log_end_offset() {
        return;
    }
    let read = log.read(request(start, log.log_end_offset(), true)).expect("it can be read");
    let aborted = read.aborted.unwrap_or_default();
    for (id, first, last) in model.aborted() {
        if first < model.start || read.slice.is_none() {
            continue;
        }
        let is_known = aborted
            .iter()
            .any(|txn| (txn.producer_id.value(), txn.first_offset.0, txn.last_offset.0) == (id, first, last));
        let is_read = read.slice.as_ref().is_some_and(|slice| {
            let bytes = slice.read().expect("it can be read");
            Batches::new(&bytes).flatten().any(|batch| batch.last_offset().0 >= first)
        });
        assert!(
            is_known || !is_read,
            "{topic:?}: the abort of {id} from {first} to {last} is forgotten: {aborted:?}"
        );
    }
    for txn in &aborted {
        let it = (txn.producer_id.value(), txn.first_offset.0, txn.last_offset.0);
        let is_it = |(id, first, last): &(i64, i64, i64)| {
            (*id, *last) == (it.0, it.2) && (*first == it.1 || (*first < model.start && *first < it.1))
        };
        assert!(model.aborted().iter().any(is_it), "{topic:?}: {it:?} was not aborted");
    }
}
