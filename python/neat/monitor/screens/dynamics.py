"""Dynamics."""

from __future__ import annotations

from neat.monitor.canvas import Canvas
from neat.monitor.screens.base import Context, Screen, message


class Dynamics(Screen):
    """Dynamics."""

    name = "dynamics"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Draws."""
        message(canvas, canvas.area, ["dynamics"])
