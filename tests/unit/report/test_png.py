"""Plots as PNG, through an extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.plots import PLOTS
from support.recorded import steps, write_run

from neat.cli import main
from neat.report.plot import Plot


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_every_plot_is_drawn(plot: Plot, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra neat[plots] is not installed")
    from neat.report.png import draw

    draw(plot, tmp_path / "plot.png")
    image = (tmp_path / "plot.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(image[16:20]) == 1152


def test_a_missing_extra_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", steps(3))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["report", str(run), "--plots", "svg,png", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "matplotlib, which is not installed" in told
    assert "pip install 'neat[plots]'" in told
    assert not (tmp_path / "out").exists()
