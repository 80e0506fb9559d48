//! The preparer for a document that is still being written: what a network needs of its next positions.
//!
//! Invariant: the positions of a document, read in pieces of any size, are those of [`Preparer::pack`] for all of it. A
//! reader is as small as the longest context and one image, however much it has read. Pieces may end within an image.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::patch::{Patcher, Rule, is_space_like};
use crate::prepare::{Preparer, unread_images};
use crate::windows::{BOI, BOS, EOI, FEATURES, FIRST_CODE, IMG, RowBuffer, Windows};
use crate::{DataError, Result};

/// Bytes kept: more than the longest hash n-gram and than the context of the n-gram model.
const KEPT: usize = 72;
/// Bytes that entropies are computed from, the context of the n-gram model among them.
const ENTROPY_CONTEXT: usize = 16;

/// What may stand in a document one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Bytes.
    Text(Vec<u8>),
    /// The symbol that begins an image.
    Begin,
    /// One code of an image.
    Code(u16),
    /// The symbol that ends an image.
    End,
}

impl Part {
    /// The parts of a sequence of symbols: bytes, [`BOI`], codes from [`FIRST_CODE`] on, [`EOI`].
    pub fn of_symbols(symbols: &[i64]) -> Result<Vec<Self>> {
        let mut parts = Vec::new();
        for &symbol in symbols {
            match (symbol, parts.last_mut()) {
                (0..=255, Some(Self::Text(text))) => text.push(symbol as u8),
                (0..=255, _) => parts.push(Self::Text(vec![symbol as u8])),
                (BOI, _) => parts.push(Self::Begin),
                (EOI, _) => parts.push(Self::End),
                _ => parts.push(Self::Code(code_of(symbol)?)),
            }
        }
        Ok(parts)
    }

    /// Symbols.
    fn len(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 1 }
    }
}

fn code_of(symbol: i64) -> Result<u16> {
    let code = symbol.checked_sub(FIRST_CODE).and_then(|code| u16::try_from(code).ok());
    code.ok_or_else(|| DataError::invalid(format!("{symbol} is not a symbol of a document"), ""))
}

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
    /// The last bytes read since an image, all of them while they are few.
    tail: Vec<u8>,
    /// Bytes read since an image.
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
    /// Codes read of an image that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Vec<u16>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    preparer: String,
    place: Place,
}

