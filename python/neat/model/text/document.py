"""Documents as Python sees them: bytes, or text with images between its parts.

Where a document is read on from any place, also between two codes, it is a sequence of symbols, one a position: a byte,
`BOI`, `FIRST_CODE` + code, `EOI`. `bytes` are such a sequence.
"""

from __future__ import annotations

from neat import _native

Document = bytes | _native.Document
Symbols = bytes | tuple[int, ...]
Text = Document | tuple[int, ...]


def symbols(text: Text) -> Symbols:
    """The symbols of a document."""
    if isinstance(text, _native.Document):
        return tuple(text.symbols())
    return text if isinstance(text, tuple) else bytes(text)


def joined(first: Symbols, second: Symbols) -> Symbols:
    """Both, one after the other."""
    if isinstance(first, bytes) and isinstance(second, bytes):
        return first + second
    return (*first, *second)


def num_bytes(document: Document) -> int:
    """Bytes of text; the positions of images do not count."""
    return document.num_bytes if isinstance(document, _native.Document) else len(document)


def beginning(document: Document, positions: int) -> Document:
    """The first positions; an image that would be cut is left out."""
    return document.beginning(positions) if isinstance(document, _native.Document) else document[:positions]


def leading_text(document: Document) -> bytes:
    """What stands before the first image."""
    if isinstance(document, bytes):
        return document
    first = document.parts()[0]
    return first if isinstance(first, bytes) else b""
