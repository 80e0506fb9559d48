//! From a document to the rows that the network reads: patch starts, segments, hashes and n-gram features.
//!
//! Everything a row holds about a segment is a function of the document's bytes before each target, so a segment looks
//! the same alone, packed beside others, while training and while generating.

use std::sync::Arc;

use crate::hash::HashTables;
use crate::patch::Patcher;
use crate::windows::{BOS, NOT_SCORED, RowBuffer, RowShape};
use crate::{DataError, Result};

/// A document ready to be cut into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The document.
    pub bytes: Vec<u8>,
    /// n + 1 flags: the byte opens a patch.
    pub starts: Vec<bool>,
    /// Which n-gram model its features come from: 0 the full one, k + 1 the one that has not seen fold k.
    pub model: u32,
}

/// A stretch of target bytes `[start, end)` of one document, scored from `score_from` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First target byte.
    pub start: usize,
    /// One past the last target byte.
    pub end: usize,
    /// First target byte that is scored; those before it are context.
    pub score_from: usize,
}

/// Turns documents into rows. Cheap to clone and share between threads.
#[derive(Debug, Clone)]
pub struct Preparer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    patcher: Patcher,
    hashes: HashTables,
}

impl Preparer {
    /// A preparer for the rules that read no entropies.
    pub fn without_models(patcher: Patcher, hashes: HashTables) -> Result<Self> {
        if patcher.rule.needs_entropies() {
            return Err(DataError::invalid(
                format!("the rule `{}` needs an n-gram model", patcher.rule.name()),
                "train one, or use the rule `space`, `stride` or `byte`",
            ));
        }
        Ok(Self { inner: Arc::new(Inner { patcher, hashes }) })
    }

    /// The optional arrays that its rows carry.
    pub fn shape(&self) -> RowShape {
        RowShape { tables: self.inner.hashes.num_tables(), features: false }
    }

    /// The fold of a document, `None` when there are no fold models.
    pub fn fold_of(&self, _bytes: &[u8]) -> Option<u32> {
        None
    }

    /// Decides the patch starts. `fold` chooses the model that has not seen that fold; `None` is the full model.
    pub fn prepare(&self, bytes: Vec<u8>, _fold: Option<u32>) -> Prepared {
        let mut starts = vec![false; bytes.len() + 1];
        self.inner.patcher.fill(&bytes, &[], &mut starts);
        Prepared { bytes, starts, model: 0 }
    }

    /// Writes the segment `[s, e)` of `doc` to the positions from `at` on and to the patch slots from `first_patch` on,
    /// as segment number `document` of the row. Returns the number of patches used.
    ///
    /// # Panics
    /// If the segment is empty, reaches past the document or does not fit the row.
    #[allow(clippy::too_many_arguments)]
    pub fn write(
        &self,
        doc: &Prepared,
        s: usize,
        e: usize,
        row: &mut RowBuffer<'_>,
        at: usize,
        first_patch: usize,
        document: i32,
    ) -> usize {
        assert!(s < e && e <= doc.starts.len(), "segment [{s}, {e}) of {} bytes", doc.bytes.len());
        write_ids(doc, s, e, row, at);
        row.document[at..at + e - s].fill(document);
        let patches = write_patches(&doc.starts, s, e, row, at, first_patch, document);
        let tables = self.inner.hashes.num_tables();
        if tables > 0 {
            self.inner.hashes.fill(&doc.bytes, s, &mut row.hashes[at * tables..(at + e - s) * tables]);
        }
        patches
    }

    /// The largest `e <= limit` such that `[s, e)` takes at most `room` positions and `patches` patch slots; `None` if
    /// not even one position fits.
    pub fn fit(&self, doc: &Prepared, s: usize, limit: usize, room: usize, patches: usize) -> Option<usize> {
        let end = limit.min(doc.starts.len()).min(s.saturating_add(room));
        if s >= end || patches == 0 {
            return None;
        }
        let mut used = 1;
        for q in 1..end - s {
            used += usize::from(opens(&doc.starts, s, q));
            if used > patches {
                return Some(s + q);
            }
        }
        Some(end)
    }

    /// Covers the targets `[0, n + 1)` of one document with spans that fit a row of `positions` positions and `patches`
    /// patch slots (one of them for padding). Neighbours share up to `overlap` targets, scored once.
    ///
    /// The spans of a prefix are those of the document, but for the last one, which is cut.
    pub fn spans(
        &self,
        doc: &Prepared,
        positions: usize,
        patches: usize,
        overlap: usize,
    ) -> Result<Vec<Span>> {
        if positions == 0 || patches < 2 {
            return Err(DataError::invalid(
                format!("rows of {positions} positions and {patches} patches hold nothing"),
                "give at least 1 position and 2 patches",
            ));
        }
        let (end_of_document, slots) = (doc.starts.len(), patches - 1);
        let fit = |s| self.fit(doc, s, end_of_document, positions, slots).unwrap_or(s + 1);
        let mut spans = vec![Span { start: 0, end: fit(0), score_from: 0 }];
        let mut last = spans[0];
        while last.end < end_of_document {
            let mut shared = overlap.min(last.end - last.start - 1);
            let mut end = fit(last.end - shared);
            // A shorter overlap leaves more room for what is new; without any, at least one target is.
            while end <= last.end {
                shared /= 2;
                end = fit(last.end - shared);
            }
            last = Span { start: last.end - shared, end, score_from: last.end };
            spans.push(last);
        }
        Ok(spans)
    }
}

/// Whether position `q` of the segment from `s` on opens a patch. The first position is a patch of its own.
fn opens(starts: &[bool], s: usize, q: usize) -> bool {
    q <= 1 || starts[s + q - 1]
}

fn write_ids(doc: &Prepared, s: usize, e: usize, row: &mut RowBuffer<'_>, at: usize) {
    let ids = &mut row.ids[at..at + e - s];
    let before = if s == 0 { BOS } else { i64::from(doc.bytes[s - 1]) };
    ids[0] = before;
    for (id, &byte) in ids[1..].iter_mut().zip(&doc.bytes[s..]) {
        *id = i64::from(byte);
    }
    let targets = &mut row.targets[at..at + e - s];
    targets.fill(NOT_SCORED);
    for (target, &byte) in targets.iter_mut().zip(&doc.bytes[s..]) {
        *target = i64::from(byte);
    }
}

fn write_patches(
    starts: &[bool],
    s: usize,
    e: usize,
    row: &mut RowBuffer<'_>,
    at: usize,
    first_patch: usize,
    document: i32,
) -> usize {
    let mut slot = first_patch;
    for q in 0..e - s {
        let position = at + q;
        if opens(starts, s, q) {
            slot += usize::from(q > 0);
            row.patch_document[slot] = document;
            row.patch_first[slot] = position as i64;
            row.patch_length[slot] = 0;
        }
        row.patch_last[slot] = position as i64;
        row.patch_length[slot] += 1;
        row.patch[position] = slot as i64;
        // Looks at the start after this position even at the segment's end: the answer must not depend on the cut.
        let opens_next = q == 0 || starts[s + q];
        row.read[position] = slot as i64 + i64::from(opens_next) - 1;
    }
    slot + 1 - first_patch
}
