//! Randomness from the operating system, for ids.

use ottla_types::Uuid;

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// A fresh id in Kafka's sense.
pub(crate) fn uuid() -> Uuid {
    loop {
        if let Some(id) = Uuid::from_random(bytes()) {
            return id;
        }
    }
}

/// A random number from 0 to `i32::MAX`.
pub(crate) fn positive_i32() -> i32 {
    i32::from_be_bytes(bytes()) & i32::MAX
}

/// Random 64 bits.
pub(crate) fn u64() -> u64 {
    u64::from_be_bytes(bytes())
}

/// Random 128 bits.
pub(crate) fn u128() -> u128 {
    u128::from_be_bytes(bytes())
}
