//! The data plane: documents, their order, the n-gram model, patching and packing. Pure Rust, no Python.

mod error;
mod manifest;
mod source;

pub use error::{DataError, Result};
pub use manifest::{Block, FileEntry, Manifest};
