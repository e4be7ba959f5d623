//! A whole node over loopback: what it tells about itself, its limits on connections, and that it stops.

mod limits;
mod log_dirs;
mod metrics;
mod offsets_topic;
mod scale;
mod stop;
mod support;
