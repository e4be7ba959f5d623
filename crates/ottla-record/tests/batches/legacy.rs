//! Messages of magic 0 and 1 with others inside.

use crate::common::{T0, compress, legacy_message, read};
use ottla_record::{BatchView, Compression, RecordError};
use ottla_types::Offset;

const LOG_APPEND: u8 = 8;

/// A wrapper of three messages with the given inner offsets.
fn wrapper(magic: u8, compression: Compression, offset: i64, inner: [i64; 3], attributes: u8) -> Vec<u8> {
    let plain: Vec<u8> = inner
        .iter()
        .zip([b"a", b"b", b"c"])
        .flat_map(|(offset, value)| legacy_message(magic, *offset, 0, T0 + offset, None, Some(value)))
        .collect();
    let mut value = compress(compression, &plain);
    if magic == 0 && compression == Compression::Lz4 {
        value[6] = 0x1a; // as the writers of magic 0 computed it
    }
    legacy_message(magic, offset, compression.id() | attributes, T0 + 500, None, Some(&value))
}

fn offsets_and_times(bytes: &[u8]) -> Result<Vec<(i64, i64)>, RecordError> {
    let (batch, _) = BatchView::parse(bytes)?;
    batch.verify_crc()?;
    Ok(read(&batch)?.into_iter().map(|record| (record.offset, record.timestamp)).collect())
}

const CODECS: [Compression; 3] = [Compression::Gzip, Compression::Snappy, Compression::Lz4];

#[test]
fn magic_1_counts_inner_offsets_from_the_last() {
    for compression in CODECS {
        let bytes = wrapper(1, compression, 107, [0, 1, 2], 0);
        assert_eq!(
            offsets_and_times(&bytes).unwrap(),
            [(105, T0), (106, T0 + 1), (107, T0 + 2)],
            "{compression}"
        );
        assert_eq!(BatchView::parse(&bytes).unwrap().0.last_offset(), Offset(107));
        // After compaction there are gaps.
        let bytes = wrapper(1, compression, 107, [0, 3, 7], 0);
        assert_eq!(
            offsets_and_times(&bytes).unwrap().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            [100, 103, 107]
        );
    }
}

#[test]
fn magic_0_has_absolute_offsets_and_no_timestamps() {
    for compression in CODECS {
        let bytes = wrapper(0, compression, 107, [101, 105, 107], 0);
        assert_eq!(offsets_and_times(&bytes).unwrap(), [(101, -1), (105, -1), (107, -1)], "{compression}");
    }
}

#[test]
fn the_append_time_of_a_wrapper_overrides() {
    let bytes = wrapper(1, Compression::Gzip, 2, [0, 1, 2], LOG_APPEND);
    assert!(offsets_and_times(&bytes).unwrap().iter().all(|(_, timestamp)| *timestamp == T0 + 500));
}

#[test]
fn a_wrapper_at_offset_0_keeps_inner_offsets() {
    let bytes = wrapper(1, Compression::Snappy, 0, [0, 1, 2], 0);
    assert_eq!(offsets_and_times(&bytes).unwrap()[2].0, 2);
}

#[test]
fn broken_wrappers_are_errors() {
    assert!(
        offsets_and_times(&wrapper(1, Compression::Gzip, 1, [0, 1, 2], 0)).is_err(),
        "below the inner offset"
    );
    let empty = legacy_message(1, 5, 1, T0, None, Some(&compress(Compression::Gzip, b"")));
    assert!(offsets_and_times(&empty).is_err(), "nothing inside");
    assert!(offsets_and_times(&legacy_message(1, 5, 1, T0, None, None)).is_err(), "no value");
    let zstd = legacy_message(1, 5, 4, T0, None, Some(&compress(Compression::Zstd, b"x")));
    assert!(offsets_and_times(&zstd).is_err(), "zstd came later");
    let nested = wrapper(1, Compression::Gzip, 2, [0, 1, 2], 0);
    let nested = legacy_message(1, 5, 1, T0, None, Some(&compress(Compression::Gzip, &nested)));
    assert!(offsets_and_times(&nested).is_err(), "compressed twice");
    let mut lz4 = compress(Compression::Lz4, &legacy_message(1, 0, 0, T0, None, None));
    lz4[6] ^= 1;
    let lz4 = legacy_message(1, 5, 3, T0, None, Some(&lz4));
    assert!(offsets_and_times(&lz4).is_err(), "magic 1 checks the frame's header");
}
