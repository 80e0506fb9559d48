//! The documents of a training run: files scanned once, bad rows accounted for, a part held out.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::document::{Document, ImageShape};
use crate::manifest::{FileEntry, Manifest};
use crate::source::{self, BlockReader, Fault, Fields, ImageRule, RowText, Rows, ScanSink, Text};
use crate::{DataError, Result};

/// Bad rows kept with place and reason; the rest is counted.
const KEPT_BAD_ROWS: usize = 100;
/// Distinct bad rows told apart; beyond it a row met again in a later epoch counts again.
const DISTINCT_BAD_ROWS: usize = 1 << 20;
/// Seed of the second hash of a document, which is independent of the one that holds out.
const SECOND_SEED: u64 = 1;

/// What to do with a row that is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Fail, naming file and place.
    Stop,
    /// Count it and go on.
    Skip,
}

/// Which documents are meant, by the hash of their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that are drawn for training.
    Train,
    /// Those set aside by `hold_out`.
    HeldOut,
    /// Both.
    All,
}

/// What a corpus is made of.
#[derive(Debug, Clone)]
pub struct CorpusConfig {
    /// Patterns (file, folder, glob) of each source.
    pub sources: Vec<Vec<String>>,
    /// Share of the bytes of each source; `None` takes every document once an epoch.
    pub weights: Option<Vec<f64>>,
    /// JSON field or Parquet column with the text.
    pub text_field: String,
    /// What to do with bad rows.
    pub on_bad_row: OnBadRow,
    /// Seed of the order.
    pub seed: u64,
    /// Blocks whose rows are shuffled together.
    pub shuffle_blocks: usize,
    /// Longer documents are bad rows.
    pub max_document_bytes: usize,
    /// Share of the documents that is kept out of draws.
    pub hold_out: f64,
    /// Images to read; `None` makes rows with images bad rows.
    pub images: Option<ImageShape>,
}

impl CorpusConfig {
    /// What of a row is read.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields { text: &self.text_field, images: self.images.map_or(ImageRule::Refuse, ImageRule::Read) }
    }
}

/// A row that is no document.
#[derive(Debug, Clone)]
pub struct BadRow {
    /// Its file.
    pub path: PathBuf,
    /// Its place in the file, in words.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Debug, Default)]
struct BadRows {
    kept: Vec<BadRow>,
    seen: HashSet<(PathBuf, u64)>,
    count: u64,
}

/// Scanned sources. Immutable but for the account of bad rows; shared by reference counting.
#[derive(Debug)]
pub struct Corpus {
    config: CorpusConfig,
    manifest: Manifest,
    bad_rows: Mutex<BadRows>,
}

/// Which documents are taken: a part, and a range of the second hash as a fraction.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) part: Part,
    pub(crate) second: Range<f64>,
}

/// Why a row gives no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Null or without text.
    Empty,
    /// A bad row under [`OnBadRow::Skip`].
    Bad,
    /// Of the other part.
    HeldOut,
    /// Outside the range of the second hash.
    Excluded,
}

/// The hash that picks a sample of the documents, independent of folds and held-out shares, as a fraction of one.
pub(crate) fn second_fraction(text: &[u8]) -> f64 {
    fraction(xxh3_64_with_seed(text, SECOND_SEED))
}

/// A hash as a fraction of its range, exact in 53 bits.
fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The hash by which documents are held out and told apart: `xxh3_64` of their identity, which is the text where there
/// are no images ([`Document::identity`]).
pub fn document_hash(identity: &[u8]) -> u64 {
    xxh3_64(identity)
}

