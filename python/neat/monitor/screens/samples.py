"""Samples."""

from __future__ import annotations

from neat.monitor.canvas import Canvas
from neat.monitor.screens.base import Context, Screen, message


class Samples(Screen):
    """Samples."""

    name = "samples"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Draws."""
        message(canvas, canvas.area, ["samples"])
