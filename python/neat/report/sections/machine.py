"""Speed, and what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Figure, Section, Table
from neat.report.plot import Bar, BarPlot, Line, LinePlot
from neat.report.record import Record
from neat.report.scale import binary, duration, number
from neat.report.sections.overview import gpus
from neat.report.sections.shared import curve, figure, per_run
from neat.report.series import Series

_GIB = 2.0**30


def machine(runs: Sequence[Record]) -> Section:
    """Throughput of all runs, then time by part and the machine of each."""
    blocks: list[Block] = []
    for key, name, title, unit in (
        ("perf/bytes_per_s", "throughput", "Throughput", "bytes per second"),
        ("perf/step_s", "step-time", "Time of a step", "seconds"),
    ):
        found = list(figure(runs, "step", [(key, "")], name, title, unit, zero=True))
        blocks += found or [Absent(title.lower(), f"no `step` event holds {key}")]
    blocks += per_run(runs, _machine)
    return Section("machine", "Speed and machine", blocks)


def _machine(run: Record, prefix: str) -> Iterator[Block]:
    yield from _time_by_part(run, prefix)
    yield from _waiting(run)
    if not run.counts["system"]:
        yield Absent("GPU, memory, power", "there is no `system` event")
        return
    if not list(gpus(run)):
        yield Absent("GPU", "no `system` event names a GPU")
    for name, title, unit, key, scale in (
        ("utilisation", "GPU utilisation", "%", "utilisation", 1.0),
        ("gpu-memory", "GPU memory in use", "GiB", "memory_used_bytes", _GIB),
        ("power", "GPU power", "W", "power_w", 1.0),
        ("temperature", "GPU temperature", "°C", "temperature_c", 1.0),
    ):
        lines = [
            line
            for index, gpu in enumerate(gpus(run))
            for line in _scaled(run.metric("system", f"gpu/{gpu}/{key}"), f"GPU {gpu}", index % 8, scale)
        ]
        yield from _over_time(f"{prefix}{name}", title, lines, unit)
    yield from _over_time(
        f"{prefix}host-cpu", "Processor", _scaled(run.metric("system", "host/cpu"), "all cores", 0, 1.0), "%"
    )
    memory = _scaled(run.metric("system", "host/process_bytes"), "this process", 0, _GIB)
    memory += _scaled(run.metric("system", "host/memory_used_bytes"), "whole machine", 6, _GIB)
    yield from _over_time(f"{prefix}host-memory", "Memory of the host", memory, "GiB")
    yield _system_table(run)


def _time_by_part(run: Record, prefix: str) -> Iterator[Block]:
    shares = run.amounts["time/share"]
    if not shares:
        yield Absent("time by part", "no `components` event holds time/share; `train.diagnose_every` asks for them")
        return
    total = sum(shares.totals.values()) or 1.0
    ordered = sorted(shares.totals.items(), key=lambda item: -item[1])
    bars = [Bar(name, 100 * value / total, 1 if name.endswith("backward") else 0) for name, value in ordered]
    title = "Time of a step by part, mean of the diagnosed steps"
    yield Figure(BarPlot(f"{prefix}time-share", title, bars, "% of the step", horizontal=True))


def _waiting(run: Record) -> Iterator[Block]:
    waited, padding, epoch = (run.final("step", key) for key in ("data/wait_s", "data/padding", "data/epoch"))
    rows = []
    if waited is not None:
        share = f" ({100 * waited / run.alive_s:.1f} % of the time alive)" if run.alive_s else ""
        rows.append(["waited for rows, last attempt", duration(waited) + share])
    if padding is not None:
        rows.append(["padding among all positions", f"{100 * padding:.2f} %"])
    if epoch is not None:
        rows.append(["passes over the data", number(epoch)])
    if rows:
        yield Table(("data", ""), rows, frozenset({1}))


def _scaled(series: Series, name: str, colour: int, unit: float) -> list[Line]:
    if not series:
        return []
    return [
        Line(line.name, [(x, y / unit) for x, y in line.points], line.colour, line.style)
        for line in curve(series, name, colour)
    ]


def _over_time(name: str, title: str, lines: Sequence[Line], unit: str) -> Iterator[Block]:
    if lines:
        yield Figure(LinePlot(name, title, lines, unit, x_label="hours alive", zero=True))


def _system_table(run: Record) -> Table:
    rows = []
    for (kind, key), series in sorted(run.series.items()):
        if kind == "system":
            form = binary if key.endswith("_bytes") else number
            rows.append(
                [key, *(form(value) for value in (series.mean, series.least[1], series.greatest[1], series.last[1]))]
            )
    names = ", ".join(f"{key.removesuffix('/name')}: {value}" for key, value in sorted(run.names.items()))
    caption = f"{run.counts['system']:,} samples of the machine. {names}".strip()
    return Table(("measured", "mean", "least", "most", "last"), rows, frozenset({1, 2, 3, 4}), caption)
