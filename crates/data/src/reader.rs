//! The preparer for a document that is still being written: what a network needs of its next positions.
//!
//! Invariant: the positions of a document, read in pieces of any size, are those of [`Preparer::pack`] for all of it. A
//! reader is as small as the longest context, however much it has read.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::patch::{Patcher, Rule, is_space_like};
use crate::prepare::Preparer;
use crate::windows::{BOS, FEATURES, RowBuffer, Windows};
use crate::{DataError, Result};

/// Bytes kept: more than the longest hash n-gram and than the context of the n-gram model.
const KEPT: usize = 72;
/// Bytes that entropies are computed from, the context of the n-gram model among them.
const ENTROPY_CONTEXT: usize = 16;

/// Where one document stands, and the segment of it that is being read.
#[derive(Debug, Clone)]
pub struct Reader {
    preparer: Preparer,
    place: Place,
}

/// All that changes in a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The last bytes read, all of them while they are few.
    tail: Vec<u8>,
    /// Bytes read.
    seen: u64,
    /// Bytes since the one that opened the last patch.
    since: usize,
    /// Whether the position before the first byte is behind.
    begun: bool,
    /// Positions of the segment.
    positions: usize,
    /// Patches that these positions have closed.
    closed: usize,
    /// Whether the last position has left a patch open.
    open: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    preparer: String,
    place: Place,
}

/// What a reader makes of its next positions.
#[derive(Debug)]
struct Positions {
    ids: Vec<i64>,
    /// Whether a patch ends at the position.
    closes: Vec<bool>,
    hashes: Vec<i64>,
    features: Vec<f16>,
}

impl Reader {
    /// A reader before the first position of a document.
    pub fn new(preparer: Preparer) -> Self {
        Self { preparer, place: Place::default() }
    }

    /// Continues what [`Reader::state`] wrote.
    pub fn restore(preparer: Preparer, state: &str) -> Result<Self> {
        let damaged =
            |what: String| DataError::invalid(format!("this is not the state of a reader: {what}"), "");
        let saved: Saved = serde_json::from_str(state).map_err(|error| damaged(error.to_string()))?;
        if saved.preparer != preparer.digest() {
            return Err(DataError::invalid(
                "the state belongs to another patcher, n-gram model or hash tables",
                "continue it with the model that it was saved with",
            ));
        }
        let place = saved.place;
        if place.tail.len() as u64 != place.seen.min(KEPT as u64) {
            return Err(damaged("its last bytes are missing".into()));
        }
        Ok(Self { preparer, place })
    }

    /// One line of JSON.
    pub fn state(&self) -> String {
        serde_json::json!({ "preparer": self.preparer.digest(), "place": self.place }).to_string()
    }

    /// Positions of the segment so far.
    pub fn num_positions(&self) -> usize {
        self.place.positions
    }

    /// Patches that these positions lie in.
    pub fn num_patches(&self) -> usize {
        self.place.closed + usize::from(self.place.open)
    }

    /// Passes over `text` and what came before it, which get no positions: the next byte begins a segment.
    #[must_use]
    pub fn skip(&self, text: &[u8]) -> Self {
        let mut next = self.clone();
        next.place.begun = true;
        next.advance(text);
        (next.place.positions, next.place.closed, next.place.open) = (0, 0, false);
        next
    }

    /// How many bytes of `text` can be read before the segment has more than `positions` positions or lies in more than
    /// `patches` patches.
    pub fn fit(&self, text: &[u8], positions: usize, patches: usize) -> usize {
        let mut next = self.clone();
        let first = usize::from(!next.place.begun);
        let starts = next.starts(text);
        for (index, start) in starts.into_iter().enumerate() {
            next.place.count(start);
            if next.place.positions > positions || next.num_patches() > patches {
                return index.saturating_sub(first);
            }
        }
        text.len()
    }

    /// The next positions of several documents as a batch that continues streams, and the readers behind them.
    ///
    /// In the batch, patch slots count from the patch that a document's first new position lies in, `patch_document` is
    /// 0 for the patches that are closed, and `read` counts these up to a position. The position before a document's
    /// first byte comes with what is read first, be it nothing.
    ///
    /// # Panics
    /// If there are not as many texts as readers, or no readers.
    pub fn read(readers: &[&Self], texts: &[&[u8]]) -> (Windows, Vec<Self>) {
        assert_eq!(readers.len(), texts.len(), "one text a reader");
        let mut next: Vec<_> = readers.iter().map(|&reader| reader.clone()).collect();
        let rows: Vec<_> = next.iter_mut().zip(texts).map(|(reader, text)| reader.positions(text)).collect();
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let most = rows.iter().map(Positions::num_closed).max().unwrap_or(0);
        let mut windows = Windows::new(rows.len(), longest, most + 1, next[0].preparer.shape());
        for (index, row) in rows.iter().enumerate() {
            row.write(&mut windows.row_mut(index));
        }
        (windows, next)
    }

