//! The controller.
pub(crate) mod placement;
