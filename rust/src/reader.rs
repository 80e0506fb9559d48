//! The reader of a document that is still being written.

use neat_data::DataError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;

use crate::error::{OrRaise, data_error};
use crate::prepare::{Preparer, windows_dict};

/// Turns a document into positions as it is written. A reader never changes: reading gives new ones.
///
/// The positions are those that `Preparer.windows` gives for the whole document, however it is cut.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct Reader {
    inner: neat_data::Reader,
}

#[pymethods]
impl Reader {
    /// A reader at the beginning of a document, or where `state()` was called.
    ///
    /// Raises:
    ///     neat.errors.DataError: The state is damaged or belongs to another preparer.
    #[new]
    #[pyo3(signature = (preparer, state = None))]
    fn new(preparer: &Preparer, state: Option<&str>) -> PyResult<Self> {
        let preparer = preparer.inner.clone();
        let inner = match state {
            None => neat_data::Reader::new(preparer),
            Some(state) => neat_data::Reader::restore(preparer, state).or_raise()?,
        };
        Ok(Self { inner })
    }

    /// Where it stands, as JSON of less than a kilobyte.
    fn state(&self) -> String {
        self.inner.state()
    }

    /// A reader that has passed over `text` without positions for it; the next byte begins a segment.
    fn skip(&self, py: Python<'_>, text: PyBackedBytes) -> Self {
        Self { inner: py.detach(|| self.inner.skip(&text)) }
    }

    /// How many bytes of `text` can be read until the segment is full.
    ///
    /// It is full at `positions` positions, or when one more would lie in more than `patches` patches.
    fn fit(&self, py: Python<'_>, text: PyBackedBytes, positions: usize, patches: usize) -> usize {
        py.detach(|| self.inner.fit(&text, positions, patches))
    }

    /// Read one text with each of several readers: the arrays of a batch that continues streams, and new readers.
    ///
    /// The arrays are those of `Preparer.windows`, with one more patch slot than any row closes patches. The position
    /// before a document's first byte comes with what is read first, be it nothing.
    #[staticmethod]
    fn read<'py>(
        py: Python<'py>,
        readers: Vec<PyRef<'py, Self>>,
        texts: Vec<PyBackedBytes>,
    ) -> PyResult<(Bound<'py, PyDict>, Vec<Self>)> {
        if readers.is_empty() || readers.len() != texts.len() {
            let message = format!("{} readers cannot read {} texts", readers.len(), texts.len());
            return Err(data_error(&DataError::invalid(message, "give each of them one")));
        }
        let inner: Vec<_> = readers.iter().map(|reader| &reader.inner).collect();
        let parts: Vec<_> = texts.iter().map(|text| &**text).collect();
        let (windows, next) = py.detach(|| neat_data::Reader::read(&inner, &parts));
        Ok((windows_dict(py, windows)?, next.into_iter().map(|inner| Self { inner }).collect()))
    }

    /// Positions of the segment so far.
    #[getter]
    fn num_positions(&self) -> usize {
        self.inner.num_positions()
    }

    /// Patches that these positions lie in.
    #[getter]
    fn num_patches(&self) -> usize {
        self.inner.num_patches()
    }

    fn __repr__(&self) -> String {
        format!("Reader({})", self.inner.state())
    }
}
