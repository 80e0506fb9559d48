"""The first page: how far each run is, and the figures that people ask for first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from neat.report.document import NOT_MEASURED, Block, Facts, Section, Table
from neat.report.record import Record
from neat.report.scale import binary, duration, number, short
from neat.report.sections.shared import measured, moment
from neat.report.series import is_number


def overview(runs: Sequence[Record]) -> Section:
    """Key figures: as tiles for one run, as a table with a column for each of several."""
    blocks: list[Block] = []
    if len(runs) == 1:
        blocks.append(Facts(figures(runs[0])))
    else:
        found = [dict(figures(run)) for run in runs]
        rows = [[name, *(column[name] for column in found)] for name in found[0]]
        blocks.append(Table(["", *(run.label for run in runs)], rows, frozenset(range(1, len(runs) + 1))))
    return Section("overview", "Overview", blocks)


def state(run: Record) -> str:
    """A sentence on what became of a run: from its lock, its last `end` event, and the age of the last event."""
    if run.last is None:
        return "it has no events"
    age = duration(max(0.0, run.made - run.last.time))
    if run.held:
        return f"running; last event {age} before this report"
    end = run.last_row("end")
    begun = run.last_row("run")
    if end and end["time"] >= begun.get("time", 0.0):  # type: ignore[operator]
        return f"{end.get('reason')}, {moment(run.last.time)}"
    return f"ended without a word (killed, or out of memory); last event {moment(run.last.time)}"


def figures(run: Record) -> list[tuple[str, str]]:
    """Names and values of the key figures; the names are the same for every run."""
    total = run.final("step", "train/total_steps")
    facts = run.last_row("run")
    held_out = run.metric("eval", "eval/bpb")
    return [
        ("held-out bits per byte", measured(run.final("eval", "eval/bpb"), _bits)),
        (
            "best held out",
            f"{_bits(held_out.least[1])} (step {number(int(held_out.least[0]))})" if held_out else NOT_MEASURED,
        ),
        ("n-gram model", measured(run.final("eval", "eval/ngram_bpb"), _bits)),
        ("training bits per byte", measured(run.final("step", "train/bpb"), _bits)),
        ("steps", number(run.step) + (f" of {number(int(total))}" if total else "")),
        ("bytes trained on", measured(run.final("step", "train/bytes"), short)),
        ("time alive", duration(run.alive_s)),
        ("bytes per second", measured(_mean(run, "step", "perf/bytes_per_s"), short)),
        ("GPU utilisation, mean", _over_gpus(run, "utilisation", "mean", lambda value: f"{value:.0f} %")),
        ("GPU memory, most", _over_gpus(run, "memory_used_bytes", "most", binary)),
        ("process memory, most", _most(run, "host/process_bytes", binary)),
        ("parameters", short(facts["parameters"]) if is_number(facts.get("parameters")) else NOT_MEASURED),  # type: ignore[arg-type]
        ("device", str(facts.get("device", NOT_MEASURED))),
        ("backward passes", measured(run.final("step", "perf/backward_passes"), lambda value: number(int(value)))),
        ("jumps taken, refused", f"{run.jumps[True]:,}, {run.jumps[False]:,}" if run.jumps else NOT_MEASURED),
        ("rollbacks", number(run.rows["rollback"].count) if run.lanes else NOT_MEASURED),
        ("updates skipped", measured(run.final("step", "train/skipped_steps"), lambda value: number(int(value)))),
        ("alerts", number(run.rows["alert"].count)),
    ]


def _bits(value: float) -> str:
    return f"{value:.4f}"


def _mean(run: Record, kind: str, key: str) -> float | None:
    series = run.metric(kind, key)
    return series.mean if series else None


def _most(run: Record, key: str, form: Callable[[float], str]) -> str:
    series = run.metric("system", key)
    return form(series.greatest[1]) if series else NOT_MEASURED


def gpus(run: Record) -> Iterator[str]:
    """The numbers of the GPUs that were seen, as text."""
    seen = {
        key.split("/")[1]
        for kind, key in run.series
        if kind == "system" and key.startswith("gpu/") and key.count("/") == 2
    }
    yield from sorted(seen, key=lambda name: (len(name), name))


def _over_gpus(run: Record, what: str, which: str, form: Callable[[float], str]) -> str:
    found = [run.metric("system", f"gpu/{gpu}/{what}") for gpu in gpus(run)]
    values = [series.mean if which == "mean" else series.greatest[1] for series in found if series]
    if not values:
        return NOT_MEASURED
    return ", ".join(form(value) for value in values)
