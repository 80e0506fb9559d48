//! The byte n-gram model: the yardstick, the patch placer and the source of the n-gram features.
//!
//! The entropy of a context is computed once, when the model is trained, and stored in steps of 1/8192 nat. At run time
//! the longest stored suffix of the bytes before a position decides: integer look-ups, equal on every platform.

mod calibrate;
mod counts;
mod file;
mod kneser_ney;
mod table;

use half::f16;
use half::slice::HalfFloatSliceExt;

pub use calibrate::{Target, calibrate};
pub(crate) use counts::{Counts, count_documents};

use crate::patch::Patcher;
use crate::{DataError, Document, Result};
use counts::{MAX_ORDER, SYMBOL_BITS, first_context, push};
use kneser_ney::{Level, STEPS_PER_NAT, Smoothed};
use table::{ContextIndex, EntropyTable, WORD};

/// Next-byte probabilities.
pub type Distribution = [f32; 256];

/// An interpolated modified Kneser-Ney model over bytes.
#[derive(Debug, Clone)]
pub struct NgramModel {
    order: usize,
    levels: Vec<Level>,
    smoothed: Vec<Smoothed>,
    index: Vec<ContextIndex>,
    table: EntropyTable,
    /// Whole distributions of the contexts of one byte: where every other one starts from.
    shortest: Vec<Distribution>,
    digest: String,
    patcher: Option<Patcher>,
}

impl NgramModel {
    /// Trains on documents; `threads` = 0 takes one a core. The model does not depend on the order of the documents.
    pub fn train(
        documents: impl IntoIterator<Item = Result<impl Into<Document>>>,
        order: usize,
        threads: usize,
    ) -> Result<Self> {
        let threads = num_threads(threads);
        let documents = documents.into_iter().map(|document| document.map(Into::into));
        let parts = count_documents(documents, order, threads, threads, |index, _| index % threads)?;
        Self::from_counts(&Counts::sum(parts), order)
    }

    /// Smooths counted n-grams.
    pub(crate) fn from_counts(counts: &Counts, order: usize) -> Result<Self> {
        if counts.keys.is_empty() {
            return Err(DataError::invalid(
                "the n-gram model has no bytes to train on",
                "give it documents that are not empty",
            ));
        }
        let levels = kneser_ney::levels(Level::highest(counts), order);
        let smoothed = kneser_ney::smooth(&levels);
        Ok(Self::assemble(order, levels, smoothed, None))
    }

    fn assemble(order: usize, levels: Vec<Level>, smoothed: Vec<Smoothed>, patcher: Option<Patcher>) -> Self {
        let entropies: Vec<_> = smoothed.iter().map(|level| level.entropies.clone()).collect();
        let mut model = Self {
            order,
            index: levels.iter().map(ContextIndex::new).collect(),
            table: EntropyTable::new(&levels, &entropies),
            shortest: Vec::new(),
            digest: String::new(),
            patcher,
            levels,
            smoothed,
        };
        model.shortest = model.whole_distributions();
        model.digest = file::digest(&model);
        model
    }

    fn whole_distributions(&self) -> Vec<Distribution> {
        let mut empty = [self.smoothed[0].backoff[0] / 256.0; 256];
        self.overwrite(0, 0, 1.0, &mut empty);
        let lengthened = |context: usize| {
            let backoff = self.smoothed[1].backoff[context];
            let mut whole = empty.map(|p| p * backoff);
            self.overwrite(1, context, 1.0, &mut whole);
            whole
        };
        (0..self.levels[1].contexts.len()).map(lengthened).collect()
    }

    /// Bytes of context.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Stored contexts of all lengths.
    pub fn num_contexts(&self) -> usize {
        self.levels.iter().map(|level| level.contexts.len()).sum()
    }

    /// 32 hexadecimal digits that name the model's contents, the patcher aside.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The patcher calibrated for this model, if one travels with it.
    pub fn patcher(&self) -> Option<&Patcher> {
        self.patcher.as_ref()
    }

    /// Entropy in nats of the distribution for each byte given those before it: n + 1 values, the last for the byte that
    /// would come next.
    pub fn entropies(&self, bytes: &[u8]) -> Vec<f32> {
        let mut entropies = vec![0.0; bytes.len() + 1];
        let mut contexts = Contexts::new(self.order, bytes);
        let (head, rest) = entropies.split_at_mut(WORD.min(bytes.len() + 1));
        for (position, entropy) in head.iter_mut().enumerate() {
            let (length, context) = self.longest(contexts.at(position));
            *entropy = f32::from(self.smoothed[length].entropies[context]) / STEPS_PER_NAT as f32;
        }
        self.table.fill(bytes, rest);
        entropies
    }

