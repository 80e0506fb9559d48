"""Whatever the events hold, there is a page, and it is text."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recorded import eventful, write_run

from neat.events.schema import TYPES
from neat.report.build import compose, read_runs
from neat.report.export import decimated_metrics, loss_svg
from neat.report.html import page
from neat.report.markdown import markdown

KEYS = sorted({key for _, _, data in eventful(90) for key in data} | {
    "grad_norm/layer", "grad_norm/component", "time/share", "patch/lengths", "parameters", "optimizers", "reasons",
    "memory/norm", "memory/../x", "halting/depth_1", "halting/depth_2", "train/image_loss", "svf/dispatch_entropy",
})  # fmt: skip
numbers = st.one_of(
    st.integers(-(10**400), 10**400), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, 1, 5e-324])
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=12), st.sampled_from(["FULL", "PREDICT"]))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)
steps = st.one_of(st.integers(-3, 60), st.sampled_from([2**60, -(2**60), 10**300]))
entries = st.lists(
    st.tuples(st.sampled_from(sorted(TYPES)), steps, st.dictionaries(st.sampled_from(KEYS), values, max_size=8)),
    min_size=1, max_size=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("any") / "run", [("heartbeat", 0, {})])


@settings(max_examples=60)
@given(entries=entries)
def test_there_is_always_a_page(template: Path, entries: list[tuple[str, int, dict[str, object]]]) -> None:
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run.mkdir()
        for name in ("config.toml", "run.json"):
            (run / name).write_bytes((template / name).read_bytes())
        envelope = [{"v": 1, "seq": n, "time": 1e9 + n, "mono": n, "type": kind, "step": step} | data
                    for n, (kind, step, data) in enumerate(entries, 1)]  # fmt: skip
        (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in envelope), encoding="utf-8")
        report = compose(read_runs([run]))
        text = "".join(page(report))
        text.encode()
        HTMLParser().feed(text)
        assert not re.search(r' (?:x|y|d|width|height)="[^"]*(?:nan|inf)', text)
        assert "".join(markdown(report, {})).encode()
        assert loss_svg(run).encode()
        assert len(list(decimated_metrics(run, 5))) <= 5


def test_extreme_numbers_are_drawn() -> None:
    from neat.report.scale import axis

    for values in ([1e289, -1e289], [5e-324, 0.0], [5e-324], [1e-300, 1e280], [0.0]):
        for log in (False, True):
            found = axis(values, log=log)
            assert all(math.isfinite(found.place(value)) for value in values)
            assert found.low < found.high
