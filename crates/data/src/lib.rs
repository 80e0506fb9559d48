//! The data plane: documents, their order, the n-gram model, patching and packing. Pure Rust, no Python.

mod error;

pub use error::{DataError, Result};
