//! The node: cores wired to time, disk and network.
