//! One replica of a partition: its log, its role, its high watermark, and who waits for it to move.
//!
//! Plain synchronous state. Waiters are opaque values of the caller, parked here and handed back when what they wait for has
//! come; what they mean (a task, a token of a simulator) is not known here.

mod replica;
mod waiters;

pub use replica::{Detached, Durability, Replica, ReplicaError};
pub use waiters::ReaderKey;
