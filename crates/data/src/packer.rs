//! Documents into rows of a static shape.
//!
//! Row r is filled from lane r mod lanes, piece after piece, until nothing more fits. A document longer than an empty
//! row is cut at the last patch start that fits; one that would fit an empty row is cut too, unless so little room is
//! left that padding is the smaller loss. The codes of an image are never cut apart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::corpus::{Corpus, Nothing};
use crate::draws::{Drawn, Draws, nothing_to_draw};
use crate::lanes::{Lane, Opened, Snapshot};
use crate::windows::{RowBuffer, Windows};
use crate::{DataError, Prepared, Preparer, Result};

/// A whole document waits for the next row when at most this part of the row is left.
const PADDED_PART: usize = 8;

/// The shape of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows, B.
    pub rows: usize,
    /// Positions of a row, N.
    pub positions: usize,
    /// Patch slots of a row, P; the last one is for padding.
    pub patches: usize,
}

/// Room left in a row.
#[derive(Debug, Clone, Copy)]
struct Room {
    positions: usize,
    patches: usize,
}

/// Packs rows one after the other; all it does follows from its snapshot.
pub(crate) struct Packer {
    corpus: Arc<Corpus>,
    preparer: Preparer,
    draws: Draws,
    now: Snapshot,
    /// What recent draws gave, back to the batches that may be taken back.
    recent: BTreeMap<u64, std::result::Result<Opened, Nothing>>,
    /// First draw of each of those batches.
    marks: VecDeque<u64>,
    kept_batches: usize,
}

impl Packer {
    /// A packer that keeps what it needs to go back `kept_batches` batches without reading.
    pub(crate) fn new(
        corpus: Arc<Corpus>,
        preparer: Preparer,
        draws: Draws,
        start: Snapshot,
        kept_batches: usize,
    ) -> Self {
        Self {
            corpus,
            preparer,
            draws,
            now: start,
            recent: BTreeMap::new(),
            marks: VecDeque::new(),
            kept_batches,
        }
    }

