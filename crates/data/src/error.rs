//! One error type for the data plane: what, where, and what to do.

use std::path::PathBuf;

/// Why documents, windows or an n-gram model could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be opened or read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A row, frame or page is not what its format demands.
    #[error("bad data in `{}`, {place}: {reason}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Line, row group or byte offset, in words.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A request that these sources, this model or this state cannot satisfy.
    #[error("{message}")]
    Invalid {
        /// What was asked and what was found.
        message: String,
        /// What to do about it; empty when there is no advice.
        hint: String,
    },
}

impl DataError {
    /// An [`DataError::Invalid`] from two sentences.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: hint.into() }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, DataError>;