/// What a reader makes of its next positions.
#[derive(Debug, Default)]
struct Positions {
    ids: Vec<i64>,
    /// Code at the position and its place within the image, -1 elsewhere.
    codes: Vec<i64>,
    cell: Vec<i64>,
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
        let parts: Vec<_> = place.image.iter().flatten().map(|&code| Part::Code(code)).collect();
        if place.image.is_some() {
            let begun = [vec![Part::Begin], parts].concat();
            Self::new(preparer.clone()).check(&begun).map_err(|error| damaged(error.to_string()))?;
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

    /// Codes read of an image that has not ended.
    pub fn image(&self) -> Option<&[u16]> {
        self.place.image.as_deref()
    }

    /// Refuses what cannot follow here: codes outside an image, an image of another size, text within one.
    pub fn check(&self, parts: &[Part]) -> Result<()> {
        let mut codes = self.place.image.as_ref().map(Vec::len);
        for part in parts {
            codes = self.after(codes, part)?;
        }
        Ok(())
    }

    /// Codes of an open image after `part`, which follows so many of them.
    fn after(&self, codes: Option<usize>, part: &Part) -> Result<Option<usize>> {
        let Some(shape) = self.preparer.images() else {
            return if matches!(part, Part::Text(_)) { Ok(None) } else { Err(unread_images()) };
        };
        let wrong = |what: &str| DataError::invalid(what, "an image begins, has all its codes, and ends");
        match (codes, part) {
            (None, Part::Text(_)) => Ok(None),
            (Some(_), Part::Text(text)) if text.is_empty() => Ok(codes),
            (None, Part::Begin) => Ok(Some(0)),
            (Some(seen), Part::Code(code)) if seen < shape.codes => match shape.fault(0, &[*code], true) {
                Some(_) => Err(wrong(&format!(
                    "there is no code {code}, the codebook has {} entries",
                    shape.codebook
                ))),
                None => Ok(Some(seen + 1)),
            },
            (Some(seen), Part::End) if seen == shape.codes => Ok(None),
            (Some(seen), _) => Err(wrong(&format!("an image of {} codes has {seen} so far", shape.codes))),
            (None, _) => Err(wrong("no image has begun")),
        }
    }

    /// Passes over `parts` and what came before them, which get no positions: the next symbol begins a segment.
    #[must_use]
    pub fn skip(&self, parts: &[Part]) -> Self {
        let mut next = self.clone();
        next.place.begun = true;
        next.starts(parts);
        (next.place.positions, next.place.closed, next.place.open) = (0, 0, false);
        next
    }

    /// How many symbols of `parts` can be read before the segment has more than `positions` positions or lies in more
    /// than `patches` patches. An image is read with all its codes or not at all; one that has not ended yet needs room
    /// for the codes to come.
    pub fn fit(&self, parts: &[Part], positions: usize, patches: usize) -> Result<usize> {
        if self.place.image.is_some() || parts.contains(&Part::Begin) {
            self.preparer.check_room(positions, patches + 1)?;
        }
        let mut next = self.clone();
        let first = usize::from(!next.place.begun);
        let starts = next.starts(parts);
        for (index, start) in starts.iter().enumerate() {
            next.place.count(*start);
            if next.place.positions > positions || next.num_patches() > patches {
                return Ok(self.whole_images(parts, index.saturating_sub(first), 0));
            }
        }
        let left =
            positions.saturating_sub(next.place.positions).min(patches.saturating_sub(next.num_patches()));
        Ok(self.whole_images(parts, starts.len() - first, left))
    }

    /// `num` symbols, or those before the image whose codes they part, unless the missing ones are at most `left`.
    fn whole_images(&self, parts: &[Part], num: usize, left: usize) -> usize {
        let Some(shape) = self.preparer.images() else { return num };
        let (mut at, mut before, mut codes) = (0, 0, self.place.image.as_ref().map(Vec::len));
        for part in parts.iter().filter(|part| part.len() > 0) {
            if at >= num {
                break;
            }
            match part {
                Part::Text(_) | Part::End => codes = None,
                Part::Begin => (before, codes) = (at, Some(0)),
                Part::Code(_) => codes = codes.map(|codes| codes + 1),
            }
            at += part.len();
        }
        match codes {
            Some(codes) if shape.codes - codes > left => before,
            _ => num,
        }
    }

    /// The next positions of several documents as a batch that continues streams, and the readers behind them.
    ///
    /// In the batch, patch slots count from the patch that a document's first new position lies in, `patch_document` is
    /// 0 for the patches that are closed, and `read` counts these up to a position. The position before a document's
    /// first symbol comes with what is read first, be it nothing. Targets are not known yet.
    ///
    /// # Panics
    /// If there are not as many texts as readers, no readers, or what [`Reader::check`] refuses.
    pub fn read(readers: &[&Self], texts: &[Vec<Part>]) -> (Windows, Vec<Self>) {
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

    fn positions(&mut self, parts: &[Part]) -> Positions {
        let mut found = Positions::default();
        if !self.place.begun {
            self.place.begun = true;
            found.symbol(BOS, -1, -1);
            self.read_text(Some(&[]), 0, 1, &mut found);
            found.closes.push(self.place.count(true));
        }
        for part in parts {
            let before = self.place.tail.len() + 1;
            let read = match part {
                Part::Text(text) => Some([&self.place.tail[..], text].concat()),
                Part::End => Some(Vec::new()),
                Part::Begin | Part::Code(_) => None,
            };
            match part {
                Part::Text(text) => text.iter().for_each(|&byte| found.symbol(i64::from(byte), -1, -1)),
                Part::Begin => found.symbol(BOI, -1, -1),
                Part::Code(code) => {
                    let cell = self.place.image.as_ref().map_or(0, Vec::len);
                    found.symbol(IMG, i64::from(*code), cell as i64);
                }
                Part::End => found.symbol(EOI, -1, -1),
            }
            let first = if matches!(part, Part::Text(_)) { before } else { 0 };
            self.read_text(read.as_deref(), first, part.len(), &mut found);
            for start in self.follow(part) {
                found.closes.push(self.place.count(start));
            }
        }
        found
    }

    /// Adds the hashes and features of `length` positions from position `first` of `text` on; those within an image read
    /// no text and have the hashes of a first position and no features.
    fn read_text(&self, text: Option<&[u8]>, first: usize, length: usize, found: &mut Positions) {
        let inner = &self.preparer.inner;
        if length > 0 && inner.hashes.num_tables() > 0 {
            let from = found.hashes.len();
            found.hashes.resize(from + length * inner.hashes.num_tables(), 0);
            inner.hashes.fill(text.unwrap_or(&[]), first, &mut found.hashes[from..]);
        }
        if let (Some(models), true) = (&inner.models, inner.features) {
            let from = found.features.len();
            found.features.resize(from + length * FEATURES, f16::ZERO);
            if let Some(text) = text {
                models.full().features(text, first, &mut found.features[from..]);
            }
        }
    }

    /// Moves on over `parts`; for each new position, whether what follows it opens a patch.
    fn starts(&mut self, parts: &[Part]) -> Vec<bool> {
        let mut starts = if self.place.begun { Vec::new() } else { vec![true] };
        self.place.begun = true;
        for part in parts {
            starts.extend(self.follow(part));
        }
        starts
    }

    /// Moves on over a part: for each of its symbols, whether the one after it opens a patch.
    fn follow(&mut self, part: &Part) -> Vec<bool> {
        let place = &mut self.place;
        match part {
            Part::Text(text) => return self.advance(text),
            Part::Begin => {
                // The text after the image has nothing before it.
                place.tail.clear();
                (place.seen, place.since, place.image) = (0, 0, Some(Vec::new()));
            }
            Part::Code(code) => place.image.get_or_insert_default().push(*code),
            Part::End => place.image = None,
        }
        vec![true]
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
    fn symbol(&mut self, id: i64, code: i64, cell: i64) {
        self.ids.push(id);
        self.codes.push(code);
        self.cell.push(cell);
    }

    fn num_closed(&self) -> usize {
        self.closes.iter().filter(|&&closes| closes).count()
    }

    fn write(&self, row: &mut RowBuffer<'_>) {
        let (num, mut slot) = (self.ids.len(), 0);
        row.ids[..num].copy_from_slice(&self.ids);
        row.document[..num].fill(0);
        if !row.codes.is_empty() {
            row.codes[..num].copy_from_slice(&self.codes);
            row.cell[..num].copy_from_slice(&self.cell);
        }
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
