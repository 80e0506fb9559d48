//! Plain text: documents are pieces of whole lines.

/// The longest piece in bytes.
pub(crate) const PIECE_BYTES: usize = 1 << 16;

/// Length of the first piece of `window`, which holds [`PIECE_BYTES`] bytes or the rest of the file.
///
/// A piece ends after the last line end that fits; a longer line is cut between two characters.
pub(crate) fn piece_length(window: &[u8]) -> usize {
    if window.len() < PIECE_BYTES {
        return window.len();
    }
    let window = &window[..PIECE_BYTES];
    if let Some(line_end) = memchr::memrchr(b'\n', window) {
        return line_end + 1;
    }
    // Invalid UTF-8 has no character boundary nearby; the piece then ends at the full length.
    let is_boundary = |at: &usize| window[*at] & 0xc0 != 0x80;
    (PIECE_BYTES - 3..PIECE_BYTES).rev().find(is_boundary).unwrap_or(PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_lines_or_characters() {
        assert_eq!(piece_length(b"a\nb"), 3);
        let mut window = vec![b'a'; PIECE_BYTES];
        window[10] = b'\n';
        assert_eq!(piece_length(&window), 11);
        let euro = "\u{20ac}".repeat(PIECE_BYTES);
        let cut = piece_length(&euro.as_bytes()[..PIECE_BYTES]);
        assert!(cut > PIECE_BYTES - 4 && euro.is_char_boundary(cut));
        assert_eq!(piece_length(&vec![0x80; PIECE_BYTES]), PIECE_BYTES);
    }
}
