//! Batches of rows with static shapes, and the view through which one row is written.
//!
//! N positions and P patch slots a row; slot P - 1 belongs to padding. A fresh [`Windows`] is all padding, so a writer
//! only ever touches the positions it fills.

use half::f16;
use half::vec::HalfBitsVecExt;

/// Input id of the beginning of a document.
pub const BOS: i64 = 256;
/// Input id of padding.
pub const PAD: i64 = 258;
/// Input id of the symbol that begins an image.
pub const BOI: i64 = 259;
/// Input id of the symbol that ends an image.
pub const EOI: i64 = 260;
/// Input id of an image code.
pub const IMG: i64 = 261;
/// Symbol of the first image code where a document is one sequence of symbols: input ids lie below it.
pub const FIRST_CODE: i64 = 264;
/// Target of a position after which an image begins.
pub const IMAGE_BEGINS: i64 = 256;
/// Target of a position that is not scored.
pub const NOT_SCORED: i64 = -100;
/// Values of one row of features: one for each byte.
pub const FEATURES: usize = 256;

/// Which optional arrays rows carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowShape {
    /// Number of hash tables; 0 leaves out `hashes`.
    pub tables: usize,
    /// Whether rows carry `features`.
    pub features: bool,
    /// Whether rows carry `codes`, `cell` and `code_targets`.
    pub images: bool,
}

/// A batch of B rows in C order; the shapes are given with each array.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// B.
    pub rows: usize,
    /// N.
    pub positions: usize,
    /// P, the padding slot included.
    pub patches: usize,
    /// Which optional arrays are present.
    pub shape: RowShape,
    /// `[B, N]` input ids.
    pub ids: Vec<i64>,
    /// `[B, N]` bytes to predict, [`IMAGE_BEGINS`], or [`NOT_SCORED`] where nothing is scored.
    pub targets: Vec<i64>,
    /// `[B, N]` index of the segment within the row, -1 at padding.
    pub document: Vec<i32>,
    /// `[B, N]` patch of the position.
    pub patch: Vec<i64>,
    /// `[B, N]` last patch that is closed when the target is generated.
    pub read: Vec<i64>,
    /// `[B, P]` segment of the patch, -1 in unused slots.
    pub patch_document: Vec<i32>,
    /// `[B, P]` first position of the patch.
    pub patch_first: Vec<i64>,
    /// `[B, P]` last position of the patch.
    pub patch_last: Vec<i64>,
    /// `[B, P]` positions of the patch, 0 in unused slots.
    pub patch_length: Vec<i32>,
    /// `[B, N, T]` rows of the hash tables.
    pub hashes: Vec<i64>,
    /// `[B, N, 256]` square roots of the n-gram model's probabilities for the target's byte.
    pub features: Vec<f16>,
    /// `[B, N]` image code at the position, -1 elsewhere.
    pub codes: Vec<i64>,
    /// `[B, N]` index of that code within its image, -1 elsewhere.
    pub cell: Vec<i64>,
    /// `[B, P]` image code that follows the patch, [`NOT_SCORED`] where none does.
    pub code_targets: Vec<i64>,
}

/// One row of a [`Windows`]; the fields are those of the batch without the first dimension.
#[derive(Debug)]
pub struct RowBuffer<'a> {
    /// `[N]`.
    pub ids: &'a mut [i64],
    /// `[N]`.
    pub targets: &'a mut [i64],
    /// `[N]`.
    pub document: &'a mut [i32],
    /// `[N]`.
    pub patch: &'a mut [i64],
    /// `[N]`.
    pub read: &'a mut [i64],
    /// `[P]`.
    pub patch_document: &'a mut [i32],
    /// `[P]`.
    pub patch_first: &'a mut [i64],
    /// `[P]`.
    pub patch_last: &'a mut [i64],
    /// `[P]`.
    pub patch_length: &'a mut [i32],
    /// `[N, T]`, empty without hash tables.
    pub hashes: &'a mut [i64],
    /// `[N, 256]`, empty without features.
    pub features: &'a mut [f16],
    /// `[N]`, empty without images.
    pub codes: &'a mut [i64],
    /// `[N]`, empty without images.
    pub cell: &'a mut [i64],
    /// `[P]`, empty without images.
    pub code_targets: &'a mut [i64],
}

impl Windows {
    /// `rows` rows of padding.
    pub fn new(rows: usize, positions: usize, patches: usize, shape: RowShape) -> Self {
        let (cells, slots) = (rows * positions, rows * patches);
        let padding_slot = patches.saturating_sub(1) as i64;
        Self {
            rows,
            positions,
            patches,
            shape,
            ids: vec![PAD; cells],
            targets: vec![NOT_SCORED; cells],
            document: vec![-1; cells],
            patch: vec![padding_slot; cells],
            read: vec![padding_slot; cells],
            patch_document: vec![-1; slots],
            patch_first: vec![0; slots],
            patch_last: vec![0; slots],
            patch_length: vec![0; slots],
            hashes: vec![0; cells * shape.tables],
            features: vec![0u16; if shape.features { cells * FEATURES } else { 0 }].reinterpret_into(),
            codes: vec![-1; if shape.images { cells } else { 0 }],
            cell: vec![-1; if shape.images { cells } else { 0 }],
            code_targets: vec![NOT_SCORED; if shape.images { slots } else { 0 }],
        }
    }

    /// The row with index `row`, to be written.
    ///
    /// # Panics
    /// If `row` is not below `rows`.
    pub fn row_mut(&mut self, row: usize) -> RowBuffer<'_> {
        fn part<T>(values: &mut [T], row: usize, width: usize) -> &mut [T] {
            &mut values[row * width..(row + 1) * width]
        }
        let (n, p) = (self.positions, self.patches);
        let images = usize::from(self.shape.images);
        RowBuffer {
            ids: part(&mut self.ids, row, n),
            targets: part(&mut self.targets, row, n),
            document: part(&mut self.document, row, n),
            patch: part(&mut self.patch, row, n),
            read: part(&mut self.read, row, n),
            patch_document: part(&mut self.patch_document, row, p),
            patch_first: part(&mut self.patch_first, row, p),
            patch_last: part(&mut self.patch_last, row, p),
            patch_length: part(&mut self.patch_length, row, p),
            hashes: part(&mut self.hashes, row, n * self.shape.tables),
            features: part(&mut self.features, row, if self.shape.features { n * FEATURES } else { 0 }),
            codes: part(&mut self.codes, row, n * images),
            cell: part(&mut self.cell, row, n * images),
            code_targets: part(&mut self.code_targets, row, p * images),
        }
    }
}
