"""Machine: GPU, processor, memory and disk over the run; what the machine cannot tell is n/a, never 0."""

from __future__ import annotations

import math
import re

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number, percent, short, size
from neat.monitor.screens.base import Context, Screen, column_means, message, sparkline
from neat.monitor.snapshot import Snapshot

_GPU = re.compile(r"gpu/(\d+)/")
_GPU_ROWS = 5
_SCARCE = frozenset({"memory", "trainer", "temperature"})
"""What a bar in the colour of trouble warns of when it is nearly full."""


class Machine(Screen):
    """From `system` events."""

    name = "machine"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """A panel per GPU, then the host."""
        run, area = context.run, canvas.area
        gpus = _gpus(run)
        host_height = min(8, area.height)
        y, left = area.y, area.height - host_height
        shown = max(1, min(len(gpus), left // 4)) if gpus else 1
        height = max(3, left // shown) if gpus else min(5, left)
        height = min(height, _GPU_ROWS + 2)
        for index in gpus[:shown]:
            self._gpu(canvas, Rect(area.x, y, area.width, height), run, index)
            y += height
        if not gpus:
            inside = canvas.frame(Rect(area.x, y, area.width, height), "GPU")
            message(canvas, inside, ["GPU: n/a", _why_no_gpu(run)])
            y += height
        host = Rect(area.x, y, area.width, host_height)
        self._host(canvas, host, run)
        rest = area.height - (y - area.y) - host_height
        if rest >= 4:
            self._about(canvas, Rect(area.x, y + host_height, area.width, rest), run)

    def _gpu(self, canvas: Canvas, area: Rect, run: Snapshot, index: int) -> None:
        key = f"gpu/{index}/"
        name = run.text("system", f"{key}name")
        mean = _mean(run, f"{key}utilisation")
        inside = canvas.frame(area, f"GPU {index}  {name}".rstrip(), f"mean utilisation {percent(mean)}")
        used, total = run.last(f"{key}memory_used_bytes"), run.last(f"{key}memory_total_bytes")
        power, limit = run.last(f"{key}power_w"), run.last(f"{key}power_limit_w")
        utilisation, celsius = run.last(f"{key}utilisation"), run.last(f"{key}temperature_c")
        rows = [
            ("utilisation", utilisation, percent(utilisation), f"{key}utilisation", 1.0),
            ("memory", _share(used, total), _of(size(used), size(total)), f"{key}memory_used_bytes", total),
            ("power", _share(power, limit), _of(_watts(power), _watts(limit)), f"{key}power_w", limit),
            ("temperature", _share(celsius, 100.0), f"{number(celsius)} °C", f"{key}temperature_c", 100.0),
        ]
        for place, row in enumerate(rows[: inside.height]):
            _gauge(canvas, Rect(inside.x, inside.y + place, inside.width, 1), run, *row)
        if inside.height > len(rows):
            event = run.latest("system")
            reasons = None if event is None else event.data.get(f"{key}throttle")
            text = ", ".join(map(str, reasons)) if isinstance(reasons, list) else None
            style = "warn" if text else "good" if text == "" else "dim"
            canvas.put(inside.x, inside.y + len(rows), "throttled", "dim")
            canvas.put(inside.x + 13, inside.y + len(rows), "n/a" if text is None else text or "no", style)

    def _host(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        record = run.record.get("machine")
        machine = record if isinstance(record, dict) else {}
        inside = canvas.frame(area, f"Host  {machine.get('host', '')}".rstrip(), f"{machine.get('cores', '?')} cores")
        cpu = run.last("host/cpu")
        used, total = run.last("host/memory_used_bytes"), run.last("host/memory_total_bytes")
        process, free = run.last("host/process_bytes"), run.last("disk/free_bytes")
        rows = [
            ("processor", cpu, percent(cpu), "host/cpu", 1.0),
            ("memory", _share(used, total), _of(size(used), size(total)), "host/memory_used_bytes", total),
            ("trainer", _share(process, total), size(process), "host/process_bytes", total),
            ("disk free", None, size(free), "disk/free_bytes", None),
        ]
        for place, row in enumerate(rows[: inside.height]):
            _gauge(canvas, Rect(inside.x, inside.y + place, inside.width, 1), run, *row)
        wait, step_s = run.last("data/wait_s"), run.last("perf/step_s")
        extra = [("data wait", f"{number(wait, 3)} s in this attempt"), ("step", f"{number(step_s, 3)} s")]
        for place, (label, text) in enumerate(extra, len(rows)):
            if place < inside.height:
                canvas.put(inside.x, inside.y + place, label, "dim")
                canvas.put(inside.x + 13, inside.y + place, text)

    def _about(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """Versions and the reasons of the choices of this attempt."""
        inside = canvas.frame(area, "Attempt", run.text("run", "device"))
        versions = run.record.get("versions")
        rows: list[tuple[str, str]] = []
        event = run.latest("run")
        reasons = None if event is None else event.data.get("reasons")
        rows += [(f"• {reason}", "") for reason in reasons] if isinstance(reasons, list) else []
        if isinstance(versions, dict):
            rows.append(("  ".join(f"{name} {version}" for name, version in versions.items()), "dim"))
        system = run.record.get("machine")
        if isinstance(system, dict):
            rows.append((str(system.get("system", "")), "dim"))
        rows.append((f"configuration {str(run.record.get('config_hash', 'n/a'))[:16]}", "dim"))
        for place, (text, style) in enumerate(rows[: inside.height]):
            canvas.put(inside.x, inside.y + place, short(text, 400), style, inside.width)


def _gauge(
    canvas: Canvas, area: Rect, run: Snapshot, label: str, share: float | None, text: str, name: str, top: float | None
) -> None:
    """Label, bar, value, and the course over the run."""
    canvas.put(area.x, area.y, label, "dim", 13)
    bar = max(8, min(24, area.width // 5))
    style = "bad" if share is not None and share > 0.95 and label in _SCARCE else "bar"
    if share is not None:
        canvas.bar(Rect(area.x + 13, area.y, bar, 1), share, style)
    else:
        canvas.put(area.x + 13, area.y, "╌" * bar, "faint")
    end = canvas.put(area.x + 14 + bar, area.y, text.ljust(22), "title" if share is not None else "", 22)
    room = area.x + area.width - end - 1
    if room >= 8:
        canvas.put(end + 1, area.y, sparkline(column_means(run, name, room), room, 0.0, top), "line3")


def _gpus(run: Snapshot) -> list[int]:
    found = {int(match[1]) for name in run.metrics if (match := _GPU.match(name))}
    return sorted(found)


def _mean(run: Snapshot, name: str) -> float | None:
    """Mean over the whole run."""
    metric = run.metrics.get(name)
    if metric is None:
        return None
    with run.store.lock:
        mean = metric.table.extent(metric.column, 0, run.rows(metric)).mean
    return mean if math.isfinite(mean) else None


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _of(part: str, whole: str) -> str:
    return part if whole == "n/a" else f"{part} of {whole}"


def _watts(power: float | None) -> str:
    return "n/a" if power is None else f"{power:.0f} W"


def _why_no_gpu(run: Snapshot) -> str:
    if run.latest("system") is None:
        return "no system event yet: monitor.sample_s is 0, or the run is older than these events"
    return f"the run is on {run.text('run', 'device', 'this device')}; NVML tells of no GPU"
