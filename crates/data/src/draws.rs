//! Draw number n -> document: mixture, order and loaded blocks put together.
//!
//! What a draw gives depends on its number alone; what is kept in memory is only there to make neighbours cheap.

use std::collections::HashMap;
use std::sync::Arc;

use crate::corpus::{Corpus, Filter, Nothing, Part};
use crate::manifest::FileEntry;
use crate::mixture::{BLOCK_DRAWS, DrawBlock, Mixture};
use crate::order::{BlockSize, Epoch, Order, key};
use crate::source::{self, BlockReader, Rows, Text};
use crate::{DataError, Document, Result};

/// Files of a pool that are open at once.
const MAX_OPEN_FILES: usize = 64;

/// What one draw gives.
pub(crate) enum Drawn {
    /// A document and the index of its source.
    Document {
        /// Index of the source it comes from.
        source: u32,
        /// The document itself.
        document: Document,
    },
    /// Nothing: the lane takes the next draw.
    Nothing(Nothing),
}

/// All draws of a corpus.
pub(crate) struct Draws {
    corpus: Arc<Corpus>,
    filter: Filter,
    /// One for each source when there are weights, one for all otherwise.
    pools: Vec<Pool>,
    mixture: Option<Mixture>,
    block: Option<DrawBlock>,
}

impl Draws {
    /// The draws of `corpus`; documents whose second hash is, as a fraction, below `skip_hash_below` give nothing.
    pub(crate) fn new(corpus: Arc<Corpus>, skip_hash_below: f64) -> Result<Self> {
        let config = corpus.config();
        let mixture = mixture(&corpus)?;
        let sources = (0u32..).zip(&corpus.manifest().sources);
        let mut files: Vec<Vec<FileId>> = sources
            .map(|(source, files)| (0..files.len()).map(|file| FileId { source, file }).collect())
            .collect();
        if mixture.is_none() {
            files = vec![files.concat()];
        }
        let pools = (0u64..)
            .zip(files)
            .map(|(pool, files)| Pool::new(key(&[config.seed, 3, pool]), &corpus, files))
            .collect();
        let filter = Filter { part: Part::Train, second: skip_hash_below..f64::INFINITY };
        Ok(Self { corpus, filter, pools, mixture, block: None })
    }

    /// What draw number `draw` gives.
    pub(crate) fn get(&mut self, draw: u64) -> Result<Drawn> {
        let (pool, ordinal) = self.pool_of(draw);
        self.pools[pool].get(ordinal, &self.corpus, &self.filter)
    }

    fn pool_of(&mut self, draw: u64) -> (usize, u64) {
        let Some(mixture) = &self.mixture else { return (0, draw) };
        let number = draw / BLOCK_DRAWS;
        if self.block.as_ref().is_none_or(|block| block.number != number) {
            self.block = Some(mixture.block(number));
        }
        self.block.as_ref().map_or((0, draw), |block| {
            let (source, ordinal) = block.source(draw);
            (source as usize, ordinal)
        })
    }

    /// Draws in a row that may give nothing before it is certain that none ever will: every row has come up.
    pub(crate) fn patience(&self) -> u64 {
        let shares = self.mixture.as_ref().map_or(&[1.0][..], Mixture::shares);
        let drawn = self.pools.iter().zip(shares).filter(|(_, share)| **share > 0.0);
        let most = drawn.map(|(pool, share)| (pool.order.num_rows() as f64 / share) as u64).max();
        most.unwrap_or(0) + 2 * BLOCK_DRAWS
    }
}

/// The schedule of a corpus with weights.
fn mixture(corpus: &Corpus) -> Result<Option<Mixture>> {
    let mean = |files: &Vec<FileEntry>| {
        let documents: u64 = files.iter().map(|file| file.documents).sum();
        let bytes: u64 = files.iter().map(|file| file.text_bytes).sum();
        bytes as f64 / documents.max(1) as f64
    };
    let Some(weights) = &corpus.config().weights else { return Ok(None) };
    let means: Vec<f64> = corpus.manifest().sources.iter().map(mean).collect();
    Mixture::new(corpus.config().seed, weights, &means).map(Some)
}

/// Passes over the data after `draws` draws: over everything or, with weights, of each source.
pub(crate) fn epochs(corpus: &Corpus, draws: u64) -> Result<Vec<f64>> {
    let rows = |files: &Vec<FileEntry>| files.iter().map(|file| file.rows).sum::<u64>();
    let rows = corpus.manifest().sources.iter().map(rows);
    Ok(match mixture(corpus)? {
        None => vec![draws as f64 / rows.sum::<u64>().max(1) as f64],
        Some(mixture) => rows
            .zip(mixture.shares())
            .map(|(rows, share)| draws as f64 * share / rows.max(1) as f64)
            .collect(),
    })
}