    fn positions(&mut self, text: &[u8]) -> Positions {
        let mut buffer = self.place.tail.clone();
        let first = buffer.len() + usize::from(self.place.begun);
        buffer.extend_from_slice(text);
        let mut ids: Vec<_> = text.iter().map(|&byte| i64::from(byte)).collect();
        if !self.place.begun {
            ids.insert(0, BOS);
        }
        let starts = self.starts(text);
        let closes = starts.into_iter().map(|start| self.place.count(start)).collect();
        let inner = &self.preparer.inner;
        let mut hashes = vec![0; ids.len() * inner.hashes.num_tables()];
        if !hashes.is_empty() {
            inner.hashes.fill(&buffer, first, &mut hashes);
        }
        let mut features = Vec::new();
        if let (Some(models), true) = (&inner.models, inner.features) {
            features.resize(ids.len() * FEATURES, f16::ZERO);
            models.full().features(&buffer, first, &mut features);
        }
        Positions { ids, closes, hashes, features }
    }

    /// Moves on over `text`; for each new position, whether what follows it opens a patch.
    fn starts(&mut self, text: &[u8]) -> Vec<bool> {
        let mut starts = if self.place.begun { Vec::new() } else { vec![true] };
        self.place.begun = true;
        starts.extend(self.advance(text));
        starts
    }

    /// Moves on over `text`: for each of its bytes, whether the byte after it opens a patch.
    fn advance(&mut self, text: &[u8]) -> Vec<bool> {
        let mut opens = self.opens(text);
        let place = &mut self.place;
        for open in &mut opens {
            place.since += 1;
            *open |= place.since == self.preparer.inner.patcher.max_length;
            if *open {
                place.since = 0;
            }
        }
        place.seen += text.len() as u64;
        place.tail.extend_from_slice(text);
        place.tail.drain(..place.tail.len().saturating_sub(KEPT));
        opens
    }

    /// What the rule says of the byte after each byte of `text`, the longest patch aside.
    fn opens(&self, text: &[u8]) -> Vec<bool> {
        let Patcher { rule, threshold, increment, stride, .. } = self.preparer.inner.patcher;
        let tail = &self.place.tail;
        match rule {
            Rule::Byte => vec![true; text.len()],
            Rule::Stride => {
                let after = |index: usize| (self.place.seen + index as u64 + 1).is_multiple_of(stride as u64);
                (0..text.len()).map(after).collect()
            }
            Rule::Space => {
                let mut inside = tail.last().copied().is_some_and(is_space_like);
                let ends = |&byte: &u8| {
                    let space = is_space_like(byte);
                    space & !std::mem::replace(&mut inside, space)
                };
                text.iter().map(ends).collect()
            }
            Rule::Global | Rule::Monotonic | Rule::Both => {
                let high = |now: f32| rule == Rule::Monotonic || now > threshold;
                let rising = |before: f32, now: f32| rule == Rule::Global || now - before > increment;
                let entropies = self.entropies(text);
                entropies.windows(2).map(|pair| high(pair[1]) & rising(pair[0], pair[1])).collect()
            }
        }
    }

    /// Entropies for the first byte of `text` and for each byte after one of them: n + 1 values.
    fn entropies(&self, text: &[u8]) -> Vec<f32> {
        let Some(models) = &self.preparer.inner.models else { return vec![0.0; text.len() + 1] };
        let tail = &self.place.tail;
        let context = &tail[tail.len().saturating_sub(ENTROPY_CONTEXT)..];
        let buffer = [context, text].concat();
        models.full().entropies(&buffer).split_off(context.len())
    }
}

impl Place {
    /// Counts a position; `start` says that what follows it opens a patch. Returns whether it closes one: the first of
    /// a segment is a patch of its own.
    fn count(&mut self, start: bool) -> bool {
        let closes = start || self.positions == 0;
        self.positions += 1;
        self.closed += usize::from(closes);
        self.open = !closes;
        closes
    }
}

impl Positions {
    fn num_closed(&self) -> usize {
        self.closes.iter().filter(|&&closes| closes).count()
    }

    fn write(&self, row: &mut RowBuffer<'_>) {
        let (num, mut slot) = (self.ids.len(), 0);
        row.ids[..num].copy_from_slice(&self.ids);
        row.document[..num].fill(0);
        row.hashes[..self.hashes.len()].copy_from_slice(&self.hashes);
        row.features[..self.features.len()].copy_from_slice(&self.features);
        row.read.fill(0);
        for (position, &closes) in self.closes.iter().enumerate() {
            row.patch[position] = slot as i64;
            if row.patch_length[slot] == 0 {
                row.patch_first[slot] = position as i64;
            }
            row.patch_last[slot] = position as i64;
            row.patch_length[slot] += 1;
            if closes {
                row.patch_document[slot] = 0;
                slot += 1;
            }
            row.read[position] = slot as i64;
        }
    }
}
