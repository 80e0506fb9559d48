"""Every key of the table does what the table says, and nothing where it says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.recording import with_made_up_events
from support.screens import text_of, with_app
from textual.pilot import Pilot

from neat.events.lock import RunLock
from neat.events.requests import pending, read
from neat.monitor.app import MonitorApp
from neat.monitor.bindings import ALL, KEYS, TITLES, Key
from neat.monitor.dialogs import Confirm, Line

Seen = Callable[[MonitorApp], object]

EFFECTS: dict[str, tuple[Seen, tuple[str, ...]]] = {
    "show": (lambda app: app._current, ()),
    "next_screen": (lambda app: app._current, ()),
    "next_run": (lambda app: app._front, ()),
    "zoom": (lambda app: app._looking.looks.view, ("plus",)),
    "pan": (lambda app: app._looking.looks.view, ("plus", "plus", "comma", "comma")),
    "log_scale": (lambda app: app._looking.looks.log, ()),
    "smooth": (lambda app: app._looking.looks.smoothing, ()),
    "axis": (lambda app: app._looking.looks.view, ()),
    "overlay": (lambda app: app._looking.looks.overlay, ()),
    "filter": (lambda app: type(app.screen) is Line, ()),
    "open": (lambda app: app._screens["charts"].opened, ()),  # type: ignore[attr-defined]
    "move": (lambda app: (app._screens["charts"].chosen, app._screens["samples"].back), ("right", "right")),  # type: ignore[attr-defined]
    "scroll": (text_of, ()),
    "event_type": (lambda app: app._screens["log"].kind, ()),  # type: ignore[attr-defined]
    "alerts_only": (lambda app: app._screens["log"].alerts, ()),  # type: ignore[attr-defined]
    "replay": (lambda app: app._looking.step, ("left_curly_bracket",) * 3),
    "ask": (lambda app: type(app.screen) in (Confirm, Line), ()),
    "theme": (lambda app: app._palette.name, ()),
    "command_palette": (lambda app: type(app.screen).__name__, ()),
    "leave": (lambda app: app._looking.step, ("left_square_bracket",)),
    "quit": (lambda app: app._exit, ()),
}
"""Action -> what must be another value after the key, and keys pressed before it so that there is room to move."""

PRESSES = [
    pytest.param(key, name, screen, id=f"{name}-{screen}")
    for key in KEYS
    for name in key.keys
    for screen in TITLES
    if screen in key.screens and (key.screens != ALL or screen in ("overview", "log"))
]
WHERE_NOTHING_HAPPENS = [
    pytest.param(key, next(screen for screen in TITLES if screen not in key.screens), id=key.keys[0])
    for key in KEYS
    if key.screens != ALL
]


def action(key: Key) -> str:
    return key.action.partition("(")[0]


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without its end and with several long samples; held by a lock it takes requests."""
    run = with_made_up_events(tmp_path_factory.mktemp("living") / "run")
    lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    samples = [
        line.replace(b'"text":"', b'"text":"' + b"Once more. " * 200) for line in lines if b'"type":"sample"' in line
    ]
    kept = [line for line in lines if b'"type":"end"' not in line]
    (run / "events.jsonl").write_bytes(b"".join(kept + samples * 4))
    return run


def test_the_effects_cover_the_table() -> None:
    assert {action(key) for key in KEYS} == set(EFFECTS)


def test_no_key_means_two_things_on_one_screen() -> None:
    for screen in TITLES:
        names = [name for key in KEYS if screen in key.screens for name in key.keys]
        assert len(names) == len(set(names)), screen


@pytest.mark.parametrize(("key", "name", "screen"), PRESSES)
def test_a_key_works(living: Path, recorded: Path, key: Key, name: str, screen: str) -> None:
    seen, before_keys = EFFECTS[action(key)]
    if action(key) == "scroll":
        # Somewhere in the middle there is room above and below.
        before_keys = ("up",) * 30 if screen == "log" else ("down",) * (1 if screen == "checkpoints" else 3)
    if (screen, name) == ("samples", "right"):
        before_keys = ("left", "left")

    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        if key.action == f"show('{screen}')":
            app.action_show("machine")
        await pilot.press(*before_keys)
        await pilot.pause()
        before = seen(app)
        await pilot.press(name)
        await pilot.pause()
        assert seen(app) != before

    lock = RunLock(living / "run.lock")
    try:
        with_app([living, recorded], act, (60, 18), screen)
    finally:
        lock.release()


