//! Files that are read from front to back: lines of JSON and pieces of text, in blocks of about a mebibyte.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::memchr;
use xxhash_rust::xxh3::Xxh3;

use super::local::io_error;
use super::text::{PIECE_BYTES, piece_length};
use super::{
    BlockReader, Compression, Fault, Fields, Format, RowText, Rows, ScanSink, compress, jsonl, place,
};
use crate::manifest::{Block, FileEntry};
use crate::{DataError, Result};

/// A block closes with the row that reaches this many bytes.
const BLOCK_BYTES: u64 = 1 << 20;
/// Longer lines are bad rows.
const MAX_LINE_BYTES: usize = 64 << 20;
/// Rows without the field that a scan sets aside until it knows whether any row has it.
const MAX_HELD: u64 = 1000;

/// The rows of one block: their bytes on end, unparsed.
pub(crate) struct Records {
    format: Format,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    too_long: Vec<usize>,
}

impl Records {
    fn new(format: Format) -> Self {
        Self { format, bytes: Vec::new(), ends: Vec::new(), too_long: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn text(&self, index: usize, fields: Fields<'_>) -> RowText<'_> {
        if self.too_long.contains(&index) {
            return Err(too_long());
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        row_text(self.format, &self.bytes[start..self.ends[index]], fields)
    }
}

fn too_long() -> Fault {
    Fault::Other(format!("the line is longer than {} MiB", MAX_LINE_BYTES >> 20))
}

fn row_text<'a>(format: Format, record: &'a [u8], fields: Fields<'_>) -> RowText<'a> {
    match format {
        Format::Jsonl => jsonl::text(record, fields),
        Format::Text | Format::Parquet => match str::from_utf8(record) {
            Ok(text) => Ok((!text.is_empty()).then(|| Cow::Borrowed(text.as_bytes()).into())),
            Err(error) => {
                Err(Fault::Other(format!("invalid UTF-8 at byte {} of the piece", error.valid_up_to())))
            }
        },
    }
}

/// One record taken from a file.
#[derive(Clone, Copy)]
struct Taken {
    /// Bytes of the file it covers, line end included.
    consumed: u64,
    /// Whether it was dropped for its length.
    too_long: bool,
}

/// Cuts a stream of bytes into records.
struct Cutter {
    reader: Box<dyn BufRead + Send>,
    format: Format,
    /// Text read ahead to find the end of a piece.
    ahead: Vec<u8>,
}

impl Cutter {
    fn new(reader: Box<dyn BufRead + Send>, format: Format) -> Self {
        Self { reader, format, ahead: Vec::new() }
    }

    /// Appends the next record's bytes to `into`, without its line end if it is a line; `None` at the end.
    fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Taken>> {
        match self.format {
            Format::Text => self.next_piece(into),
            Format::Jsonl | Format::Parquet => self.next_line(into),
        }
    }

    fn next_line(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Taken>> {
        let start = into.len();
        let mut taken = Taken { consumed: 0, too_long: false };
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok((taken.consumed > 0).then_some(taken));
            }
            let line_end = memchr(b'\n', buffer);
            let line = &buffer[..line_end.unwrap_or(buffer.len())];
            taken.too_long |= into.len() - start + line.len() > MAX_LINE_BYTES;
            if taken.too_long {
                into.truncate(start);
            } else {
                into.extend_from_slice(line);
            }
            let used = line.len() + usize::from(line_end.is_some());
            self.reader.consume(used);
            taken.consumed += used as u64;
            if line_end.is_some() {
                return Ok(Some(taken));
            }
        }
    }

    fn next_piece(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Taken>> {
        while self.ahead.len() < PIECE_BYTES {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let used = buffer.len().min(PIECE_BYTES - self.ahead.len());
            self.ahead.extend_from_slice(&buffer[..used]);
            self.reader.consume(used);
        }
        let length = piece_length(&self.ahead);
        into.extend(self.ahead.drain(..length));
        Ok((length > 0).then_some(Taken { consumed: length as u64, too_long: false }))
    }
}

/// Reads a file through, checking every row, and tables its blocks.
pub(crate) fn scan(
    path: &Path,
    format: Format,
    compression: Compression,
    fields: Fields<'_>,
    sink: &mut dyn ScanSink,
) -> Result<FileEntry> {
    let file_bytes = std::fs::metadata(path).map_err(|error| io_error(path, &error))?.len();
    let mut scan = Scan {
        path,
        format,
        fields,
        sink,
        blocks: vec![Block::default()],
        hash: Xxh3::new(),
        documents: 0,
        text_bytes: 0,
        missing: 0,
        held: Vec::new(),
        keys: None,
    };
    let mut cutter = Cutter::new(compress::open(path, compression)?, format);
    let mut record = Vec::new();
    let (mut offset, mut rows) = (0, 0);
    while let Some(taken) =
        cutter.next(&mut record).map_err(|error| compress::damaged(path, compression, offset, &error))?
    {
        scan.row(rows, &record, taken)?;
        record.clear();
        offset += taken.consumed;
        rows += 1;
    }
    scan.finish()?;
    let Scan { mut blocks, hash, documents, text_bytes, .. } = scan;
    blocks.retain(|block| block.rows > 0);
    let digest = format!("{:032x}", hash.digest128());
    Ok(FileEntry {
        path: path.to_owned(),
        format,
        compression,
        file_bytes,
        rows,
        documents,
        text_bytes,
        digest,
        blocks,
    })
}

/// A scan under way.
struct Scan<'a> {
    path: &'a Path,
    format: Format,
    fields: Fields<'a>,
    sink: &'a mut dyn ScanSink,
    blocks: Vec<Block>,
    hash: Xxh3,
    documents: u64,
    text_bytes: u64,
    /// Rows without the field.
    missing: u64,
    /// The first of them, as long as no row has it, and the fields of the very first.
    held: Vec<(u64, Fault)>,
    keys: Option<Vec<String>>,
}

impl Scan<'_> {
    fn row(&mut self, row: u64, record: &[u8], taken: Taken) -> Result<()> {
        self.hash.update(record);
        self.hash.update(b"\n");
        self.extend_table(row, taken)?;
        let text = if taken.too_long { Err(too_long()) } else { row_text(self.format, record, self.fields) };
        self.sink.row(record, &text);
        match text {
            Ok(Some(text)) if text.len() > 0 => {
                self.documents += 1;
                self.text_bytes += text.len() as u64;
                self.release()
            }
            Ok(_) => Ok(()),
            Err(fault @ Fault::Missing(_)) => self.missing(row, fault),
            Err(fault) => self.report(row, &fault),
        }
    }

    /// A row without the field waits until some row has it: if none does, the setting is wrong and not the row.
    fn missing(&mut self, row: u64, fault: Fault) -> Result<()> {
        self.missing += 1;
        if self.documents > 0 || self.missing > MAX_HELD {
            return self.report(row, &fault);
        }
        if let (Fault::Missing(keys), None) = (&fault, &self.keys) {
            self.keys = Some(keys.clone());
        }
        self.held.push((row, fault));
        if self.missing == MAX_HELD { self.release().map_err(|_| self.no_such_field()) } else { Ok(()) }
    }

    fn no_such_field(&self) -> DataError {
        super::no_such_field(self.path, "field", self.fields.text, self.keys.as_deref().unwrap_or_default())
    }

    fn extend_table(&mut self, row: u64, taken: Taken) -> Result<()> {
        if let Some(last) = self.blocks.last_mut()
            && last.bytes < BLOCK_BYTES
        {
            last.rows += 1;
            last.bytes += taken.consumed;
            return Ok(());
        }
        let offset = self.blocks.last().map_or(0, |last| last.offset + last.bytes);
        self.blocks.push(Block { offset, first_row: row, rows: 1, bytes: taken.consumed });
        self.sink.tick()
    }

    /// Reports the rows set aside, now that some row has the field or there are too many.
    fn release(&mut self) -> Result<()> {
        for (row, fault) in std::mem::take(&mut self.held) {
            self.report(row, &fault)?;
        }
        Ok(())
    }

    fn report(&mut self, row: u64, fault: &Fault) -> Result<()> {
        self.sink.fault(self.path, row, place(self.format, row), fault)
    }

    /// A file in which no row has the field is a wrong setting, whatever the policy on bad rows.
    fn finish(&mut self) -> Result<()> {
        let released = self.release();
        if self.documents == 0 && self.missing > 0 {
            return Err(self.no_such_field());
        }
        released
    }
}

/// Loads blocks of a scanned file. Plain files seek; compressed ones decode on from where they stand, and from the
/// beginning when an earlier block is asked for.
pub(crate) struct RecordReader {
    path: PathBuf,
    format: Format,
    compression: Compression,
    blocks: Vec<Block>,
    cutter: Option<Cutter>,
    /// The block that `cutter` stands before.
    next_block: usize,
}

impl RecordReader {
    /// Prepares to load blocks; the file is opened with the first.
    pub(crate) fn open(entry: &FileEntry) -> Self {
        Self {
            path: entry.path.clone(),
            format: entry.format,
            compression: entry.compression,
            blocks: entry.blocks.clone(),
            cutter: None,
            next_block: 0,
        }
    }

    /// Stands before block `index` or, if compressed, before some block ahead of it.
    fn seek(&mut self, index: usize) -> Result<()> {
        if self.cutter.is_some() && self.next_block == index {
            return Ok(());
        }
        if self.compression == Compression::None {
            let io = |error| io_error(&self.path, &error);
            let mut file = File::open(&self.path).map_err(io)?;
            file.seek(SeekFrom::Start(self.blocks[index].offset)).map_err(io)?;
            self.cutter = Some(Cutter::new(Box::new(BufReader::with_capacity(1 << 18, file)), self.format));
            self.next_block = index;
        } else if self.cutter.is_none() || self.next_block > index {
            self.cutter = Some(Cutter::new(compress::open(&self.path, self.compression)?, self.format));
            self.next_block = 0;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Records> {
        let block = self.blocks[self.next_block];
        let mut records = Records::new(self.format);
        records.bytes.reserve(block.bytes.min(4 * BLOCK_BYTES) as usize);
        let mut bytes = 0;
        while let Some(cutter) = self.cutter.as_mut().filter(|_| records.len() < block.rows as usize) {
            let taken = cutter.next(&mut records.bytes).map_err(|error| {
                compress::damaged(&self.path, self.compression, block.offset + bytes, &error)
            })?;
            let Some(taken) = taken else { break };
            if taken.too_long {
                records.too_long.push(records.len());
            }
            records.ends.push(records.bytes.len());
            bytes += taken.consumed;
        }
        if records.len() != block.rows as usize || bytes != block.bytes {
            return Err(DataError::Bad {
                path: self.path.clone(),
                place: place(self.format, block.first_row),
                reason: "the file is not what it was when the corpus was opened".to_owned(),
            });
        }
        self.next_block += 1;
        Ok(records)
    }
}

impl BlockReader for RecordReader {
    fn load(&mut self, index: usize) -> Result<Rows> {
        self.seek(index)?;
        loop {
            let stands_before = self.next_block;
            let records = self.read().inspect_err(|_| self.cutter = None)?;
            if stands_before == index {
                return Ok(Rows::Records(records));
            }
        }
    }
}
