//! Group and transaction coordinators: decide and replay.
