//! One segment of a document as positions of a row: ids, targets, patches, codes, and which text each position reads.

use std::ops::Range;

use crate::document;
use crate::prepare::Prepared;
use crate::windows::{BOI, BOS, EOI, IMAGE_BEGINS, IMG, NOT_SCORED, RowBuffer};

/// Stretches of the positions `[s, e)`, each with the text it reads: all positions of a text, the one after its last
/// byte included, read that text; those after the beginning of an image and after its codes read none.
pub(crate) fn readings(doc: &Prepared, s: usize, e: usize) -> Vec<(Option<Range<usize>>, Range<usize>)> {
    let texts =
        document::texts(&doc.bytes, &doc.images).map(|text| (Some(text.clone()), text.start..text.end + 1));
    if doc.images.is_empty() {
        return texts.map(|(text, _)| (text, s..e)).collect();
    }
    // Each position of an image is a stretch of its own: hashes of no text are those of a document's first position.
    let inside = doc.images.iter().flat_map(|image| image.at + 1..=image.codes_at().end);
    let alone = inside.map(|position| (None, position..position + 1));
    let within = |(text, range): (_, Range<usize>)| (text, range.start.max(s)..range.end.min(e));
    texts.chain(alone).map(within).filter(|(_, range)| range.start < range.end).collect()
}

/// Whether position `q` of the segment from `s` on opens a patch. The first position is a patch of its own.
pub(crate) fn opens(starts: &[bool], s: usize, q: usize) -> bool {
    q <= 1 || starts[s + q - 1]
}

pub(crate) fn write_ids(doc: &Prepared, s: usize, e: usize, row: &mut RowBuffer<'_>, at: usize) {
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

/// Replaces the placeholders of images by their ids and targets, and writes the codes.
pub(crate) fn write_images(doc: &Prepared, s: usize, e: usize, row: &mut RowBuffer<'_>, at: usize) {
    let first = doc.images.partition_point(|image| image.codes_at().end < s.saturating_sub(1));
    for image in doc.images[first..].iter().take_while(|image| image.at < e) {
        for symbol in image.at..(image.codes_at().end + 1).min(doc.bytes.len()) {
            let cell = symbol.checked_sub(image.at + 1).filter(|cell| *cell < image.codes.len());
            let code = cell.map(|cell| i64::from(image.codes[cell]));
            if (s..e).contains(&symbol) {
                let position = at + symbol - s;
                row.targets[position] = if symbol == image.at { IMAGE_BEGINS } else { NOT_SCORED };
                row.code_targets[row.patch[position] as usize] = code.unwrap_or(NOT_SCORED);
            }
            if (s..e).contains(&(symbol + 1)) {
                let position = at + symbol + 1 - s;
                row.ids[position] = match cell {
                    Some(_) => IMG,
                    None if symbol == image.at => BOI,
                    None => EOI,
                };
                row.codes[position] = code.unwrap_or(-1);
                row.cell[position] = cell.map_or(-1, |cell| cell as i64);
            }
        }
    }
}

pub(crate) fn write_patches(
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
