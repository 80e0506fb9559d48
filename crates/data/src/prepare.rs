//! From a document to the rows that the network reads: patch starts, segments, hashes and n-gram features.
//!
//! Everything a row holds about a segment is a function of the document's bytes before each target, so a segment looks
//! the same alone, packed beside others, while training and while generating.
//!
//! The codes of an image, and its end, are patches of one position each; its beginning is put where a byte would be. A
//! segment may end after the target that begins an image, so whether one begins is decided with the same context
//! however much room is left; its codes are never cut apart.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::document::{self, Document, Image, ImageShape};
use crate::folds::CrossFit;
use crate::hash::HashTables;
use crate::patch::Patcher;
use crate::segment::{opens, readings, write_ids, write_images, write_patches};
use crate::windows::{FEATURES, NOT_SCORED, RowBuffer, RowShape, Windows};
use crate::{DataError, Result};

/// A document ready to be cut into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The document, one byte a position; see [`Document::bytes`].
    pub bytes: Vec<u8>,
    /// Its images.
    pub images: Vec<Image>,
    /// n + 1 flags: the byte, or the symbol of an image, opens a patch.
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
    pub(crate) images: Option<ImageShape>,
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
        Ok(Self { inner: Arc::new(Inner { models, patcher, hashes, features, images: None }) })
    }

    /// A preparer for the rules that read no entropies.
    pub fn without_models(patcher: Patcher, hashes: HashTables) -> Result<Self> {
        Self::new(None, patcher, hashes, false)
    }

    /// The same for documents with images.
    #[must_use]
    pub fn with_images(self, images: ImageShape) -> Self {
        let Inner { models, patcher, hashes, features, .. } = &*self.inner;
        let (models, patcher, hashes) = (models.clone(), patcher.clone(), hashes.clone());
        Self { inner: Arc::new(Inner { models, patcher, hashes, features: *features, images: Some(images) }) }
    }

    /// The images that it reads.
    pub fn images(&self) -> Option<ImageShape> {
        self.inner.images
    }

    /// The optional arrays that its rows carry.
    pub fn shape(&self) -> RowShape {
        let Inner { hashes, features, images, .. } = &*self.inner;
        RowShape { tables: hashes.num_tables(), features: *features, images: images.is_some() }
    }

    /// Refuses a document whose images are not those that it reads.
    pub fn check(&self, document: &Document) -> Result<()> {
        let images = &document.images;
        let Some(shape) = self.inner.images else {
            return if images.is_empty() { Ok(()) } else { Err(unread_images()) };
        };
        let open = |index: usize| document.is_open() && index + 1 == images.len();
        let fault = |(index, image): (usize, &Image)| shape.fault(index, &image.codes, open(index));
        match images.iter().enumerate().find_map(fault) {
            Some(fault) => Err(DataError::invalid(fault, "")),
            None => Ok(()),
        }
    }

    /// Refuses rows that cannot hold one image.
    pub(crate) fn check_room(&self, positions: usize, patches: usize) -> Result<()> {
        let Some(ImageShape { codes, .. }) = self.inner.images else { return Ok(()) };
        // The symbol that begins it and the codes are inputs; the one that ends it is the last target.
        if positions > codes && patches > codes + 1 {
            return Ok(());
        }
        Err(DataError::invalid(
            format!(
                "an image of {codes} codes does not fit rows of {positions} positions and {patches} patches"
            ),
            format!("give at least {} positions and {} patches", codes + 1, codes + 2),
        ))
    }

    /// Names what decides the rows of a document: 16 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        let Inner { models, patcher, hashes, features, images } = &*self.inner;
        let model = models.as_ref().map(|models| models.full().digest());
        let images = images.map_or_else(String::new, |images| format!(" {images:?}"));
        let shown = format!("{model:?} {} {hashes:?} {features}{images}", patcher.to_json());
        format!("{:016x}", xxh3_64(shown.as_bytes()))
    }

    /// The fold of a document, `None` when there are no fold models.
    pub fn fold_of(&self, document: &Document) -> Option<u32> {
        self.inner.models.as_ref()?.fold_of(&document.identity())
    }

    /// Decides the patch starts of a document that has passed [`Preparer::check`]. `fold` chooses the model that has not
    /// seen that fold; `None` is the full model.
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn prepare(&self, document: impl Into<Document>, fold: Option<u32>) -> Prepared {
        let Document { bytes, images } = document.into();
        let model = fold.map_or(0, |fold| fold + 1);
        let mut starts = vec![false; bytes.len() + 1];
        for text in document::texts(&bytes, &images) {
            let entropies = match &self.inner.models {
                Some(models) if self.inner.patcher.rule.needs_entropies() => {
                    models.model(model).entropies(&bytes[text.clone()])
                }
                _ => Vec::new(),
            };
            self.inner.patcher.fill(&bytes[text.clone()], &entropies, &mut starts[text.start..=text.end]);
        }
        for image in &images {
            // Its beginning follows the rule for bytes: otherwise a closed patch would tell that an image comes next.
            starts[image.at + 1..=image.codes_at().end].fill(true);
        }
        Prepared { bytes, images, starts, model }
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
        write_images(doc, s, e, row, at);
        for (text, positions) in readings(doc, s, e) {
            self.write_text(doc, text, positions.start, row, at + positions.start - s, positions.len());
        }
        patches
    }

    /// Writes the hashes and the features of `length` positions, from position `from` of the document on, which read
    /// `text`; where they read no text there are no features.
    fn write_text(
        &self,
        doc: &Prepared,
        text: Option<Range<usize>>,
        from: usize,
        row: &mut RowBuffer<'_>,
        at: usize,
        length: usize,
    ) {
        let Inner { models, hashes, features, .. } = &*self.inner;
        let tables = hashes.num_tables();
        let (bytes, first) =
            text.as_ref().map_or((&[][..], 0), |text| (&doc.bytes[text.clone()], from - text.start));
        if tables > 0 {
            hashes.fill(bytes, first, &mut row.hashes[at * tables..(at + length) * tables]);
        }
        if let (Some(models), true, Some(_)) = (models, *features, text) {
            let features = &mut row.features[at * FEATURES..(at + length) * FEATURES];
            models.model(doc.model).features(bytes, first, features);
        }
    }

    /// The largest `e <= limit` such that `[s, e)` takes at most `room` positions and `patches` patch slots and does not
    /// end between the codes of an image; `None` if there is none.
    pub fn fit(&self, doc: &Prepared, s: usize, limit: usize, room: usize, patches: usize) -> Option<usize> {
        let end = limit.min(doc.starts.len()).min(s.saturating_add(room));
        if s >= end || patches == 0 {
            return None;
        }
        let mut used = 1;
        for q in 1..end - s {
            used += usize::from(opens(&doc.starts, s, q));
            if used > patches {
                return self.whole_images(doc, s, s + q, None);
            }
        }
        self.whole_images(doc, s, end, Some((room - (end - s)).min(patches - used)))
    }

    /// `end`, or the place before the codes of the image that it lies in. `left` is the room after `end`, in positions
    /// and in patches, if any: an open image that ends the document needs room for all its codes, as if they were there.
    fn whole_images(&self, doc: &Prepared, s: usize, end: usize, left: Option<usize>) -> Option<usize> {
        let Some((first, last)) = self.cut_image(doc, end) else { return Some(end) };
        let is_whole = end >= doc.bytes.len() && left.is_some_and(|left| last - end <= left);
        if is_whole { Some(end) } else { (first > s).then_some(first) }
    }

    /// The places before and after the codes of the image that a cut at `at` would part.
    fn cut_image(&self, doc: &Prepared, at: usize) -> Option<(usize, usize)> {
        let shape = self.inner.images?;
        let before = doc.images.partition_point(|image| image.at + 1 < at);
        let image = &doc.images[before.checked_sub(1)?];
        let last = image.at + shape.positions();
        (at < last).then_some((image.at + 1, last))
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
                if let Some((first, last)) = self
                    .cut_image(doc, start)
                    .or_else(|| self.cut_image(doc, end).filter(|_| end < doc.bytes.len()))
                {
                    return Err(DataError::invalid(
                        format!("row {index}: span [{start}, {end}) cuts the image at [{first}, {last})"),
                        "ask `Preparer.spans` for spans that fit",
                    ));
                }
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
                if self.inner.images.is_some() {
                    for position in at..at + context {
                        let slot = row.patch[position] as usize;
                        if row.patch_last[slot] == position as i64 {
                            row.code_targets[slot] = NOT_SCORED;
                        }
                    }
                }
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
        if !doc.images.is_empty() {
            self.check_room(positions, patches)?;
        }
        let (end_of_document, slots) = (doc.starts.len(), patches - 1);
        let fit = |s| self.fit(doc, s, end_of_document, positions, slots).unwrap_or(s + 1);
        let mut spans = vec![Span { start: 0, end: fit(0), score_from: 0 }];
        let mut last = spans[0];
        while last.end < end_of_document {
            let mut shared = overlap.min(last.end - last.start - 1);
            // An overlap begins after an image, not within one.
            let begin =
                |shared| self.cut_image(doc, last.end - shared).map_or(last.end - shared, |(_, end)| end);
            let mut end = fit(begin(shared));
            // A shorter overlap leaves more room for what is new; without any, at least one target is.
            while end <= last.end {
                shared /= 2;
                end = fit(begin(shared));
            }
            last = Span { start: begin(shared), end, score_from: last.end };
            spans.push(last);
        }
        Ok(spans)
    }
}

pub(crate) fn unread_images() -> DataError {
    DataError::invalid(
        "the document has images, the preparer reads text only",
        "set vision.on = true and vision.codec",
    )
}
