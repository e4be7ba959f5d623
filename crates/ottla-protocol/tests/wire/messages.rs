//! Every message in every version: random encodings made from the schemas survive decoding and encoding byte for byte; cut-off
//! and damaged ones are refused without a panic.

use crate::support::{codecs, for_each_sample};
use bytes::Bytes;
use ottla_types::SplitMix64;

#[test]
fn every_message_and_version_decodes_and_encodes_to_the_same_bytes() {
    let mut samples = 0;
    for_each_sample(20, |codec, version, bytes| {
        let what = || format!("{} version {version}: {bytes:02x?}", codec.name);
        let again = (codec.recode)(bytes, version).unwrap_or_else(|e| panic!("{}: {e}", what()));
        assert_eq!(again, bytes, "{}", what());
        let again = (codec.recode_shared)(&Bytes::copy_from_slice(bytes), version);
        assert_eq!(again.as_deref(), Ok(bytes), "{}", what());
        samples += 1;
    });
    assert!(samples > 10_000, "{samples} samples");
}

#[test]
fn every_cut_off_message_is_refused() {
    for_each_sample(2, |codec, version, bytes| {
        for cut in 0..bytes.len() {
            let result = (codec.check)(&bytes[..cut], version);
            assert!(result.is_err(), "{} version {version} cut at {cut} of {}", codec.name, bytes.len());
        }
    });
}

#[test]
fn bytes_after_a_message_are_refused() {
    for_each_sample(1, |codec, version, bytes| {
        let longer = [bytes, &[0]].concat();
        assert!((codec.check)(&longer, version).is_err(), "{} version {version}", codec.name);
    });
}

#[test]
fn versions_outside_the_range_are_refused() {
    for codec in codecs() {
        for version in [codec.versions.low - 1, codec.versions.high + 1, i16::MIN, i16::MAX] {
            assert!((codec.check)(&[0; 200], version).is_err(), "{} version {version}", codec.name);
            assert!((codec.encode_default)(version).is_err(), "{} version {version}", codec.name);
        }
    }
}

/// What a hostile peer would put where a length is: huge, and just beyond the end.
const LENGTHS: [&[u8]; 6] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x00, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x7f, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
];

#[test]
fn hostile_lengths_anywhere_do_no_harm() {
    for_each_sample(1, |codec, version, bytes| {
        for at in 0..bytes.len() {
            for length in LENGTHS {
                let mut hostile = bytes.to_vec();
                let end = (at + length.len()).min(bytes.len());
                hostile[at..end].copy_from_slice(&length[..end - at]);
                let _ = (codec.check)(&hostile, version);
                let mut hostile = bytes.to_vec();
                hostile.splice(at..at, length.iter().copied());
                let _ = (codec.check)(&hostile, version);
            }
        }
    });
}

/// Whatever decodes can be encoded, and that is stable: bytes → message → bytes' → message' → bytes'.
#[test]
fn damaged_messages_are_refused_or_make_sense() {
    let mut random = SplitMix64::new(1);
    let mut accepted = 0;
    for_each_sample(10, |codec, version, bytes| {
        for _ in 0..10 {
            let mut damaged = bytes.to_vec();
            for _ in 0..=random.below(3) {
                if !damaged.is_empty() {
                    let at = random.below(damaged.len() as u64) as usize;
                    damaged[at] = random.next_u64() as u8;
                }
            }
            if (codec.check)(&damaged, version).is_ok() {
                accepted += 1;
                let once = (codec.recode)(&damaged, version);
                let once =
                    once.unwrap_or_else(|e| panic!("{} version {version}: {e}: {damaged:02x?}", codec.name));
                assert_eq!(
                    (codec.recode)(&once, version).as_ref(),
                    Ok(&once),
                    "{} version {version}",
                    codec.name
                );
            }
        }
    });
    assert!(accepted > 1000, "{accepted} damaged messages were accepted");
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = SplitMix64::new(2);
    for codec in codecs() {
        for version in codec.versions.iter() {
            for _ in 0..100 {
                let len = random.below(100);
                let bytes: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
                let _ = (codec.check)(&bytes, version);
            }
        }
    }
}
