"""Runs to report on: one that was really trained, and the same with invented events of everything else behind it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.recorded import append, eventful
from support.runs import configure

from neat.events.writer import last_seq

PARTS = {
    "memory__variant": "mag",
    "memory__layers": [1],
    "memory__heads": 2,
    "memory__hidden": 8,
    "memory__chunk": 8,
    "recursion__depth": 2,
    "recursion__supervision": [0.5],
    "recursion__halting": True,
    "train__diagnose_every": 5,
    "train__eval_every": 10,
    "train__max_steps": 20,
}


@pytest.fixture(scope="session")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of 20 steps with memory and halting, diagnosed every five steps."""
    from neat.train.loop import run

    path = tmp_path_factory.mktemp("report") / "trained"
    assert run(configure(corpus, **PARTS), path) == 0
    return path


@pytest.fixture(scope="session")
def full(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real run and, behind it, 400 invented steps with phases, forecasts, a GPU, uploads and hostile text."""
    path = tmp_path_factory.mktemp("report") / "full"
    shutil.copytree(trained, path, ignore=shutil.ignore_patterns("checkpoints"))
    (path / "checkpoints").mkdir()
    events = path / "events.jsonl"
    append(events, eventful(start=20), first=last_seq(events) + 1)
    with events.open("ab") as file:
        file.write(b'{"v":1,"seq":')
        os.fsync(file.fileno())
    return path
