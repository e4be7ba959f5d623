//! `.snapshot`: the producers of a log as of the offset in the file's name. Version, CRC-32C, count, 46-byte entries; only
//! the last batch of each producer is kept.

use std::collections::BTreeMap;

use ottla_record::crc32c;
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::producer_state::{BatchMetadata, ProducerEntry};

const VERSION: i16 = 1;
const HEADER_LEN: usize = 10;
const ENTRY_LEN: usize = 46;
/// The CRC covers everything from here.
const CRC_FROM: usize = 6;
/// Size of a snapshot without producers.
pub(crate) const EMPTY_LEN: u64 = HEADER_LEN as u64;

/// The file's contents.
pub(crate) fn encode(producers: &BTreeMap<ProducerId, ProducerEntry>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + producers.len() * ENTRY_LEN);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let count = i32::try_from(producers.len()).expect("fewer producers than i32::MAX fit in memory");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (producer_id, entry) in producers {
        let last = entry.batches.last();
        bytes.extend_from_slice(&producer_id.value().to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.value().to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().value().to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.txn_first_offset.map_or(-1, |first| first.0).to_be_bytes());
    }
    let crc = crc32c(&bytes[CRC_FROM..]);
    bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads a file; the error says what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<(ProducerId, ProducerEntry)>, &'static str> {
    let mut fields = Fields(bytes);
    let (version, crc, count) = (fields.i16(), fields.i32(), fields.i32());
    let (Some(version), Some(crc), Some(count)) = (version, crc, count) else {
        return Err("the header is cut");
    };
    if version != VERSION {
        return Err("the version is not 1");
    }
    let Some(covered) = bytes.get(CRC_FROM..) else { return Err("the header is cut") };
    if crc32c(covered) != crc.cast_unsigned() {
        return Err("the checksum differs");
    }
    if i64::from(count) != (fields.0.len() / ENTRY_LEN) as i64 || fields.0.len() % ENTRY_LEN != 0 {
        return Err("the number of entries differs from the size");
    }
    let mut producers = Vec::with_capacity(fields.0.len() / ENTRY_LEN);
    while let Some(producer) = entry(&mut fields) {
        producers.push(producer);
    }
    Ok(producers)
}

fn entry(fields: &mut Fields<'_>) -> Option<(ProducerId, ProducerEntry)> {
    let producer_id = ProducerId(fields.i64()?);
    let epoch = ProducerEpoch(fields.i16()?);
    let last_sequence = Sequence(fields.i32()?);
    let last_offset = Offset(fields.i64()?);
    let offset_delta = fields.i32()?;
    let timestamp = fields.i64()?;
    let coordinator_epoch = fields.i32()?;
    let txn_first_offset = fields.i64()?;
    let batch = BatchMetadata { last_sequence, last_offset, offset_delta, timestamp };
    Some((
        producer_id,
        ProducerEntry {
            epoch,
            coordinator_epoch,
            last_timestamp: timestamp,
            txn_first_offset: (txn_first_offset >= 0).then_some(Offset(txn_first_offset)),
            batches: if last_offset.0 >= 0 { vec![batch] } else { Vec::new() },
        },
    ))
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn one() -> BTreeMap<ProducerId, ProducerEntry> {
        let batch = BatchMetadata {
            last_sequence: Sequence(11),
            last_offset: Offset(101),
            offset_delta: 1,
            timestamp: 1_700_000_000_005,
        };
        let entry = ProducerEntry {
            epoch: ProducerEpoch(3),
            coordinator_epoch: 9,
            last_timestamp: 1_700_000_000_005,
            txn_first_offset: None,
            batches: vec![batch],
        };
        BTreeMap::from([(ProducerId(7), entry)])
    }

    #[test]
    fn has_kafkas_bytes() {
        assert_eq!(hex(&encode(&BTreeMap::new())), "000148674bc700000000");
        assert_eq!(
            hex(&encode(&one())),
            "00018734924a00000001000000000000000700030000000b0000000000000065000000010000018bcfe5680500000009ffffffffffffffff"
        );
    }

    #[test]
    fn round_trips() {
        let producers = one();
        assert_eq!(decode(&encode(&producers)).unwrap(), producers.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn refuses_every_truncation_and_every_changed_byte() {
        let bytes = encode(&one());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed).is_err(), "{at}");
        }
    }
}
