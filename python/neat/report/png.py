"""Draws plots as PNG with matplotlib, an extra: `pip install 'neat[plots]'`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neat.errors import UsageError
from neat.report.plot import SIGN_NAMES, BarPlot, HeatPlot, LanePlot, LinePlot, Mark, Plot

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7f87", "#1c1f23")
_SIGNS = {
    "accepted": ("^", COLOURS[2]),
    "refused": ("x", COLOURS[1]),
    "rollback": ("s", COLOURS[7]),
    "event": ("|", COLOURS[6]),
}
_DPI = 160


def require() -> None:
    """Raises `UsageError` where matplotlib is missing, before anything is written."""
    _figure()


def _figure() -> Callable[..., Any]:
    """The class of matplotlib's figures, without a window system."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "PNG plots need matplotlib, which is not installed",
            hint="pip install 'neat[plots]', or take --plots svg, which needs nothing",
        ) from error
    return Figure


def draw(plot: Plot, path: Path) -> None:
    """Writes a PNG of about 1150 pixels' width; raises `UsageError` where it cannot."""
    rows = len(plot.bars) if isinstance(plot, BarPlot) and plot.horizontal else 0
    height = max(3.2, 0.28 * rows + 1.2)
    figure = _figure()(figsize=(7.2, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_literal(plot.title), loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    match plot:
        case LinePlot():
            _lines(plot, axes)
        case BarPlot():
            _bars(plot, axes)
        case HeatPlot():
            _heat(plot, axes, figure)
        case LanePlot():
            _lanes(plot, axes)
    try:
        with warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box; the numbers stand beside it.
            warnings.simplefilter("ignore", UserWarning)
            figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint="choose another --out") from error


def _literal(text: str) -> str:
    """Text without matplotlib's mathematics, and without characters that its fonts lack."""
    return "".join(character if character.isprintable() else " " for character in text).replace("$", r"\$")


_DRAWN: dict[str, dict[str, object]] = {
    "line": {"linewidth": 1.4},
    "faint": {"linewidth": 0.8, "alpha": 0.4},
    "dashed": {"linewidth": 1.4, "linestyle": "--"},
    "dots": {"linewidth": 1.0, "marker": "o", "markersize": 3.5},
}


def _lines(plot: LinePlot, axes: Any) -> None:
    for band in plot.bands:
        xs, low, high = zip(*band.rows, strict=True) if band.rows else ((), (), ())
        axes.fill_between(xs, low, high, color=COLOURS[band.colour], alpha=0.25, linewidth=0, label=_literal(band.name))
    for line in plot.lines:
        xs, ys = zip(*line.points, strict=True) if line.points else ((), ())
        label = _literal(line.name) or "_"
        axes.plot(xs, ys, color=COLOURS[line.colour], label=label, **_DRAWN[line.style])
    for level in plot.levels:
        axes.axhline(level.value, color=COLOURS[6], linewidth=1, linestyle=":", label=_literal(level.name))
    for mark in plot.marks:
        _mark(mark, axes, 0.02)
    if plot.log and all(y > 0 for line in plot.lines for _, y in line.points):
        axes.set_yscale("log")
    elif plot.zero:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if axes.get_ylim()[0] < 0 else 0.0)
    if plot.y_range:
        axes.set_ylim(*plot.y_range)
    if plot.x_from is not None:
        axes.set_xlim(left=plot.x_from)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    axes.set_xlabel(_literal(plot.x_label), fontsize=9)
    axes.set_ylabel(_literal(plot.y_label), fontsize=9)
    if any(line.name for line in plot.lines):
        axes.legend(frameon=False, fontsize=8)


def _mark(mark: Mark, axes: Any, height: float) -> None:
    shape, colour = _SIGNS[mark.sign]
    axes.plot(
        [mark.x], [height], shape, color=colour, markersize=5, transform=axes.get_xaxis_transform(), clip_on=False
    )


def _bars(plot: BarPlot, axes: Any) -> None:
    labels = [_literal(bar.label) for bar in plot.bars]
    values, colours = [bar.value for bar in plot.bars], [COLOURS[bar.colour] for bar in plot.bars]
    errors = [bar.error or 0.0 for bar in plot.bars] if any(bar.error for bar in plot.bars) else None
    places = list(range(len(labels)))
    if plot.horizontal:
        axes.barh(places, values, color=colours, xerr=errors, height=0.7)
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.set_xlabel(_literal(plot.value_label), fontsize=9)
        return
    axes.bar(places, values, color=colours, yerr=errors, width=0.78)
    every = max(1, len(labels) // 24)
    axes.set_xticks(places[::every], labels[::every])
    axes.set_xlabel(_literal(plot.label), fontsize=9)
    axes.set_ylabel(_literal(plot.value_label), fontsize=9)


def _heat(plot: HeatPlot, axes: Any, figure: Any) -> None:
    from matplotlib.colors import LogNorm

    found = [value for row in plot.values for value in row if value is not None and value > 0]
    least = min(found, default=1.0)
    cells = [[float("nan") if value is None else max(value, least) for value in row] for row in plot.values]
    norm = LogNorm(least, max(found) * 1.001) if found else None
    image = axes.imshow(cells, aspect="auto", cmap="cividis", norm=norm, interpolation="nearest")
    axes.set_yticks(range(len(plot.rows)), [_literal(row) for row in plot.rows])
    every = max(1, len(plot.places) // 8)
    axes.set_xticks(range(0, len(plot.places), every), [f"{place:g}" for place in plot.places[::every]])
    axes.set_xlabel(_literal(plot.x_label), fontsize=9)
    if found:
        figure.colorbar(image, ax=axes, label=_literal(plot.value_label))


def _lanes(plot: LanePlot, axes: Any) -> None:
    for index, lane in enumerate(plot.lanes):
        least = 0.003 * plot.end
        spans = [(start, max(end - start, least)) for start, end in lane.spans]
        axes.broken_barh(spans, (index - 0.4, 0.8), facecolors=COLOURS[lane.colour])
    signs = list(dict.fromkeys(mark.sign for mark in plot.marks))
    names = [*(lane.name for lane in plot.lanes), *(SIGN_NAMES[sign] for sign in signs)]
    axes.set_yticks(range(len(names)), [_literal(name) for name in names])
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_xlim(0, plot.end or 1)
    for mark in plot.marks:
        shape, colour = _SIGNS[mark.sign]
        axes.plot(
            [mark.x], [len(plot.lanes) + signs.index(mark.sign)], shape, color=colour, markersize=5, clip_on=False
        )
    axes.set_xlabel(_literal(plot.x_label), fontsize=9)
