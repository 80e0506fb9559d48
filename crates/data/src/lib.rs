//! The data plane: documents, their order, the n-gram model, patching and packing. Pure Rust, no Python.

mod entropy;
mod error;
mod folds;
mod hash;
mod patch;
mod prepare;
mod windows;

pub use entropy::{Distribution, NgramModel, Target, calibrate};
pub use error::{DataError, Result};
pub use folds::CrossFit;
pub use hash::HashTables;
pub use patch::{Patcher, Rule};
pub use prepare::{Prepared, Preparer, Segment, Span};
pub use windows::{BOS, FEATURES, NOT_SCORED, PAD, RowBuffer, RowShape, Windows};
