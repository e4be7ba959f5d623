//! Log directories: their files, start, life and end, on a file system that fails and forgets.

mod crash;
mod files;
mod journal;
mod kafka;
mod life;
mod load;
mod many;
mod removal;
mod retention;
mod shutdown;
mod start;
mod support;
