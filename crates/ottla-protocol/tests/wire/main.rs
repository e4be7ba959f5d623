//! Messages on the wire: random ones, damaged ones, and beside Apache Kafka's own classes.

mod jvm;
mod messages;
mod support;
