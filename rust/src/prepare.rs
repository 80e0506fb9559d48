//! Windows as NumPy arrays.

use neat_data::{FEATURES, Windows};
use numpy::ndarray::IntoDimension;
use numpy::{Element, IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The arrays of a batch by name, handed over without a copy. `hashes` and `features` only where rows carry them.
pub(crate) fn windows_dict(py: Python<'_>, windows: Windows) -> PyResult<Bound<'_, PyDict>> {
    let (b, n, p) = (windows.rows, windows.positions, windows.patches);
    let arrays = PyDict::new(py);
    arrays.set_item("ids", shaped(py, windows.ids, (b, n))?)?;
    arrays.set_item("targets", shaped(py, windows.targets, (b, n))?)?;
    arrays.set_item("document", shaped(py, windows.document, (b, n))?)?;
    arrays.set_item("patch", shaped(py, windows.patch, (b, n))?)?;
    arrays.set_item("read", shaped(py, windows.read, (b, n))?)?;
    arrays.set_item("patch_document", shaped(py, windows.patch_document, (b, p))?)?;
    arrays.set_item("patch_first", shaped(py, windows.patch_first, (b, p))?)?;
    arrays.set_item("patch_last", shaped(py, windows.patch_last, (b, p))?)?;
    arrays.set_item("patch_length", shaped(py, windows.patch_length, (b, p))?)?;
    if windows.shape.tables > 0 {
        arrays.set_item("hashes", shaped(py, windows.hashes, (b, n, windows.shape.tables))?)?;
    }
    if windows.shape.features {
        arrays.set_item("features", shaped(py, windows.features, (b, n, FEATURES))?)?;
    }
    Ok(arrays)
}

fn shaped<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    shape: impl IntoDimension,
) -> PyResult<Bound<'_, PyAny>> {
    Ok(values.into_pyarray(py).reshape(shape)?.into_any())
}
