//! The data plane: documents, their order, the n-gram model, patching and packing. Pure Rust, no Python.

mod corpus;
mod document;
mod draws;
mod entropy;
mod error;
mod folds;
mod hash;
mod lanes;
mod manifest;
mod mixture;
mod order;
mod packer;
mod patch;
mod prepare;
mod reader;
mod segment;
mod source;
mod stream;
mod windows;

pub use corpus::{BadRow, Corpus, CorpusConfig, Documents, OnBadRow, Part, document_hash};
pub use document::{Document, Image, ImageShape, PLACEHOLDER};
pub use entropy::{Distribution, NgramModel, Target, calibrate};
pub use error::{DataError, Result};
pub use folds::CrossFit;
pub use hash::HashTables;
pub use lanes::Counters;
pub use manifest::{Block, FileEntry, Manifest};
pub use mixture::Mixture;
pub use order::Permutation;
pub use patch::{Patcher, Rule};
pub use prepare::{Prepared, Preparer, Segment, Span};
pub use reader::{Part as ReaderPart, Reader};
pub use source::inspect::{FirstBad, Inspection, column, inspect};
pub use source::{Compression, Format};
pub use stream::{Shape, StreamConfig, WindowStream};
pub use windows::{
    BOI, BOS, EOI, FEATURES, FIRST_CODE, IMAGE_BEGINS, IMG, NOT_SCORED, PAD, RowBuffer, RowShape, Windows,
};
