//! What the outside knows of a partition: what it has written, and what it was promised.

use std::collections::{BTreeMap, BTreeSet};

use ottla_record::{BatchHeader, Batches};

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Every batch handed to the log, ascending, with offset and epoch, also those that retention has removed since. The last
    /// one may have come to nothing if the power failed meanwhile.
    pub(crate) batches: Vec<Vec<u8>>,
    /// The same from before a cut that may or may not have happened, or may not be durable.
    pub(crate) uncut: Option<Vec<Vec<u8>>>,
    /// What a compacted log has lost, of what nobody was promised, while it was being moved: the copy in the other directory may
    /// have it. In a compacted log the hole that it left cannot be told from what compaction leaves.
    pub(crate) elsewhere: Vec<Vec<u8>>,
    /// What a copy had that got its final name in a directory that failed over it. The start takes the longer of two replicas: it cannot
    /// tell records that were cut in the shorter one from such as were acknowledged after a move.
    pub(crate) left_behind: Option<Vec<Vec<u8>>>,
    /// Everything below was acknowledged, or could be read: it must never go.
    pub(crate) promised: i64,
    /// Of these, what was known to be durable.
    pub(crate) durable: i64,
    /// The highest high watermark that was seen.
    pub(crate) counted: i64,
    /// What the next start must find: more than what was promised when only the process has ended.
    pub(crate) survives: i64,
    /// The highest start that the log has had: what lies below may be gone.
    pub(crate) start: i64,
    /// Where the log began anew, empty, because a crash had left it nothing above its start; 0 if it never did.
    pub(crate) begun: i64,
    pub(crate) writers: Vec<Writer>,
    /// What the cleaner left below an offset: nothing else may come back there.
    pub(crate) cleaned: Option<(i64, BTreeSet<i64>)>,
}

/// A client that numbers its batches.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) is_transactional: bool,
    pub(crate) next_sequence: i32,
    pub(crate) in_transaction: bool,
    /// Sent and not acknowledged, oldest first.
    pub(crate) unacked: Vec<Sent>,
    pub(crate) last_acked: Option<Sent>,
}

/// A batch of a [`Writer`].
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// As the client made it, without offset.
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_marker: bool,
    /// Where it was put when it was last sent.
    pub(crate) base: i64,
    /// The offset that the high watermark must reach.
    pub(crate) required: i64,
}

impl Sent {
    /// One that is not in the log yet.
    pub(crate) fn new(bytes: &[u8], is_marker: bool) -> Self {
        Self { bytes: bytes.to_vec(), is_marker, base: i64::MAX, required: i64::MAX }
    }
}

/// The state of a producer as the batches tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    pub(crate) txn_first: Option<i64>,
}

pub(crate) fn header(batch: &[u8]) -> BatchHeader<'_> {
    Batches::new(batch).next().expect("a batch").expect("a whole one").header()
}

pub(crate) fn last_offset(batch: &[u8]) -> i64 {
    header(batch).last_offset().0
}

pub(crate) fn records(batch: &[u8]) -> Vec<Record> {
    let batch = Batches::new(batch).next().expect("a batch").expect("a whole one");
    let mut found = Vec::new();
    if batch.attributes().is_control() {
        return found;
    }
    let mut records = batch.records().expect("readable records");
    while let Some(record) = records.try_next().expect("a readable record") {
        let key = record.key.expect("a key").to_vec();
        found.push(Record { offset: record.offset.0, key, value: record.value.map(<[u8]>::to_vec) });
    }
    found
}

impl Model {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| last_offset(batch) + 1).max(self.begun)
    }

    /// The high watermark was seen.
    pub(crate) fn watermark(&mut self, at: i64) {
        self.promised = self.promised.max(at);
        self.counted = self.counted.max(at);
        for writer in &mut self.writers {
            while writer.unacked.first().is_some_and(|sent| sent.required <= at) {
                let acked = writer.unacked.remove(0);
                if !acked.is_marker {
                    writer.last_acked = Some(acked);
                }
            }
        }
    }

    /// The leader is another one, or another life of it: what was sent before and not acknowledged never will be, unless it is
    /// sent again.
    pub(crate) fn disconnect(&mut self) {
        for sent in self.writers.iter_mut().flat_map(|writer| &mut writer.unacked) {
            sent.required = i64::MAX;
        }
    }

    /// What a power cut leaves at least, of a topic that may lose so many acknowledged records.
    pub(crate) fn power_cut(&mut self, may_lose: i64) {
        self.survives = self.promised.saturating_sub(may_lose).max(self.durable).min(self.promised);
    }

    /// What was promised only as far as `end` goes, and is now told to have been lost above it: the clients begin anew.
    pub(crate) fn lose(&mut self, end: i64) {
        self.promised = self.promised.min(end);
        self.durable = self.durable.min(end);
        let open = self.producers();
        for writer in &mut self.writers {
            (writer.epoch, writer.next_sequence) = (writer.epoch + 1, 0);
            writer.in_transaction = writer.is_transactional
                && open.get(&writer.id).is_some_and(|producer| producer.txn_first.is_some());
            writer.unacked.clear();
            writer.last_acked = None;
        }
    }

    /// The producers that reading all batches gives.
    pub(crate) fn producers(&self) -> BTreeMap<i64, Expected> {
        let mut producers = BTreeMap::<i64, Expected>::new();
        for batch in &self.batches {
            let header = header(batch);
            let id = header.producer_id().value();
            if id < 0 {
                continue;
            }
            let producer =
                producers.entry(id).or_insert_with(|| Expected { last_sequence: -1, ..Expected::default() });
            if producer.epoch != header.producer_epoch().value() {
                producer.epoch = header.producer_epoch().value();
                producer.last_sequence = -1;
            }
            if header.attributes().is_control() {
                producer.txn_first = None;
                continue;
            }
            producer.last_sequence = header.last_sequence().value();
            producer.last_offset = header.last_offset().0;
            if header.attributes().is_transactional() {
                producer.txn_first.get_or_insert(header.base_offset().0);
            }
        }
        producers
    }

    /// Producer, first and last offset of each aborted transaction; the last is its marker's.
    pub(crate) fn aborted(&self) -> Vec<(i64, i64, i64)> {
        let (mut open, mut found) = (BTreeMap::new(), Vec::new());
        for batch in &self.batches {
            let header = header(batch);
            let id = header.producer_id().value();
            if !header.attributes().is_transactional() {
                continue;
            }
            if !header.attributes().is_control() {
                open.entry(id).or_insert(header.base_offset().0);
            } else if let Some(first) = open.remove(&id)
                && is_abort(batch)
            {
                found.push((id, first, header.last_offset().0));
            }
        }
        found
    }
}

fn is_abort(batch: &[u8]) -> bool {
    let batch = Batches::new(batch).next().expect("a batch").expect("a whole one");
    let mut records = batch.records().expect("readable records");
    let record = records.try_next().expect("a readable record").expect("a record");
    !ottla_record::EndTxnMarker::read(&record).expect("readable").expect("a marker").committed
}
