//! The n-gram model, its folds and the patcher.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use neat_data::{DataError, Document, Part, Target};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::corpus::{Corpus, interruptible};
use crate::document::{AnyDocument, owned};
use crate::error::{OrRaise, data_error};

/// Bytes of text read between two looks for an interruption.
const BYTES_PER_LOOK: usize = 1 << 22;
/// Text from which the calibration sample is drawn, as a multiple of the sample.
const POOL_PER_SAMPLE: u64 = 16;

/// An interpolated modified Kneser-Ney model over bytes.
///
/// Places the patches, is the yardstick of every evaluation, and feeds the network with next-byte probabilities.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct NgramModel {
    pub(crate) inner: Arc<neat_data::NgramModel>,
}

impl From<neat_data::NgramModel> for NgramModel {
    fn from(model: neat_data::NgramModel) -> Self {
        Self { inner: Arc::new(model) }
    }
}

#[pymethods]
impl NgramModel {
    /// Train on the training part of a corpus.
    ///
    /// `limit_bytes` ends with the document that reaches it; `hash_below` takes the sample of `Corpus.documents` that a
    /// stream can leave out. `order` is the bytes of context, 1 to 6; `threads` = 0 takes one a core.
    #[staticmethod]
    #[pyo3(signature = (corpus, order = 6, limit_bytes = None, threads = 0, hash_below = None))]
    fn train(
        py: Python<'_>,
        corpus: &Corpus,
        order: usize,
        limit_bytes: Option<u64>,
        threads: usize,
        hash_below: Option<f64>,
    ) -> PyResult<Self> {
        let documents = corpus.inner.documents(Part::Train, limit_bytes, hash_below);
        let model =
            interruptible(py, |tick| neat_data::NgramModel::train(watched(documents, tick), order, threads));
        Ok(model?.into())
    }

    /// Train on documents in memory. `order` is the bytes of context, 1 to 6; `threads` = 0 takes one a core.
    #[staticmethod]
    #[pyo3(signature = (documents, order = 6, threads = 0))]
    fn train_bytes(
        py: Python<'_>,
        documents: Vec<AnyDocument<'_>>,
        order: usize,
        threads: usize,
    ) -> PyResult<Self> {
        let documents = owned(documents).into_iter().map(Ok::<_, DataError>);
        let model = py.detach(|| neat_data::NgramModel::train(documents, order, threads));
        Ok(model.or_raise()?.into())
    }

    /// Read a model from a file; `neat.errors.DataError` if it is damaged.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(py.detach(|| neat_data::NgramModel::load(&path)).or_raise()?.into())
    }

    /// Read a model from the contents of a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: PyBackedBytes) -> PyResult<Self> {
        Ok(py.detach(|| neat_data::NgramModel::from_bytes(&data)).or_raise()?.into())
    }

    /// Write the model to a file, with a patcher to travel along if one is given.
    #[pyo3(signature = (path, patcher = None))]
    fn save(&self, py: Python<'_>, path: PathBuf, patcher: Option<&Patcher>) -> PyResult<()> {
        let patcher = patcher.map(|patcher| &patcher.inner);
        py.detach(|| self.inner.save(&path, patcher)).or_raise()
    }

    /// The contents of the file that `save` writes.
    #[pyo3(signature = (patcher = None))]
    fn to_bytes<'py>(&self, py: Python<'py>, patcher: Option<&Patcher>) -> Bound<'py, PyBytes> {
        let patcher = patcher.map(|patcher| &patcher.inner);
        PyBytes::new(py, &py.detach(|| self.inner.to_bytes(patcher)))
    }

    /// 32 hexadecimal digits that name the model's contents, the patcher aside.
    #[getter]
    fn digest(&self) -> &str {
        self.inner.digest()
    }

    /// Bytes of context.
    #[getter]
    fn order(&self) -> usize {
        self.inner.order()
    }

    /// Stored contexts of all lengths.
    #[getter]
    fn num_contexts(&self) -> usize {
        self.inner.num_contexts()
    }

    /// The patcher that was stored in the model's file, if any.
    #[getter]
    fn patcher(&self) -> Option<Patcher> {
        self.inner.patcher().cloned().map(|inner| Patcher { inner })
    }

    /// Entropy in nats of the distribution for each byte given those before it: float32 [n + 1].
    fn entropies<'py>(&self, py: Python<'py>, document: PyBackedBytes) -> Bound<'py, PyArray1<f32>> {
        py.detach(|| self.inner.entropies(&document)).into_pyarray(py)
    }

    /// Probabilities of each byte given those before it: float32 [n + 1, 256].
    fn distributions<'py>(
        &self,
        py: Python<'py>,
        document: PyBackedBytes,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let positions = document.len() + 1;
        let values = py.detach(|| {
            let mut rows = vec![[0f32; 256]; positions];
            self.inner.distributions(&document, 0, &mut rows);
            rows.into_flattened()
        });
        values.into_pyarray(py).reshape((positions, 256))
    }

    /// Code length of a document in bits; of the texts between images, where there are some.
    fn bits(&self, py: Python<'_>, document: AnyDocument<'_>) -> f64 {
        let document = Document::from(document);
        py.detach(|| document.texts().map(|text| self.inner.bits(&document.bytes[text])).sum())
    }

    fn __repr__(&self) -> String {
        format!(
            "NgramModel(order={}, num_contexts={}, digest='{}')",
            self.inner.order(),
            self.inner.num_contexts(),
            self.inner.digest()
        )
    }
}

