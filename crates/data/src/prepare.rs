//! From a document to the rows that the network reads: patch starts, segments, hashes and n-gram features.
//!
//! Everything a row holds about a segment is a function of the document's bytes before each target, so a segment looks
//! the same alone, packed beside others, while training and while generating.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::folds::CrossFit;
use crate::hash::HashTables;
use crate::patch::Patcher;
use crate::windows::{BOS, FEATURES, NOT_SCORED, RowBuffer, RowShape, Windows};
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

/// A span of the document with index `document`, as a piece of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Index of the document among those prepared.
    pub document: usize,
    /// What of it to write and to score.
    pub span: Span,
}

/// Turns documents into rows. Cheap to clone and share between threads.
#[derive(Debug, Clone)]
pub struct Preparer {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) models: Option<CrossFit>,
    pub(crate) patcher: Patcher,
    pub(crate) hashes: HashTables,
    pub(crate) features: bool,
}

impl Preparer {
    /// A preparer whose patch starts and, with `features`, whose rows come from n-gram models. The rules that read no
    /// entropies do without models.
    pub fn new(
        models: Option<CrossFit>,
        patcher: Patcher,
        hashes: HashTables,
        features: bool,
    ) -> Result<Self> {
        if models.is_none() && (features || patcher.rule.needs_entropies()) {
            let what = if features { "features" } else { "patch rule" };
            return Err(DataError::invalid(
                format!("the {what} (rule `{}`) need an n-gram model", patcher.rule.name()),
                "train one, or use the rule `space`, `stride` or `byte` without features",
            ));
        }
        Ok(Self { inner: Arc::new(Inner { models, patcher, hashes, features }) })
    }

    /// A preparer for the rules that read no entropies.
    pub fn without_models(patcher: Patcher, hashes: HashTables) -> Result<Self> {
        Self::new(None, patcher, hashes, false)
    }

    /// The optional arrays that its rows carry.
    pub fn shape(&self) -> RowShape {
        RowShape { tables: self.inner.hashes.num_tables(), features: self.inner.features }
    }

    /// Names what decides the rows of a document: 16 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        let Inner { models, patcher, hashes, features } = &*self.inner;
        let model = models.as_ref().map(|models| models.full().digest());
        let shown = format!("{model:?} {} {hashes:?} {features}", patcher.to_json());
        format!("{:016x}", xxh3_64(shown.as_bytes()))
    }

    /// The fold of a document, `None` when there are no fold models.
    pub fn fold_of(&self, bytes: &[u8]) -> Option<u32> {
        self.inner.models.as_ref()?.fold_of(bytes)
    }

    /// Decides the patch starts. `fold` chooses the model that has not seen that fold; `None` is the full model.
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn prepare(&self, bytes: Vec<u8>, fold: Option<u32>) -> Prepared {
        let model = fold.map_or(0, |fold| fold + 1);
        let entropies = match &self.inner.models {
            Some(models) if self.inner.patcher.rule.needs_entropies() => {
                models.model(model).entropies(&bytes)
            }
            _ => Vec::new(),
        };
        let mut starts = vec![false; bytes.len() + 1];
        self.inner.patcher.fill(&bytes, &entropies, &mut starts);
        Prepared { bytes, starts, model }
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
        if let (Some(models), true) = (&self.inner.models, self.inner.features) {
            let features = &mut row.features[at * FEATURES..(at + e - s) * FEATURES];
            models.model(doc.model).features(&doc.bytes, s, features);
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

    /// Rows of the given segments, each row's one after the other from its first position on.
    pub fn pack(
        &self,
        documents: &[Prepared],
        rows: &[Vec<Segment>],
        positions: usize,
        patches: usize,
    ) -> Result<Windows> {
        let mut windows = Windows::new(rows.len(), positions, patches, self.shape());
        for (index, segments) in rows.iter().enumerate() {
            let (mut at, mut slot) = (0, 0);
            let mut row = windows.row_mut(index);
            for (number, segment) in segments.iter().enumerate() {
                let Span { start, end, score_from } = segment.span;
                let doc =
                    documents.get(segment.document).filter(|doc| start < end && end <= doc.starts.len());
                let Some(doc) = doc else {
                    return Err(DataError::invalid(
                        format!(
                            "row {index}: there is no span [{start}, {end}) of document {}",
                            segment.document
                        ),
                        "spans are not empty and end at most one past the document's last byte",
                    ));
                };
                let (room, slots) = (positions - at, patches.saturating_sub(slot + 1));
                if self.fit(doc, start, end, room, slots) != Some(end) {
                    return Err(DataError::invalid(
                        format!(
                            "row {index}: span [{start}, {end}) needs more than {room} positions and {slots} patches"
                        ),
                        "ask `Preparer.spans` for spans that fit",
                    ));
                }
                slot += self.write(doc, start, end, &mut row, at, slot, number as i32);
                let context = score_from.clamp(start, end) - start;
                row.targets[at..at + context].fill(NOT_SCORED);
                at += end - start;
            }
        }
        Ok(windows)
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
