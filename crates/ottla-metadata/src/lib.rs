//! The cluster metadata image and the controller that decides its changes.
