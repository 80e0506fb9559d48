//! The dynamics model that watches training and forecasts it. Pure Rust, no Python.
//!
//! This crate holds no model yet: it marks the place in the workspace.
