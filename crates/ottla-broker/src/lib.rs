//! The node: the pure cores wired to time, disk and network.
//!
//! [`Node::start`] brings a broker with its controller up; `dispatch` has the table of requests, `handlers` one file for each.
//! The shell holds no rules of its own: groups and transactions are decided in `ottla-coordinator`, metadata in `ottla-metadata`, replicas in
//! `ottla-replica`, bytes in `ottla-storage` and `ottla-record`.

mod acl_elements;
mod authorized_operations;
mod auto_topics;
mod broker;
mod cleaner;
mod clock;
mod config_changes;
mod connections;
mod controller;
mod coordinators;
mod cordoned_dirs;
mod deleter;
mod dir_failures;
mod dispatch;
mod duties;
mod errors;
mod exposition;
mod fetch_read;
mod fetch_session;
mod flusher;
mod groups;
mod handlers;
mod internal_topics;
mod lifecycle;
mod load_notes;
mod log_levels;
mod logger_changes;
mod memory;
mod metadata_log;
mod metrics;
mod moves;
mod node;
mod partition;
mod principal;
mod producer_ids;
mod publisher;
mod quotas;
mod random;
mod replicas;
mod request;
mod settings;
mod settling;
mod telemetry;
#[cfg(test)]
mod test_support;
mod transactions;
mod waiter;

pub use log_levels::{LevelSettings, LogLevel, LogLevels};
pub use node::{Node, Started, format};
