//! Where documents come from: files found by pattern, told apart by their content, read block by block.
//!
//! A file is scanned once ([`scan`]) into a table of blocks; afterwards any block can be loaded
//! ([`BlockReader::load`]) and its rows taken in any order. Plain files and Parquet seek to a block; compressed
//! files decode from where they stand, so their blocks are best taken in sequence.

mod compress;
mod images;
pub(crate) mod inspect;
mod jsonl;
mod local;
mod parquet;
mod records;
mod text;

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use crate::document::{self, Document, Image, ImageShape};
use crate::manifest::FileEntry;
use crate::{DataError, Result};

pub use compress::Compression;
pub(crate) use local::expand;
pub(crate) use records::Records;

/// What a file holds, found from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A Parquet file with a text column.
    Parquet,
    /// UTF-8 text without structure.
    Text,
}

/// Why one row is not a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The object has no field of the asked name; these are the names it has.
    Missing(Vec<String>),
    /// Anything else, in words.
    Other(String),
}

impl Fault {
    /// The fault in words, naming the field that was asked for.
    pub(crate) fn describe(&self, field: &str) -> String {
        match self {
            Self::Missing(keys) => format!("no field `{field}`; the row has {}", list_names(keys)),
            Self::Other(reason) => reason.clone(),
        }
    }
}

/// What of a row is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    /// Name of the text.
    pub(crate) text: &'a str,
    /// What to do with images.
    pub(crate) images: ImageRule,
}

/// What to do with the images of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ImageRule {
    /// A row with images is a bad row.
    Refuse,
    /// All images must be of this shape.
    Read(ImageShape),
    /// Images of any shape: for looking into a file.
    Any,
}

/// The text of a row with its images, as in [`Document`].
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) images: Vec<Image>,
}

impl Text<'_> {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of text alone.
    pub(crate) fn texts_len(&self) -> usize {
        document::texts(&self.bytes, &self.images).map(|text| text.len()).sum()
    }

    pub(crate) fn identity(&self) -> Cow<'_, [u8]> {
        document::identity(&self.bytes, &self.images)
    }

    pub(crate) fn into_document(self) -> Document {
        Document { bytes: self.bytes.into_owned(), images: self.images }
    }
}

impl<'a> From<Cow<'a, [u8]>> for Text<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        Self { bytes, images: Vec::new() }
    }
}

impl From<Document> for Text<'_> {
    fn from(document: Document) -> Self {
        Self { bytes: document.bytes.into(), images: document.images }
    }
}

/// The text of a row; `None` where it is null or the line is blank.
pub(crate) type RowText<'a> = std::result::Result<Option<Text<'a>>, Fault>;

/// The rows of one loaded block.
pub(crate) enum Rows {
    /// Lines of JSON or pieces of text.
    Records(Records),
    /// Values of a Parquet column.
    Column(parquet::Column),
}

impl Rows {
    /// Rows in the block.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Records(records) => records.len(),
            Self::Column(column) => column.len(),
        }
    }

    /// The text of row `index` of the block.
    pub(crate) fn text(&self, index: usize, fields: Fields<'_>) -> RowText<'_> {
        match self {
            Self::Records(records) => records.text(index, fields),
            Self::Column(column) => column.text(index),
        }
    }
}

/// Loads blocks of one file.
pub(crate) trait BlockReader: Send {
    /// Loads block `index` of the file's table.
    fn load(&mut self, index: usize) -> Result<Rows>;
}

