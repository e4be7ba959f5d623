//! Records and batches to test with.
#![allow(dead_code, reason = "each test file uses its part")]

use ottla_record::{BatchBuilder, BatchView, Codec, Compression, Header, RecordError, RecordView};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

pub(crate) const T0: i64 = 1_700_000_000_000;

/// A small generator with a seed (xorshift64*), so that a failure can be run again.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// Bytes that compress somewhat.
    pub(crate) fn bytes(&mut self, max: usize) -> Vec<u8> {
        let len = self.below(max + 1);
        (0..len).map(|i| if self.chance(3) { self.next() as u8 } else { (i / 7) as u8 }).collect()
    }
}

/// A record that owns what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    pub(crate) fn of(record: &RecordView<'_>) -> Self {
        Self {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| (header.key_text().into_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    pub(crate) fn random(rng: &mut Rng, offset: i64, max_value: usize) -> Self {
        let headers = if rng.chance(3) { rng.below(4) } else { 0 };
        Self {
            offset,
            timestamp: T0 + offset + rng.below(1000) as i64 - 500,
            key: (!rng.chance(4)).then(|| rng.bytes(20)),
            value: (!rng.chance(6)).then(|| rng.bytes(max_value)),
            headers: (0..headers)
                .map(|i| (format!("h{i}é"), (!rng.chance(4)).then(|| rng.bytes(10))))
                .collect(),
        }
    }

    pub(crate) fn append_to(&self, builder: &mut BatchBuilder) {
        let headers: Vec<_> =
            self.headers.iter().map(|(key, value)| Header::new(key, value.as_deref())).collect();
        builder
            .append_at(
                Offset(self.offset),
                self.timestamp,
                self.key.as_deref(),
                self.value.as_deref(),
                &headers,
            )
            .unwrap();
    }
}

pub(crate) fn random_records(rng: &mut Rng, base: i64, max_count: usize, max_value: usize) -> Vec<Owned> {
    let count = 1 + rng.below(max_count);
    (0..count).map(|i| Owned::random(rng, base + i as i64, max_value)).collect()
}

pub(crate) fn build(codec: impl Into<Codec>, records: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(records[0].offset))
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(1), Sequence(40))
        .codec(codec);
    records.iter().for_each(|record| record.append_to(&mut builder));
    builder.build().unwrap()
}

pub(crate) fn read(batch: &BatchView<'_>) -> Result<Vec<Owned>, RecordError> {
    let mut records = batch.records()?;
    let mut out = Vec::new();
    while let Some(record) = records.try_next()? {
        out.push(Owned::of(&record));
    }
    Ok(out)
}

pub(crate) fn read_bytes(bytes: &[u8]) -> Vec<Owned> {
    let (batch, rest) = BatchView::parse(bytes).unwrap();
    assert!(rest.is_empty());
    batch.verify_crc().unwrap();
    read(&batch).unwrap()
}

/// A message of magic 0 or 1 around `value`; `attributes` are codec and timestamp type.
pub(crate) fn legacy_message(
    magic: u8,
    offset: i64,
    attributes: u8,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut body = vec![magic, attributes];
    if magic == 1 {
        body.extend(timestamp.to_be_bytes());
    }
    for bytes in [key, value] {
        body.extend(bytes.map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
        body.extend(bytes.unwrap_or_default());
    }
    let mut out = offset.to_be_bytes().to_vec();
    out.extend((body.len() as i32 + 4).to_be_bytes());
    out.extend(ottla_record::crc32(&body).to_be_bytes());
    out.extend(body);
    out
}

/// `plain` as the body of a batch with `compression`: what the codec alone makes of it.
pub(crate) fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Codec::from(compression).compress(plain, &mut out).unwrap();
    out
}
