"""Draws the pictures of the documentation from a run: standalone SVG files in `docs/images/`.

Usage: ``python scripts/make_report_images.py RUN [--out DIR] [--ablation FILE]``. Only plots that the run measured are
written; the names of the others are printed, so that no old picture is taken for a new one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from neat.errors import NeatError, render
from neat.report.build import compose, read_runs
from neat.report.svg import render as draw

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WANTED = (
    "loss", "phases", "credit", "throughput", "gradients", "patch-lengths", "halting", "memory", "time-share",
    "ablation",
)  # fmt: skip
WIDTH = 760


def main() -> int:
    """Writes the pictures and prints their paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR", help="folder (%(default)s)")
    parser.add_argument("--ablation", type=Path, metavar="FILE", help="results of an ablation, as of neat report")
    arguments = parser.parse_args()
    try:
        plots = {plot.name: plot for plot in compose(read_runs([arguments.run]), arguments.ablation).plots}
    except NeatError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in WANTED:
        path = arguments.out / f"report-{name}.svg"
        if name in plots:
            path.write_text(draw(plots[name], WIDTH, standalone=True), encoding="utf-8")
            print(path)
        else:
            path.unlink(missing_ok=True)
            print(f"{name}: not measured by this run", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
