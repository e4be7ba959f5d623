//! Listeners, frames, memory budget, file-range sends.