/// Receives what a scan meets.
pub(crate) trait ScanSink {
    /// Every row, before its text is judged.
    fn row(&mut self, _record: &[u8], _text: &RowText<'_>) {}
    /// A row that is not a document; an error ends the scan.
    fn fault(&mut self, path: &Path, row: u64, place: String, fault: &Fault) -> Result<()>;
    /// Called every mebibyte or so: the place to honour an interruption.
    fn tick(&mut self) -> Result<()>;
}

/// Reads a file through once and tables its blocks.
pub(crate) fn scan(path: &Path, fields: Fields<'_>, sink: &mut dyn ScanSink) -> Result<FileEntry> {
    let (format, compression) = detect(path)?;
    match format {
        Format::Parquet => parquet::scan(path, fields),
        Format::Jsonl | Format::Text => records::scan(path, format, compression, fields, sink),
    }
}

/// Opens a scanned file for loading blocks.
pub(crate) fn open(entry: &FileEntry, field: &str) -> Result<Box<dyn BlockReader>> {
    Ok(match entry.format {
        Format::Parquet => Box::new(parquet::ParquetReader::open(entry, field)?),
        Format::Jsonl | Format::Text => Box::new(records::RecordReader::open(entry)),
    })
}

/// A row's place in words: `line 12`, `row 12`, `piece 12`, counted from one.
pub(crate) fn place(format: Format, row: u64) -> String {
    let unit = match format {
        Format::Jsonl => "line",
        Format::Parquet => "row",
        Format::Text => "piece",
    };
    format!("{unit} {}", row + 1)
}

/// Format and compression of a file, from its content alone.
pub(crate) fn detect(path: &Path) -> Result<(Format, Compression)> {
    let compression = compress::detect(path)?;
    let head = compress::head(path, compression)?;
    let format = sniff(&head);
    match format {
        Some(Format::Parquet) if compression != Compression::None => Err(DataError::invalid(
            format!("`{}` is a Parquet file inside {compression}", path.display()),
            "decompress it: Parquet is compressed inside",
        )),
        Some(format) => Ok((format, compression)),
        None => Err(DataError::invalid(
            format!("`{}` is neither text, JSON lines nor Parquet: it holds NUL bytes", path.display()),
            "name the data files with a pattern, such as `data/*.jsonl`",
        )),
    }
}

/// Parquet by its magic, JSON lines by an opening brace and quote, text otherwise; `None` for binary data.
fn sniff(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PAR1") {
        return Some(Format::Parquet);
    }
    if head.contains(&0) {
        return None;
    }
    let mut ink = strip_bom(head).iter().filter(|byte| !byte.is_ascii_whitespace());
    let first = [ink.next(), ink.next(), ink.next()].map(|byte| byte.copied().unwrap_or(0));
    let json = matches!(first, [b'{', b'"' | b'}', _] | [b'[', b'{', b'"']);
    Some(if json { Format::Jsonl } else { Format::Text })
}

/// The bytes after a UTF-8 byte order mark.
fn strip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The error for a file in which no row has the field.
pub(crate) fn no_such_field(path: &Path, what: &str, field: &str, names: &[String]) -> DataError {
    let hint = match nearest(field, names) {
        Some(name) => format!("did you mean text_field = \"{name}\"?"),
        None => "set text_field to the name that holds the text".to_owned(),
    };
    let message = format!("`{}` has no {what} `{field}`; it has {}", path.display(), list_names(names));
    DataError::invalid(message, hint)
}

fn list_names(names: &[String]) -> String {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return "no names at all".to_owned();
    }
    let mut words: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        words.push(format!("{} more", names.len() - SHOWN));
    }
    words.join(", ")
}

/// The name closest to `wanted`, where one is close enough to be a slip.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a String> {
    let wanted = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).max(2);
    names
        .iter()
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit || name.to_lowercase().contains(&wanted))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_the_format() {
        assert_eq!(sniff(b"PAR1\x15\0"), Some(Format::Parquet));
        assert_eq!(sniff(b"\xef\xbb\xbf \n{ \"text\": 1}"), Some(Format::Jsonl));
        assert_eq!(sniff(b"[{\"text\": \"a\"}]"), Some(Format::Jsonl));
        assert_eq!(sniff(b"{ brace }"), Some(Format::Text));
        assert_eq!(sniff(b""), Some(Format::Text));
        assert_eq!(sniff(b"PK\x03\x04\0\0"), None);
    }

    #[test]
    fn near_names_are_suggested() {
        let names = ["content", "txt", "raw_text"].map(String::from);
        assert_eq!(nearest("text", &names), Some(&names[1]));
        assert_eq!(nearest("contents", &names), Some(&names[0]));
        assert_eq!(nearest("zzzzzz", &names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
