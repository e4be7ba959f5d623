//! Where the load comes from: clients that are not ours.

pub(super) mod java;
pub(super) mod librdkafka;

/// Bytes of a record in scenarios that do not vary it.
pub(super) const RECORD_BYTES: u64 = 1024;

/// Gigabytes (10⁹ bytes) of records.
pub(super) fn gigabytes(records: u64, record_bytes: u64) -> f64 {
    (records * record_bytes) as f64 / 1e9
}
