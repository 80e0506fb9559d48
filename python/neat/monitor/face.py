"""The one widget of the monitor: shows a canvas, refreshes the rows that changed, turns clicks into actions."""

from __future__ import annotations

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from neat.monitor.canvas import Canvas
from neat.monitor.theme import DARK, Theme


class Face(Widget, can_focus=True):
    """A canvas on the terminal.

    Args:
        ascii_only: The terminal cannot show more than ASCII.
    """

    DEFAULT_CSS = "Face { width: 1fr; height: 1fr; }"

    class Clicked(Message):
        """A click on a place that acts; `action` is what the canvas says."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    class Resized(Message):
        """The canvas no longer fits."""

    class Wheel(Message):
        """The wheel was turned: up is negative."""

        def __init__(self, lines: int) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        self._canvas, self._theme, self._ascii = Canvas(0, 0), DARK, ascii_only

    def show(self, canvas: Canvas, theme: Theme) -> None:
        """Shows another canvas; only rows that differ are drawn again."""
        before = self._canvas
        everything = theme is not self._theme or (before.width, before.height) != (canvas.width, canvas.height)
        self._canvas, self._theme = canvas, theme
        if everything:
            self.refresh()
            return
        rows = [
            Region(0, y, canvas.width, 1)
            for y in range(canvas.height)
            if canvas.chars[y] != before.chars[y] or canvas.styles[y] != before.styles[y]
        ]
        if rows:
            self.refresh(*rows)

    def render_line(self, y: int) -> Strip:
        """One row of the terminal."""
        canvas = self._canvas
        if y >= canvas.height:
            return Strip.blank(self.size.width, self._theme.style(""))
        strip = Strip(canvas.segments(y, self._theme, ascii_only=self._ascii), canvas.width)
        return strip.adjust_cell_length(self.size.width, self._theme.style(""))

    def on_resize(self) -> None:
        """Asks for a canvas of the new size."""
        self.post_message(self.Resized())

    def on_click(self, event: events.Click) -> None:
        """A click acts as the canvas says."""
        action = self._canvas.action_at(event.x, event.y)
        if action is not None:
            self.post_message(self.Clicked(action))

    def on_mouse_scroll_up(self) -> None:
        """Turning the wheel."""
        self.post_message(self.Wheel(-1))

    def on_mouse_scroll_down(self) -> None:
        """Turning the wheel."""
        self.post_message(self.Wheel(1))
