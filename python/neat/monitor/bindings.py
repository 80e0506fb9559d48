"""Every key of the monitor, once: the table makes the bindings, the last line, the help and the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ALL = frozenset({"overview", "charts", "dynamics", "components", "machine", "samples", "log", "checkpoints", "help"})
CHARTED = frozenset({"overview", "charts"})
SCROLLED = frozenset({"samples", "log", "checkpoints", "help", "dynamics"})


@dataclass(frozen=True, slots=True)
class Key:
    """Keys for one action.

    Attributes:
        keys: Textual's names of the keys.
        action: Name of the app's action.
        label: A word or two for the footer; empty keeps it out of there.
        text: What it does, for the help screen and the palette.
        group: Heading in the help screen.
        screens: Where it works.
        acts: Whether it asks something of the run, which a replay and a remote run do not take.
    """

    keys: tuple[str, ...]
    action: str
    label: str
    text: str
    group: str
    screens: frozenset[str] = ALL
    acts: bool = False

    @property
    def shown(self) -> str:
        """The keys as people call them."""
        return " ".join(_SHOWN.get(key, key) for key in self.keys)


_SHOWN = {
    "question_mark": "?", "slash": "/", "plus": "+", "minus": "-", "equals_sign": "=", "left": "←", "right": "→",
    "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End", "enter": "Enter",
    "escape": "Esc", "tab": "Tab", "shift+tab": "⇧Tab", "left_square_bracket": "[", "right_square_bracket": "]",
    "left_curly_bracket": "{", "right_curly_bracket": "}", "comma": ",", "full_stop": ".", "ctrl+p": "^P",
    "ctrl+c": "^C", "backslash": "\\", "S": "S", "space": "Space", "0": "0",
}  # fmt: skip

_SCREENS = (
    ("1", "overview", "Overview", "phases, loss, speed, alerts"),
    ("2", "charts", "Charts", "any metric over steps or time"),
    ("3", "dynamics", "Dynamics", "predictions, credit, calibration"),
    ("4", "components", "Components", "what each part of the network does"),
    ("5", "machine", "Machine", "GPU, processor, memory, disk"),
    ("6", "samples", "Samples", "text written by the model"),
    ("7", "log", "Log", "all events"),
    ("8", "checkpoints", "Saves", "checkpoints and uploads"),
)
SHORT = {"components": "Parts"}
"""A shorter word where the full one leaves no room."""
TITLES = {name: title for _, name, title, _ in _SCREENS} | {"help": "Help"}
"""Screen -> its word on the tab, in the order of the tabs."""

KEYS: tuple[Key, ...] = (
    *(Key((key,), f"show('{name}')", "", f"{title}: {text}", "screens") for key, name, title, text in _SCREENS),
    Key(("9", "question_mark"), "show('help')", "help", "Help: this page", "screens"),
    Key(("tab",), "next_screen(1)", "", "next screen", "screens"),
    Key(("shift+tab",), "next_screen(-1)", "", "previous screen", "screens"),
    Key(("n",), "next_run", "next run", "look at the next of several runs", "screens"),
    Key(("plus", "equals_sign"), "zoom(0.5)", "zoom", "show half of the range", "charts", CHARTED),
    Key(("minus",), "zoom(2.0)", "", "show twice the range", "charts", CHARTED),
    Key(("0",), "zoom(0)", "", "show everything", "charts", CHARTED),
    Key(("comma",), "pan(-0.25)", "", "move the range to the left", "charts", CHARTED),
    Key(("full_stop",), "pan(0.25)", "", "move the range to the right", "charts", CHARTED),
    Key(("l",), "log_scale", "log", "logarithmic vertical axis, or not", "charts", CHARTED),
    Key(("s",), "smooth", "smooth", "average over 0, 1, 3 or 10 % of the visible range", "charts", CHARTED),
    Key(("x",), "axis", "axis", "steps or time along the horizontal axis", "charts", CHARTED),
    Key(("o",), "overlay", "overlay", "all runs in one chart, or only the one in front", "charts", CHARTED),
    Key(("slash",), "filter", "filter", "show the metrics, or events, that match a regular expression", "charts",
        frozenset({"charts", "log"})),
    Key(("enter",), "open", "open", "one chart alone, or all of them again", "charts", frozenset({"charts"})),
    Key(("left",), "move(-1)", "", "chart, sample or event to the left", "charts", frozenset({"charts", "samples"})),
    Key(("right",), "move(1)", "", "chart, sample or event to the right", "charts", frozenset({"charts", "samples"})),
    Key(("up",), "scroll(-1)", "", "up", "charts", SCROLLED | {"charts"}),
    Key(("down",), "scroll(1)", "", "down", "charts", SCROLLED | {"charts"}),
    Key(("pageup",), "scroll(-20)", "", "a page up", "charts", SCROLLED | {"charts"}),
    Key(("pagedown",), "scroll(20)", "", "a page down", "charts", SCROLLED | {"charts"}),
    Key(("home",), "scroll(-1000000000)", "", "to the beginning", "charts", SCROLLED | {"charts"}),
    Key(("end",), "scroll(1000000000)", "", "to the end", "charts", SCROLLED | {"charts"}),
    Key(("f",), "event_type", "type", "events of one type after another", "charts", frozenset({"log"})),
    Key(("a",), "alerts_only", "alerts", "only alerts, or all events", "charts", frozenset({"log"})),
    Key(("left_square_bracket",), "replay(-1)", "replay", "a reported step back: everything as it was then", "replay"),
    Key(("right_square_bracket",), "replay(1)", "", "a reported step forward", "replay"),
    Key(("left_curly_bracket",), "replay(-0.05)", "", "a twentieth of the run back", "replay"),
    Key(("right_curly_bracket",), "replay(0.05)", "", "a twentieth of the run forward", "replay"),
    Key(("backslash",), "replay(0)", "", "leave the replay: the run as it is now", "replay"),
    Key(("w",), "ask('save')", "save", "ask the run to save a checkpoint now", "the run", acts=True),
    Key(("p",), "ask('pause')", "pause", "ask the run to pause after this step", "the run", acts=True),
    Key(("r",), "ask('resume')", "", "ask a paused run to go on", "the run", acts=True),
    Key(("S",), "ask('stop')", "stop", "ask the run to stop after this step; it is saved", "the run", acts=True),
    Key(("m",), "ask('note')", "note", "write a note into the events of the run", "the run", acts=True),
    Key(("t",), "theme", "", "dark or light colours", "the monitor"),
    Key(("ctrl+p",), "command_palette", "", "search the commands", "the monitor"),
    Key(("escape",), "leave", "", "leave what is open", "the monitor"),
    Key(("q", "ctrl+c"), "quit", "quit", "leave the monitor; the run goes on", "the monitor"),
)  # fmt: skip


def usable(screen: str, *, acts: bool, runs: int) -> Iterator[Key]:
    """The keys that work on a screen."""
    for key in KEYS:
        if screen in key.screens and (acts or not key.acts) and (runs > 1 or key.action not in {"next_run", "overlay"}):
            yield key
