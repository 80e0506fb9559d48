"""Makes a report: reads the runs, puts the sections together, writes the files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neat.errors import UsageError
from neat.report import html, markdown
from neat.report.document import Report
from neat.report.plot import Plot
from neat.report.png import draw, require
from neat.report.record import Record, read_run
from neat.report.sections.ablation import ablation
from neat.report.sections.components import components
from neat.report.sections.files import alerts, checkpoints, metrics
from neat.report.sections.forecast import forecast
from neat.report.sections.loss import loss
from neat.report.sections.machine import machine
from neat.report.sections.optimisation import optimisation
from neat.report.sections.overview import overview, state
from neat.report.sections.phases import phases
from neat.report.sections.samples import samples
from neat.report.sections.setting import configuration, environment
from neat.report.svg import render

FORMATS = ("html", "md")
PLOT_FORMATS = ("png", "svg")
MAX_RUNS = 8
"""Runs in one report: as many as there are colours."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a report goes: `folder` for the plots, `files` by format."""

    folder: Path
    files: dict[str, Path]


def read_runs(roots: Sequence[Path]) -> list[Record]:
    """The records of several run directories, with labels that differ.

    Raises:
        CheckpointError: There is no run, or none of its events can be read.
        UsageError: Too many runs, or one twice.
    """
    if len(roots) > MAX_RUNS:
        raise UsageError(f"{len(roots)} runs are too many for one report", hint=f"compare at most {MAX_RUNS}")
    if len({root.resolve() for root in roots}) < len(roots):
        raise UsageError("a run is named twice", hint="name each run once")
    runs = [read_run(root) for root in roots]
    labels = [run.label for run in runs]
    for index, (run, root) in enumerate(zip(runs, roots, strict=True), 1):
        if labels.count(run.label) > 1:
            run.label = root.resolve().name[:60]
        if [other.label for other in runs].count(run.label) > 1:
            run.label = f"{run.label} {index}"
    return runs


def compose(runs: Sequence[Record], ablation_file: Path | None = None) -> Report:
    """All sections of a report of one or several runs."""
    title = " · ".join(run.label for run in runs)
    lead = "; ".join(f"{run.label}: {state(run)}" if len(runs) > 1 else state(run) for run in runs)
    made = datetime.datetime.fromtimestamp(runs[0].made, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    read = ", ".join(f"{run.read:,} events of {run.paths.root}" for run in runs)
    sections = (
        overview(runs), loss(runs), phases(runs), forecast(runs), optimisation(runs), machine(runs), components(runs),
        ablation(runs, ablation_file), samples(runs), configuration(runs), environment(runs), checkpoints(runs),
        alerts(runs), metrics(runs),
    )  # fmt: skip
    return Report(title, lead, f"Made {made} from {read}.", sections)


def target(out: Path | None, first: Path, formats: Sequence[str]) -> Target:
    """Where the files go: `out` is a folder, or a file where one format is wanted; without it RUN/report."""
    folder = first / "report" if out is None else out
    suffix = folder.suffix.removeprefix(".")
    if out is not None and suffix in FORMATS and not out.is_dir():
        if list(formats) != [suffix]:
            raise UsageError(
                f"{out} is one file, but the report has the formats {', '.join(formats)}",
                hint=f"add --format {suffix}, or name a folder",
            )
        return Target(out.parent, {suffix: out})
    return Target(folder, {form: folder / f"report.{form}" for form in formats})


def write(report: Report, where: Target, plot_formats: Sequence[str] = ()) -> list[Path]:
    """Writes plots and files; returns the paths of the files, then of the plots.

    Raises:
        UsageError: A file cannot be written; matplotlib is missing for PNG.
    """
    if "png" in plot_formats:
        require()
    plots = [path for form in plot_formats for path in _write_plots(report.plots, where.folder / "plots", form)]
    # Where there are both, Markdown shows the sharper ones.
    links = {path.stem: f"plots/{path.name}" for path in sorted(plots, key=lambda path: path.suffix)}
    for form, path in where.files.items():
        _write(path, html.page(report) if form == "html" else markdown.markdown(report, links))
    return [*where.files.values(), *plots]


def _write_plots(plots: Sequence[Plot], folder: Path, form: str) -> list[Path]:
    paths = []
    for plot in plots:
        path = folder / f"{plot.name}.{form}"
        if form == "png":
            _make(path.parent)
            draw(plot, path)
        else:
            _write(path, [render(plot, standalone=True)])
        paths.append(path)
    return paths


def _write(path: Path, pieces: Iterable[str]) -> None:
    _make(path.parent)
    try:
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(pieces)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint="choose another --out") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}", hint="choose another --out") from error