/// The full n-gram model and, for each fold, one that has not seen its documents.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct CrossFit {
    pub(crate) inner: neat_data::CrossFit,
}

#[pymethods]
impl CrossFit {
    /// Train `folds` models and the full one on the training part of a corpus; 0 folds is `single`.
    ///
    /// The other arguments are those of `NgramModel.train`. With `hash_below` the documents outside the sample belong to
    /// no fold and get the full model, which has not seen them.
    #[staticmethod]
    #[pyo3(signature = (corpus, order = 6, folds = 8, limit_bytes = None, threads = 0, hash_below = None))]
    fn train(
        py: Python<'_>,
        corpus: &Corpus,
        order: usize,
        folds: usize,
        limit_bytes: Option<u64>,
        threads: usize,
        hash_below: Option<f64>,
    ) -> PyResult<Self> {
        let documents = corpus.inner.documents(Part::Train, limit_bytes, hash_below);
        let inner = interruptible(py, |tick| {
            neat_data::CrossFit::train(watched(documents, tick), order, folds, threads)
        })?;
        Ok(Self { inner: inner.of_sample(hash_below.unwrap_or(1.0)) })
    }

    /// Train on documents in memory: `folds` models and the full one; 0 folds is `single`.
    #[staticmethod]
    #[pyo3(signature = (documents, order = 6, folds = 8, threads = 0))]
    fn train_bytes(
        py: Python<'_>,
        documents: Vec<AnyDocument<'_>>,
        order: usize,
        folds: usize,
        threads: usize,
    ) -> PyResult<Self> {
        let documents = owned(documents).into_iter().map(Ok::<_, DataError>);
        let inner = py.detach(|| neat_data::CrossFit::train(documents, order, folds, threads));
        Ok(Self { inner: inner.or_raise()? })
    }

    /// Only the given model, without folds.
    #[staticmethod]
    fn single(model: &NgramModel) -> Self {
        Self { inner: neat_data::CrossFit::single(Arc::clone(&model.inner)) }
    }

    /// The model of all documents.
    #[getter]
    fn full(&self) -> NgramModel {
        NgramModel { inner: Arc::clone(self.inner.full()) }
    }

    /// Number of folds; 0 when not cross-fitted.
    #[getter]
    fn folds(&self) -> usize {
        self.inner.folds()
    }

    /// Fold of a document, `xxh3_64(document) % folds`; None when not cross-fitted or not trained on.
    fn fold_of(&self, document: AnyDocument<'_>) -> Option<u32> {
        self.inner.fold_of(&neat_data::Document::from(document).identity())
    }

    /// The model that has not seen a fold.
    fn model(&self, fold: u32) -> PyResult<NgramModel> {
        if fold as usize >= self.inner.folds() {
            let message = format!("there is no fold {fold} among {}", self.inner.folds());
            return Err(data_error(&DataError::invalid(message, "")));
        }
        Ok(NgramModel { inner: Arc::clone(self.inner.model(fold + 1)) })
    }

    fn __repr__(&self) -> String {
        format!("CrossFit(folds={}, order={})", self.inner.folds(), self.inner.full().order())
    }
}

/// A rule that says which bytes open a patch, with its numbers.
///
/// Rules: `global` (entropy above `threshold`), `monotonic` (entropy rose by more than `increment`), `both`, `space`,
/// `stride` and `byte`. Patches longer than `max_length` are cut.
#[pyclass(frozen, module = "neat._native", eq)]
#[derive(PartialEq)]
pub(crate) struct Patcher {
    pub(crate) inner: neat_data::Patcher,
}

#[pymethods]
impl Patcher {
    #[new]
    #[pyo3(signature = (rule, threshold = 0.0, increment = 0.0, max_length = 16, stride = 4))]
    fn new(rule: &str, threshold: f32, increment: f32, max_length: usize, stride: usize) -> PyResult<Self> {
        let inner = rule
            .parse()
            .and_then(|rule| neat_data::Patcher::new(rule, threshold, increment, max_length, stride))
            .or_raise()?;
        Ok(Self { inner })
    }

