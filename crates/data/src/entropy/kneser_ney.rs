//! Interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999) over bytes.
//!
//! Level m holds the contexts of m bytes. The highest level keeps raw counts; below, an n-gram counts the distinct symbols
//! seen to its left. An n-gram that begins with the symbol before the document keeps its raw count, since nothing else can
//! precede it. Level 0 is interpolated with the uniform distribution over the 256 bytes.

use super::counts::{BOS, Counts, SYMBOL_BITS, SYMBOL_MASK};

/// Step of the stored entropies in nats.
pub(crate) const STEPS_PER_NAT: f64 = 8192.0;

/// The contexts of one length in ascending order, and what followed each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Packed symbols, the newest highest.
    pub(crate) contexts: Vec<u64>,
    /// Where each context's entries end.
    pub(crate) ends: Vec<u32>,
    /// The bytes that followed, ascending within a context.
    pub(crate) symbols: Vec<u8>,
    /// How often each followed, or after how many different symbols.
    pub(crate) counts: Vec<u32>,
}

/// What smoothing makes of a level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Smoothed {
    /// Weight of the next shorter context, per context.
    pub(crate) backoff: Vec<f32>,
    /// Final probability, per entry.
    pub(crate) probabilities: Vec<f32>,
    /// Entropy of the whole distribution in steps of 1/8192 nat, per context.
    pub(crate) entropies: Vec<u16>,
}

impl Level {
    /// The entries of a context as a range of `symbols` and `counts`.
    pub(crate) fn entries(&self, context: usize) -> std::ops::Range<usize> {
        let first = if context == 0 { 0 } else { self.ends[context - 1] as usize };
        first..self.ends[context] as usize
    }

    /// The highest level, from counted n-grams.
    pub(crate) fn highest(counts: &Counts) -> Self {
        let mut level = Self { counts: counts.counts.clone(), ..Self::default() };
        level.symbols = counts.keys.iter().map(|key| (key & SYMBOL_MASK) as u8).collect();
        for run in counts.keys.chunk_by(|a, b| a >> SYMBOL_BITS == b >> SYMBOL_BITS) {
            level.contexts.push(run[0] >> SYMBOL_BITS);
            level.ends.push(level.ends.last().copied().unwrap_or(0) + run.len() as u32);
        }
        level
    }

    /// The level of the contexts shorter by their oldest symbol. `length` is the length of those.
    fn shortened(&self, length: usize) -> Self {
        let mut level = Self::default();
        let mut tally = Tally::default();
        let mut first = 0;
        for run in self.contexts.chunk_by(|a, b| a >> SYMBOL_BITS == b >> SYMBOL_BITS) {
            let context = run[0] >> SYMBOL_BITS;
            let begins_document = length > 0 && context & SYMBOL_MASK == BOS;
            for child in first..first + run.len() {
                for entry in self.entries(child) {
                    tally.add(self.symbols[entry], if begins_document { self.counts[entry] } else { 1 });
                }
            }
            first += run.len();
            tally.drain(&mut level);
            level.contexts.push(context);
            level.ends.push(level.symbols.len() as u32);
        }
        level
    }

    /// The discounts for counts of one, two, and three or more.
    ///
    /// Where the closed form of Chen and Goodman has no value, or one outside (0, count), as on tiny texts, the level
    /// takes 0.5, 1 and 1.5.
    fn discounts(&self) -> [f64; 3] {
        let mut seen = [0f64; 5];
        for &count in &self.counts {
            if let Some(slot) = seen.get_mut(count as usize) {
                *slot += 1.0;
            }
        }
        let [_, n1, n2, n3, n4] = seen;
        let y = n1 / (n1 + 2.0 * n2);
        let discounts = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
        let bounded = discounts.iter().zip([1.0, 2.0, 3.0]).all(|(&d, count)| d > 0.0 && d < count);
        if bounded { discounts } else { [0.5, 1.0, 1.5] }
    }
}

