//! The cluster's metadata: the immutable image with its deltas, and the controller that decides its changes.

pub mod controller;
mod error;
pub mod features;
pub mod image;
mod random;
mod record;
mod shared_map;

pub use error::{ApiError, ReplayError, UnwritableError};
pub use random::Random;
pub use record::{VersionedRecord, decode};
pub use shared_map::SharedMap;
