"""Documents as Python sees them: bytes, or text with images between its parts."""

from __future__ import annotations

from neat import _native

Document = bytes | _native.Document


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