/// Sums by byte, emptied in ascending order without a look at the absent ones.
struct Tally {
    counts: [u32; 256],
    seen: [u64; 4],
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; 256], seen: [0; 4] }
    }
}

impl Tally {
    fn add(&mut self, symbol: u8, count: u32) {
        self.counts[symbol as usize] += count;
        self.seen[symbol as usize / 64] |= 1 << (symbol % 64);
    }

    fn drain(&mut self, level: &mut Level) {
        for (word, seen) in self.seen.iter_mut().enumerate() {
            while *seen != 0 {
                let symbol = word * 64 + seen.trailing_zeros() as usize;
                level.symbols.push(symbol as u8);
                level.counts.push(std::mem::take(&mut self.counts[symbol]));
                *seen &= *seen - 1;
            }
        }
    }
}

/// All levels, the empty context first, from the highest one.
pub(crate) fn levels(highest: Level, order: usize) -> Vec<Level> {
    let mut levels = vec![highest];
    for length in (0..order).rev() {
        let shorter = levels[levels.len() - 1].shortened(length);
        levels.push(shorter);
    }
    levels.reverse();
    levels
}

/// Discounts, probabilities and entropies of all levels, from the empty context up.
pub(crate) fn smooth(levels: &[Level]) -> Vec<Smoothed> {
    let mut smoothed = Vec::with_capacity(levels.len());
    let mut below = Exact::default();
    for (length, level) in levels.iter().enumerate() {
        let shorter = length.checked_sub(1).map(|index| &levels[index]);
        let (result, exact) = smooth_level(level, shorter, &below);
        smoothed.push(result);
        below = exact;
    }
    smoothed
}

/// One level in double precision, until the next longer one is built on it.
#[derive(Default)]
struct Exact {
    probabilities: Vec<f64>,
    entropies: Vec<f64>,
}

fn smooth_level(level: &Level, shorter: Option<&Level>, below: &Exact) -> (Smoothed, Exact) {
    let discounts = level.discounts();
    let mut result = Smoothed::default();
    let mut exact = Exact { probabilities: vec![0.0; level.symbols.len()], entropies: Vec::new() };
    // The shorter context's distribution, at the bytes that it has seen; a longer one has seen no others.
    let mut base = [1.0 / 256.0; 256];
    let mut base_entropy = 256f64.ln();
    let mut parent = None;
    for (context, &key) in level.contexts.iter().enumerate() {
        if let Some(shorter) = shorter {
            let next = parent.map_or(0, |at| at + usize::from(shorter.contexts[at] != key >> SYMBOL_BITS));
            if parent != Some(next) {
                parent = Some(next);
                base_entropy = below.entropies[next];
                for entry in shorter.entries(next) {
                    base[shorter.symbols[entry] as usize] = below.probabilities[entry];
                }
            }
        }
        let entries = level.entries(context);
        let counts = &level.counts[entries.clone()];
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let discount = |count: u32| discounts[(count as usize - 1).min(2)];
        let backoff = counts.iter().map(|&count| discount(count)).sum::<f64>() / total;
        // sum of p ln p, first as if every byte had only its share of the shorter context
        let mut negentropy = backoff * (backoff.ln() - base_entropy);
        for entry in entries {
            let count = level.counts[entry];
            let share = backoff * base[level.symbols[entry] as usize];
            let probability = (f64::from(count) - discount(count)) / total + share;
            negentropy += probability * probability.ln() - share * share.ln();
            exact.probabilities[entry] = probability;
        }
        let entropy = (-negentropy).clamp(0.0, 256f64.ln());
        exact.entropies.push(entropy);
        result.entropies.push((entropy * STEPS_PER_NAT).round() as u16);
        result.backoff.push(backoff as f32);
    }
    result.probabilities = exact.probabilities.iter().map(|&p| p as f32).collect();
    (result, exact)
}
