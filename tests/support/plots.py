"""Plots of every kind, the awkward ones too, for whatever draws plots."""

from __future__ import annotations

import math

from neat.report.plot import Band, Bar, BarPlot, HeatPlot, Lane, LanePlot, Level, Line, LinePlot, Mark, Plot
from support.recorded import HOSTILE

POINTS = [(float(x), math.sin(x / 9)) for x in range(200)]
BAND = Band(HOSTILE, [(x, y - 1, y + 1) for x, y in POINTS], 3)
LINES = [Line(HOSTILE, POINTS), Line("", POINTS, 1, "faint"), Line("d", POINTS[::9], 2, "dots")]
MARKS = [Mark(5.0, "accepted", HOSTILE), Mark(900.0, "event", "beyond")]
LANES = [Lane(HOSTILE, [(0, 5), (5, 5)]), Lane("b", [], 1)]

PLOTS: dict[str, Plot] = {
    "lines": LinePlot("l", HOSTILE, LINES, HOSTILE, HOSTILE, [BAND], [Level(HOSTILE, 0.5)], MARKS),
    "log": LinePlot("l", "t", [Line("a", [(x, math.exp(y)) for x, y in POINTS])], "y", log=True),
    "cut": LinePlot("l", "t", [Line("a", POINTS)], "y", x_from=100.0, y_range=(0.0, 0.5)),
    "one point": LinePlot("l", "t", [Line("a", [(3.0, 4.0)])], "y"),
    "no point": LinePlot("l", "t", [Line("a", [])], "y", bands=[Band("b", [])]),
    "constant": LinePlot("l", "t", [Line("a", [(x, 7.0) for x, _ in POINTS])], "y", zero=True),
    "bars": BarPlot("b", HOSTILE, [Bar(HOSTILE, 1.0, 0, 0.5), Bar("b", -2.0, 1)], HOSTILE, HOSTILE),
    "many bars": BarPlot("b", "t", [Bar(str(n), n) for n in range(300)], "v"),
    "no bars": BarPlot("b", "t", [], "v"),
    "words": BarPlot("b", "t", [Bar("long " * 40, 1.0, 0, 0.5), Bar("b", -2.0, 1)], "v", horizontal=True),
    "heat": HeatPlot("h", "t", [HOSTILE, "b"], [1, 2, 3], [[0.0, 1.0, None], [2.0, 3.0, 1e-9]], HOSTILE),
    "nothing measured": HeatPlot("h", "t", ["a"], [1], [[None]], "v"),
    "equal heat": HeatPlot("h", "t", ["a"], [1, 2], [[2.0, 2.0]], "v"),
    "lanes": LanePlot("p", "t", LANES, 10, [Mark(3, "rollback", HOSTILE)]),
    "no lanes": LanePlot("p", "t", [], 0),
}
