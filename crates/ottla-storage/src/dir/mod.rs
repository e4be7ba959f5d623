//! Log directories.