@pytest.mark.parametrize(("key", "screen"), WHERE_NOTHING_HAPPENS)
def test_a_key_is_silent_elsewhere(recorded: Path, key: Key, screen: str) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        before = (text_of(app), app._looking, type(app.screen))
        await pilot.press(key.keys[0])
        await pilot.pause()
        assert (text_of(app), app._looking, type(app.screen)) == before

    with_app([recorded], act, (80, 24), screen)


@pytest.mark.parametrize("key", [key for key in KEYS if key.acts], ids=lambda key: key.keys[0])
def test_a_finished_run_is_asked_nothing(recorded: Path, key: Key) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press(key.keys[0])
        await pilot.pause()
        assert type(app.screen) not in (Confirm, Line)

    with_app([recorded], act)


@pytest.mark.parametrize(("key", "kind"), [("w", "save"), ("p", "pause"), ("r", "resume"), ("S", "stop")])
def test_a_request_is_confirmed_first(living: Path, key: str, kind: str) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.press("n")
        assert pending(living) == []
        await pilot.press(key)
        await pilot.press("escape")
        assert pending(living) == []
        await pilot.press(key, "y")
        await pilot.pause()
        (path,) = pending(living)
        assert read(path).kind == kind
        path.unlink()
        await pilot.press(key)
        await pilot.pause()
        await pilot.click("#yes")
        await pilot.pause()
        (path,) = pending(living)
        path.unlink()

    lock = RunLock(living / "run.lock")
    try:
        with_app([living], act)
    finally:
        lock.release()


def test_a_note_is_typed_and_confirmed(living: Path) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press("m", *"all well, quite", "enter")
        await pilot.pause()
        assert "all well, quite" in app.screen.question  # type: ignore[attr-defined]
        await pilot.press("y")
        await pilot.pause()
        (path,) = pending(living)
        assert json.loads(path.read_text())["text"] == "all well, quite"
        path.unlink()

    lock = RunLock(living / "run.lock")
    try:
        with_app([living], act)
    finally:
        lock.release()


def test_a_directory_that_cannot_be_written_is_said(living: Path) -> None:
    (living / "requests").mkdir(exist_ok=True)
    (living / "requests").rmdir()
    (living / "requests").write_text("in the way")

    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press("w", "y")
        await pilot.pause()
        (notice,) = app._notifications
        assert "cannot ask the run" in notice.message

    lock = RunLock(living / "run.lock")
    try:
        with_app([living], act)
    finally:
        lock.release()
        (living / "requests").unlink()


def test_the_filter_is_applied_while_it_is_typed(recorded: Path) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"eval/bpb")
        await pilot.pause()
        assert app._screens["charts"].filter == "eval/bpb"
        await pilot.press("escape")
        await pilot.pause()
        assert app._screens["charts"].filter == ""
        await pilot.press("slash", "(", "enter")
        await pilot.pause()
        assert "no metric matches (" in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert app._screens["charts"].filter == ""

    with_app([recorded], act, (100, 30), "charts")


def test_the_palette_lists_the_table(recorded: Path) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        listed = {command.title for command in app.get_system_commands(app.screen)}
        expected = {f"{key.text} ({key.shown})" for key in KEYS if "charts" in key.screens and not key.acts}
        left_out = {
            f"{key.text} ({key.shown})" for key in KEYS if key.action in ("next_run", "overlay", "command_palette")
        }
        assert listed == expected - left_out

    with_app([recorded], act, (100, 30), "charts")


def test_the_help_screen_lists_the_table(recorded: Path) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        for key in KEYS:
            assert key.text in text_of(app), key

    with_app([recorded], act, (200, 60), "help")
