//! What an order of documents is a function of: the files, their rows and blocks, and a digest over all of them.

use std::path::PathBuf;

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::source::{Compression, Format};

/// Version of the digest's definition: another version is another corpus.
const DIGEST_VERSION: u64 = 1;

/// A run of whole rows that is loaded at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block {
    /// Where it begins: decompressed bytes into the file; 0 for a Parquet row group.
    pub offset: u64,
    /// The file's row with which it begins.
    pub first_row: u64,
    /// Rows in it.
    pub rows: u32,
    /// Bytes in memory, line ends included; for Parquet the decompressed text column.
    pub bytes: u64,
}

/// One file after its scan.
#[derive(Debug, Clone, Serialize)]
pub struct FileEntry {
    /// Where it was found. Not part of the digest: files may move.
    pub path: PathBuf,
    /// What it holds.
    pub format: Format,
    /// How it is compressed as a whole.
    pub compression: Compression,
    /// Its size on disk.
    #[serde(rename = "bytes")]
    pub file_bytes: u64,
    /// Rows, bad and empty ones included.
    pub rows: u64,
    /// Rows with text: counted in lines and pieces, all non-null rows of a Parquet file.
    pub documents: u64,
    /// Bytes of text: exact for lines and pieces; for Parquet from the metadata or, where it does not say, estimated
    /// from a sample.
    pub text_bytes: u64,
    /// 128 bits of XXH3 in hexadecimal: over the rows of a text file, over the footer of a Parquet file.
    pub digest: String,
    /// Its blocks in sequence.
    #[serde(skip)]
    pub blocks: Vec<Block>,
}

impl FileEntry {
    /// Whether blocks can be loaded in any sequence at no extra cost.
    pub fn is_seekable(&self) -> bool {
        self.compression == Compression::None
    }
}

/// The files of every source, in order.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// Identifies content and order: equal digests give equal orders.
    pub digest: String,
    /// Files by source.
    pub sources: Vec<Vec<FileEntry>>,
}

impl Manifest {
    /// Computes the digest over the scanned files.
    pub fn new(sources: Vec<Vec<FileEntry>>) -> Self {
        let mut hash = Xxh3::new();
        let number = |hash: &mut Xxh3, value: u64| hash.update(&value.to_le_bytes());
        number(&mut hash, DIGEST_VERSION);
        for files in &sources {
            number(&mut hash, files.len() as u64);
            for file in files {
                hash.update(file.digest.as_bytes());
                number(&mut hash, u64::from(file.is_seekable()));
                number(&mut hash, file.blocks.len() as u64);
                for block in &file.blocks {
                    number(&mut hash, block.rows.into());
                    number(&mut hash, block.bytes);
                }
            }
        }
        Self { digest: format!("{:032x}", hash.digest128()), sources }
    }

    /// All files, source after source.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.sources.iter().flatten()
    }
}
