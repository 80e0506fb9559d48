"""Overview: where the run is, how well and how fast it learns, and what needs a person."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import amount, duration, number, percent, size
from neat.monitor.plot import Band, Line, draw, fit
from neat.monitor.screens.base import LOW, NARROW, Context, Screen, column_means, facts, message, sparkline
from neat.monitor.screens.news import draw_news
from neat.monitor.screens.ribbon import draw_ribbon, phase_spans, window_spans
from neat.monitor.series import line, x_range
from neat.monitor.snapshot import Snapshot
from neat.monitor.theme import LETTERS, SERIES

_NATS_PER_BIT = math.log(2)
_RECENT = 8
"""Reports whose mean is where a forecast begins."""
Row = tuple[str, str, str]


class Overview(Screen):
    """The first screen."""

    name = "overview"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Ribbon, loss, figures, alerts."""
        area, run = canvas.area, context.run
        if canvas.width < NARROW or canvas.height < LOW - 4:
            self._small(canvas, area, context)
            return
        tall = canvas.height >= LOW + 6
        ribbon_height = 3 + bool(phase_spans(run)) + bool(tall and run.events.get("jump")) + bool(window_spans(run))
        ribbon, rest = _top(area, ribbon_height)
        inside = canvas.frame(ribbon, "Phases" if run.events.get("phase") else "Course", _course_note(run))
        draw_ribbon(canvas, inside, run)
        side = max(34, min(52, canvas.width // 3))
        left = Rect(rest.x, rest.y, rest.width - side, rest.height)
        right = Rect(rest.x + left.width, rest.y, side, rest.height)
        below = 8 if tall else 0
        loss_panel(canvas, Rect(left.x, left.y, left.width, left.height - below), context)
        if below:
            self._strip(canvas, Rect(left.x, left.y + left.height - below, left.width, below), context)
        self._side(canvas, right, run)

    def _small(self, canvas: Canvas, area: Rect, context: Context) -> None:
        run = context.run
        draw_ribbon(canvas, Rect(1, 0, area.width - 2, 2), run)
        figures = [*_progress(run)[:3], *_quality(run)[:2], *_speed(run)[:2]]
        height = (len(figures) + 1) // 2
        chart = Rect(0, 2, area.width, max(4, area.height - 3 - height))
        loss_panel(canvas, chart, context)
        halves = Rect(1, chart.y + chart.height, area.width - 2, height).columns(0.5, 0.5)
        facts(canvas, halves[0], figures[:height], 10)
        facts(canvas, halves[1], figures[height:], 12)
        draw_news(canvas, Rect(1, area.height - 1, area.width - 2, 1), run)

    def _strip(self, canvas: Canvas, area: Rect, context: Context) -> None:
        """Three small charts: learning rate, gradient norm, throughput."""
        names = [("learning rate", "optim/lr"), ("gradient norm", "optim/grad_norm"), ("bytes/s", "perf/bytes_per_s")]
        for part, (title, name) in zip(area.columns(1, 1, 1), names, strict=True):
            small_chart(canvas, part, context, title, name)

    def _side(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        parts = [("Progress", _progress(run), 1), ("Quality", _quality(run), 0), ("Speed", _speed(run), 1)]
        y, left = area.y, area.height
        for title, rows, extra in parts:
            height = min(len(rows) + extra + 2, left - 3)
            if height < 3:
                break
            inside = canvas.frame(Rect(area.x, y, area.width, height), title)
            if title == "Progress":
                share = run.step / run.total if run.total else 0.0
                canvas.bar(Rect(inside.x, inside.y, inside.width - 6, 1), share)
                canvas.put_right(inside.x + inside.width, inside.y, percent(share), "title bold")
                inside = Rect(inside.x, inside.y + 1, inside.width, inside.height - 1)
            end = facts(canvas, inside, rows, 12)
            if title == "Speed" and end < inside.y + inside.height:
                means = column_means(run, "perf/bytes_per_s", inside.width)
                canvas.put(inside.x, end, sparkline(means, inside.width, 0.0).lstrip(), "line3")
            y, left = y + height, left - height
        inside = canvas.frame(Rect(area.x, y, area.width, left), "Alerts", str(len(run.alerts)) if run.alerts else "")
        draw_news(canvas, inside, run)


def loss_panel(canvas: Canvas, area: Rect, context: Context) -> None:
    """Bits per byte of training and of held-out text, with the forecast ahead."""
    run = context.run
    inside = canvas.frame(area, "Bits per byte", _loss_note(run))
    dots = max(2, (inside.width - 8) * 2)
    low, high = x_range([run], context.looks.view)
    bands = [] if context.looks.view.by_time else [band for band in [forecast(run)] if band]
    if bands and context.looks.view.high is None and run.cursor is None:
        high = max(high, bands[0].points[-1][0])
    lines = overlaid(context, "train/bpb", low, high, dots)
    held_out = run.metrics.get("eval/bpb")
    if held_out is not None:
        found = line(run, held_out, low, high, dots, style="line2", by_time=context.looks.view.by_time)
        lines += [replace(part, style="line2 bold", marker="◆") for part in found]
    if bands:
        middles = [(x, (bottom + top) / 2) for x, bottom, top in bands[0].points]
        lines.append(Line([(x, middle, middle) for x, middle in middles], "info"))
    axes = fit(lines, bands, low, high, log=context.looks.log)
    if axes is None:
        message(canvas, inside, ["no step has been reported yet", run.health.text])
        return
    marks = [(float(event.step), "▪", "good") for event in run.events.get("checkpoint", ())]
    by_time = context.looks.view.by_time
    draw(canvas, inside, axes, lines, bands, [] if by_time else marks, seconds=by_time)


def overlaid(context: Context, name: str, low: float, high: float, dots: int) -> list[Line]:
    """A metric of the run in front, above those of the other runs where they are overlaid."""
    looks, found = context.looks, []
    several = len(context.snapshots) > 1 and looks.overlay
    places = [place for place in range(len(context.snapshots)) if several or place == context.front]
    for place in sorted(places, key=lambda place: place == context.front):
        run = context.snapshots[place]
        metric = run.metrics.get(name)
        if metric is not None:
            found += line(
                run, metric, low, high, dots,
                style=SERIES[place % len(SERIES)] if several else "line1",
                by_time=looks.view.by_time, smoothing=looks.smoothing_share,
                letter=LETTERS[place % len(LETTERS)] if several else "",
            )  # fmt: skip
    return found


def small_chart(canvas: Canvas, area: Rect, context: Context, title: str, name: str) -> None:
    """One metric in a frame, with its newest value."""
    inside = canvas.frame(area, title, number(context.run.last(name)))
    low, high = x_range([context.run], context.looks.view)
    lines = overlaid(context, name, low, high, max(2, (inside.width - 8) * 2))
    axes = fit(lines, [], low, high, log=False)
    if axes is None:
        message(canvas, inside, ["n/a"])
    else:
        draw(canvas, inside, axes, lines, seconds=context.looks.view.by_time)


def forecast(run: Snapshot) -> Band | None:
    """What the dynamics model expects ahead: mean and two standard deviations, in bits per byte."""
    event = run.latest("dynamics")
    metric = run.metrics.get("train/bpb")
    if event is None or metric is None:
        return None
    with run.store.lock:
        stop = metric.rows(0, event.step)[1]
        recent = metric.table.extent(metric.column, stop - _RECENT, stop).mean
    if not math.isfinite(recent):
        return None
    lists = [event.data.get(key) for key in ("horizons", "forecast/mean", "forecast/sigma")]
    if not all(isinstance(part, list) for part in lists):
        return None
    points = [(float(event.step), recent, recent)]
    for ahead, mean, sigma in zip(*lists, strict=False):
        if all(isinstance(value, int | float) for value in (ahead, mean, sigma)):
            middle, reach = mean / _NATS_PER_BIT, 2 * sigma / _NATS_PER_BIT
            points.append((event.step + float(ahead), middle - reach, middle + reach))
    return Band(sorted(points)) if len(points) > 1 else None


def _top(area: Rect, height: int) -> tuple[Rect, Rect]:
    return Rect(area.x, area.y, area.width, height), Rect(area.x, area.y + height, area.width, area.height - height)


def _course_note(run: Snapshot) -> str:
    jumps = run.events.get("jump", ())
    if not jumps:
        return ""
    accepted = sum(bool(event.data.get("accepted")) for event in jumps)
    back = len(run.events.get("rollback", ()))
    return f"▲ {accepted} jumps  × {len(jumps) - accepted} refused  ▼ {back} rolled back"


def _loss_note(run: Snapshot) -> str:
    value = run.last("train/bpb")
    return "" if value is None else f"train {number(value)}"


def _progress(run: Snapshot) -> list[Row]:
    total, step_s = run.total, _step_s(run)
    rows = [("step", f"{run.step:,}" + (f" of {total:,}" if total else ""), "title bold")]
    if run.cursor is not None:
        rows.append(("replay", "] forward  \\ leave", "warn"))
    elif run.health.state == "finished":
        rows.append(("left", "nothing: finished", "good"))
    else:
        rest = None if total is None or step_s is None else (total - run.step) * step_s
        ends = "" if rest is None else time.strftime("  at %H:%M", time.localtime(run.now + rest))
        rows.append(("left", (duration(rest) if rest is not None else "n/a") + ends, ""))
    epoch = run.last("data/epoch")
    rows.append(("data", f"{size(run.last('train/bytes'))}, epoch {number(epoch, 3)}", ""))
    window = run.last("train/window")
    if window is not None:
        rows.append(("window", f"{window:.0f} positions", ""))
    skipped = run.last("train/skipped_steps")
    if skipped:
        rows.append(("skipped", f"{skipped:.0f} steps", "warn"))
    return rows


def _step_s(run: Snapshot) -> float | None:
    metric = run.metrics.get("perf/step_s")
    if metric is None:
        return None
    with run.store.lock:
        stop = run.rows(metric)
        mean = metric.table.extent(metric.column, stop - 20, stop).mean
    return mean if math.isfinite(mean) else None


def _quality(run: Snapshot) -> list[Row]:
    rows = [("train", f"{number(run.last('train/bpb'))} bpb", "line1 bold")]
    held_out, ngram = run.last("eval/bpb"), run.last("eval/ngram_bpb")
    if held_out is not None:
        rows.append(("held-out", f"{number(held_out)} bpb", "line2 bold"))
    if held_out is not None and ngram is not None:
        better = "better" if held_out < ngram else "worse"
        style = "good" if held_out < ngram else "warn"
        rows.append(("n-gram", f"{number(ngram)}, {abs(held_out - ngram):.3f} {better}", style))
    accuracy = run.last("eval/accuracy")
    if accuracy is not None:
        rows.append(("right", f"{percent(accuracy)}, base {percent(run.last('eval/base_accuracy'))}", ""))
    rows.append(("gradient", f"norm {number(run.last('optim/grad_norm'), 3)}", ""))
    rows.append(("rate", number(run.last("optim/lr"), 3), ""))
    confidence = run.last("phase/confidence")
    if confidence is not None:
        rows.append(("confidence", percent(confidence), ""))
    return rows


def _speed(run: Snapshot) -> list[Row]:
    rate, step_s = run.last("perf/bytes_per_s"), run.last("perf/step_s")
    rows = [
        ("throughput", amount(rate, "B/s"), "line3 bold"),
        ("step", "n/a" if step_s is None else f"{step_s * 1e3:.0f} ms", ""),
        ("MFU", percent(run.last("perf/mfu")), ""),
    ]
    utilisation = run.last("gpu/0/utilisation")
    if utilisation is not None:
        temperature = run.last("gpu/0/temperature_c")
        rows.append(("GPU", f"{percent(utilisation)}, {number(temperature)} °C", ""))
    wait, backward = run.last("data/wait_s"), run.last("perf/backward_passes")
    rows.append(("data wait", duration(wait) if wait is None or wait >= 1 else f"{wait * 1e3:.0f} ms", ""))
    if backward is not None:
        rows.append(("backward", f"{backward:,.0f} passes", ""))
    return rows
