"""A report before it has a form: sections of blocks, which `html.py` and `markdown.py` write down.

Text in blocks is plain text, as it came from the events; whoever writes it down escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neat.report.plot import Plot

NOT_MEASURED = "not measured"
"""What stands in the place of a number that no event holds."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or two."""

    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """The name of a run, or of a part of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Something that was not measured: what, and which events would hold it."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with values, the most important ones of a run."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the names of their columns.

    `numeric` are the columns that are aligned at the right; `left_out` is how many rows there were beside these.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot; a wide one has the whole width of the page."""

    plot: Plot
    wide: bool = False
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """Text that a model wrote after a prompt, and what was measured of it."""

    title: str
    prompt: str
    text: str
    measures: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A file, folded away behind its name."""

    title: str
    text: str


Block = Paragraph | Heading | Absent | Facts | Table | Figure | Quote | Listing


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything: a title, a sentence about the state of the runs, what it was made from, sections."""

    title: str
    lead: str
    source: str
    sections: Sequence[Section] = field(default_factory=tuple)

    @property
    def plots(self) -> list[Plot]:
        """The plots of all figures, in order."""
        return [block.plot for section in self.sections for block in section.blocks if isinstance(block, Figure)]
