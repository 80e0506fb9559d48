//! The text column of a Parquet file, row group by row group.
//!
//! The column is read below the Arrow layer: values come as slices of the decoded pages, dictionary or not, and each
//! is checked for UTF-8 by itself, so one bad row does not hide its neighbours. The decoder is known to panic on some
//! malformed files; every call into it goes through [`guarded`].

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use xxhash_rust::xxh3::xxh3_128;

use super::images::IMAGES;
use super::local::io_error;
use super::{BlockReader, Compression, Fault, Fields, Format, ImageRule, RowText, Rows};
use crate::manifest::{Block, FileEntry};
use crate::{DataError, Result};

/// The largest text column of a row group, decompressed: a row group is held in memory whole.
const MAX_ROW_GROUP_BYTES: i64 = 2 << 30;
/// Row groups decoded to estimate text bytes where the metadata does not tell them.
const SAMPLED_GROUPS: usize = 4;
/// Rows asked of the decoder at a time.
const BATCH_ROWS: usize = 4096;
/// Length of the footer's size field and magic.
const TAIL_BYTES: u64 = 8;

/// Runs the decoder; a panic in it is an error about this file.
fn guarded<T>(path: &Path, place: &str, decode: impl FnOnce() -> ParquetResult<T>) -> Result<T> {
    let bad = |reason: String| DataError::Bad { path: path.to_owned(), place: place.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result.map_err(|error| bad(error.to_string())),
        Err(_) => Err(bad("the Parquet decoder gave up on malformed data".to_owned())),
    }
}

/// A file read by position, so that readers never share a cursor.
struct FileAt {
    file: Arc<File>,
    length: u64,
}

impl FileAt {
    fn open(path: &Path) -> Result<Self> {
        let io = |error| io_error(path, &error);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        Ok(Self { file: Arc::new(file), length })
    }
}

impl Length for FileAt {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for FileAt {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        // Only page headers are read this way: small.
        Ok(BufReader::with_capacity(1 << 10, Cursor { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // Checked before the allocation: a damaged header may ask for anything.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} reach past the end of the file"
            )));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A cursor of its own over a shared file.
struct Cursor {
    file: Arc<File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The values of one row group's text column.
pub(crate) struct Column {
    values: Vec<Option<ByteArray>>,
}

impl Column {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn text(&self, index: usize) -> RowText<'_> {
        let Some(value) = &self.values[index] else { return Ok(None) };
        match str::from_utf8(value.data()) {
            Ok(text) => Ok(Some(Cow::Borrowed(text.as_bytes()).into())),
            Err(error) => {
                Err(Fault::Other(format!("invalid UTF-8 at byte {} of the text", error.valid_up_to())))
            }
        }
    }
}

/// Reads row groups of one file.
pub(crate) struct ParquetReader {
    path: PathBuf,
    reader: SerializedFileReader<FileAt>,
    column: usize,
}

impl ParquetReader {
    /// Opens a file that was scanned before.
    pub(crate) fn open(entry: &FileEntry, field: &str) -> Result<Self> {
        let reader = Self::new(&entry.path, field)?;
        let rows = |group: usize| reader.metadata().row_group(group).num_rows();
        let unchanged = reader.metadata().num_row_groups() == entry.blocks.len()
            && entry.blocks.iter().enumerate().all(|(group, block)| rows(group) == i64::from(block.rows));
        if !unchanged {
            let reason = "the file is not what it was when the corpus was opened".to_owned();
            return Err(DataError::Bad { path: entry.path.clone(), place: "footer".to_owned(), reason });
        }
        Ok(reader)
    }

