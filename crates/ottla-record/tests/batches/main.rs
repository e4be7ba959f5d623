//! Record batches: bytes of Apache Kafka's, round trips, rules of a leader, damage.

mod common;
mod golden;
mod hostile;
mod kafka;
mod legacy;
mod roundtrip;
mod validate;