impl Corpus {
    /// Finds and scans all files. `tick` is called about once a mebibyte; its error ends the scan.
    pub fn open(config: CorpusConfig, tick: &mut dyn FnMut() -> Result<()>) -> Result<Self> {
        check(&config)?;
        let bad_rows = Mutex::default();
        let mut sources = Vec::with_capacity(config.sources.len());
        for patterns in &config.sources {
            let mut files = Vec::new();
            for path in source::expand(patterns)? {
                tick()?;
                let mut account = Account { bad_rows: &bad_rows, config: &config, tick };
                files.push(source::scan(&path, config.fields(), &mut account)?);
            }
            sources.push(files);
        }
        let corpus = Self { manifest: Manifest::new(sources), config, bad_rows };
        corpus.check_documents()?;
        Ok(corpus)
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &CorpusConfig {
        &self.config
    }

    /// Files, rows and digest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Documents as far as the scan knows: rows of Parquet files count until they are read.
    pub fn num_documents(&self) -> u64 {
        self.manifest.files().map(|file| file.documents).sum()
    }

    /// Bytes of text as far as the scan knows.
    pub fn num_bytes(&self) -> u64 {
        self.manifest.files().map(|file| file.text_bytes).sum()
    }

    /// The first hundred bad rows, and how many there were.
    pub fn bad_rows(&self) -> (Vec<BadRow>, u64) {
        let bad_rows = self.bad_rows.lock().unwrap_or_else(PoisonError::into_inner);
        (bad_rows.kept.clone(), bad_rows.count)
    }

    /// Documents in the order of the manifest.
    ///
    /// With `limit_bytes` they end with the one that reaches that many bytes; with `hash_below` only those are given
    /// whose second hash (`xxh3_64` with seed 1) is, as a fraction, below it: a sample that a stream can leave out.
    pub fn documents(
        self: &Arc<Self>,
        part: Part,
        limit_bytes: Option<u64>,
        hash_below: Option<f64>,
    ) -> Documents {
        let filter = Filter { part, second: 0.0..hash_below.unwrap_or(1.0) };
        let left = limit_bytes.unwrap_or(u64::MAX);
        Documents {
            corpus: Arc::clone(self),
            filter,
            left,
            file: 0,
            block: 0,
            row: 0,
            reader: None,
            rows: None,
        }
    }

    /// The document in a row, or why there is none. A bad row is an error under [`OnBadRow::Stop`].
    pub(crate) fn judge<'a>(
        &self,
        file: &FileEntry,
        row: u64,
        text: RowText<'a>,
        filter: &Filter,
    ) -> Result<std::result::Result<Text<'a>, Nothing>> {
        let limit = self.config.max_document_bytes;
        let fault = match text {
            Ok(Some(text)) if text.len() == 0 => return Ok(Err(Nothing::Empty)),
            Ok(Some(text)) if text.len() <= limit => return Ok(self.select(text, filter)),
            Ok(Some(text)) => Fault::Other(too_long(text.len(), limit)),
            Ok(None) => return Ok(Err(Nothing::Empty)),
            Err(fault) => fault,
        };
        let place = source::place(file.format, row);
        report(&self.bad_rows, &self.config, &file.path, row, place, &fault)?;
        Ok(Err(Nothing::Bad))
    }

    fn select<'a>(&self, text: Text<'a>, filter: &Filter) -> std::result::Result<Text<'a>, Nothing> {
        if filter.part != Part::All && (self.config.hold_out > 0.0 || filter.part == Part::HeldOut) {
            let held_out = fraction(document_hash(&text.identity())) < self.config.hold_out;
            if held_out != (filter.part == Part::HeldOut) {
                return Err(Nothing::HeldOut);
            }
        }
        let all = filter.second.start <= 0.0 && filter.second.end >= 1.0;
        if !all && !filter.second.contains(&second_fraction(&text.identity())) {
            return Err(Nothing::Excluded);
        }
        Ok(text)
    }

    fn check_documents(&self) -> Result<()> {
        let weights = self.config.weights.as_deref();
        for (index, files) in self.manifest.sources.iter().enumerate() {
            let drawn = weights.is_some_and(|weights| weights[index] > 0.0);
            if drawn && files.iter().all(|file| file.documents == 0) {
                return Err(self.no_documents(&format!("source {}", index + 1), files.len()));
            }
        }
        if self.num_documents() == 0 {
            return Err(self.no_documents("the corpus", self.manifest.files().count()));
        }
        Ok(())
    }

    fn no_documents(&self, what: &str, files: usize) -> DataError {
        let field = &self.config.text_field;
        DataError::invalid(
            format!("{what} holds no documents: {files} files were read, every row is empty or bad"),
            format!(
                "check the files with `neat-data inspect` and that text_field = \"{field}\" names the text"
            ),
        )
    }
}

fn too_long(length: usize, limit: usize) -> String {
    format!("the document has {length} bytes, more than max_document_bytes = {limit}")
}

