"""Draws plots as SVG: text, paths and rectangles that need no script and no other file.

Colours come from classes, so that a page and a reader's light or dark setting decide them; `standalone` puts the rules
into the picture. Curves are cut down to the columns of the picture, so its size does not grow with the run.
All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.resources import files

from neat.report.escape import escaped
from neat.report.plot import BarPlot, HeatPlot, LanePlot, Line, LinePlot, Plot
from neat.report.scale import Axis, axis, short
from neat.report.series import Point, decimated
from neat.report.svg_cells import BAR_HEIGHT, bars, heat, lanes
from neat.report.svg_frame import Frame, legend, path, rectangle, sign, title_of

HOVER_COLUMNS = 64
"""Most columns of a picture that tell their values when pointed at."""


def style() -> str:
    """The CSS rules of all plots."""
    return (files("neat.report") / "plot.css").read_text(encoding="utf-8")


def render(plot: Plot, width: int = 720, height: int | None = None, *, standalone: bool = False) -> str:
    """The plot as an `svg` element.

    Args:
        plot: What to draw.
        width: Pixels at which it is meant to be seen; text has the size for it.
        height: Pixels; None chooses one that fits the plot.
        standalone: Makes a file of its own: with style, title and background.
    """
    frame = Frame(width, height or _height(plot, width), titled=standalone)
    match plot:
        case LinePlot():
            body = _lines(plot, frame)
        case BarPlot():
            body = bars(plot, frame)
        case HeatPlot():
            body = heat(plot, frame)
        case LanePlot():
            body = lanes(plot, frame)
    content = "".join(body)
    size = f'viewBox="0 0 {frame.width} {frame.height}"'
    head = f'<svg class="plot" {size} role="img" aria-label="{escaped(plot.title)}"'
    if not standalone:
        return f"{head}>{content}</svg>"
    paper = f'<rect class="paper" width="{frame.width}" height="{frame.height}"/>'
    fixed = f' xmlns="http://www.w3.org/2000/svg" width="{frame.width}" height="{frame.height}"'
    return f"{head}{fixed}><style>{style()}</style>{paper}{title_of(plot.title)}{content}</svg>\n"


def _height(plot: Plot, width: int) -> int:
    match plot:
        case BarPlot(horizontal=True):
            return 48 + BAR_HEIGHT * len(plot.bars)
        case HeatPlot():
            return 74 + max(9, min(18, 420 // max(1, len(plot.rows)))) * len(plot.rows)
        case LanePlot():
            return 42 + 26 * (len(plot.lanes) + len({mark.sign for mark in plot.marks}))
    return round(min(340, max(230, 0.42 * width)))


def _lines(plot: LinePlot, frame: Frame) -> Iterator[str]:
    yield from legend(_keys(plot), frame)
    shown = [_cut(line, plot.x_from) for line in plot.lines]
    horizontal, vertical = _axes(plot, shown, frame)
    yield from frame.grid(vertical, plot.y_label)
    yield from frame.ground(horizontal, plot.x_label)

    def places(points: Sequence[Point]) -> list[Point]:
        kept = decimated(points, max(50, frame.inner_width // 3))
        return [(frame.x(horizontal.place(x)), frame.y(vertical.place(y))) for x, y in kept]

    for band in plot.bands:
        rows = [row for row in band.rows if plot.x_from is None or row[0] >= plot.x_from]
        outline = places([(x, high) for x, _, high in rows])
        outline += reversed(places([(x, low) for x, low, _ in rows]))
        if outline:
            yield f'<path class="b f{band.colour}" d="{path(outline)}Z"/>'
    for level in plot.levels:
        yield f'<path class="level" d="M{frame.left} {frame.y(vertical.place(level.value)):.1f}H{frame.right}"/>'
    for line in shown:
        yield from _curve(line, places(line.points))
    for mark in plot.marks:
        if horizontal.low <= mark.x <= horizontal.high:
            yield sign(mark.sign, frame.x(horizontal.place(mark.x)), frame.bottom - 6, mark.label)
    yield from _hover(plot, shown, horizontal, frame)


def _keys(plot: LinePlot) -> list[tuple[str, str, int]]:
    keys: list[tuple[str, str, int]] = [(line.name, line.style, line.colour) for line in plot.lines if line.name]
    keys += [(band.name, "band", band.colour) for band in plot.bands if band.name]
    keys += [(level.name, "level", 6) for level in plot.levels]
    return keys + [(kind, kind, 0) for kind in dict.fromkeys(mark.sign for mark in plot.marks) if kind != "event"]


def _axes(plot: LinePlot, lines: Sequence[Line], frame: Frame) -> tuple[Axis, Axis]:
    xs = [line.points[end][0] for line in lines if line.points for end in (0, -1)]
    xs += [row[0] for band in plot.bands for row in band.rows[-1:]]
    if plot.x_from is not None:
        xs.append(plot.x_from)
    ys = list(plot.y_range or ())
    if not ys:
        ys = [y for line in lines for _, y in line.points] + [level.value for level in plot.levels]
        ys += [value for band in plot.bands for row in band.rows for value in row[1:]]
    return (
        axis(xs, ticks=max(3, frame.inner_width // 90), tight=True),
        axis(ys, ticks=max(3, frame.inner_height // 34), log=plot.log, zero=plot.zero),
    )


def _cut(line: Line, x_from: float | None) -> Line:
    if x_from is None:
        return line
    return Line(line.name, [point for point in line.points if point[0] >= x_from], line.colour, line.style)


def _curve(line: Line, places: list[Point]) -> Iterator[str]:
    if not places:
        return
    kind = "" if line.style == "line" else f" {line.style}"
    if len(places) > 1:
        yield f'<path class="l s{line.colour}{kind}" d="{path(places)}"/>'
    if (line.style == "dots" and len(places) <= _FEW) or len(places) == 1:
        radius = 2.6 if len(places) <= _FEW / 2 else 1.8
        arcs = f"a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0 -{2 * radius} 0Z"
        dots = "".join(f"M{x - radius:.1f} {y:.1f}{arcs}" for x, y in places)
        yield f'<path class="f{line.colour}" d="{dots}"/>'


_FEW = 160
"""Places above which a curve of dots is a line only."""


def _hover(plot: LinePlot, lines: Sequence[Line], horizontal: Axis, frame: Frame) -> Iterator[str]:
    """Transparent columns that tell the values in them to a mouse; the picture is complete without."""
    count = min(HOVER_COLUMNS, max((len(line.points) for line in lines), default=0), frame.inner_width // 8)
    if count < 1:
        return
    cells: list[dict[str, Point]] = [{} for _ in range(count)]
    for line in lines:
        if line.name:
            for x, y in line.points:
                cells[min(count - 1, math.floor(horizontal.place(x) * count))][line.name] = (x, y)
    width = frame.inner_width / count
    for index, cell in enumerate(cells):
        if cell:
            place = max(point[0] for point in cell.values())
            told = "\n".join([f"{plot.x_label} {short(place)}", *(f"{name}: {y:.5g}" for name, (_, y) in cell.items())])
            yield rectangle(frame.x(0) + index * width, frame.top, width, frame.inner_height, 'class="hit"', told)
