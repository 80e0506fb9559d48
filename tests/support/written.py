"""A small run on disk, and small models in memory, for what reads and writes text."""

from __future__ import annotations

from pathlib import Path

from neat.errors import Exit
from neat.model.text.model import TextModel
from neat.train.loop import run
from support.networks import network, scattered
from support.runs import configure
from support.text import text_model

KINDS = ("windows", "stream")


def small_model(kind: str) -> TextModel:
    """A model in float64 that reads in overlapping windows of 32 positions, or on and on."""
    shape = network(window=0 if kind == "windows" else 5)
    return text_model(scattered(shape), shape, window=32)


def small_run(corpus: Path, folder: Path) -> Path:
    """A run of a few steps."""
    out = folder / "run"
    assert run(configure(corpus, train__max_steps=6, checkpoint__every_steps=6), out) == Exit.DONE
    return out
