"""The monitor as a terminal program. It reads; what it asks of a run goes through files that the trainer answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen as TextualScreen
from textual.theme import Theme as TextualTheme

from neat.errors import NeatError
from neat.events.requests import KINDS, ask
from neat.monitor.bindings import KEYS, TITLES, usable
from neat.monitor.canvas import Canvas
from neat.monitor.dialogs import Confirm, Line
from neat.monitor.face import Face
from neat.monitor.follow import Follower
from neat.monitor.frame import draw_all
from neat.monitor.looking import Looking
from neat.monitor.reading import Reading
from neat.monitor.screens import all_screens
from neat.monitor.screens.base import Context
from neat.monitor.snapshot import Snapshot
from neat.monitor.theme import DARK, LIGHT

_FIRST = frozenset({"q", "ctrl+c", "tab", "shift+tab"})
"""Keys that the terminal program would otherwise use itself."""
QUESTIONS = {
    "save": "Save a checkpoint of {name} now?",
    "pause": "Pause {name} after this step? It goes on when you ask it to resume.",
    "resume": "Go on with {name}?",
    "stop": "Stop {name} after this step? It is saved; the same command goes on.",
    "note": "Write this note into the events of {name}?",
}


class MonitorApp(App[None]):
    """Shows runs.

    Args:
        followers: The runs, each with its reader; at least one.
        screen: Name of the first screen.
        ascii_only: The terminal cannot show more than ASCII.
        live: Read in a thread; otherwise what was read before is shown and nothing changes.
    """

    TITLE = "NEAT"
    ENABLE_COMMAND_PALETTE = True
    CSS = "Screen { background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(key.keys), key.action, key.label or key.text, show=False, priority=bool(_FIRST & {*key.keys}))
        for key in KEYS
    ]

    class Read(Message):
        """A run was read: its place among the runs, and what is known."""

        def __init__(self, place: int, snapshot: Snapshot) -> None:
            super().__init__()
            self.place, self.snapshot = place, snapshot

    def __init__(
        self,
        followers: Sequence[Follower],
        screen: str = "overview",
        *,
        ascii_only: bool = False,
        live: bool = True,
    ) -> None:
        super().__init__()
        self._followers = followers
        self._snapshots = [follower.snapshot() for follower in followers]
        self._screens = all_screens()
        self._current = screen
        self._front = 0
        self._looking = Looking()
        self._palette = DARK
        self._face = Face(ascii_only=ascii_only)
        self._reading = Reading(followers, self._tell, self._fail) if live else None
        self.failure: Exception | None = None

    @property
    def context(self) -> Context:
        """What a screen draws from now."""
        snapshots = [snapshot.at(self._looking.cursor(snapshot)) for snapshot in self._snapshots]
        return Context(snapshots, self._front, self._looking.looks, self._followers[self._front].lines_at)

    @property
    def run_in_front(self) -> Snapshot:
        """The run whose figures are shown, as it is now."""
        return self._snapshots[self._front]

    def compose(self) -> ComposeResult:
        """The face is all there is."""
        yield self._face

    def on_mount(self) -> None:
        """Begins to read."""
        for palette in (DARK, LIGHT):
            self.register_theme(
                TextualTheme(
                    f"neat-{palette.name}",
                    primary=palette.colours["info"],
                    accent=palette.colours["warn"],
                    foreground=palette.foreground,
                    background=palette.background,
                    surface=palette.colours["panel"],
                    dark=palette is DARK,
                )
            )
        self.theme = f"neat-{self._palette.name}"
        self._face.focus()
        if self._reading is not None:
            self._reading.start()

    def on_unmount(self) -> None:
        """Ends the reading thread."""
        if self._reading is not None:
            self._reading.stop()

    def draw(self) -> None:
        """Draws the current screen on the whole terminal."""
        size = self._face.size
        canvas = Canvas(size.width, size.height)
        draw_all(canvas, self._screens[self._current], self.context)
        self._face.show(canvas, self._palette)

    def _tell(self, place: int, snapshot: Snapshot) -> None:
        self.post_message(self.Read(place, snapshot))

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.call_from_thread(self.exit)

    def on_monitor_app_read(self, message: Read) -> None:
        """Something new was read."""
        self._snapshots[message.place] = message.snapshot
        self.draw()

    @on(Face.Resized)
    def resized(self) -> None:
        """The terminal has another size."""
        self.draw()

    @on(Face.Wheel)
    def wheel(self, message: Face.Wheel) -> None:
        """The wheel zooms charts and scrolls the rest."""
        if self._current in {"overview", "charts"}:
            self.action_zoom(0.5 if message.lines < 0 else 2.0)
        else:
            self.action_scroll(3 * message.lines)

    @on(Face.Clicked)
    async def clicked(self, message: Face.Clicked) -> None:
        """A click does what the canvas says: show a screen, act as a key, or act on the screen."""
        kind, _, rest = message.action.partition(":")
        if kind == "show":
            self.action_show(rest)
        elif kind == "do":
            await self.run_action(rest)
        else:
            self._screens[self._current].click(rest)
            self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys work where the table of keys says so."""
        ours = [key for key in KEYS if key.action.partition("(")[0] == action]
        if not ours:
            return super().check_action(action, parameters)
        if len(self.screen_stack) > 1:
            return False
        run = self.run_in_front
        acts = run.writable and self._looking.step is None and run.health.alive
        working = usable(self._current, acts=acts, runs=len(self._snapshots))
        return any(key.action.partition("(")[0] == action for key in working)

    def get_system_commands(self, screen: TextualScreen[object]) -> Iterable[SystemCommand]:
        """The command palette lists the table of keys."""
        run = self.run_in_front
        acts = run.writable and self._looking.step is None and run.health.alive
        for key in usable(self._current, acts=acts, runs=len(self._snapshots)):
            if key.action != "command_palette":
                yield SystemCommand(f"{key.text} ({key.shown})", key.group, partial(self.run_action, key.action))

    def action_show(self, name: str) -> None:
        """Another screen."""
        self._current = name
        self.draw()

    def action_next_screen(self, places: int) -> None:
        """The screen beside this one."""
        names = list(TITLES)
        self.action_show(names[(names.index(self._current) + places) % len(names)])

    def action_next_run(self) -> None:
        """The next run in front."""
        self._front = (self._front + 1) % len(self._snapshots)
        self.draw()

    def action_zoom(self, factor: float) -> None:
        """Another range of the charts; 0 shows everything."""
        self._looking.zoom(self.context.snapshots, factor)
        self.draw()

    def action_pan(self, share: float) -> None:
        """The range moves by a share of its width."""
        self._looking.pan(self.context.snapshots, share)
        self.draw()

    def action_log_scale(self) -> None:
        """Logarithmic or not."""
        self._looking.looks.log = not self._looking.looks.log
        self.draw()

    def action_smooth(self) -> None:
        """More smoothing, after the most none."""
        self._looking.smooth()
        self.draw()

    def action_axis(self) -> None:
        """Steps or time."""
        self._looking.axis()
        self.draw()

    def action_overlay(self) -> None:
        """All runs or one."""
        self._looking.looks.overlay = not self._looking.looks.overlay
        self.draw()

    def action_filter(self) -> None:
        """Asks for a regular expression; the screen follows every letter."""
        screen = self._screens[self._current]
        before = screen.filter

        def apply(text: str | None) -> None:
            screen.filter = before if text is None else text
            self.draw()

        self.push_screen(Line("Show what matches this regular expression (empty: everything)", before, apply), apply)

    def action_open(self) -> None:
        """Opens what is selected."""
        self._screens[self._current].open()
        self.draw()

    def action_move(self, places: int) -> None:
        """Left or right."""
        self._screens[self._current].move(places)
        self.draw()

    def action_scroll(self, lines: int) -> None:
        """Up or down."""
        self._screens[self._current].scroll(lines)
        self.draw()

    def action_event_type(self) -> None:
        """The log shows the next type."""
        self._screens["log"].click("type")
        self.draw()

    def action_alerts_only(self) -> None:
        """The log shows alerts, or everything."""
        self._screens["log"].click("alerts")
        self.draw()

    def action_replay(self, amount: float) -> None:
        """Everything as it was at another step; 0 is now."""
        self._looking.replay(self.run_in_front, amount)
        self.draw()

    def action_theme(self) -> None:
        """Dark or light."""
        self._palette = LIGHT if self._palette is DARK else DARK
        self.theme = f"neat-{self._palette.name}"
        self.draw()

    def action_leave(self) -> None:
        """Leaves an opened chart, then a filter, then a replay."""
        screen = self._screens[self._current]
        if getattr(screen, "opened", False):
            screen.open()
        elif screen.filter:
            screen.filter = ""
        else:
            self._looking.step = None
        self.draw()

    def action_ask(self, kind: str) -> None:
        """Asks the run for something, after a confirmation."""
        if kind == "note":
            self.push_screen(Line(f"A note for {self.run_in_front.name}"), self._confirm_note)
        else:
            self._confirm(kind, "")

    def _confirm_note(self, text: str | None) -> None:
        if text and text.strip():
            self._confirm("note", text.strip())

    def _confirm(self, kind: str, text: str) -> None:
        question = QUESTIONS[kind].format(name=self.run_in_front.name)
        follower = self._followers[self._front]

        def answered(yes: bool | None) -> None:
            if yes:
                self._ask(follower, kind, text)

        self.push_screen(Confirm(f"{question}\n\n{text}" if text else question), answered)

    def _ask(self, follower: Follower, kind: str, text: str) -> None:
        assert kind in KINDS
        try:
            ask(follower.paths.root, kind, text)  # type: ignore[arg-type]
        except NeatError as error:
            self.notify(str(error), severity="error", markup=False)
        else:
            self.notify(f"asked for: {kind}; the run answers with an event", markup=False)