/// A file of the manifest.
#[derive(Debug, Clone, Copy)]
struct FileId {
    source: u32,
    file: usize,
}

impl FileId {
    fn entry(self, corpus: &Corpus) -> &FileEntry {
        &corpus.manifest().sources[self.source as usize][self.file]
    }
}

/// Files that are drawn from as one.
struct Pool {
    files: Vec<FileId>,
    /// File and index within it of each block.
    blocks: Vec<(u32, u32)>,
    order: Order,
    epoch: Option<Epoch>,
    /// Epoch and group whose blocks are loaded.
    group: (u64, usize),
    loaded: HashMap<u32, Rows>,
    /// Open files, the one used last at the end.
    readers: Vec<(u32, Box<dyn BlockReader>)>,
}

impl Pool {
    fn new(key: u64, corpus: &Corpus, files: Vec<FileId>) -> Self {
        let (mut blocks, mut sizes, mut units) = (Vec::new(), Vec::new(), Vec::new());
        for (index, file) in (0u32..).zip(&files) {
            let file = file.entry(corpus);
            let first = blocks.len() as u32;
            blocks.extend((0..file.blocks.len() as u32).map(|block| (index, block)));
            sizes.extend(file.blocks.iter().map(|block| BlockSize { rows: block.rows, bytes: block.bytes }));
            let end = blocks.len() as u32;
            if file.is_seekable() {
                units.extend((first..end).map(|block| block..block + 1));
            } else if end > first {
                units.push(first..end);
            }
        }
        let order = Order::new(key, corpus.config().shuffle_blocks, sizes, units);
        let (group, loaded, readers) = ((0, 0), HashMap::new(), Vec::new());
        Self { files, blocks, order, epoch: None, group, loaded, readers }
    }

    fn get(&mut self, ordinal: u64, corpus: &Corpus, filter: &Filter) -> Result<Drawn> {
        let number = ordinal / self.order.num_rows();
        if self.epoch.as_ref().is_none_or(|epoch| epoch.number != number) {
            self.epoch = Some(self.order.epoch(number));
        }
        let located = match &self.epoch {
            Some(epoch) => epoch.locate(ordinal % self.order.num_rows()),
            None => unreachable!("laid out above"),
        };
        if self.group != (number, located.group) {
            self.loaded.clear();
            self.group = (number, located.group);
        }
        if !self.loaded.contains_key(&located.block) {
            self.load(located.block, corpus)?;
        }
        let (file, block) = self.blocks[located.block as usize];
        let id = self.files[file as usize];
        let file = id.entry(corpus);
        let row = file.blocks[block as usize].first_row + u64::from(located.row);
        let text = self.loaded[&located.block].text(located.row as usize, corpus.config().fields());
        Ok(match corpus.judge(file, row, text, filter)?.map(Text::into_document) {
            Ok(document) => Drawn::Document { source: id.source, document },
            Err(nothing) => Drawn::Nothing(nothing),
        })
    }

    /// Loads a block of the current group; of a file that cannot seek, all the group's blocks in sequence.
    fn load(&mut self, wanted: u32, corpus: &Corpus) -> Result<()> {
        let (file, _) = self.blocks[wanted as usize];
        let mut members = vec![wanted];
        if !self.files[file as usize].entry(corpus).is_seekable()
            && let Some(epoch) = &self.epoch
        {
            members = epoch.group(self.group.1).to_vec();
            members.retain(|block| self.blocks[*block as usize].0 == file);
            members.sort_unstable();
        }
        for block in members {
            if !self.loaded.contains_key(&block) {
                let index = self.blocks[block as usize].1 as usize;
                let rows = self.reader(file, corpus)?.load(index)?;
                self.loaded.insert(block, rows);
            }
        }
        Ok(())
    }

    /// The open file, moved to the end of the list.
    fn reader(&mut self, file: u32, corpus: &Corpus) -> Result<&mut Box<dyn BlockReader>> {
        let open = self.readers.iter().position(|(open, _)| *open == file);
        let entry = match open {
            Some(place) => self.readers.remove(place),
            None => {
                (file, source::open(self.files[file as usize].entry(corpus), &corpus.config().text_field)?)
            }
        };
        if self.readers.len() == MAX_OPEN_FILES {
            self.readers.remove(0);
        }
        self.readers.push(entry);
        match self.readers.last_mut() {
            Some((_, reader)) => Ok(reader),
            None => unreachable!("pushed above"),
        }
    }
}

/// The error for a corpus whose every row gives nothing.
pub(crate) fn nothing_to_draw(corpus: &Corpus) -> DataError {
    let hold_out = corpus.config().hold_out;
    DataError::invalid(
        "no document can be drawn: every row is empty, bad, held out or used by the n-gram model",
        format!("hold_out is {hold_out}; lower it or add data"),
    )
}
