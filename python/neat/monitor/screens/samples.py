"""Samples: text that the model wrote, with its patches and the measures of degeneration."""

from __future__ import annotations

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number
from neat.monitor.screens.base import Context, Screen, message
from neat.monitor.screens.patches import draw_patches


class Samples(Screen):
    """`back` counts samples before the newest."""

    name = "samples"

    def __init__(self) -> None:
        super().__init__()
        self.back = 0

    def draw(self, canvas: Canvas, context: Context) -> None:
        """One sample, the newest first."""
        samples = context.run.events.get("sample", ())
        if not samples:
            message(canvas, canvas.area, ["no sample yet", "one is written at the end of a run: train.sample_bytes"])
            return
        self.back = max(0, min(self.back, len(samples) - 1))
        event = samples[-1 - self.back]
        note = f"← → {len(samples) - self.back} of {len(samples)}"
        inside = canvas.frame(canvas.area, f"Sample at step {event.step}", note)
        measures = [
            (label, event.data.get(key))
            for label, key in (
                ("distinct 4-grams", "distinct_4"),
                ("longest run", "longest_run"),
                ("top byte", "top_byte_share"),
            )
        ]
        parts = [
            part
            for label, value in measures
            for part in (
                (f"{label} ", "dim"),
                (f"{number(float(value)) if isinstance(value, int | float) else 'n/a'}   ", ""),
            )
        ]
        canvas.spans(inside.x, inside.y, parts, inside.width)
        starts = event.data.get("patch_starts")
        legend = "what the model wrote is bold" + ("; shades alternate by patch" if isinstance(starts, list) else "")
        canvas.put(inside.x, inside.y + 1, legend, "faint", inside.width)
        text = Rect(inside.x, inside.y + 3, inside.width, max(0, inside.height - 3))
        lines = draw_patches(canvas, text, event, self.offset)
        self.offset = max(0, min(self.offset, lines - text.height))

    def move(self, places: int) -> None:
        """An older or a newer sample."""
        self.back = max(0, self.back - places)
        self.offset = 0
