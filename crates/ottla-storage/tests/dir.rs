//! Log directories: their files, start, life and end, on a file system that fails and forgets.

#[path = "dir/crash.rs"]
mod crash;
#[path = "dir/files.rs"]
mod files;
#[path = "dir/kafka.rs"]
mod kafka;
#[path = "dir/life.rs"]
mod life;
#[path = "dir/load.rs"]
mod load;
#[path = "dir/shutdown.rs"]
mod shutdown;
#[path = "dir/start.rs"]
mod start;
#[path = "dir/support.rs"]
mod support;
