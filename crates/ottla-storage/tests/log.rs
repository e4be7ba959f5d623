//! A partition's log as its users see it, on a file system in memory and against Apache Kafka's own tools.

#![allow(missing_docs)]

#[path = "log/basics.rs"]
mod basics;
#[path = "log/cleaner.rs"]
mod cleaner;
#[path = "log/cleaner_kafka.rs"]
mod cleaner_kafka;
#[path = "log/crash.rs"]
mod crash;
#[path = "log/kafka.rs"]
mod kafka;
#[path = "log/model.rs"]
mod model;
#[path = "log/startup.rs"]
mod startup;
#[path = "log/support.rs"]
mod support;
