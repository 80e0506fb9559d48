"""SVG plots made of rectangles: bars, heat maps and lanes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.gather import joined
from neat.report.plot import SIGN_NAMES, Bar, BarPlot, HeatPlot, LanePlot
from neat.report.scale import Axis, axis, number, short
from neat.report.svg_frame import Frame, rectangle, shortened, sign, tenth, text, text_width

BAR_HEIGHT = 22
"""Pixels of a horizontal bar and the gap to the next."""


def bars(plot: BarPlot, frame: Frame) -> Iterator[str]:
    """Amounts side by side, or below each other."""
    yield from _horizontal(plot, frame) if plot.horizontal else _vertical(plot, frame)


def _vertical(plot: BarPlot, frame: Frame) -> Iterator[str]:
    frame.top += 20
    vertical = axis(_ends(plot.bars), ticks=max(3, frame.inner_height // 34), zero=True)
    yield from frame.grid(vertical, plot.value_label)
    yield from frame.ground(Axis(0.0, 1.0, ()), plot.label)
    pitch = frame.inner_width / max(1, len(plot.bars))
    every = max(1, round(max((text_width(bar.label) for bar in plot.bars), default=0) / pitch + 0.7))
    zero = frame.y(vertical.place(0.0))
    for index, bar in enumerate(plot.bars):
        x, y, width = frame.left + (index + 0.5) * pitch, frame.y(vertical.place(bar.value)), max(1.0, 0.78 * pitch)
        told = f"{bar.label}: {number(bar.value)}"
        yield rectangle(x - width / 2, min(y, zero), width, abs(zero - y), f'class="f{bar.colour}"', told)
        if bar.error is not None:
            low, high = (frame.y(vertical.place(bar.value + side * bar.error)) for side in (-1, 1))
            yield f'<path class="error" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
        if index % every == 0:
            yield text(x, frame.bottom + 12, bar.label, anchor="middle")


def _horizontal(plot: BarPlot, frame: Frame) -> Iterator[str]:
    widest = max((text_width(bar.label) for bar in plot.bars), default=0)
    frame.left = round(min(widest + 12, 0.45 * frame.width))
    frame.right -= 54
    frame.bottom = frame.top + BAR_HEIGHT * len(plot.bars)
    horizontal = axis(_ends(plot.bars), ticks=max(2, frame.inner_width // 90), zero=True)
    zero = frame.x(horizontal.place(0.0))
    for tick in horizontal.ticks:
        yield f'<path class="rule" d="M{frame.x(horizontal.place(tick)):.1f} {frame.top}V{frame.bottom}"/>'
    for index, bar in enumerate(plot.bars):
        y, x = frame.top + BAR_HEIGHT * (index + 0.5), frame.x(horizontal.place(bar.value))
        yield text(frame.left - 8, y, shortened(bar.label, frame.left - 10), anchor="end", kind="key")
        told = f"{bar.label}: {number(bar.value)}"
        yield rectangle(min(x, zero), y - 7, abs(x - zero), 14, f'class="f{bar.colour}"', told)
        edge = max(x, zero)
        if bar.error is not None:
            low, high = (frame.x(horizontal.place(bar.value + side * bar.error)) for side in (-1, 1))
            yield f'<path class="error" d="M{low:.1f} {tenth(y)}H{high:.1f}"/>'
            edge = max(edge, high)
        yield text(edge + 6, y, short(bar.value))
    yield from frame.ground(horizontal, plot.value_label)


def _ends(found: Sequence[Bar]) -> list[float]:
    return [bar.value + side * (bar.error or 0.0) for bar in found for side in (-1, 1)]


def heat(plot: HeatPlot, frame: Frame) -> Iterator[str]:
    """Cells coloured by amount, with a key of the colours below."""
    labels = [shortened(row, 0.36 * frame.width) for row in plot.rows]
    frame.left = round(min(0.45 * frame.width, max((text_width(label) for label in labels), default=0) + 12))
    frame.bottom = frame.height - 62
    found = [value for row in plot.values for value in row if value is not None and value > 0]
    low, high = (min(found), max(found)) if found else (1.0, 10.0)
    scale = Axis(low, max(high, 1.001 * low), (), log=True)
    height, width = frame.inner_height / max(1, len(labels)), frame.inner_width / max(1, len(plot.places))
    yield rectangle(frame.left, frame.top, frame.inner_width, frame.inner_height, 'class="miss"')
    for index, label in enumerate(labels):
        y = frame.top + index * height
        yield text(frame.left - 6, y + height / 2, label, anchor="end")
        for column, value in enumerate(plot.values[index]):
            if value is not None:
                fill = f'fill="{shade(scale.place(value) if value > 0 else 0.0)}"'
                yield rectangle(frame.left + column * width, y, width + 0.3, height + 0.3, fill)
    every = max(1, -(-len(plot.places) // max(2, frame.inner_width // 90)))
    for column in range(0, len(plot.places), every):
        x = frame.left + (column + 0.5) * width
        yield text(x, frame.bottom + 12, short(plot.places[column]), anchor="middle")
    yield text(frame.right, frame.bottom + 26, plot.x_label, anchor="end")
    yield from _colour_key(frame, low, high, plot.value_label)


def _colour_key(frame: Frame, low: float, high: float, label: str) -> Iterator[str]:
    x, y, cells = frame.left, frame.height - 22, 24
    for cell in range(cells):
        yield rectangle(x + 5 * cell, y, 5.3, 9, f'fill="{shade(cell / (cells - 1))}"')
    yield text(x, y + 16, short(low))
    yield text(x + 5 * cells, y + 16, short(high), anchor="end")
    yield text(x + 5 * cells + 10, y + 4, f"{label}, logarithmic")


_STOPS = ((0, 34, 78), (66, 78, 108), (124, 123, 120), (187, 173, 108), (254, 232, 56))
"""From dark blue over grey to yellow, growing evenly in lightness: the course of cividis (Nunez and others, 2018)."""


def shade(share: float) -> str:
    """The colour of a share from 0 to 1, told apart with any colour vision and in grey."""
    place = min(1.0, max(0.0, share)) * (len(_STOPS) - 1)
    index = min(len(_STOPS) - 2, int(place))
    rest = place - index
    mixed = (round(a + rest * (b - a)) for a, b in zip(_STOPS[index], _STOPS[index + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def lanes(plot: LanePlot, frame: Frame) -> Iterator[str]:
    """States from step to step, and what happened, each kind on a lane of its own."""
    signs = list(dict.fromkeys(mark.sign for mark in plot.marks))
    names = [*(lane.name for lane in plot.lanes), *(SIGN_NAMES[sign] for sign in signs)]
    names = [shortened(name, 0.36 * frame.width) for name in names]
    frame.left = round(max((text_width(name) for name in names), default=28) + 16)
    horizontal = axis((0.0, plot.end), ticks=max(3, frame.inner_width // 90), tight=True)
    height = frame.inner_height / max(1, len(names))
    for index, name in enumerate(names):
        yield text(frame.left - 8, frame.top + (index + 0.5) * height, name, anchor="end", kind="key")
    for index, lane in enumerate(plot.lanes):
        y = frame.top + index * height
        yield rectangle(frame.left, y + 3, frame.inner_width, height - 6, 'class="miss"')
        for start, end in joined(lane.spans, plot.end / max(1, frame.inner_width)):
            x, right = frame.x(horizontal.place(start)), frame.x(horizontal.place(end))
            told = f"{lane.name}: steps {start:,.0f} to {end:,.0f}"
            yield rectangle(x, y + 3, max(2.0, right - x), height - 6, f'class="f{lane.colour}"', told)
    for mark in plot.marks:
        y = frame.top + (len(plot.lanes) + signs.index(mark.sign) + 0.5) * height
        yield sign(mark.sign, frame.x(horizontal.place(mark.x)), y, mark.label)
    yield from frame.ground(horizontal, plot.x_label)
