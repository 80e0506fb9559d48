"""The two small files of a run for others."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from support.recorded import append, steps, write_run

from neat.errors import CheckpointError
from neat.events.schema import decode
from neat.report.export import decimated_metrics, loss_svg

EVALS = [("eval", step, {"eval/bpb": 3.0, "eval/ngram_bpb": 1.75}) for step in (50, 100)]


def test_the_loss_picture_is_a_whole_file(tmp_path: Path) -> None:
    rough = [("step", step, {"train/bpb": 2.0 + step % 2}) for step in range(1, 101)]
    svg = loss_svg(write_run(tmp_path / "run", [*rough, *EVALS]))
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = "".join(root.itertext())
    for word in ("training", "training, smoothed", "held out", "n-gram model", "bits per byte"):
        assert word in words
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_run_without_steps_has_an_empty_picture(tmp_path: Path) -> None:
    svg = loss_svg(write_run(tmp_path / "run", [("heartbeat", 0, {})]))
    assert "training" not in "".join(ET.fromstring(svg).itertext()).replace("Bits per byte", "")


@pytest.mark.parametrize(("limit", "kept_steps", "kept_evals"), [(200, 100, 2), (102, 100, 2), (12, 10, 2), (2, 1, 1)])
def test_metrics_are_thinned_evenly(tmp_path: Path, limit: int, kept_steps: int, kept_evals: int) -> None:
    run = write_run(tmp_path / "run", [*steps(100), *EVALS])
    events = [decode(line) for line in decimated_metrics(run, limit)]
    assert len(events) <= limit
    kept = [event.step for event in events if event.type == "step"]
    assert (len(kept), kept[-1]) == (kept_steps, 100)
    if kept_steps > 1:
        assert kept[0] == 1
        gaps = [after - before for before, after in pairwise(kept)]
        assert max(gaps) - min(gaps) <= 1
    assert [event.step for event in events if event.type == "eval"] == [50, 100][2 - kept_evals :]


def test_metrics_hold_numbers_only(tmp_path: Path) -> None:
    data = {"train/bpb": 2.0, "train/phase": "FULL", "path": "/home/me/secret", "list": ["x"], "flag": True}
    entries = [("step", 1, data), ("step", 2, data | {"train/phase": "/etc"}), ("sample", 2, {"text": "secret"})]
    lines = list(decimated_metrics(write_run(tmp_path / "run", entries), 10))
    assert [json.loads(line).get("train/phase") for line in lines] == ["FULL", None]
    assert all(set(decode(line).data) <= {"train/bpb", "train/phase"} for line in lines)


def test_a_number_that_was_not_finite_stays_null(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [("step", 1, {"train/bpb": float("nan")})])
    (line,) = decimated_metrics(run, 2)
    assert decode(line).data == {"train/bpb": None}
    assert "training" not in loss_svg(run)


def test_superseded_steps_do_not_count(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(20))
    append(run / "events.jsonl", [("run", 10, {}), ("resume", 10, {}), *steps(2, start=11)], first=21)
    assert [decode(line).step for line in decimated_metrics(run, 100)] == list(range(1, 13))


def test_a_limit_leaves_room_for_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="limit of 1"):
        next(decimated_metrics(tmp_path, 1))


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run"):
        loss_svg(tmp_path / "nothing")
