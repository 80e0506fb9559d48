"""What a picture shows, apart from how it is drawn: `svg.py` and `png.py` draw the same plots.

Colours are numbers from 0 to 7: places in a palette that people with any colour vision tell apart (Okabe and Ito,
"Color Universal Design", 2008). Every plot has a `name`, under which its file is saved, and a `title`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from neat.report.series import Point

Style = Literal["line", "faint", "dashed", "dots"]
"""How a curve is drawn: faint for raw values behind a smoothed curve, dots with a thin line for rare values."""

Sign = Literal["accepted", "refused", "rollback", "event"]
"""What happened at a place: drawn as a triangle, a cross, a square or a tick."""

SIGN_NAMES: Mapping[Sign, str] = {
    "accepted": "jump accepted", "refused": "jump refused", "rollback": "rollback", "event": "event",
}  # fmt: skip
"""What the signs mean, as lanes are named."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve through `points`, ordered by place."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    style: Style = "line"


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two curves: rows of place, lower and upper value."""

    name: str
    rows: Sequence[tuple[float, float, float]]
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """A value to compare with, drawn across the whole plot."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a place."""

    x: float
    sign: Sign
    label: str


@dataclass(frozen=True, slots=True)
class LinePlot:
    """Curves over steps or time. With `log` the values are on a logarithmic scale; with `zero` it begins at 0.

    `x_from` and `y_range` cut what lies outside.
    """

    name: str
    title: str
    lines: Sequence[Line]
    y_label: str
    x_label: str = "step"
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    log: bool = False
    zero: bool = False
    x_from: float | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One amount; `error` is drawn as a line of that length to both sides."""

    label: str
    value: float
    colour: int = 0
    error: float | None = None


@dataclass(frozen=True, slots=True)
class BarPlot:
    """Amounts side by side; `horizontal` where the labels are words."""

    name: str
    title: str
    bars: Sequence[Bar]
    value_label: str
    label: str = ""
    horizontal: bool = False


@dataclass(frozen=True, slots=True)
class HeatPlot:
    """Amounts by row and time: `values[row][column]`, None where nothing was measured.

    `places` are the steps of the columns. The colours are logarithmic between the least and the greatest amount.
    """

    name: str
    title: str
    rows: Sequence[str]
    places: Sequence[float]
    values: Sequence[Sequence[float | None]]
    value_label: str
    x_label: str = "step"


@dataclass(frozen=True, slots=True)
class Lane:
    """What was so from place to place."""

    name: str
    spans: Sequence[tuple[float, float]]
    colour: int = 0


@dataclass(frozen=True, slots=True)
class LanePlot:
    """States over steps, one lane each; below, a lane for each kind of thing that happened."""

    name: str
    title: str
    lanes: Sequence[Lane]
    end: float
    marks: Sequence[Mark] = field(default_factory=tuple)
    x_label: str = "step"


Plot = LinePlot | BarPlot | HeatPlot | LanePlot