    fn new(path: &Path, field: &str) -> Result<Self> {
        let file = FileAt::open(path)?;
        let reader = guarded(path, "footer", || SerializedFileReader::new(file))?;
        let column = text_column(path, reader.metadata(), field)?;
        Ok(Self { path: path.to_owned(), reader, column })
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    fn chunk(&self, group: usize) -> &ColumnChunkMetaData {
        self.metadata().row_group(group).column(self.column)
    }

    fn read(&self, group: usize) -> Result<Column> {
        let size = self.chunk(group).uncompressed_size();
        if size > MAX_ROW_GROUP_BYTES {
            let message =
                format!("row group {} of `{}` holds {size} bytes of text", group + 1, self.path.display());
            return Err(DataError::invalid(
                message,
                "write the file with smaller row groups (2 GiB is the limit)",
            ));
        }
        let place = format!("row group {}", group + 1);
        let rows = self.metadata().row_group(group).num_rows() as usize;
        let values = guarded(&self.path, &place, || {
            let column = self.reader.get_row_group(group)?.get_column_reader(self.column)?;
            read_values(column, self.chunk(group).column_descr().max_def_level(), rows)
        })?;
        if values.len() != rows {
            let reason = format!("{rows} rows are promised, {} are there", values.len());
            return Err(DataError::Bad { path: self.path.clone(), place, reason });
        }
        Ok(Column { values })
    }
}

impl BlockReader for ParquetReader {
    fn load(&mut self, index: usize) -> Result<Rows> {
        self.read(index).map(Rows::Column)
    }
}

/// All values of a column chunk, null where the definition level is below `defined`.
fn read_values(reader: ColumnReader, defined: i16, rows: usize) -> ParquetResult<Vec<Option<ByteArray>>> {
    let ColumnReader::ByteArrayColumnReader(mut reader) = reader else {
        return Err(ParquetError::General("the column is not made of byte arrays".to_owned()));
    };
    let mut values = Vec::new();
    let (mut levels, mut present) = (Vec::new(), Vec::new());
    while values.len() < rows {
        let asked = BATCH_ROWS.min(rows - values.len());
        let definition = (defined > 0).then_some(&mut levels);
        let (_, num_values, num_levels) = reader.read_records(asked, definition, None, &mut present)?;
        if num_levels == 0 {
            break;
        }
        if defined == 0 || num_values == num_levels {
            values.extend(present.drain(..).map(Some));
        } else {
            let mut present = present.drain(..);
            values.extend(levels.iter().map(|level| (*level == defined).then(|| present.next()).flatten()));
        }
        levels.clear();
    }
    Ok(values)
}

/// The leaf column of the field: a string or byte array of that name, at the top level and not repeated.
fn text_column(path: &Path, metadata: &ParquetMetaData, field: &str) -> Result<usize> {
    let schema = metadata.file_metadata().schema_descr();
    let leaf = schema.columns().iter().position(|column| column.path().parts()[0] == field);
    let Some(leaf) = leaf else {
        return Err(super::no_such_field(path, "column", field, &columns(metadata)));
    };
    let column = schema.column(leaf);
    if column.physical_type() != PhysicalType::BYTE_ARRAY
        || column.max_rep_level() > 0
        || column.path().parts().len() > 1
    {
        let message = format!("column `{field}` of `{}` does not hold text", path.display());
        let hint = format!("the columns are {}", super::list_names(&columns(metadata)));
        return Err(DataError::invalid(message, hint));
    }
    Ok(leaf)
}

fn columns(metadata: &ParquetMetaData) -> Vec<String> {
    let schema = metadata.file_metadata().schema_descr().root_schema();
    schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
}

/// Column names and rows of a file, also of one without the text column.
pub(crate) fn outline(path: &Path) -> Result<(Vec<String>, u64)> {
    let file = FileAt::open(path)?;
    let reader = guarded(path, "footer", || SerializedFileReader::new(file))?;
    let rows = reader.metadata().file_metadata().num_rows();
    Ok((columns(reader.metadata()), u64::try_from(rows).unwrap_or(0)))
}

/// All values of a column of strings or byte arrays.
pub(crate) fn column(
    path: &Path,
    name: &str,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Option<Vec<u8>>>> {
    let reader = ParquetReader::new(path, name)?;
    let mut values = Vec::new();
    for group in 0..reader.metadata().num_row_groups() {
        tick()?;
        let column = reader.read(group)?;
        values.extend(column.values.iter().map(|value| value.as_ref().map(|value| value.data().to_vec())));
    }
    Ok(values)
}

/// Tables the row groups from the footer; the text itself is not read.
pub(crate) fn scan(path: &Path, fields: Fields<'_>) -> Result<FileEntry> {
    let reader = ParquetReader::new(path, fields.text)?;
    if matches!(fields.images, ImageRule::Read(_))
        && columns(reader.metadata()).iter().any(|name| name == IMAGES)
    {
        return Err(DataError::invalid(
            format!("`{}` has a column `{IMAGES}`", path.display()),
            "images are read from JSON lines only; write the rows as JSON lines",
        ));
    }
    let file_bytes = reader_length(path)?;
    let mut blocks = Vec::with_capacity(reader.metadata().num_row_groups());
    let mut rows = 0;
    for (group, metadata) in reader.metadata().row_groups().iter().enumerate() {
        let bad = |reason: String| DataError::Bad {
            path: path.to_owned(),
            place: format!("row group {}", group + 1),
            reason,
        };
        let num_rows = metadata.num_rows();
        let group_rows = u32::try_from(num_rows).map_err(|_| bad(format!("it claims {num_rows} rows")))?;
        let size = reader.chunk(group).uncompressed_size();
        let bytes = u64::try_from(size).map_err(|_| bad(format!("it claims {size} bytes")))?;
        blocks.push(Block { offset: 0, first_row: rows, rows: group_rows, bytes });
        rows += num_rows as u64;
    }
    let text_bytes = text_bytes(&reader, &blocks)?;
    let nulls: u64 = (0..blocks.len())
        .filter_map(|group| {
            reader.chunk(group).statistics().and_then(parquet::file::statistics::Statistics::null_count_opt)
        })
        .sum();
    Ok(FileEntry {
        path: path.to_owned(),
        format: Format::Parquet,
        compression: Compression::None,
        file_bytes,
        rows,
        documents: rows.saturating_sub(nulls),
        text_bytes,
        digest: footer_digest(path, file_bytes)?,
        blocks,
    })
}

fn reader_length(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|metadata| metadata.len()).map_err(|error| io_error(path, &error))
}

/// Bytes of text: as the writer recorded them, or scaled up from a few row groups.
fn text_bytes(reader: &ParquetReader, blocks: &[Block]) -> Result<u64> {
    let recorded: Option<i64> =
        (0..blocks.len()).map(|group| reader.chunk(group).unencoded_byte_array_data_bytes()).sum();
    if let Some(bytes) = recorded.and_then(|bytes| u64::try_from(bytes).ok()) {
        return Ok(bytes);
    }
    let samples = SAMPLED_GROUPS.min(blocks.len());
    let (mut bytes, mut rows) = (0u64, 0u64);
    for sample in 0..samples {
        let group = sample * blocks.len() / samples;
        let column = reader.read(group)?;
        rows += column.len() as u64;
        bytes += column.values.iter().flatten().map(|value| value.len() as u64).sum::<u64>();
    }
    let total: u64 = blocks.iter().map(|block| u64::from(block.rows)).sum();
    Ok((u128::from(bytes) * u128::from(total) / u128::from(rows.max(1))) as u64)
}

/// XXH3 over the footer and the length of the file: the data itself is not read for it.
fn footer_digest(path: &Path, length: u64) -> Result<String> {
    let file = FileAt::open(path)?;
    guarded(path, "footer", || {
        let tail = file.get_bytes(length - TAIL_BYTES, TAIL_BYTES as usize)?;
        let footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]])) + TAIL_BYTES;
        let mut bytes = file.get_bytes(length.saturating_sub(footer), footer as usize)?.to_vec();
        bytes.extend(length.to_le_bytes());
        Ok(format!("{:032x}", xxh3_128(&bytes)))
    })
}
