//! A document: text, and images between its parts.
//!
//! In the stream of positions an image is one symbol that begins it, its codes, and one that ends it. `bytes` holds a
//! placeholder at each of these, so lengths, cuts and rows count positions and never bytes and codes apart.
//!
//! The invariant for everything that reads text (patch rules, n-gram model, hashes): each text between images is a
//! document of its own, whose first byte has nothing before it.

use std::borrow::Cow;
use std::ops::Range;

/// Stands in `bytes` at the positions of an image: no byte of UTF-8 has this value.
pub const PLACEHOLDER: u8 = 0xFF;

/// An image in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Position of the symbol that begins it.
    pub at: usize,
    /// Its codes, row by row.
    pub codes: Vec<u16>,
}

impl Image {
    /// Where its codes stand.
    pub(crate) fn codes_at(&self) -> Range<usize> {
        self.at + 1..self.at + 1 + self.codes.len()
    }
}

/// Text and images. The last image may be open: cut off after any of its codes, without the symbol that ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// One byte a position, [`PLACEHOLDER`] at those of images.
    pub bytes: Vec<u8>,
    /// The images, in their order.
    pub images: Vec<Image>,
}

impl Document {
    /// Appends text.
    ///
    /// # Panics
    /// If the last image is open.
    pub fn push_text(&mut self, text: &[u8]) {
        assert!(!self.is_open(), "text cannot follow an open image");
        self.bytes.extend_from_slice(text);
    }

    /// Appends an image; an open one lacks the symbol that ends it and must be the last part.
    ///
    /// # Panics
    /// If the last image is open.
    pub fn push_image(&mut self, codes: Vec<u16>, open: bool) {
        assert!(!self.is_open(), "an image cannot follow an open image");
        let at = self.bytes.len();
        self.bytes.resize(at + codes.len() + 2 - usize::from(open), PLACEHOLDER);
        self.images.push(Image { at, codes });
    }

    /// Positions: bytes, and the symbols of images.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the last image has not ended.
    pub fn is_open(&self) -> bool {
        self.images.last().is_some_and(|image| image.codes_at().end == self.bytes.len())
    }

    /// The longest document of at most `positions` positions that this one begins with and that ends in no image.
    #[must_use]
    pub fn beginning(&self, positions: usize) -> Self {
        let whole = |image: &&Image| image.codes_at().end < positions.min(self.bytes.len());
        let images: Vec<_> = self.images.iter().take_while(whole).cloned().collect();
        let next = self.images.get(images.len()).map_or(self.bytes.len(), |image| image.at);
        Self { bytes: self.bytes[..positions.min(next)].to_vec(), images }
    }

    /// What tells documents apart, and what their hashes are taken of: the bytes and, after them, the codes of all
    /// images as little-endian 16-bit numbers.
    pub fn identity(&self) -> Cow<'_, [u8]> {
        identity(&self.bytes, &self.images)
    }

    /// Where the texts before, between and after the images stand; some may be empty. None follows an open image.
    pub fn texts(&self) -> impl Iterator<Item = Range<usize>> {
        texts(&self.bytes, &self.images)
    }
}

/// See [`Document::identity`].
pub(crate) fn identity<'a>(bytes: &'a [u8], images: &[Image]) -> Cow<'a, [u8]> {
    if images.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let codes = images.iter().flat_map(|image| &image.codes).flat_map(|code| code.to_le_bytes());
    Cow::Owned(bytes.iter().copied().chain(codes).collect())
}

/// See [`Document::texts`].
pub(crate) fn texts(bytes: &[u8], images: &[Image]) -> impl Iterator<Item = Range<usize>> {
    let length = bytes.len();
    let begins = std::iter::once(0).chain(images.iter().map(|image| image.codes_at().end + 1));
    let ends = images.iter().map(|image| image.at).chain(std::iter::once(length));
    begins.zip(ends).filter(|(begin, end)| begin <= end).map(|(begin, end)| begin..end)
}

impl From<Vec<u8>> for Document {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, images: Vec::new() }
    }
}

/// What images a corpus or a preparer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ImageShape {
    /// Codes of one image.
    pub codes: usize,
    /// Entries of the codebook: codes lie below it.
    pub codebook: usize,
}

impl ImageShape {
    /// The largest codebook: a code has 16 bits.
    pub const MAX_CODEBOOK: usize = 1 << 16;

    /// Positions of a whole image.
    pub fn positions(self) -> usize {
        self.codes + 2
    }

    /// What is wrong with the image of number `index`, counted from zero; `open` allows for missing codes.
    pub(crate) fn fault(self, index: usize, codes: &[u16], open: bool) -> Option<String> {
        let number = index + 1;
        let (found, expected) = (codes.len(), self.codes);
        if found > expected || (found < expected && !open) {
            return Some(format!("image {number} has {found} codes, expected {expected} (grid x grid)"));
        }
        let outside = codes.iter().find(|code| usize::from(**code) >= self.codebook)?;
        Some(format!("image {number} has code {outside}, the codebook has {} entries", self.codebook))
    }
}
