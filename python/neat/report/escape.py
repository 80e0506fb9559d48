"""Text of a stranger made harmless: for HTML and SVG, and for whatever shows text in one direction."""

from __future__ import annotations

import unicodedata
from html import escape


def visible(text: str) -> str:
    """`text` with control characters, marks of direction and lone surrogates written as escapes.

    Line ends, tabs and spaces of any width stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_shown(character) else _written(character) for character in text)


def escaped(text: str) -> str:
    """`text` as the content or a quoted attribute of HTML and SVG."""
    return escape(visible(text))


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()
