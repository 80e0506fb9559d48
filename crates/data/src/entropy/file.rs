//! The model as a file.
//!
//! `NEATNGRM`, version `u32`, header length `u32`, header (JSON), body, `xxh3_64` of all before it; little-endian.
//! The body holds the highest level (contexts `u64`, entries of each minus one `u8`, symbols `u8`, counts `u32`), from
//! which the shorter ones follow, and the entropies `u16` of every level, the empty context first. They are stored because
//! logarithms differ between platforms, and patch starts must not.

use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::NgramModel;
use super::counts::{BOS, MAX_ORDER, SYMBOL_BITS, SYMBOL_MASK};
use super::kneser_ney::{self, Level};
use crate::patch::Patcher;
use crate::{DataError, Result};

const MAGIC: &[u8; 8] = b"NEATNGRM";
const VERSION: u32 = 1;
const PREFIX: usize = 16;
const CHECKSUM: usize = 8;
/// Entropies above ln 256 in steps of 1/8192 nat do not exist.
const MAX_ENTROPY: u16 = 45_427;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    order: usize,
    digest: String,
    /// Contexts of each level, the empty context first.
    contexts: Vec<usize>,
    /// Entries of the highest level.
    entries: usize,
    patcher: Option<Patcher>,
}

impl Header {
    /// Length of the body in bytes, `None` if the sizes are absurd.
    fn body_bytes(&self) -> Option<usize> {
        let highest = *self.contexts.last()?;
        let all = self.contexts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count))?;
        let of_contexts = highest.checked_mul(9)?;
        let of_entries = self.entries.checked_mul(5)?;
        of_contexts.checked_add(of_entries)?.checked_add(all.checked_mul(2)?)
    }
}

impl NgramModel {
    /// The file's bytes: the same for the same documents, in whatever order and on however many threads. `patcher` takes
    /// the place of the one that the model came with.
    pub fn to_bytes(&self, patcher: Option<&Patcher>) -> Vec<u8> {
        let header = Header {
            order: self.order,
            digest: self.digest.clone(),
            contexts: self.levels.iter().map(|level| level.contexts.len()).collect(),
            entries: self.levels[self.order].symbols.len(),
            patcher: patcher.or(self.patcher()).cloned(),
        };
        let json = serde_json::json!(header).to_string();
        let mut file =
            Vec::with_capacity(PREFIX + json.len() + header.body_bytes().unwrap_or_default() + CHECKSUM);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(json.len() as u32).to_le_bytes());
        file.extend_from_slice(json.as_bytes());
        write_body(self, |bytes| file.extend_from_slice(bytes));
        let checksum = xxh3_64(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file
    }

    /// Reads what [`NgramModel::to_bytes`] wrote. Every length is checked against the file before memory is taken.
    pub fn from_bytes(file: &[u8]) -> Result<Self> {
        parse(file, Path::new("n-gram model"))
    }

    /// Writes [`NgramModel::to_bytes`] to `path`.
    pub fn save(&self, path: &Path, patcher: Option<&Patcher>) -> Result<()> {
        std::fs::write(path, self.to_bytes(patcher)).map_err(|error| DataError::Io {
            path: path.to_path_buf(),
            reason: format!("the n-gram model was not written: {error}"),
        })
    }

    /// Reads a model from `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let file = std::fs::read(path)
            .map_err(|error| DataError::Io { path: path.to_path_buf(), reason: error.to_string() })?;
        parse(&file, path)
    }
}

/// Digest of the order and the body.
pub(super) fn digest(model: &NgramModel) -> String {
    let mut hasher = Xxh3::new();
    hasher.update(&[model.order as u8]);
    write_body(model, |bytes| hasher.update(bytes));
    format!("{:032x}", hasher.digest128())
}

fn write_body(model: &NgramModel, mut sink: impl FnMut(&[u8])) {
    let highest = &model.levels[model.order];
    let mut encoded = Vec::new();
    let mut put = |encoded: &mut Vec<u8>| {
        sink(encoded);
        encoded.clear();
    };
    encoded.extend(highest.contexts.iter().flat_map(|context| context.to_le_bytes()));
    put(&mut encoded);
    encoded.extend((0..highest.contexts.len()).map(|context| (highest.entries(context).len() - 1) as u8));
    put(&mut encoded);
    encoded.extend_from_slice(&highest.symbols);
    put(&mut encoded);
    encoded.extend(highest.counts.iter().flat_map(|count| count.to_le_bytes()));
    put(&mut encoded);
    for level in &model.smoothed {
        encoded.extend(level.entropies.iter().flat_map(|entropy| entropy.to_le_bytes()));
        put(&mut encoded);
    }
}