    /// The distribution for each byte of `[first, first + out.len())` given those before it.
    ///
    /// # Panics
    /// If the range reaches past the byte after the last.
    pub fn distributions(&self, bytes: &[u8], first: usize, out: &mut [Distribution]) {
        let mut contexts = Contexts::new(self.order, bytes);
        for (index, distribution) in out.iter_mut().enumerate() {
            self.distribution(contexts.at(first + index), distribution);
        }
    }

    /// Square roots of the distributions of `[first, ..)`, 256 values a position, in half precision.
    pub(crate) fn features(&self, bytes: &[u8], first: usize, out: &mut [f16]) {
        let mut contexts = Contexts::new(self.order, bytes);
        let mut distribution = [0.0; 256];
        for (index, row) in out.chunks_exact_mut(256).enumerate() {
            self.distribution(contexts.at(first + index), &mut distribution);
            for p in &mut distribution {
                *p = p.sqrt();
            }
            row.convert_from_f32_slice(&distribution);
        }
    }

    /// Code length of a document in bits.
    pub fn bits(&self, bytes: &[u8]) -> f64 {
        let mut contexts = Contexts::new(self.order, bytes);
        let position_bits = |(position, &byte)| -self.probability(contexts.at(position), byte).log2();
        bytes.iter().enumerate().map(position_bits).sum()
    }

    /// Writes the whole distribution after `context`.
    ///
    /// Looks up all suffixes before it reads any: the look-ups do not wait for one another.
    fn distribution(&self, context: u64, out: &mut Distribution) {
        let Some(shortest) = self.find(1, context) else {
            out.fill(self.smoothed[0].backoff[0] / 256.0);
            return self.overwrite(0, 0, 1.0, out);
        };
        let mut places = [0; MAX_ORDER + 1];
        let mut longest = 1;
        while longest < self.order {
            let Some(place) = self.find(longest + 1, context) else { break };
            longest += 1;
            places[longest] = place;
        }
        // weights[m]: what all longer suffixes leave to the one of m bytes
        let mut weights = [1.0; MAX_ORDER + 1];
        for length in (2..=longest).rev() {
            weights[length - 1] = weights[length] * self.smoothed[length].backoff[places[length]];
        }
        for (p, shortest) in out.iter_mut().zip(&self.shortest[shortest]) {
            *p = shortest * weights[1];
        }
        for length in 2..=longest {
            self.overwrite(length, places[length], weights[length], out);
        }
    }

    /// Sets the bytes seen after a stored context to their probabilities there, times `weight`.
    fn overwrite(&self, length: usize, context: usize, weight: f32, out: &mut Distribution) {
        let entries = self.levels[length].entries(context);
        let probabilities = &self.smoothed[length].probabilities[entries.clone()];
        for (&symbol, &probability) in self.levels[length].symbols[entries].iter().zip(probabilities) {
            out[symbol as usize] = probability * weight;
        }
    }

    fn probability(&self, context: u64, byte: u8) -> f64 {
        let mut weight = 1.0;
        for length in (0..=self.longest(context).0).rev() {
            let Some(place) = self.find(length, context) else { continue };
            let entries = self.levels[length].entries(place);
            if let Ok(found) = self.levels[length].symbols[entries.clone()].binary_search(&byte) {
                return weight * f64::from(self.smoothed[length].probabilities[entries.start + found]);
            }
            weight *= f64::from(self.smoothed[length].backoff[place]);
        }
        weight / 256.0
    }

    /// Length and place of the longest stored suffix; the empty context is always stored.
    fn longest(&self, context: u64) -> (usize, usize) {
        (1..=self.order)
            .rev()
            .find_map(|length| self.find(length, context).map(|place| (length, place)))
            .unwrap_or((0, 0))
    }

    /// The place of the newest `length` symbols of a whole context.
    fn find(&self, length: usize, context: u64) -> Option<usize> {
        let key = context >> (SYMBOL_BITS * (self.order - length) as u32);
        self.index[length].find(&self.levels[length].contexts, key)
    }
}

/// One thread a core where `threads` is 0.
pub(crate) fn num_threads(threads: usize) -> usize {
    if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// The contexts of a document's positions, taken in ascending order.
struct Contexts<'a> {
    order: usize,
    bytes: &'a [u8],
    position: usize,
    context: u64,
}

impl<'a> Contexts<'a> {
    fn new(order: usize, bytes: &'a [u8]) -> Self {
        Self { order, bytes, position: 0, context: first_context(order) }
    }

    /// The symbols before `position`, which may not lie before an earlier one.
    fn at(&mut self, position: usize) -> u64 {
        let gap_end = position.saturating_sub(self.order).max(self.position);
        self.position = gap_end;
        for &byte in &self.bytes[gap_end..position] {
            self.context = push(self.context, u64::from(byte), self.order);
        }
        self.position = position;
        self.context
    }
}
