//! A partition's log as its users see it, on a file system in memory and against Apache Kafka's own tools.

mod basics;
mod cleaner;
mod cleaner_kafka;
mod crash;
mod found;
mod kafka;
mod model;
mod repair;
mod startup;
mod support;