fn parse(file: &[u8], path: &Path) -> Result<NgramModel> {
    let bad = |place: usize, reason: &str| DataError::Bad {
        path: path.to_path_buf(),
        place: format!("byte {place}"),
        reason: reason.to_owned(),
    };
    if file.len() < PREFIX + CHECKSUM || !file.starts_with(MAGIC) {
        return Err(bad(0, "this is not an n-gram model"));
    }
    let version = number(file, 8);
    if version != VERSION as usize {
        return Err(bad(
            8,
            &format!("version {version} of the format; this program reads version {VERSION}"),
        ));
    }
    let (content, checksum) = file.split_at(file.len() - CHECKSUM);
    if checksum != xxh3_64(content).to_le_bytes() {
        return Err(bad(content.len(), "the checksum does not match: the file is damaged or cut short"));
    }
    let body = PREFIX.saturating_add(number(file, 12));
    let json = content.get(PREFIX..body).ok_or_else(|| bad(12, "the header is longer than the file"))?;
    let header: Header =
        serde_json::from_slice(json).map_err(|error| bad(PREFIX, &format!("bad header: {error}")))?;
    if header.order == 0 || header.order > MAX_ORDER || header.contexts.len() != header.order + 1 {
        return Err(bad(PREFIX, "the header's order and levels do not agree"));
    }
    if header.body_bytes() != Some(content.len() - body) {
        return Err(bad(body, "the header and the size of the file do not agree"));
    }
    if let Some(patcher) = &header.patcher {
        patcher.check()?;
    }
    read_body(&header, &content[body..]).map_err(|reason| bad(body, reason)).and_then(|model| {
        if model.digest == header.digest { Ok(model) } else { Err(bad(PREFIX, "the digest does not match")) }
    })
}

fn number(file: &[u8], at: usize) -> usize {
    file[at..at + 4].iter().rev().fold(0, |value, &byte| (value << 8) | usize::from(byte))
}

fn read_body(header: &Header, mut body: &[u8]) -> std::result::Result<NgramModel, &'static str> {
    let num_contexts = header.contexts[header.order];
    let contexts = take(&mut body, num_contexts, u64::from_le_bytes);
    let sizes = take(&mut body, num_contexts, u8::from_le_bytes);
    let symbols = take(&mut body, header.entries, u8::from_le_bytes);
    let counts = take(&mut body, header.entries, u32::from_le_bytes);
    let mut end = 0;
    let ends = sizes.iter().map(|&size| {
        end += u32::from(size) + 1;
        end
    });
    let highest = Level { contexts, ends: ends.collect(), symbols, counts };
    check(&highest, header)?;
    let levels = kneser_ney::levels(highest, header.order);
    if levels.iter().zip(&header.contexts).any(|(level, &count)| level.contexts.len() != count) {
        return Err("the header's levels do not follow from the highest one");
    }
    let mut smoothed = kneser_ney::smooth(&levels);
    for (level, &count) in smoothed.iter_mut().zip(&header.contexts) {
        level.entropies = take(&mut body, count, u16::from_le_bytes);
        if level.entropies.iter().any(|&entropy| entropy > MAX_ENTROPY) {
            return Err("an entropy is above that of 256 equal bytes");
        }
    }
    Ok(NgramModel::assemble(header.order, levels, smoothed, header.patcher.clone()))
}

/// The next `count` numbers, whose presence the caller has checked.
fn take<const WIDTH: usize, T>(body: &mut &[u8], count: usize, read: fn([u8; WIDTH]) -> T) -> Vec<T> {
    let (values, rest) = body.split_at(count * WIDTH);
    *body = rest;
    let value = |chunk: &[u8]| {
        let mut bytes = [0; WIDTH];
        bytes.copy_from_slice(chunk);
        read(bytes)
    };
    values.chunks_exact(WIDTH).map(value).collect()
}

/// What the rest of the program relies on, for a file whose checksum was made to fit.
fn check(level: &Level, header: &Header) -> std::result::Result<(), &'static str> {
    if level.contexts.is_empty() || level.ends.last().copied() != u32::try_from(header.entries).ok() {
        return Err("the contexts and their entries do not agree");
    }
    if !level.contexts.is_sorted_by(|a, b| a < b) || !level.contexts.iter().all(|&c| valid(c, header.order)) {
        return Err("the contexts are not in order");
    }
    let ascending = |context| level.symbols[level.entries(context)].is_sorted_by(|a, b| a < b);
    if !(0..level.contexts.len()).all(ascending) {
        return Err("the symbols of a context are not in order");
    }
    let total: u64 = level.counts.iter().map(|&count| u64::from(count)).sum();
    if level.counts.contains(&0) || total > u64::from(u32::MAX) {
        return Err("the counts are not possible");
    }
    Ok(())
}

/// Whether a context has `order` symbols, with nothing older than the beginning of the document.
fn valid(context: u64, order: usize) -> bool {
    let symbols = (0..order as u32).map(|place| (context >> (SYMBOL_BITS * place)) & SYMBOL_MASK);
    context >> (SYMBOL_BITS * order as u32) == 0
        && symbols.clone().all(|symbol| symbol <= BOS)
        && symbols.skip_while(|&symbol| symbol == BOS).all(|symbol| symbol != BOS)
}
