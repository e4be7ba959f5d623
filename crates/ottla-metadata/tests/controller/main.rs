//! The controller: scenarios, and its log beside Apache Kafka's.

mod kafka;
mod scenario;
mod scenarios;
