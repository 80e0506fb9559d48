//! WindowStream: the endless iterator of training batches.

use std::sync::Arc;

use neat_data::{Shape, StreamConfig};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::corpus::{Corpus, interruptible};
use crate::error::OrRaise;
use crate::prepare::{Preparer, windows_dict};

/// An endless stream of packed batches, made ahead by one thread, with exact state.
///
/// The order of documents is a function of seed, files and position alone. `lanes` documents are open at once; row r of
/// the stream continues lane r modulo `lanes`. The thread starts with the first batch and ends with `close`.
///
/// Args:
///     corpus: Where documents come from.
///     preparer: How they become rows.
///     lanes: Documents open at once.
///     prefetch: Batches made ahead.
///     state: What `state()` gave: continues after the batch that had been returned last then. Refused when corpus,
///         seed, lanes or another setting of the order differs.
///     skip_hash_below: Documents whose second hash, as a fraction, is below this are not drawn: those that an n-gram
///         model was trained on when it could not take the whole corpus (`Corpus.documents(hash_below=...)`).
///
/// Raises:
///     neat.errors.DataError: A setting is out of range or the state belongs to another stream.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct WindowStream {
    inner: neat_data::WindowStream,
}

#[pymethods]
impl WindowStream {
    #[new]
    #[pyo3(signature = (corpus, preparer, lanes=64, prefetch=4, state=None, skip_hash_below=0.0))]
    fn new(
        corpus: &Corpus,
        preparer: &Preparer,
        lanes: usize,
        prefetch: usize,
        state: Option<&str>,
        skip_hash_below: f64,
    ) -> PyResult<Self> {
        let config = StreamConfig { lanes, prefetch, skip_hash_below };
        let (corpus, preparer) = (Arc::clone(&corpus.inner), preparer.inner.clone());
        Ok(Self { inner: neat_data::WindowStream::new(corpus, preparer, config, state).or_raise()? })
    }

    /// The next batch as a dictionary of arrays (see `Preparer.windows`); waits for it without the GIL.
    ///
    /// The shape may change from call to call; the sequence of documents does not depend on it, and nothing is lost.
    ///
    /// Args:
    ///     rows: Rows, B.
    ///     positions: Positions of a row, N.
    ///     patches: Patch slots of a row, P; the last one is for padding.
    ///
    /// Raises:
    ///     neat.errors.DataError: A file cannot be read, a row is bad under "stop", or the stream is closed. The state
    ///         stays that after the last batch returned.
    #[allow(clippy::should_implement_trait)]
    fn next<'py>(
        &self,
        py: Python<'py>,
        rows: usize,
        positions: usize,
        patches: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let shape = Shape { rows, positions, patches };
        let windows = interruptible(py, |tick| self.inner.next(shape, tick))?;
        windows_dict(py, windows)
    }

    /// The state after the batch returned last, as JSON; batches made ahead do not count.
    fn state(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.inner.state()).or_raise()
    }

    /// What has been returned so far, saved runs included.
    ///
    /// `epoch` (passes over the data; with weights those of the source furthest on), `source_epochs` (with weights),
    /// `documents` (finished), `bytes` (targets), `positions`, `padding` (of the positions), `patches`,
    /// `source_documents` and `source_bytes` (lists), `skipped_empty`, `skipped_bad`, `skipped_held_out`,
    /// `skipped_excluded` (draws that gave nothing) and `wait_s` (seconds spent in `next`, this stream only).
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let ((counters, waited), epochs) =
            py.detach(|| Ok((self.inner.counters()?, self.inner.epochs()?))).or_raise()?;
        let dict = PyDict::new(py);
        dict.set_item("epoch", epochs.iter().copied().fold(0.0, f64::max))?;
        dict.set_item("source_epochs", epochs)?;
        dict.set_item("documents", counters.documents)?;
        dict.set_item("bytes", counters.bytes)?;
        dict.set_item("positions", counters.positions)?;
        dict.set_item("padding", counters.padding)?;
        dict.set_item("patches", counters.patches)?;
        dict.set_item("source_documents", counters.source_documents)?;
        dict.set_item("source_bytes", counters.source_bytes)?;
        dict.set_item("skipped_empty", counters.skipped_empty)?;
        dict.set_item("skipped_bad", counters.skipped_bad)?;
        dict.set_item("skipped_held_out", counters.skipped_held_out)?;
        dict.set_item("skipped_excluded", counters.skipped_excluded)?;
        dict.set_item("wait_s", waited.as_secs_f64())?;
        Ok(dict)
    }

    /// Ends the prefetch thread and waits for it. The state stays readable.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}
