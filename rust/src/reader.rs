//! The reader of a document that is still being written.

use neat_data::{DataError, ReaderPart};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;

use crate::error::{OrRaise, data_error};
use crate::prepare::{Preparer, windows_dict};

/// What a reader reads: text, or symbols as `Document.symbols` gives them.
#[derive(FromPyObject)]
enum Symbols {
    #[pyo3(transparent, annotation = "bytes")]
    Text(PyBackedBytes),
    #[pyo3(transparent, annotation = "list[int]")]
    Mixed(Vec<i64>),
}

impl Symbols {
    /// The parts, which `reader` can read.
    fn parts(self, reader: &neat_data::Reader) -> PyResult<Vec<ReaderPart>> {
        let parts = match self {
            Self::Text(text) => vec![ReaderPart::Text(text.to_vec())],
            Self::Mixed(symbols) => ReaderPart::of_symbols(&symbols).or_raise()?,
        };
        reader.check(&parts).or_raise()?;
        Ok(parts)
    }
}

/// Turns a document into positions as it is written. A reader never changes: reading gives new ones.
///
/// The positions are those that `Preparer.windows` gives for the whole document, however it is cut: also between the
/// codes of an image. What is read is `bytes`, or a sequence of symbols as `Document.symbols` gives them.
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

    /// Where it stands, as JSON of less than a kilobyte, and the codes of an image that has not ended.
    fn state(&self) -> String {
        self.inner.state()
    }

    /// A reader that has passed over `text` without positions for it; the next symbol begins a segment.
    fn skip(&self, py: Python<'_>, text: Symbols) -> PyResult<Self> {
        let parts = text.parts(&self.inner)?;
        Ok(Self { inner: py.detach(|| self.inner.skip(&parts)) })
    }

    /// How many symbols of `text` can be read until the segment is full.
    ///
    /// It is full at `positions` positions, or when one more would lie in more than `patches` patches. The codes of an
    /// image are read all or not at all; an image that has not ended needs room for those that are to come.
    fn fit(&self, py: Python<'_>, text: Symbols, positions: usize, patches: usize) -> PyResult<usize> {
        let parts = text.parts(&self.inner)?;
        py.detach(|| self.inner.fit(&parts, positions, patches)).or_raise()
    }

    /// Read one text with each of several readers: the arrays of a batch that continues streams, and new readers.
    ///
    /// The arrays are those of `Preparer.windows`, with one more patch slot than any row closes patches. The position
    /// before a document's first symbol comes with what is read first, be it nothing. Targets are not known yet.
    #[staticmethod]
    fn read<'py>(
        py: Python<'py>,
        readers: Vec<PyRef<'py, Self>>,
        texts: Vec<Symbols>,
    ) -> PyResult<(Bound<'py, PyDict>, Vec<Self>)> {
        if readers.is_empty() || readers.len() != texts.len() {
            let message = format!("{} readers cannot read {} texts", readers.len(), texts.len());
            return Err(data_error(&DataError::invalid(message, "give each of them one")));
        }
        let inner: Vec<_> = readers.iter().map(|reader| &reader.inner).collect();
        let parts = texts.into_iter().zip(&inner).map(|(text, reader)| text.parts(reader));
        let parts = parts.collect::<PyResult<Vec<_>>>()?;
        let (windows, next) = py.detach(|| neat_data::Reader::read(&inner, &parts));
        Ok((windows_dict(py, windows)?, next.into_iter().map(|inner| Self { inner }).collect()))
    }

    /// Codes read of an image that has not ended; None outside images.
    #[getter]
    fn image(&self) -> Option<Vec<u16>> {
        self.inner.image().map(<[u16]>::to_vec)
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
