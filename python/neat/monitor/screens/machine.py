"""Machine."""

from __future__ import annotations

from neat.monitor.canvas import Canvas
from neat.monitor.screens.base import Context, Screen, message


class Machine(Screen):
    """Machine."""

    name = "machine"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Draws."""
        message(canvas, canvas.area, ["machine"])