    /// The patcher that comes nearest to `mean_length` on about `sample_bytes` of a corpus' training part.
    ///
    /// The sample is drawn by hash from the first 16 x `sample_bytes`. Uses the entropies of the model that has not seen
    /// the document. `mean_length` of the result is the one reached.
    #[staticmethod]
    #[pyo3(signature = (models, corpus, rule, mean_length, max_length = 16, stride = 4, sample_bytes = 1 << 20))]
    #[allow(clippy::too_many_arguments)]
    fn calibrate(
        py: Python<'_>,
        models: &CrossFit,
        corpus: &Corpus,
        rule: &str,
        mean_length: f64,
        max_length: usize,
        stride: usize,
        sample_bytes: usize,
    ) -> PyResult<Self> {
        let target = Target { rule: rule.parse().or_raise()?, mean_length, max_length, stride, sample_bytes };
        let pool = (sample_bytes as u64).saturating_mul(POOL_PER_SAMPLE);
        let documents = corpus.inner.documents(Part::Train, Some(pool), None);
        let inner = interruptible(py, |tick| {
            let documents = watched(documents, tick).collect::<neat_data::Result<Vec<_>>>()?;
            neat_data::calibrate(&models.inner, &documents, target)
        });
        Ok(Self { inner: inner? })
    }

    /// The patcher that comes nearest to `mean_length` on about `sample_bytes` of documents in memory.
    ///
    /// Uses the entropies of the model that has not seen the document. `mean_length` of the result is the one reached.
    #[staticmethod]
    #[pyo3(signature = (models, documents, rule, mean_length, max_length = 16, stride = 4, sample_bytes = 1 << 20))]
    #[allow(clippy::too_many_arguments)]
    fn calibrate_bytes(
        py: Python<'_>,
        models: &CrossFit,
        documents: Vec<AnyDocument<'_>>,
        rule: &str,
        mean_length: f64,
        max_length: usize,
        stride: usize,
        sample_bytes: usize,
    ) -> PyResult<Self> {
        let target = Target { rule: rule.parse().or_raise()?, mean_length, max_length, stride, sample_bytes };
        let documents = owned(documents);
        let inner = py.detach(|| neat_data::calibrate(&models.inner, &documents, target));
        Ok(Self { inner: inner.or_raise()? })
    }

    /// Which bytes open a patch: bool [n + 1], the last for the byte that would come next.
    ///
    /// `entropies` is float32 [n + 1], from the n-gram model or from elsewhere; the rules that need none ignore it.
    #[pyo3(signature = (document, entropies = None))]
    fn starts<'py>(
        &self,
        py: Python<'py>,
        document: PyBackedBytes,
        entropies: Option<PyReadonlyArray1<'py, f32>>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let strided = |array: &PyReadonlyArray1<'py, f32>| Cow::Owned(array.as_array().to_vec());
        let values =
            entropies.as_ref().map(|array| array.as_slice().map_or_else(|_| strided(array), Cow::Borrowed));
        let starts = py.detach(|| self.inner.starts(&document, values.as_deref())).or_raise()?;
        Ok(starts.into_pyarray(py))
    }

    /// The rule's name.
    #[getter]
    fn rule(&self) -> &'static str {
        self.inner.rule.name()
    }

    /// Entropy in nats above which `global` and `both` open a patch.
    #[getter]
    fn threshold(&self) -> f32 {
        self.inner.threshold
    }

    /// Rise of entropy in nats above which `monotonic` and `both` open a patch.
    #[getter]
    fn increment(&self) -> f32 {
        self.inner.increment
    }

    /// Longest patch in bytes.
    #[getter]
    fn max_length(&self) -> usize {
        self.inner.max_length
    }

    /// Patch length of the `stride` rule.
    #[getter]
    fn stride(&self) -> usize {
        self.inner.stride
    }

    /// Mean patch length on the calibration sample; None when not calibrated.
    #[getter]
    fn mean_length(&self) -> Option<f64> {
        self.inner.mean_length
    }

    /// One line of JSON.
    fn to_json(&self) -> String {
        self.inner.to_json()
    }

    /// Read what `to_json` wrote.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        Ok(Self { inner: neat_data::Patcher::from_json(text).or_raise()? })
    }

    fn __repr__(&self) -> String {
        format!("Patcher({})", self.inner.to_json())
    }
}

/// The same documents, with a look for an interruption now and then.
fn watched<'a>(
    documents: impl Iterator<Item = neat_data::Result<Document>> + 'a,
    tick: &'a mut dyn FnMut() -> neat_data::Result<()>,
) -> impl Iterator<Item = neat_data::Result<Document>> + 'a {
    let mut unwatched = 0;
    documents.map(move |document| {
        let document = document?;
        unwatched += document.len();
        if unwatched >= BYTES_PER_LOOK {
            unwatched = 0;
            tick()?;
        }
        Ok(document)
    })
}
