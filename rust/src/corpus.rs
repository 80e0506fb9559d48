//! Corpus: files as documents.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use neat_data::{CorpusConfig, DataError, Documents as CoreDocuments, ImageShape, OnBadRow, Part};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::document::to_python;
use crate::error::{OrRaise, data_error};

/// Documents hashed between two looks for an interruption.
const HASHES_PER_LOOK: usize = 4096;

/// Runs `work` without the GIL. The function it is given lets Python signals through: its error must end the work, and
/// the exception of the signal's handler is then raised.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general over lifetimes")]
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut dyn FnMut() -> neat_data::Result<()>) -> neat_data::Result<T> + Send,
) -> PyResult<T> {
    let mut signal = None;
    let result = py.detach(|| {
        work(&mut || {
            Python::attach(|py| py.check_signals()).map_err(|error| {
                signal = Some(error);
                DataError::invalid("interrupted", "")
            })
        })
    });
    match signal {
        Some(signal) => Err(signal),
        None => result.or_raise(),
    }
}

fn part(name: &str) -> PyResult<Part> {
    match name {
        "train" => Ok(Part::Train),
        "held_out" => Ok(Part::HeldOut),
        "all" => Ok(Part::All),
        _ => Err(data_error(&DataError::invalid(
            format!("`{name}` is not a part of a corpus"),
            "choose `train`, `held_out` or `all`",
        ))),
    }
}

fn on_bad_row(name: &str) -> PyResult<OnBadRow> {
    match name {
        "stop" => Ok(OnBadRow::Stop),
        "skip" => Ok(OnBadRow::Skip),
        _ => Err(data_error(&DataError::invalid(
            format!("`{name}` is not a policy for bad rows"),
            "choose `stop` or `skip`",
        ))),
    }
}

/// The documents of a training run.
///
/// Every file is scanned once: text and JSON lines are read whole and every row is checked, of Parquet only the footer
/// is read. Formats (JSON lines, Parquet, UTF-8 text) and compressions (gzip, Zstandard) are found from the content.
///
/// Args:
///     sources: One list of patterns (file, folder, glob) for each source.
///     weights: Share of the bytes of each source; None takes every document once an epoch.
///     text_field: JSON field or Parquet column with the text.
///     on_bad_row: "stop" raises at the first row that is no document, "skip" counts such rows (see `bad_rows`).
///     seed: Seed of the order.
///     shuffle_blocks: Blocks (about a mebibyte of lines, or a Parquet row group) whose rows are shuffled together.
///     max_document_bytes: Longer documents are bad rows.
///     hold_out: Share of the documents kept out of draws: those with `(xxh3_64(text) >> 11) / 2**53 < hold_out`.
///     image_codes: Codes of one image; 0 makes rows with images bad rows. Images are read from the field `images` of
///         JSON lines, a list of lists of codes, one for each U+FFFC in the text. The hash of such a document is taken
///         of its text, with a byte 255 at each position of an image, and then its codes as little-endian uint16.
///     num_codes: Entries of the codebook.
///
/// Raises:
///     neat.errors.DataError: A file is missing, damaged or of no known format, no row has the text field, there are
///         no documents, or a row is bad and `on_bad_row` is "stop".
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct Corpus {
    pub(crate) inner: Arc<neat_data::Corpus>,
}

