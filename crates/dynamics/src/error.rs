//! One error type for the dynamics model: what is wrong, and what to do.

/// Why a setting, an observation or saved bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DynamicsError {
    /// A setting is unknown, of the wrong type or out of range.
    #[error("{message}")]
    Setting {
        /// Which setting, and the value found.
        message: String,
        /// What is possible.
        hint: String,
    },
    /// A number that must be finite is not.
    #[error("{name} is {value}, which is not a finite number")]
    NotFinite {
        /// The argument.
        name: String,
        /// The value as text.
        value: String,
    },
    /// An observation that cannot be: a wrong number of values, or a value out of its range.
    #[error("{message}")]
    Observation {
        /// The argument and what was found.
        message: String,
    },
    /// Bytes that are not a state of this model.
    #[error("{message}")]
    State {
        /// What is wrong with the bytes.
        message: String,
        /// What to do about it.
        hint: String,
    },
}

impl DynamicsError {
    /// A [`DynamicsError::Setting`] from two sentences.
    pub(crate) fn setting(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Setting { message: message.into(), hint: hint.into() }
    }

    /// A [`DynamicsError::Observation`] from a sentence.
    pub(crate) fn observation(message: impl Into<String>) -> Self {
        Self::Observation { message: message.into() }
    }

    /// A [`DynamicsError::State`] from two sentences.
    pub(crate) fn state(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::State { message: message.into(), hint: hint.into() }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, DynamicsError>;

/// `value` if it is finite, else an error that names the argument.
pub(crate) fn finite(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    let value = value.to_string().to_lowercase();
    Err(DynamicsError::NotFinite { name: name.to_owned(), value })
}
