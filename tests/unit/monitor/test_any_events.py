"""Whatever an events file holds, every screen is drawn: keys of the right names with values of any kind."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recording import RECORDED, _interleaved
from support.screens import SIZES, follower

from neat.events.schema import TYPES
from neat.monitor.bindings import TITLES
from neat.monitor.canvas import Canvas
from neat.monitor.frame import draw_all
from neat.monitor.looking import Looking
from neat.monitor.screens import all_screens
from neat.monitor.screens.base import Context

KEYS: dict[str, list[str]] = {kind: [] for kind in TYPES}
for event in _interleaved(RECORDED / "events.jsonl"):
    KEYS[event.type] += [key for key in event.data if key not in KEYS[event.type]]

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, -1, 1e308, -1e308, 1e-308, 2**63, "", "PREDICT", "\ud800", "\x1b[31m", "日本語", "é" * 300]),
    st.text(max_size=12),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    found = []
    for seq in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(sorted(TYPES)))
        names = draw(st.lists(st.sampled_from(KEYS[kind] or ["x"]), unique=True))
        head = {
            "v": 1, "seq": seq, "type": kind, "step": draw(st.integers(0, 60) | st.integers(-5, 2**70)),
            "time": draw(st.floats(0, 2e9) | st.sampled_from([1e300, -1e300])), "mono": 1.0,
        }  # fmt: skip
        found.append(json.dumps(head | {name: draw(VALUES) for name in names}).encode() + b"\n")
    return found


def draw_everything(folder: Path) -> None:
    reader = follower(folder)
    run = reader.snapshot()
    for snapshot in (run, run.at(run.step // 2)):
        for size in SIZES[0], SIZES[2]:
            for screen in all_screens().values():
                for log in {False, screen.name in ("overview", "charts")}:
                    looking = Looking()
                    looking.looks.log = log
                    canvas = Canvas(*size)
                    draw_all(canvas, screen, Context([snapshot], 0, looking.looks, reader.lines_at))
                    assert not re.search("[\x00-\x1f\x7f]", "".join(canvas.lines()))


@settings(max_examples=30)
@given(lines())
def test_every_screen_is_drawn_of_any_events(content: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "events.jsonl").write_bytes(b"".join(content))
        draw_everything(Path(folder))


@pytest.mark.parametrize("record", [b"[1]", b'{"machine": 3, "versions": [1], "command": "x", "name": 7}', b"\xff"])
def test_any_record_and_configuration(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "run.json").write_bytes(record)
    (tmp_path / "config.toml").write_bytes(record + b"\ncheckpoint = 3\n")
    (tmp_path / "run.lock").write_bytes(record)
    draw_everything(tmp_path)


def test_no_text_steers_the_terminal() -> None:
    canvas = Canvas(40, 1)
    canvas.put(0, 0, "a\x1b[31mb\x9b\ud800\u202ec")
    assert canvas.lines() == ["a\ufffd[31mb\ufffd\ufffd\ufffdc"]


def test_the_screens_fit_each_other() -> None:
    assert list(all_screens()) == list(TITLES)
