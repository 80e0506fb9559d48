"""The parts that all SVG plots share: text and rectangles, the frame with its axes, the legend, signs, paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from neat.report.escape import escaped
from neat.report.scale import Axis, short
from neat.report.series import Point

_TITLE_HEIGHT = 30
_KEY_HEIGHT = 16


class Frame:
    """A picture of `width` by `height` pixels with its inner area from `left` to `right` and `top` to `bottom`.

    Whoever draws moves the inner edges to make room for labels. `titled` adds room for a title.
    """

    def __init__(self, width: int, height: int, *, titled: bool) -> None:
        above = _TITLE_HEIGHT if titled else 0
        self.width, self.height = width, height + above
        self.top = above + 8
        self.left, self.right, self.bottom = 46, width - 14, self.height - 34

    @property
    def inner_width(self) -> int:
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def inner_height(self) -> int:
        """Pixels from top to bottom."""
        return self.bottom - self.top

    def x(self, share: float) -> float:
        """Pixels of a share of the inner width."""
        return self.left + share * self.inner_width

    def y(self, share: float) -> float:
        """Pixels of a share of the inner height, from below."""
        return self.bottom - share * self.inner_height

    def grid(self, vertical: Axis, label: str) -> Iterator[str]:
        """Rules at the marks of the vertical axis, whose label stands above it."""
        yield text(2, self.top - 12, label)
        for tick in vertical.ticks:
            y = self.y(vertical.place(tick))
            yield f'<path class="rule" d="M{self.left} {y:.1f}H{self.right}"/>'
            yield text(self.left - 6, y, short(tick), anchor="end")

    def ground(self, horizontal: Axis, label: str) -> Iterator[str]:
        """The lower axis: a line, its marks, and its label at the right end."""
        yield f'<path class="base" d="M{self.left} {self.bottom}H{self.right}"/>'
        for tick in horizontal.ticks:
            x = self.x(horizontal.place(tick))
            yield f'<path class="base" d="M{x:.1f} {self.bottom}v4"/>'
            yield text(x, self.bottom + 12, short(tick), anchor="middle")
        yield text(self.right, self.bottom + 26, label, anchor="end")


Anchor = Literal["start", "middle", "end"]


def text(x: float, y: float, content: str, *, anchor: Anchor = "start", kind: str = "") -> str:
    """Escaped text whose middle is at the height `y`; nothing for no text."""
    if not content:
        return ""
    words = f' class="{kind}"' if kind else ""
    words += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{tenth(x)}" y="{tenth(y)}" dy=".32em"{words}>{escaped(content)}</text>'


def rectangle(x: float, y: float, width: float, height: float, look: str, told: str = "") -> str:
    """A rectangle; `look` holds its attributes, `told` is what it says when pointed at."""
    place = f'x="{tenth(x)}" y="{tenth(y)}" width="{tenth(width)}" height="{tenth(height)}"'
    inside = f"><title>{escaped(told)}</title></rect>" if told else "/>"
    return f"<rect {look} {place}{inside}"


def title_of(title: str) -> str:
    """The title of a picture that stands alone."""
    return text(12, 18, title, kind="title")


def legend(keys: Sequence[tuple[str, str, int]], frame: Frame) -> Iterator[str]:
    """Names with the look of what they name (name, style, colour), in rows above the inner area, which moves down."""
    x, y = frame.left, frame.top + 6
    for name, kind, colour in keys:
        name = shortened(name, frame.inner_width - 40)
        width = 40 + round(text_width(name))
        if x + width > frame.right and x > frame.left:
            x, y = frame.left, y + _KEY_HEIGHT
        yield _sample(kind, colour, x, y)
        yield text(x + 22, y, name, kind="key")
        x += width
    frame.top = y + (34 if keys else 14)


def _sample(kind: str, colour: int, x: int, y: int) -> str:
    match kind:
        case "band":
            return rectangle(x, y - 5, 16, 10, f'class="b f{colour}"')
        case "level":
            return f'<path class="level" d="M{x} {y}h16"/>'
        case "accepted" | "refused" | "rollback" | "event":
            return sign(kind, x + 8, y, "")
        case "dots":
            dot = f'<circle class="f{colour}" cx="{x + 8}" cy="{y}" r="2.6"/>'
            return f'<path class="l dots s{colour}" d="M{x} {y}h16"/>{dot}'
    return f'<path class="l s{colour} {kind}" d="M{x} {y}h16"/>'


def sign(kind: str, x: float, y: float, label: str) -> str:
    """What happened, as a shape that needs no colour to be told apart."""
    told = f"<title>{escaped(label)}</title>" if label else ""
    match kind:
        case "accepted":
            return f'<path class="f2" d="M{x:.1f} {y - 4.5:.1f}l4.5 8h-9Z">{told}</path>'
        case "refused":
            return f'<path class="l s1" d="M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0-7l-7 7">{told}</path>'
        case "rollback":
            return f'<path class="f7" d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8Z">{told}</path>'
    return f'<path class="base" d="M{x:.1f} {y - 5:.1f}v10">{told}</path>'


def path(places: Sequence[Point]) -> str:
    """The commands of a line through `places`, in tenths of a pixel."""
    words: list[str] = []
    before = ("", "")
    for x, y in places:
        word = (tenth(x), tenth(y))
        if word != before:
            words.append(f"{'L' if words else 'M'}{word[0]} {word[1]}")
        before = word
    if len(words) == 1:
        words.append("h.1")
    return "".join(words)


def tenth(value: float) -> str:
    """A length in pixels, rounded to tenths."""
    return f"{value:.1f}".removesuffix(".0")


def text_width(content: str) -> float:
    """Pixels that a text takes at most, about, at the size of labels."""
    return sum(7.9 if character.isupper() or character in "mwMW%" else 5.8 for character in content)


def shortened(content: str, pixels: float) -> str:
    """The text, cut to about `pixels`."""
    if text_width(content) <= pixels:
        return content
    most = max(2, int(pixels / text_width("X")))
    return content[: most - 1] + "…"
