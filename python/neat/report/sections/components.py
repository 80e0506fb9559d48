"""What the parts of the network did: gradients by layer, patches, halting, memory, experts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Figure, Heading, Section
from neat.report.gather import Amounts
from neat.report.plot import Bar, BarPlot, HeatPlot, Line, LinePlot
from neat.report.record import Record
from neat.report.scale import short
from neat.report.sections.shared import figure, per_run
from neat.report.series import Series

_DEPTH = re.compile(r"halting/depth_(\d+)")
_SHORT = (("patching.encoder.", "encoder "), ("patching.decoder.", "decoder "), ("latent.layers.", "latent "))


def components(runs: Sequence[Record]) -> Section:
    """Gradients, patches, halting, memory and experts of each run."""
    return Section("components", "Components", list(per_run(runs, _components)))


def _components(run: Record, prefix: str) -> Iterator[Block]:
    yield from _gradients(run, prefix)
    yield from _patches(run, prefix)
    yield from _halting(run, prefix)
    yield from _memory(run, prefix)
    yield from _others(run, prefix)


def _gradients(run: Record, prefix: str) -> Iterator[Block]:
    layers = run.amounts["grad_norm/layer"]
    if layers:
        rows = sorted(layers.totals, key=_natural)
        values = [layers.row(name) for name in rows]
        labels = [_label(name) for name in rows]
        title = "Gradient norm by layer"
        yield Figure(HeatPlot(f"{prefix}gradients", title, labels, layers.places, values, "norm"), wide=True)
    else:
        yield Absent("gradients by layer", "no `components` event; `train.diagnose_every` asks for them")
    yield from _by_name(run.amounts["grad_norm/component"], f"{prefix}component-norms", "Gradient norm by component")
    bars = [Bar(name, value) for name, value in run.parameters.items() if value]
    if bars:
        yield Figure(BarPlot(f"{prefix}parameters", "Parameters by component", bars, "parameters", horizontal=True))


def _by_name(amounts: Amounts, name: str, title: str) -> Iterator[Block]:
    lines = []
    for colour, key in enumerate(list(amounts.totals)[:8]):
        pairs = zip(amounts.places, amounts.row(key), strict=True)
        points = [(place, value) for place, value in pairs if value is not None and value > 0]
        if points:
            lines.append(Line(key, points, colour))
    if lines:
        yield Figure(LinePlot(name, title, lines, "norm", log=True))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts encoder, latent layers and decoder as data flows, and layer 10 behind layer 9."""
    place = next((str(rank) for rank, part in enumerate(("encoder", "latent", "decoder")) if part in name), "9")
    return [(0, place), *((int(word) if word.isdigit() else 0, word) for word in re.split(r"(\d+)", name))]


def _label(name: str) -> str:
    for beginning, words in _SHORT:
        if name.startswith(beginning):
            return words + name.removeprefix(beginning)
    return name


def _patches(run: Record, prefix: str) -> Iterator[Block]:
    yield Heading("Patches")
    yield from figure(
        [run],
        "step",
        [("patch/mean_length", "")],
        f"{prefix}patch-mean",
        "Positions per patch, since the beginning",
        "positions",
    )
    lengths = run.amounts["patch/lengths"]
    if not lengths:
        yield Absent("patch lengths", "no `components` event holds patch/lengths; `train.diagnose_every` asks for them")
        return
    names = sorted((name for name in lengths.totals if name.isdigit()), key=int)
    total = sum(lengths.totals[name] for name in names) or 1.0
    bars = [Bar(name, 100 * lengths.totals[name] / total) for name in _filled(names) if name in lengths.totals]
    title = f"Patch lengths, {short(total)} patches of the diagnosed steps"
    yield Figure(BarPlot(f"{prefix}patch-lengths", title, bars, "% of the patches", "positions"))


def _filled(names: Sequence[str]) -> Sequence[str]:
    return names


def _halting(run: Record, prefix: str) -> Iterator[Block]:
    yield Heading("Halting")
    depths = sorted(
        (int(match[1]), series)
        for (kind, key), series in run.series.items()
        if kind == "step" and (match := _DEPTH.fullmatch(key))
    )
    if not depths:
        yield Absent("halting", "no `step` event holds halting/depth_1: the network has no halting")
        return
    bars = [Bar(str(depth), 100 * _end_mean(series)) for depth, series in depths]
    title = "Bytes by applications of the latent transformer, last tenth of the steps"
    yield Figure(BarPlot(f"{prefix}halting", title, bars, "% of the bytes", "applications"))
    depth = [("halting/depth", "")]
    yield from figure(
        [run], "step", depth, f"{prefix}halting-depth", "Mean applications behind a prediction", "applications"
    )
    pairs = [
        ("halting/right", "right predictions"),
        ("halting/calibration_error", "calibration error"),
        ("halting/entropy", "entropy of the depths, nats"),
    ]
    yield from figure(
        [run], "step", pairs, f"{prefix}halting-right", "How well halting knows when it is right", "share", zero=True
    )


def _end_mean(series: Series) -> float:
    """Mean of the last tenth of a curve."""
    trend = series.trend()
    end = trend[-max(1, len(trend) // 10) :]
    return sum(value for _, value in end) / len(end)


def _memory(run: Record, prefix: str) -> Iterator[Block]:
    yield Heading("Memory")
    keys = sorted({key for kind, key in run.series if kind == "components" and key.startswith("memory/")})
    if not keys:
        yield Absent("memory", "no `components` event holds a figure of a memory")
        return
    shares = [
        key
        for key in keys
        if run.metric("components", key).greatest[1] <= _SHARE and run.metric("components", key).least[1] >= 0
    ]
    named = [(key, key.removeprefix("memory/").replace("_", " ")) for key in shares[:8]]
    yield from figure([run], "components", named, f"{prefix}memory", "Memory: shares and rates", "", zero=True)
    for key in [key for key in keys if key not in shares][:6]:
        title = f"Memory: {key.removeprefix('memory/').replace('_', ' ')}"
        yield from figure([run], "components", [(key, "")], f"{prefix}{_file(key)}", title, "")


_SHARE = 1.5


def _others(run: Record, prefix: str) -> Iterator[Block]:
    keys = sorted(
        {
            key
            for kind, key in run.series
            if kind == "step" and key.split("/")[0] in ("expert", "svf", "activation", "latent")
        }
    )
    if keys:
        yield Heading("Experts and parts that take turns")
    for key in keys[:8]:
        yield from figure([run], "step", [(key, "")], f"{prefix}{_file(key)}", key, "", zero=True)


def _file(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower())
