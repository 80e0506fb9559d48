"""Questions of the monitor: yes or no, and a line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

MAX_TEXT = 2000
"""Characters of a note or a filter."""

_CSS = """
{name} {{ align: center {place}; background: $background 60%; }}
{name} > Vertical {{
  width: 64; max-width: 95%; height: auto; padding: 1 2; border: round $primary; background: $surface;
}}
{name} Label {{ width: 1fr; }}
{name} Horizontal {{ height: auto; margin-top: 1; align-horizontal: right; }}
{name} Button {{ margin-left: 2; }}
{name} Input {{ margin-top: 1; }}
"""


class Confirm(ModalScreen[bool]):
    """A question that is answered with yes or no."""

    DEFAULT_CSS = _CSS.format(name="Confirm", place="middle")
    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "yes"), ("n,escape", "answer(False)", "no")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical():
            yield Label(self.question, markup=False)
            with Horizontal():
                yield Button("yes (y)", variant="primary", id="yes")
                yield Button("no (n)", id="no")

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """A button answers."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """A key answers."""
        self.dismiss(answer)


class Line(ModalScreen[str | None]):
    """Asks for a line of text; None when it is left. `changed` is told of every letter."""

    DEFAULT_CSS = _CSS.format(name="Line", place="bottom")
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "leave")]

    def __init__(self, question: str, value: str = "", changed: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.question, self.value, self._changed = question, value, changed

    def compose(self) -> ComposeResult:
        """The question and the line."""
        with Vertical():
            yield Label(self.question, markup=False)
            yield Input(self.value, max_length=MAX_TEXT, select_on_focus=False)

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """A letter was typed."""
        if self._changed is not None:
            self._changed(event.value)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter ends it."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Escape leaves it."""
        self.dismiss(None)
