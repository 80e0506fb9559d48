"""One page about a run, or about several beside each other: HTML and Markdown, made from the events alone.

The page needs no network and no script. What no event holds is said to be "not measured".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from neat.errors import UsageError

_FORMATS = ("html", "md")
_PLOTS = ("png", "svg")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat report`."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory; up to 8 are compared")
    parser.add_argument(
        "--out", type=Path, metavar="DIR|FILE", help="folder, or file of one format (default: RUN/report)"
    )
    parser.add_argument(
        "--format", default="html,md", metavar="LIST", dest="formats", help="html, md or both (%(default)s)"
    )
    parser.add_argument(
        "--plots", default="", metavar="LIST", help="also write each plot as a file: svg, png (needs neat[plots]), both"
    )
    parser.add_argument(
        "--ablation", type=Path, metavar="FILE", help="results of an ablation as JSON, drawn as bars by arm"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="instead: write the `step` events of one run as a table (- for stdout)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Makes the report and prints the paths of what was written."""
    if arguments.csv is not None:
        return _csv(arguments.runs, arguments.csv)
    from neat.report.build import compose, read_runs, target, write  # pydantic

    formats, plots = _listed(arguments.formats, _FORMATS, "--format"), _listed(arguments.plots, _PLOTS, "--plots")
    if not formats:
        raise UsageError("--format names no format", hint=f"one or more of {', '.join(_FORMATS)}")
    where = target(arguments.out, arguments.runs[0], formats)
    report = compose(read_runs(arguments.runs), arguments.ablation)
    for path in write(report, where, plots):
        print(path)
    return 0


def _listed(text: str, known: Sequence[str], option: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in known:
            raise UsageError(f"{option} {word[:40]} is not known", hint=f"one or more of {', '.join(known)}")
    return words


def _csv(runs: Sequence[Path], path: Path) -> int:
    import sys

    from neat.report.csvfile import write_csv

    if len(runs) != 1:
        raise UsageError("a table is made of one run", hint="give one run with --csv")
    if str(path) == "-":
        write_csv(runs[0], sys.stdout)
        return 0
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = write_csv(runs[0], file)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint="choose another file") from error
    print(f"{path}: {rows:,} rows")
    return 0
