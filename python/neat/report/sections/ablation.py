"""Bars of an ablation: from a file of results, and from the probes of tuning."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from neat.errors import DataError
from neat.report.document import Absent, Block, Figure, Section, Table
from neat.report.plot import Bar, BarPlot
from neat.report.record import Record
from neat.report.scale import number
from neat.report.sections.shared import per_run, rows_table
from neat.report.series import is_number

NAMES = ("arm", "lever", "model", "name")
METRICS = ("bpb", "eval/bpb", "loss", "accuracy", "solved")
_MAX_BYTES = 16 * 2**20


def ablation(runs: Sequence[Record], file: Path | None) -> Section:
    """The arms of a file of results as bars, where one was given; then the probes of each run."""
    blocks: list[Block] = list(_bars(file)) if file else [Absent("ablation", "no file was given by --ablation")]
    blocks += per_run(runs, _probes)
    return Section("ablation", "Ablation and probes", blocks)


def _bars(file: Path) -> Iterator[Block]:
    metric, arms = read_arms(file)
    first = next(iter(arms))
    base = statistics.fmean(arms[first])
    bars, rows = [], []
    for name, values in arms.items():
        mean, error = statistics.fmean(values), _error(values)
        bars.append(Bar(name, mean - base, 6 if name == first else 0, error))
        rows.append(
            [
                name,
                number(mean),
                number(mean - base),
                "one run" if error is None else number(error),
                number(len(values)),
            ]
        )
    title = f"{metric} of each arm minus that of {first}"
    caption = "The lines are standard errors of the arm, where it has several runs."
    yield Figure(
        BarPlot("ablation", title, bars, f"difference in {metric}", horizontal=True), wide=True, caption=caption
    )
    columns = ("arm", metric, f"minus {first}", "standard error", "runs")
    yield Table(columns, rows, frozenset({1, 2, 3, 4}), f"From {file.name}")


def _error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def read_arms(file: Path) -> tuple[str, dict[str, list[float]]]:
    """The metric of a file of results and its values by arm, in the order of the file.

    The file is a JSON object whose `results` is a list of objects, each with a name (`arm`, `lever`, `model` or
    `name`) and the metric, which `metric` names or which is the first there of bpb, eval/bpb, loss, accuracy, solved.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    hint = 'it looks like {"results": [{"arm": "without memory", "seed": 0, "bpb": 1.71}, …]}'
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DataError(f"{file} is too large for a list of results", hint=hint)
        table = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON", hint=hint) from error
    results = table.get("results") if isinstance(table, dict) else None
    rows = [row for row in results if isinstance(row, Mapping)] if isinstance(results, list) else []
    wanted = table.get("metric") if isinstance(table, dict) else None
    names = (wanted,) if isinstance(wanted, str) else METRICS
    metric = next((name for name in names if any(is_number(row.get(name)) for row in rows)), None)
    if metric is None:
        raise DataError(f"{file} holds no results", hint=hint)
    arms: dict[str, list[float]] = {}
    for row in rows:
        name = next((str(row[key]) for key in NAMES if key in row), "unnamed")[:80]
        value = row.get(metric)
        if is_number(value) and (name in arms or len(arms) < _MAX_ARMS):
            arms.setdefault(name, []).append(value)
    return metric, arms


_MAX_ARMS = 60


def _probes(run: Record, _: str) -> Iterator[Block]:
    if not run.rows["probe"]:
        yield Absent("probes", "there is no `probe` event: nothing was tuned or tested on the side")
        return
    columns = [
        ("step", "step"), ("purpose", "purpose"), ("name", "name"), ("changes", "changes"), ("steps", "steps"),
        ("loss", "loss"), ("baseline", "baseline"), ("± difference", "error"), ("outcome", "outcome"),
        ("reason", "reason"),
    ]  # fmt: skip
    yield rows_table(run.rows["probe"], columns, "Short forked runs, of tuning and of credit tests.")
