"""Plots as SVG."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from support.plots import PLOTS

from neat.report.plot import Line, LinePlot, Plot
from neat.report.svg import render
from neat.report.svg_cells import shade


@pytest.mark.parametrize("width", [200, 358, 1130])
@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
@pytest.mark.parametrize("standalone", [False, True])
def test_a_plot_is_well_formed_and_inside(plot: Plot, width: int, standalone: bool) -> None:
    svg = render(plot, width, standalone=standalone)
    root = ET.fromstring(svg)
    _, _, full, height = (float(word) for word in root.attrib["viewBox"].split())
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "style", "rect", "text", "path", "title", "circle"}
    assert "nan" not in svg
    assert "inf" not in svg.replace("info", "")
    for element in root.iter():
        x = float(element.attrib.get("x", 0))
        assert -1 <= x <= full + 1
        assert -1 <= float(element.attrib.get("y", 0)) <= height + 1
        assert float(element.attrib.get("width", 0)) >= 0
        assert x + float(element.attrib.get("width", 0)) <= full + 3


def test_the_size_does_not_grow_with_the_curve() -> None:
    noise = [(float(x), math.sin(x * x)) for x in range(100_000)]
    small = len(render(LinePlot("l", "t", [Line("a", noise[:20_000])], "y"), 540))
    large = len(render(LinePlot("l", "t", [Line("a", noise)], "y"), 540))
    assert large < 1.6 * small < 60_000


def test_a_peak_is_never_lost() -> None:
    points = [(float(x), 1.0 if x == 54_321 else 0.0) for x in range(100_000)]
    svg = render(LinePlot("l", "t", [Line("a", points)], "y"), 540)
    (curve,) = [element.attrib["d"] for element in ET.fromstring(svg).iter() if element.attrib.get("class") == "l s0"]
    heights = {float(word.split()[1]) for word in curve.replace("M", "L").split("L") if word}
    assert max(heights) - min(heights) > 100


def test_the_shades_grow_evenly_lighter() -> None:
    def light(colour: str) -> float:
        red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    shades = [light(shade(index / 40)) for index in range(41)]
    assert shades == sorted(shades)
    assert shade(-1) == shade(0)
    assert shade(2) == shade(1)
