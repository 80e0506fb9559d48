//! Reads one file through and says what is in it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::{Compression, Format, RowText, Rows, ScanSink, compress, detect, jsonl, parquet, place};
use super::{Fault, Fields, ImageRule, local::io_error};
use crate::{DataError, Result};

/// Names listed at most.
const MAX_NAMES: usize = 256;

/// What a file holds. Rows that are no documents are counted, never hidden.
#[derive(Debug, Default, Serialize)]
pub struct Inspection {
    /// Found from the content; `None` when it is none of the known ones.
    pub format: Option<Format>,
    /// Found from the content; `None` when the file is damaged at its very beginning.
    pub compression: Option<Compression>,
    /// Size on disk.
    pub file_bytes: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows with text.
    pub documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Images between them.
    pub images: u64,
    /// Field or column names: in their order for Parquet, sorted for JSON, none for text.
    pub columns: Vec<String>,
    /// Whether some row (JSON) or the schema (Parquet) has the text field.
    pub has_text_field: bool,
    /// Rows that are no documents.
    pub bad_rows: u64,
    /// The first of them, or the reason why the file cannot be read on.
    pub first_bad: Option<FirstBad>,
    /// Whether the file was read to its end and every row is good.
    pub readable: bool,
}

/// A place and what is wrong there.
#[derive(Debug, Serialize)]
pub struct FirstBad {
    /// Line, row, or place in the file.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

/// All values of a column of strings or byte arrays of a Parquet file.
///
/// `tick` is called before each row group; its error ends the reading.
pub fn column(path: &Path, name: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<Vec<Option<Vec<u8>>>> {
    match detect(path)? {
        (Format::Parquet, _) => parquet::column(path, name, tick),
        _ => Err(DataError::invalid(format!("`{}` is not a Parquet file", path.display()), "")),
    }
}

/// Reads the whole file. Bad content is reported, not raised; only a file that cannot be opened is an error.
///
/// `tick` is called about once a mebibyte; its error ends the reading.
pub fn inspect(path: &Path, text_field: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<Inspection> {
    let file_bytes = std::fs::metadata(path).map_err(|error| io_error(path, &error))?.len();
    let report = Inspection { file_bytes, ..Inspection::default() };
    let mut reader = Reader { report, names: BTreeSet::new(), field: text_field, tick, stopped: None };
    reader.report.compression = Some(compress::detect(path)?);
    let end = reader.read(path);
    if let Some(error) = reader.stopped {
        return Err(error);
    }
    let mut report = reader.report;
    report.columns.extend(reader.names);
    report.readable = end.is_ok() && report.bad_rows == 0;
    if let Err(error) = end {
        report.first_bad.get_or_insert(first_bad(error));
    }
    Ok(report)
}

fn first_bad(error: DataError) -> FirstBad {
    match error {
        DataError::Bad { place, reason, .. } => FirstBad { place, reason },
        DataError::Io { reason, .. } => FirstBad { place: "file".to_owned(), reason },
        DataError::Invalid { message, .. } => FirstBad { place: "file".to_owned(), reason: message },
    }
}

struct Reader<'a> {
    report: Inspection,
    names: BTreeSet<String>,
    field: &'a str,
    tick: &'a mut dyn FnMut() -> Result<()>,
    /// The error of `tick`, which is the caller's and not the file's.
    stopped: Option<DataError>,
}

impl<'a> Reader<'a> {
    fn fields(&self) -> Fields<'a> {
        Fields { text: self.field, images: ImageRule::Any }
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        let (format, compression) = detect(path)?;
        (self.report.format, self.report.compression) = (Some(format), Some(compression));
        if format == Format::Parquet {
            return self.read_parquet(path);
        }
        self.report.has_text_field = format == Format::Text;
        let fields = self.fields();
        super::scan(path, fields, self).map(drop)
    }

    fn read_parquet(&mut self, path: &Path) -> Result<()> {
        (self.report.columns, self.report.rows) = parquet::outline(path)?;
        self.report.has_text_field = self.report.columns.iter().any(|name| name == self.field);
        let fields = self.fields();
        let entry = super::scan(path, fields, self)?;
        let mut reader = super::open(&entry, self.field)?;
        self.report.rows = 0;
        for (index, block) in entry.blocks.iter().enumerate() {
            self.tick()?;
            let rows: Rows = reader.load(index)?;
            for row in 0..rows.len() {
                let text = rows.text(row, fields);
                self.count(&text);
                if let Err(fault) = text {
                    let row = block.first_row + row as u64;
                    self.fault(path, row, place(Format::Parquet, row), &fault)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, text: &RowText<'_>) {
        self.report.rows += 1;
        if let Ok(Some(text)) = text {
            self.report.documents += u64::from(text.len() > 0);
            self.report.bytes += text.texts_len() as u64;
            self.report.images += text.images.len() as u64;
        }
    }
}

impl ScanSink for Reader<'_> {
    fn row(&mut self, record: &[u8], text: &RowText<'_>) {
        self.count(text);
        if self.report.format == Some(Format::Jsonl) {
            let names = str::from_utf8(record).map(jsonl::keys).unwrap_or_default();
            self.report.has_text_field |= names.iter().any(|name| name == self.field);
            for name in names {
                if self.names.len() < MAX_NAMES {
                    self.names.insert(name);
                }
            }
        }
    }

    fn fault(&mut self, _: &Path, _: u64, place: String, fault: &Fault) -> Result<()> {
        self.report.bad_rows += 1;
        let reason = fault.describe(self.field);
        self.report.first_bad.get_or_insert(FirstBad { place, reason });
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        (self.tick)().inspect_err(|error| self.stopped = Some(error.clone()))
    }
}
