"""Answers to the rows of a file: each for itself, in order, resumed where they stopped, and mistakes told by line."""

from __future__ import annotations

import argparse
import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
from support.written import KINDS, small_model

from neat.cli import batch
from neat.cli.batch import Answers, Fields, read_rows, run_batch
from neat.errors import DataError, LockedError, UsageError
from neat.model.text.model import TextModel

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "the river ", "note": 1},
    {"id": "b", "prompt": "", "seed": 9},
    {"id": "c", "prompt": "naïve and a good deal longer than the others "},
    {"id": "d", "prompt": "the river "},
    {"id": "e", "prompt": "stone"},
]
FIELDS = Fields("prompt", "id", "answer")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def options(folder: Path, **changes: Any) -> argparse.Namespace:
    given = {
        "input": folder / "in.jsonl", "output": folder / "out.jsonl", "seed": 5, "max_bytes": 20, "temperature": 1.0,
        "top_p": 0.9, "top_k": 0, "stop": ["zz"], "expert": "", "precision": "float64", "batch_size": 2,
        "prompt_field": "prompt", "id_field": "id", "answer_field": "answer", "on_bad_row": "stop",
    }  # fmt: skip
    return argparse.Namespace(**(given | changes))


def answer(model: TextModel, folder: Path, rows: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    write(folder / "in.jsonl", rows)
    run_batch(model, options(folder, **changes))
    assert [path.name for path in sorted(folder.iterdir())] == ["in.jsonl", "out.jsonl"]
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_depends_on_its_row_alone(kind: str, tmp_path: Path) -> None:
    model = small_model(kind)
    together = answer(model, tmp_path / "five", ROWS, batch_size=5)
    assert [row["id"] for row in together] == ["a", "b", "c", "d", "e"]
    assert together[0]["note"] == 1
    for number, row in enumerate(ROWS):
        assert answer(model, tmp_path / f"{number}", [row]) == [together[number]]
    assert answer(model, tmp_path / "turned", ROWS[::-1], batch_size=3) == together[::-1]
    # The same prompt and seed give the same answer, which is the one that a single text gets.
    assert together[0]["answer"] == together[3]["answer"]
    single = b"".join(model.generate(b"the river ", max_bytes=20, seed=5, temperature=1.0, top_p=0.9, stop=[b"zz"]))
    assert together[0]["answer"] == single.decode(errors="replace")
    assert together[1]["answer"] != answer(model, tmp_path / "seeded", [ROWS[1] | {"seed": 10}])[0]["answer"]


def test_an_interrupted_batch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("stream")
    whole = answer(model, tmp_path / "whole", ROWS)
    folder = tmp_path / "cut"
    folder.mkdir()
    write(folder / "in.jsonl", ROWS)
    kept = Answers.add

    def fail(self: Answers, rows: Any) -> None:
        if self._file.tell() > len(self._header):
            self._file.write(b'{"id": "c", "answ')  # what a power cut leaves
            self._file.flush()
            raise KeyboardInterrupt
        kept(self, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Answers, "add", fail)
        run_batch(model, options(folder))
    assert not (folder / "out.jsonl").exists()
    asked = []
    monkeypatch.setattr(batch, "_answered", lambda *given, real=batch._answered: asked.append(given[1]) or real(*given))
    told = run_batch(model, options(folder, batch_size=3))
    assert [row.values["id"] for row in asked[0]] == ["c", "d", "e"]
    assert told["resumed"] == 2 and told["rows"] == 5
    assert [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()] == whole


def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    model = small_model("stream")
    write(tmp_path / "in.jsonl", ROWS)
    arguments = options(tmp_path)
    rows = read_rows(arguments.input, FIELDS, 5, "stop")
    Answers(arguments.output, batch._settings(model, arguments, rows)).close()
    partial = (tmp_path / "out.jsonl.partial").read_bytes()
    with pytest.raises(UsageError, match=r"temperature was 1\.0, is 0\.5"):
        run_batch(model, options(tmp_path, temperature=0.5))
    write(tmp_path / "in.jsonl", ROWS[:-1])
    with pytest.raises(UsageError, match="rows was"):
        run_batch(model, options(tmp_path))
    assert (tmp_path / "out.jsonl.partial").read_bytes() == partial
    (tmp_path / "out.jsonl.partial").write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match="not that of a batch"):
        run_batch(model, options(tmp_path))
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        run_batch(model, options(tmp_path))
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    with (tmp_path / "out.jsonl.partial").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="another process"):
            Answers(tmp_path / "out.jsonl", {})


def test_bad_rows_are_named_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"prompt": "good"}\n\n{"prompt": \n[1]\n{"text": "x"}\n{"prompt": "x", "answer": "y"}\n'
        '{"prompt": "x", "seed": -1}\n{"prompt": "x", "id": 1}\n{"prompt": "last", "id": "z"}\n'
    )
    with pytest.raises(DataError) as caught:
        read_rows(path, FIELDS, 0, "stop")
    lines = [problem.line() for problem in caught.value.problems]
    reasons = ["not JSON", "not an object", "no text in 'prompt'", "already has a field", "the seed", "an earlier row"]
    for line, number, reason in zip(lines, (3, 4, 5, 6, 7, 8), reasons, strict=True):
        assert reason in line and f"line {number}" in line
    assert "--on-bad-row skip" in str(caught.value.problems[-1].hint)
    rows = read_rows(path, FIELDS, 0, "skip")
    assert [(row.values["id"], row.prompt) for row in rows] == [(1, b"good"), ("z", b"last")]
    told = capsys.readouterr().err
    assert told.count("skipped:") == 6 and "6 bad rows skipped" in told
    path.write_text("\n")
    with pytest.raises(DataError, match="no prompts"):
        read_rows(path, FIELDS, 0, "skip")
    with pytest.raises(DataError, match="cannot read"):
        read_rows(tmp_path / "missing", FIELDS, 0, "stop")


def test_fields_have_the_names_that_are_given(tmp_path: Path) -> None:
    rows = [{"key": 4, "q": "stone", "answer": "gold"}]
    told = answer(small_model("stream"), tmp_path / "x", rows, prompt_field="q", id_field="key", answer_field="said")
    assert told[0] | {"said": ""} == {"key": 4, "q": "stone", "answer": "gold", "said": "", **_base64(told[0])}


def _base64(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name == "said_base64"}


def test_bytes_that_are_no_text_are_given_too(tmp_path: Path) -> None:
    import base64

    told = answer(small_model("stream"), tmp_path / "x", ROWS[:1], temperature=3.0, top_p=1.0)
    model = small_model("stream")
    said = b"".join(model.generate(b"the river ", max_bytes=20, seed=5, temperature=3.0, top_p=1.0, stop=[b"zz"]))
    assert base64.b64decode(told[0]["answer_base64"]) == said
    assert told[0]["answer"] == said.decode(errors="replace")
