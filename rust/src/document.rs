//! Documents with images, and everything that takes a document.

use neat_data::{BOI, EOI, FIRST_CODE};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

/// Text with images between its parts. A document without images is `bytes`; wherever those are taken, so is this.
///
/// Its length counts positions: a byte, a code, and the beginning and the end of an image are one each.
///
/// Args:
///     parts: Text as bytes and images as lists of codes, in their order.
///     open: The last part is an image that has not ended: any number of its codes, and no end.
///
/// Raises:
///     ValueError: The document is open but does not end with an image.
#[pyclass(frozen, module = "neat._native", eq)]
#[derive(PartialEq)]
pub(crate) struct Document {
    pub(crate) inner: neat_data::Document,
}

/// A part of a document.
#[derive(FromPyObject)]
enum PartOf {
    #[pyo3(transparent, annotation = "bytes")]
    Text(PyBackedBytes),
    #[pyo3(transparent, annotation = "list[int]")]
    Image(Vec<u16>),
}

#[pymethods]
impl Document {
    #[new]
    #[pyo3(signature = (parts, open=false))]
    fn new(parts: Vec<PartOf>, open: bool) -> PyResult<Self> {
        if open && !matches!(parts.last(), Some(PartOf::Image(_))) {
            return Err(PyValueError::new_err("an open document ends with an image"));
        }
        let mut inner = neat_data::Document::default();
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.into_iter().enumerate() {
            match part {
                PartOf::Text(text) => inner.push_text(&text),
                PartOf::Image(codes) => inner.push_image(codes, open && index == last),
            }
        }
        Ok(Self { inner })
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// The parts: text as bytes, images as lists of codes. Empty texts are left out.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let parts = PyList::empty(py);
        let mut images = self.inner.images.iter();
        let text = |range: std::ops::Range<usize>| {
            if range.is_empty() { Ok(()) } else { parts.append(PyBytes::new(py, &self.inner.bytes[range])) }
        };
        for range in self.inner.texts() {
            text(range)?;
            if let Some(image) = images.next() {
                parts.append(image.codes.clone())?;
            }
        }
        Ok(parts)
    }

    /// The longest document of at most `positions` positions that this one begins with and that ends in no image.
    fn beginning(&self, positions: usize) -> Self {
        Self { inner: self.inner.beginning(positions) }
    }

    /// The images as (position where it begins, codes).
    #[getter]
    fn images(&self) -> Vec<(usize, Vec<u16>)> {
        self.inner.images.iter().map(|image| (image.at, image.codes.clone())).collect()
    }

    /// One number a position: a byte, 259 where an image begins, 264 and more for a code, 260 where the image ends.
    fn symbols(&self) -> Vec<i64> {
        let mut symbols: Vec<_> = self.inner.bytes.iter().map(|&byte| i64::from(byte)).collect();
        for image in &self.inner.images {
            let last = image.at + 1 + image.codes.len();
            symbols[image.at] = BOI;
            for (symbol, &code) in symbols[image.at + 1..last].iter_mut().zip(&image.codes) {
                *symbol = FIRST_CODE + i64::from(code);
            }
            if let Some(end) = symbols.get_mut(last) {
                *end = EOI;
            }
        }
        symbols
    }

    /// Bytes of text, without the positions of images.
    #[getter]
    fn num_bytes(&self) -> usize {
        self.inner.texts().map(|text| text.len()).sum()
    }

    /// Whether the last image has not ended.
    #[getter]
    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    fn __repr__(&self) -> String {
        format!("Document(num_bytes={}, images={})", self.num_bytes(), self.inner.images.len())
    }
}

/// A document from Python: bytes, or with images.
#[derive(FromPyObject)]
pub(crate) enum AnyDocument<'py> {
    #[pyo3(transparent, annotation = "bytes")]
    Bytes(PyBackedBytes),
    #[pyo3(transparent, annotation = "Document")]
    Document(PyRef<'py, Document>),
}

impl From<AnyDocument<'_>> for neat_data::Document {
    fn from(document: AnyDocument<'_>) -> Self {
        match document {
            AnyDocument::Bytes(bytes) => bytes.to_vec().into(),
            AnyDocument::Document(document) => document.inner.clone(),
        }
    }
}

/// The documents, copied out of Python.
pub(crate) fn owned(documents: Vec<AnyDocument<'_>>) -> Vec<neat_data::Document> {
    documents.into_iter().map(Into::into).collect()
}

/// A document on its way to Python: bytes, or a `Document` where there are images.
pub(crate) fn to_python(py: Python<'_>, document: neat_data::Document) -> PyResult<Bound<'_, PyAny>> {
    if document.images.is_empty() {
        return Ok(PyBytes::new(py, &document.bytes).into_any());
    }
    Ok(Bound::new(py, Document { inner: document })?.into_any())
}
