//! Plain, gzip and Zstandard files behind one buffered reader.
//!
//! Several gzip members and several Zstandard frames in one file read as their concatenation; a file that ends
//! within one is an error.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use super::local::io_error;
use crate::{DataError, Result};

/// The largest window a Zstandard frame may ask for, as a power of two (`zstd --long=31`).
const WINDOW_LOG_MAX: u32 = 31;
/// Bytes asked of the decoder at a time.
const BUFFER_BYTES: usize = 1 << 18;
/// Bytes looked at to tell formats apart.
const HEAD_BYTES: u64 = 1 << 16;

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// The compression of a file, from its first four bytes.
pub(crate) fn detect(path: &Path) -> Result<Compression> {
    let mut magic = Vec::with_capacity(4);
    let file = File::open(path).map_err(|error| io_error(path, &error))?;
    file.take(4).read_to_end(&mut magic).map_err(|error| io_error(path, &error))?;
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A data frame, or one of the sixteen kinds of skippable frame.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    })
}

/// The decompressed bytes of a file from its beginning.
pub(crate) fn open(path: &Path, compression: Compression) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(|error| io_error(path, &error))?;
    decode(file, compression).map_err(|error| io_error(path, &error))
}

fn decode(file: File, compression: Compression) -> io::Result<Box<dyn BufRead + Send>> {
    Ok(match compression {
        Compression::None => Box::new(BufReader::with_capacity(BUFFER_BYTES, file)),
        Compression::Gzip => {
            let inner = BufReader::with_capacity(BUFFER_BYTES, file);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(inner)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::new(file)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
    })
}

/// The first decompressed bytes of a file. What can be had of a damaged file counts: the scan reports the damage.
pub(crate) fn head(path: &Path, compression: Compression) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    match open(path, compression)?.take(HEAD_BYTES).read_to_end(&mut head) {
        Err(error) if compression == Compression::None => Err(io_error(path, &error)),
        Err(error) if head.is_empty() => Err(damaged(path, compression, 0, &error)),
        _ => Ok(head),
    }
}

/// A read error at `offset` decompressed bytes: the disk's when the file is plain, the data's otherwise.
pub(crate) fn damaged(path: &Path, compression: Compression, offset: u64, error: &io::Error) -> DataError {
    if compression == Compression::None {
        return io_error(path, error);
    }
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the {compression} file is truncated"),
        _ => format!("the {compression} data is damaged: {error}"),
    };
    DataError::Bad { path: path.to_owned(), place: format!("after {offset} decompressed bytes"), reason }
}
