//! The log on disk, byte for byte Apache Kafka's: segments, indexes, recovery, producer state, epoch cache, retention,
//! checkpoints and the directories they live in.
//!
//! Everything reads and writes through [`fs::Fs`], so that tests can run it on a file system that fails, tears and forgets.
//! `now` is always an argument. Nothing here knows the wire or Kafka's error codes.

pub mod dir;
pub mod fs;
pub mod log;
