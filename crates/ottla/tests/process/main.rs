//! The binary as a process: what it says to its arguments, and a server watched from outside.

mod cli_usage;
mod log_levels;
mod memory;
mod read_errors;
mod server;