#[pymethods]
impl Corpus {
    #[new]
    #[pyo3(signature = (sources, weights=None, text_field="text", on_bad_row="stop", seed=0, shuffle_blocks=16,
        max_document_bytes=1 << 24, hold_out=0.0, image_codes=0, num_codes=65536))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        sources: Vec<Vec<String>>,
        weights: Option<Vec<f64>>,
        text_field: &str,
        on_bad_row: &str,
        seed: u64,
        shuffle_blocks: usize,
        max_document_bytes: usize,
        hold_out: f64,
        image_codes: usize,
        num_codes: usize,
    ) -> PyResult<Self> {
        let config = CorpusConfig {
            sources,
            weights,
            text_field: text_field.to_owned(),
            on_bad_row: self::on_bad_row(on_bad_row)?,
            seed,
            shuffle_blocks,
            max_document_bytes,
            hold_out,
            images: (image_codes > 0).then_some(ImageShape { codes: image_codes, codebook: num_codes }),
        };
        let inner = interruptible(py, |tick| neat_data::Corpus::open(config, tick))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The manifest as JSON: `digest` and, for each source, its files with path, format, compression, size on disk
    /// (`bytes`), `rows`, `documents`, `text_bytes` and `digest`.
    fn manifest(&self) -> PyResult<String> {
        serde_json::to_string(self.inner.manifest()).map_err(|error| {
            data_error(&DataError::invalid(format!("the manifest cannot be written: {error}"), ""))
        })
    }

    /// Identifies content and order of the files: 32 hexadecimal digits.
    #[getter]
    fn digest(&self) -> &str {
        &self.inner.manifest().digest
    }

    /// Documents as far as the scan knows: rows of Parquet files count as documents until they are read.
    #[getter]
    fn num_documents(&self) -> u64 {
        self.inner.num_documents()
    }

    /// Bytes of text as far as the scan knows; for Parquet files from their metadata.
    #[getter]
    fn num_bytes(&self) -> u64 {
        self.inner.num_bytes()
    }

    /// Iterates over documents in the order of the manifest: bytes, or a `Document` where there are images.
    ///
    /// Args:
    ///     part: "train", "held_out" or "all".
    ///     limit_bytes: Ends with the document that reaches this many bytes.
    ///     hash_below: Gives only the documents whose second hash (`xxh3_64` with seed 1), as a fraction
    ///         `(hash >> 11) / 2**53`, is below this: a sample that `WindowStream(skip_hash_below=...)` leaves out.
    #[pyo3(signature = (part="train", limit_bytes=None, hash_below=None))]
    fn documents(
        &self,
        part: &str,
        limit_bytes: Option<u64>,
        hash_below: Option<f64>,
    ) -> PyResult<Documents> {
        let documents = self.inner.documents(self::part(part)?, limit_bytes, hash_below);
        Ok(Documents { inner: Mutex::new(documents) })
    }

    /// `xxh3_64` of every document of a part, uint64 `[documents]`, in the order of the manifest.
    #[pyo3(signature = (part="train"))]
    fn document_hashes<'py>(&self, py: Python<'py>, part: &str) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let documents = self.inner.documents(self::part(part)?, None, None);
        let hashes = interruptible(py, |tick| {
            let mut hashes = Vec::new();
            for document in documents {
                hashes.push(neat_data::document_hash(&document?.identity()));
                if hashes.len() % HASHES_PER_LOOK == 0 {
                    tick()?;
                }
            }
            Ok(hashes)
        })?;
        Ok(hashes.into_pyarray(py))
    }

    /// The first hundred rows that are no documents, as (file, place, reason). See `num_bad_rows` for their number.
    fn bad_rows(&self) -> Vec<(String, String, String)> {
        let (kept, _) = self.inner.bad_rows();
        kept.into_iter().map(|row| (row.path.display().to_string(), row.place, row.reason)).collect()
    }

    /// Rows found so far that are no documents; those of Parquet files are found when they are read.
    #[getter]
    fn num_bad_rows(&self) -> u64 {
        self.inner.bad_rows().1
    }

    fn __repr__(&self) -> String {
        format!(
            "Corpus(digest={}, num_documents={}, num_bytes={})",
            self.digest(),
            self.num_documents(),
            self.num_bytes()
        )
    }
}

/// Iterator over documents.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct Documents {
    inner: Mutex<CoreDocuments>,
}

#[pymethods]
impl Documents {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = py.detach(|| self.inner.lock().unwrap_or_else(PoisonError::into_inner).next());
        next.transpose().or_raise()?.map(|document| to_python(py, document)).transpose()
    }
}

/// All values of a column of strings or byte arrays of a Parquet file, in the order of its rows; None where it is null.
///
/// Raises:
///     neat.errors.DataError: The file cannot be read or has no such column.
#[pyfunction]
pub(crate) fn column<'py>(
    py: Python<'py>,
    path: &str,
    name: &str,
) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let values = interruptible(py, |tick| neat_data::column(Path::new(path), name, tick))?;
    Ok(values.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))).collect())
}

/// Reads one file through and reports, as JSON: `format`, `compression`, `file_bytes`, `rows`, `documents`, `bytes` (of
/// text), `images`, `columns`, `has_text_field`, `bad_rows`, `first_bad` (`place` and `reason`, or null) and `readable`
/// (read to the end, and every row is good).
///
/// Bad content is reported, not raised.
///
/// Raises:
///     neat.errors.DataError: The file cannot be opened.
#[pyfunction]
#[pyo3(signature = (path, text_field="text"))]
pub(crate) fn inspect(py: Python<'_>, path: &str, text_field: &str) -> PyResult<String> {
    let report = interruptible(py, |tick| neat_data::inspect(Path::new(path), text_field, tick))?;
    serde_json::to_string(&report).map_err(|error| {
        data_error(&DataError::invalid(format!("the report cannot be written: {error}"), ""))
    })
}
