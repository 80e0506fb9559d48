"""What each byte of a text cost the model, and where its patches start: as JSON lines, or as coloured text."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neat.cli.screen import readable_text

if TYPE_CHECKING:
    from neat.model.text.model import TextModel

GRADES = ((1.0, 0), (2.0, 22), (4.0, 58), (7.0, 130), (math.inf, 160))
"""Background by surprise: below so many bits, this colour of 256; 0 is none."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One byte.

    Attributes:
        at: Its place in the text.
        byte: Its value.
        bits: Its code length given the bytes before it.
        starts_patch: Whether it opens a patch.
        written: Whether the model wrote it; else it is of the prompt.
    """

    at: int
    byte: int
    bits: float
    starts_patch: bool
    written: bool


def trace(model: TextModel, prompt: bytes, answer: bytes) -> list[Traced]:
    """Every byte of the prompt and the answer, from one pass over both: the same predictions as while writing."""
    text = prompt + answer
    if not text:
        return []
    (table,) = model.log_probs([text])
    bits = (-table.gather(1, table.new_tensor(list(text)).long()[:, None]).double() / math.log(2)).flatten().tolist()
    starts = model.preparer.starts(text)
    return [Traced(at, text[at], bits[at], bool(starts[at]), at >= len(prompt)) for at in range(len(text))]


def json_lines(traced: list[Traced]) -> Iterator[str]:
    """One object a byte."""
    for one in traced:
        yield json.dumps(
            {
                "at": one.at,
                "byte": one.byte,
                "bits": round(one.bits, 4),
                "patch": one.starts_patch,
                "from": "answer" if one.written else "prompt",
            }
        )


def coloured(traced: list[Traced]) -> str:
    """The text with a line before each patch and the surprise of each character as its background; prompts are dim."""
    found = []
    for character, some in _characters(traced):
        shade = next(colour for limit, colour in GRADES if sum(one.bits for one in some) < limit)
        codes = ([] if some[0].written else ["2"]) + ([f"48;5;{shade};97"] if shade else [])
        bar = "\x1b[90m│\x1b[0m" if any(one.starts_patch for one in some) else ""
        shown = readable_text(character)
        # A line end takes no colour along to the next line.
        found.append(bar + (f"\x1b[{';'.join(codes)}m{shown}\x1b[0m" if codes and character != "\n" else shown))
    return "".join(found)


def legend() -> str:
    """What the colours mean."""
    cells, below = [], 0.0
    for limit, colour in GRADES:
        name = f" {below:g}-{limit:g} " if math.isfinite(limit) else f" {below:g}+ "
        cells.append(f"\x1b[48;5;{colour};97m{name}\x1b[0m" if colour else name)
        below = limit
    return "bits a character:" + " ".join(cells) + "   │ a patch starts"


def _characters(traced: list[Traced]) -> Iterator[tuple[str, list[Traced]]]:
    """The bytes of each character together; a byte that is part of none by itself."""
    text, at = bytes(one.byte for one in traced), 0
    while at < len(text):
        for length in (1, 2, 3, 4):
            try:
                character = text[at : at + length].decode()
            except UnicodeDecodeError:
                continue
            break
        else:
            character, length = "\ufffd", 1
        yield character, traced[at : at + length]
        at += length


def print_trace(traced: list[Traced], *, colours: bool) -> None:
    """Prints coloured text with its legend, or JSON lines."""
    if colours:
        print(coloured(traced))
        print(legend())
    else:
        for line in json_lines(traced):
            print(line)
    sys.stdout.flush()
