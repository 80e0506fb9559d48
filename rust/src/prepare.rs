//! The preparer, and windows as arrays.

use neat_data::{FEATURES, HashTables, ImageShape, Prepared, Segment, Span, Windows};
use numpy::ndarray::IntoDimension;
use numpy::{Element, IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::document::{AnyDocument, owned};
use crate::error::OrRaise;
use crate::ngram::{CrossFit, Patcher};

/// (document index, first target byte, one past the last, first scored target byte)
type SpanOf = (usize, usize, usize, usize);

/// Turns documents into rows of static shapes: ids, patches, hashes and n-gram features.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct Preparer {
    pub(crate) inner: neat_data::Preparer,
}

#[pymethods]
impl Preparer {
    /// `models` may be None for the rules `space`, `stride` and `byte` without features. With `image_codes` above 0 rows
    /// carry images of that many codes, each code below `num_codes`, and the arrays `codes`, `cell` and `code_targets`.
    #[new]
    #[pyo3(signature = (models, patcher, hash_orders = Vec::new(), hash_rows = 0, features = false, image_codes = 0,
        num_codes = 65536))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        models: Option<&CrossFit>,
        patcher: &Patcher,
        hash_orders: Vec<usize>,
        hash_rows: usize,
        features: bool,
        image_codes: usize,
        num_codes: usize,
    ) -> PyResult<Self> {
        let hashes = HashTables::new(&hash_orders, hash_rows).or_raise()?;
        let models = models.map(|models| models.inner.clone());
        let mut inner =
            neat_data::Preparer::new(models, patcher.inner.clone(), hashes, features).or_raise()?;
        if image_codes > 0 {
            inner = inner.with_images(ImageShape { codes: image_codes, codebook: num_codes });
        }
        Ok(Self { inner })
    }

    /// One row for each span `(document, start, end, score_from)`, by the full n-gram model.
    ///
    /// `end` may be one past the document's length to ask for the prediction of the byte after it. Targets before
    /// `score_from` are -100. Returns the arrays by name; with P = `patches`, slot P - 1 is for padding.
    fn windows<'py>(
        &self,
        py: Python<'py>,
        documents: Vec<AnyDocument<'py>>,
        spans: Vec<SpanOf>,
        positions: usize,
        patches: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let rows = spans.into_iter().map(|span| vec![span]).collect();
        self.packed(py, documents, rows, positions, patches)
    }

    /// Like `windows`, with several segments in a row.
    fn packed<'py>(
        &self,
        py: Python<'py>,
        documents: Vec<AnyDocument<'py>>,
        segments: Vec<Vec<SpanOf>>,
        positions: usize,
        patches: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let documents = owned(documents);
        let windows = py.detach(|| {
            let prepared = documents
                .into_iter()
                .map(|document| self.prepare(document))
                .collect::<neat_data::Result<Vec<_>>>()?;
            let rows: Vec<Vec<_>> =
                segments.iter().map(|row| row.iter().copied().map(segment).collect()).collect();
            self.inner.pack(&prepared, &rows, positions, patches)
        });
        windows_dict(py, windows.or_raise()?)
    }

    /// Spans `(start, end, score_from)` that cover the targets of a document, the byte after the last included.
    ///
    /// Neighbours share up to `overlap` targets. The spans of a prefix are those of the document but for the last.
    fn spans(
        &self,
        py: Python<'_>,
        document: AnyDocument<'_>,
        positions: usize,
        patches: usize,
        overlap: usize,
    ) -> PyResult<Vec<(usize, usize, usize)>> {
        let document = document.into();
        let spans = py.detach(|| {
            let prepared = self.prepare(document)?;
            self.inner.spans(&prepared, positions, patches, overlap)
        });
        Ok(spans.or_raise()?.into_iter().map(|span| (span.start, span.end, span.score_from)).collect())
    }

    /// Which positions of a document open a patch, by the full n-gram model: bool [n + 1].
    fn starts<'py>(
        &self,
        py: Python<'py>,
        document: AnyDocument<'py>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let document = document.into();
        Ok(py.detach(|| self.prepare(document)).or_raise()?.starts.into_pyarray(py))
    }
}

impl Preparer {
    /// A document by the full n-gram model, its images checked.
    fn prepare(&self, document: neat_data::Document) -> neat_data::Result<Prepared> {
        self.inner.check(&document)?;
        Ok(self.inner.prepare(document, None))
    }
}

fn segment((document, start, end, score_from): SpanOf) -> Segment {
    Segment { document, span: Span { start, end, score_from } }
}

/// The arrays of a batch by name, handed over without a copy. Those that not all rows carry are
/// left out where they do not.
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
    if windows.shape.images {
        arrays.set_item("codes", shaped(py, windows.codes, (b, n))?)?;
        arrays.set_item("cell", shaped(py, windows.cell, (b, n))?)?;
        arrays.set_item("code_targets", shaped(py, windows.code_targets, (b, p))?)?;
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
