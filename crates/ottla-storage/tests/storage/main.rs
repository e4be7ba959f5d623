//! File systems, a partition's log and log directories as their users see them, in memory and beside Apache Kafka's own classes.

#![allow(missing_docs)]

mod dir;
mod fs_conformance;
mod fs_faults;
mod fs_lock;
mod log;
