//! Groups and transactions: scenarios, random histories, and records and assignments beside Apache Kafka's.

mod kafka;
mod records;
mod reload;
mod scenarios;
mod trace;
mod transaction_records;
mod transaction_reload;
mod transaction_scenarios;
mod transaction_world;
mod world;
