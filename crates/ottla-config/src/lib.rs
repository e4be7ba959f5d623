//! Configuration: one definition per key of Kafka 4.4, and everything that follows from it.
//!
//! [`table`] holds the keys; a [`ConfigKey`] parses and checks values with Kafka's messages.

mod address;
mod duration;
mod error;
mod key;
mod rule;
pub mod synonyms;
pub mod table;
mod value;

pub use address::{HostPort, parse_bootstrap_servers, parse_voters};
pub use duration::parse_iso8601_ms;
pub use error::{ConfigError, ErrorKind};
pub use key::{ConfigKey, Effect, Importance, Kind, Origin, Preset, Scope, Update};
pub use rule::Rule;
pub use table::{find, keys};
pub use value::{Password, Value};
