"""Written text on its way to stdout: as it is into a file or pipe, harmless and whole on a terminal."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from collections.abc import Iterable


def readable_text(text: str) -> str:
    """`text` with control characters escaped, so that what a model writes cannot steer the terminal."""
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) != "Cc" else f"\\x{ord(character):02x}"
        for character in text
    )


class Screen:
    """Writes pieces of bytes to stdout as they come. On a terminal a character waits until all its bytes are there."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if sys.stdout.isatty() else None

    def write(self, piece: bytes) -> None:
        """Writes one piece."""
        self._put(piece if self._decoder is None else readable_text(self._decoder.decode(piece)).encode())

    def end(self) -> None:
        """Writes what is left of a character that has not been completed."""
        if self._decoder is not None:
            self._put(readable_text(self._decoder.decode(b"", final=True)).encode())
            self._decoder.reset()

    def stream(self, pieces: Iterable[bytes]) -> bytes:
        """Writes every piece as it comes; returns all of them."""
        text = bytearray()
        for piece in pieces:
            text += piece
            self.write(piece)
        self.end()
        return bytes(text)

    def _put(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
