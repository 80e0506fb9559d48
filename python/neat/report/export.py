"""The course of a run in two small files for others: a picture of the loss and thinned-out metrics.

Both hold numbers of training and evaluation only: no text, paths, host names or configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from neat.events.schema import Event, encode
from neat.report.plot import Level, Line, LinePlot
from neat.report.series import Series, is_number, is_rough, smoothed
from neat.report.source import Course, open_paths
from neat.report.svg import render


def loss_svg(run_dir: Path) -> str:
    """A self-contained SVG file of bits per byte over steps: training, held-out text, the n-gram yardstick.

    Raises:
        CheckpointError: There is no run, or none of its events can be read.
    """
    series = {key: Series() for key in ("train/bpb", "eval/bpb", "eval/ngram_bpb")}
    for event in Course(open_paths(run_dir).events):
        if event.type in ("step", "eval"):
            for key in series:
                value = event.data.get(key)
                if is_number(value):
                    series[key].add(event.step, value)
    return render(loss_plot(series), 720, 320, standalone=True)


def loss_plot(series: Mapping[str, Series], title: str = "Bits per byte") -> LinePlot:
    """Bits per byte over steps, from the series of that name; those that are missing or empty are left out."""
    train, held_out = (series[key].points() if key in series else [] for key in ("train/bpb", "eval/bpb"))
    lines = []
    if train:
        lines.append(Line("training", train, 0, "faint" if is_rough(train) else "line"))
    if is_rough(train):
        lines.append(Line("training, smoothed", smoothed(series["train/bpb"].trend()), 0))
    if held_out:
        lines.append(Line("held out", held_out, 1, "dots"))
    yardstick = series["eval/ngram_bpb"] if "eval/ngram_bpb" in series else Series()
    levels = [Level("n-gram model", yardstick.last[1])] if yardstick else []
    return LinePlot("loss", title, lines, "bits per byte", levels=levels)


def decimated_metrics(run_dir: Path, limit: int) -> Iterator[bytes]:
    """At most `limit` lines of JSON, newline included: `step` and `eval` events as `events.jsonl` has them.

    The last evaluation is always among them. Where there are more than `limit`, steps are thinned out evenly, the first
    and the last kept; evaluations give up places only when they alone are more than half.

    Raises:
        CheckpointError: There is no run, or none of its events can be read.
        ValueError: `limit` is less than 2.
    """
    if limit < 2:
        raise ValueError(f"a limit of {limit} lines leaves no room for a first and a last step")
    paths = open_paths(run_dir)
    counts = dict.fromkeys(_KEPT_TYPES, 0)
    for event in Course(paths.events):
        if event.type in counts:
            counts[event.type] += 1
    evaluations = min(counts["eval"], max(limit // 2, limit - counts["step"]))
    room = {"eval": evaluations, "step": limit - evaluations}
    seen = dict.fromkeys(_KEPT_TYPES, 0)
    for event in Course(paths.events):
        # The run may have grown since it was counted.
        if event.type in counts and seen[event.type] < counts[event.type]:
            if _is_kept(seen[event.type], counts[event.type], room[event.type]):
                yield encode(_numbers_of(event))
            seen[event.type] += 1


_KEPT_TYPES = ("step", "eval")


def _is_kept(index: int, count: int, room: int) -> bool:
    """Whether the element at `index` is among `room` of `count` ones that are spread evenly, the last among them."""
    if room >= count:
        return True
    if room <= 1:
        return room == 1 and index == count - 1
    return index * (room - 1) // (count - 1) != (index - 1) * (room - 1) // (count - 1)


def _numbers_of(event: Event) -> Event:
    """The event without what is not a number, a phase or the note of numbers that were not finite."""
    data: dict[str, object] = {key: value for key, value in event.data.items() if is_number(value) or value is None}
    phase = event.data.get("train/phase")
    if isinstance(phase, str) and phase in PHASES:
        data["train/phase"] = phase
    return Event(event.seq, event.time, event.mono, event.type, event.step, data)


PHASES = ("WARMUP", "FULL", "PREDICT", "CORRECT")
"""The states of hybrid prediction, in the order in which they are shown."""