    /// Where the packer stands.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// Goes to where `snapshot` stands.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.marks.retain(|mark| *mark < snapshot.next_draw);
        self.now = snapshot;
    }

    /// The next batch. After an error the packer must be restored.
    pub(crate) fn batch(&mut self, shape: Shape) -> Result<Windows> {
        self.forget();
        self.reopen()?;
        let mut windows = Windows::new(shape.rows, shape.positions, shape.patches, self.preparer.shape());
        for row in 0..shape.rows {
            self.fill(&mut windows.row_mut(row), shape)?;
        }
        Ok(windows)
    }

    /// Drops what draws gave before any batch that can still be taken back.
    fn forget(&mut self) {
        self.marks.push_back(self.now.next_draw);
        while self.marks.len() > self.kept_batches {
            self.marks.pop_front();
        }
        if let Some(first) = self.marks.front() {
            self.recent = self.recent.split_off(first);
        }
    }

    /// Reads the documents of a restored state again, in the order of draws: neighbours share blocks.
    fn reopen(&mut self) -> Result<()> {
        let closed = |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.opened.is_none());
        let mut lanes: Vec<usize> =
            (0..self.now.lanes.len()).filter(|lane| closed(&self.now.lanes[*lane])).collect();
        lanes.sort_unstable_by_key(|lane| self.now.lanes[*lane].as_ref().map(|lane| lane.draw));
        for index in lanes {
            let Some(draw) = self.now.lanes[index].as_ref().map(|lane| lane.draw) else { continue };
            let opened = self.draw(draw)?.ok();
            let Some(lane) = self.now.lanes[index].as_mut() else { continue };
            if opened.as_ref().is_none_or(|opened| lane.offset >= opened.document.bytes.len()) {
                return Err(DataError::invalid(
                    format!("draw {draw} of the saved state is not the document it was"),
                    "the data has changed since the state was saved",
                ));
            }
            lane.opened = opened;
        }
        Ok(())
    }

    /// What a draw gives, ready for packing.
    fn draw(&mut self, draw: u64) -> Result<std::result::Result<Opened, Nothing>> {
        if let Some(known) = self.recent.get(&draw) {
            return Ok(known.clone());
        }
        Ok(match self.draws.get(draw)? {
            Drawn::Nothing(nothing) => Err(nothing),
            Drawn::Document { source, document } => {
                let fold = self.preparer.fold_of(&document);
                Ok(Opened { source, document: Arc::new(self.preparer.prepare(document, fold)) })
            }
        })
    }

    /// Opens the next document of the global order in `lane`.
    fn open_next(&mut self, lane: usize) -> Result<()> {
        for _ in 0..self.draws.patience() {
            let draw = self.now.next_draw;
            let drawn = self.draw(draw)?;
            self.recent.insert(draw, drawn.clone());
            self.now.next_draw += 1;
            match drawn {
                Ok(opened) => {
                    self.now.lanes[lane] = Some(Lane { draw, offset: 0, opened: Some(opened) });
                    return Ok(());
                }
                Err(nothing) => self.now.counters.skip(nothing),
            }
        }
        Err(nothing_to_draw(&self.corpus))
    }

    fn fill(&mut self, row: &mut RowBuffer<'_>, shape: Shape) -> Result<()> {
        let lane = (self.now.next_row % self.now.lanes.len() as u64) as usize;
        let mut room = Room { positions: shape.positions, patches: shape.patches - 1 };
        let mut document = 0;
        while room.positions > 0 && room.patches > 0 {
            if self.now.lanes[lane].is_none() {
                self.open_next(lane)?;
            }
            if !self.place(lane, row, shape, &mut room, document) {
                break;
            }
            document += 1;
        }
        self.now.next_row += 1;
        self.now.counters.positions += shape.positions as u64;
        self.now.counters.padding += room.positions as u64;
        Ok(())
    }

    /// Writes the lane's next piece; false when the row is to be left as it is.
    fn place(
        &mut self,
        lane: usize,
        row: &mut RowBuffer<'_>,
        shape: Shape,
        room: &mut Room,
        document: i32,
    ) -> bool {
        let Some(Lane { offset, opened: Some(opened), .. }) = self.now.lanes[lane].as_mut() else {
            return false;
        };
        let (start, length) = (*offset, opened.document.bytes.len());
        let Some(end) = cut(&self.preparer, &opened.document, start, *room, shape) else { return false };
        let at = shape.positions - room.positions;
        let slot = shape.patches - 1 - room.patches;
        let patches = self.preparer.write(&opened.document, start, end, row, at, slot, document);
        let bytes = (end - start) as u64;
        room.positions -= end - start;
        room.patches -= patches;
        let counters = &mut self.now.counters;
        counters.bytes += bytes;
        counters.patches += patches as u64;
        counters.source_bytes[opened.source as usize] += bytes;
        *offset = end;
        if end < length {
            return false;
        }
        counters.documents += 1;
        counters.source_documents[opened.source as usize] += 1;
        self.now.lanes[lane] = None;
        true
    }
}

/// Where the piece from `start` on ends in the room given; `None` to leave the room to padding.
fn cut(preparer: &Preparer, document: &Prepared, start: usize, room: Room, shape: Shape) -> Option<usize> {
    let length = document.bytes.len();
    let end = preparer.fit(document, start, length, room.positions, room.patches)?;
    if end == length {
        return Some(end);
    }
    let slots = shape.patches - 1;
    let little = room.positions <= shape.positions / PADDED_PART || room.patches <= slots / PADDED_PART;
    if little && preparer.fit(document, start, length, shape.positions, slots) == Some(length) {
        return None;
    }
    let patch_start = (start + 1..=end).rev().find(|at| document.starts[*at]);
    // A patch longer than an empty row must be cut somewhere.
    let empty_row = room.positions == shape.positions;
    patch_start.or(empty_row.then_some(end))
}
