//! Crate errors become the exceptions of `neat.errors`, message and hint apart.

use neat_data::DataError;
use neat_dynamics::DynamicsError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The Python exception for a failure of the data plane: `neat.errors.DataError(message, hint=...)`.
pub(crate) fn data_error(error: &DataError) -> PyErr {
    let hint = match error {
        DataError::Invalid { hint, .. } if !hint.is_empty() => Some(hint.as_str()),
        _ => None,
    };
    raise("DataError", &error.to_string(), hint)
}

/// The Python exception for a refusal of the dynamics model.
///
/// Settings become `ConfigError`, saved bytes `CheckpointError`, numbers that are not finite `DivergedError`; an
/// observation of the wrong shape or range is a fault of the caller, `ValueError`.
pub(crate) fn dynamics_error(error: &DynamicsError) -> PyErr {
    let message = error.to_string();
    match error {
        DynamicsError::Setting { hint, .. } => raise("ConfigError", &message, Some(hint)),
        DynamicsError::State { hint, .. } => raise("CheckpointError", &message, Some(hint)),
        DynamicsError::NotFinite { .. } => {
            let hint = "the dynamics model takes finite numbers alone; skip what is not and tell the divergence monitor";
            raise("DivergedError", &message, Some(hint))
        }
        DynamicsError::Observation { .. } => PyValueError::new_err(message),
    }
}

/// An exception of `neat.errors`, or the one that kept it from being made.
fn raise(class: &str, message: &str, hint: Option<&str>) -> PyErr {
    Python::attach(|py| {
        let build = || -> PyResult<PyErr> {
            let keywords = PyDict::new(py);
            keywords.set_item("hint", hint)?;
            let class = py.import("neat.errors")?.getattr(class)?;
            Ok(PyErr::from_value(class.call((message,), Some(&keywords))?))
        };
        build().unwrap_or_else(|failure| failure)
    })
}

/// Converts the crate's results on their way to Python.
pub(crate) trait OrRaise<T> {
    /// The value, or the matching Python exception.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for neat_data::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| data_error(&error))
    }
}