fn check(config: &CorpusConfig) -> Result<()> {
    let refuse = |message: String, hint: &str| Err(DataError::invalid(message, hint));
    if config.sources.is_empty() || config.sources.iter().any(Vec::is_empty) {
        return refuse("a source has no files".to_owned(), "name at least one file, folder or pattern");
    }
    if let Some(weights) = &config.weights {
        // The schedule is built with true means later; here only the numbers are checked.
        crate::Mixture::new(config.seed, weights, &vec![1.0; config.sources.len()])?;
    }
    if !(0.0..=1.0).contains(&config.hold_out) {
        return refuse(format!("hold_out = {} is not a share", config.hold_out), "give a number from 0 to 1");
    }
    if let Some(ImageShape { codes, codebook }) = config.images
        && (codes == 0 || !(2..=ImageShape::MAX_CODEBOOK).contains(&codebook))
    {
        return refuse(
            format!("images of {codes} codes out of {codebook} are not possible"),
            "give at least one code, and a codebook of 2 to 65536 entries",
        );
    }
    if config.shuffle_blocks == 0 || config.max_document_bytes == 0 {
        return refuse("shuffle_blocks and max_document_bytes must be at least 1".to_owned(), "");
    }
    Ok(())
}

/// Books a bad row, or fails with it.
fn report(
    bad_rows: &Mutex<BadRows>,
    config: &CorpusConfig,
    path: &Path,
    row: u64,
    place: String,
    fault: &Fault,
) -> Result<()> {
    let reason = fault.describe(&config.text_field);
    if config.on_bad_row == OnBadRow::Stop {
        return Err(DataError::Bad { path: path.to_owned(), place, reason });
    }
    let mut bad_rows = bad_rows.lock().unwrap_or_else(PoisonError::into_inner);
    if bad_rows.seen.len() < DISTINCT_BAD_ROWS && !bad_rows.seen.insert((path.to_owned(), row)) {
        return Ok(());
    }
    bad_rows.count += 1;
    if bad_rows.kept.len() < KEPT_BAD_ROWS {
        bad_rows.kept.push(BadRow { path: path.to_owned(), place, reason });
    }
    Ok(())
}

/// The scan's view of the account.
struct Account<'a> {
    bad_rows: &'a Mutex<BadRows>,
    config: &'a CorpusConfig,
    tick: &'a mut dyn FnMut() -> Result<()>,
}

impl ScanSink for Account<'_> {
    fn fault(&mut self, path: &Path, row: u64, place: String, fault: &Fault) -> Result<()> {
        report(self.bad_rows, self.config, path, row, place, fault)
    }

    fn tick(&mut self) -> Result<()> {
        (self.tick)()
    }
}

/// Documents in the order of the manifest; see [`Corpus::documents`].
pub struct Documents {
    corpus: Arc<Corpus>,
    filter: Filter,
    left: u64,
    file: usize,
    block: usize,
    row: usize,
    reader: Option<Box<dyn BlockReader>>,
    rows: Option<Rows>,
}

impl Documents {
    fn step(&mut self) -> Result<Option<Document>> {
        let corpus = Arc::clone(&self.corpus);
        while self.left > 0 {
            let Some(file) = corpus.manifest.files().nth(self.file) else { return Ok(None) };
            if self.block == file.blocks.len() {
                (self.file, self.block, self.reader) = (self.file + 1, 0, None);
                continue;
            }
            let rows = match self.rows.take() {
                Some(rows) => rows,
                None => self.load(file)?,
            };
            if self.row == rows.len() {
                (self.block, self.row) = (self.block + 1, 0);
                continue;
            }
            let at = file.blocks[self.block].first_row + self.row as u64;
            let text = rows.text(self.row, corpus.config.fields());
            self.row += 1;
            let judged = corpus.judge(file, at, text, &self.filter)?.map(Text::into_document);
            self.rows = Some(rows);
            if let Ok(document) = judged {
                self.left = self.left.saturating_sub(document.len() as u64);
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    fn load(&mut self, file: &FileEntry) -> Result<Rows> {
        if self.reader.is_none() {
            self.reader = Some(source::open(file, &self.corpus.config.text_field)?);
        }
        match &mut self.reader {
            Some(reader) => reader.load(self.block),
            None => unreachable!("opened above"),
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    /// After an error the iterator ends.
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.left = 0;
        }
        step.transpose()
    }
}
