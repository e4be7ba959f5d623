//! Connections over loopback.

mod connections;
mod files;
mod support;
