//! Crate errors become the exceptions of `neat.errors`, message and hint apart.

use neat_data::DataError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The Python exception for a failure of the data plane: `neat.errors.DataError(message, hint=...)`.
pub(crate) fn data_error(error: &DataError) -> PyErr {
    let hint = match error {
        DataError::Invalid { hint, .. } if !hint.is_empty() => Some(hint.as_str()),
        _ => None,
    };
    Python::attach(|py| {
        let build = || -> PyResult<PyErr> {
            let keywords = PyDict::new(py);
            keywords.set_item("hint", hint)?;
            let class = py.import("neat.errors")?.getattr("DataError")?;
            Ok(PyErr::from_value(class.call((error.to_string(),), Some(&keywords))?))
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
