//! Who may do what, and how much. Pure: the time is an argument, nothing here waits or looks anything up.
//!
//! So far [`quota`]: how fast clients may go, and how long they have to pause when they went faster.

pub mod quota;
