"""How far a text has been read, and what of its next bytes the network must see.

A network whose attention has a window reads on without end. One that attends to the whole row is trained on rows of a
certain length, so its text is read in overlapping windows, cut as `Preparer.spans` cuts a whole document: when the next
byte does not fit the window any more, a new one begins half a window back. An image is in a window with all its codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from neat._native import Reader
from neat.model.text.document import Symbols, joined
from neat.model.vocabulary import BOI, EOI


@dataclass(frozen=True, slots=True)
class Window:
    """Size of the windows.

    Attributes:
        positions: Positions of a window.
        patches: Patches that a window has room for.
    """

    positions: int
    patches: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one text stands; immutable.

    Attributes:
        reader: Behind the last symbol read.
        anchor: Before the first symbol of the window; None when there are no windows.
        text: Symbols read since the anchor; empty when there are no windows.
        first: Whether the window holds the position before the first byte.
    """

    reader: Reader
    anchor: Reader | None = None
    text: Symbols = b""
    first: bool = True


@dataclass(frozen=True, slots=True)
class Continuation:
    """What to read for a text to go on.

    Attributes:
        progress: Where the text stands afterwards, but for its reader.
        reader: Where reading begins.
        text: Symbols to read from there.
        anew: Whether that is the beginning of a window, so that nothing before it counts.
    """

    progress: Progress
    reader: Reader
    text: Symbols
    anew: bool


def begin(reader: Reader, window: Window | None) -> Progress:
    """The beginning of a text, in windows or without."""
    return Progress(reader, None if window is None else reader)


def go_on(progress: Progress, new: Symbols, window: Window | None) -> Continuation:
    """Plans the reading of `new`; only the window that the symbol after it falls into is read.

    Raises:
        DataError: It cannot follow what was read, or the window is too small for an image.
    """
    if window is None or progress.anchor is None:
        return Continuation(progress, progress.reader, new, anew=False)
    anchor, text, first, anew = progress.anchor, joined(progress.text, new), progress.first, False
    while (fitting := anchor.fit(text, window.positions, window.patches)) < len(text):
        skipped, anchor = _next_window(anchor, text, fitting, fitting + first, window)
        text, first, anew = text[skipped:], False, True
    moved = replace(progress, anchor=anchor, text=text, first=first)
    if anew:
        return Continuation(moved, anchor, text, anew=True)
    return Continuation(moved, progress.reader, new, anew=False)


def _next_window(anchor: Reader, text: Symbols, fitting: int, targets: int, window: Window) -> tuple[int, Reader]:
    """The symbols to pass over, and the anchor there, for the target after `text[: fitting + 1]` to have a place.

    Neighbouring windows share half a window of targets, fewer where patches are short. None begins within an image.
    """
    shared = min(window.positions // 2, targets - 1)
    while True:
        skipped = _behind_image(text, fitting - shared)
        moved = anchor.skip(text[:skipped])
        reached = skipped + moved.fit(text[skipped : fitting + 1], window.positions, window.patches)
        if reached > fitting or shared == 0:
            return skipped, moved
        shared //= 2


def _behind_image(text: Symbols, place: int) -> int:
    """`place`, or where the image ends whose beginning, but not whose end, stands before it."""
    if isinstance(text, bytes):
        return place
    begins = next((at for at in range(place - 1, -1, -1) if text[at] in (BOI, EOI)), None)
    if begins is None or text[begins] == EOI:
        return place
    return text.index(EOI, begins)
