"""A tiny trained run and its export, made once per test session."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from neat.hub.export import export
from neat.train import loop
from support.runs import configure, write_corpus


@cache
def trained_run() -> Path:
    """A run of 30 steps with three checkpoints; callers only read it."""
    folder = Path(mkdtemp(prefix="neat-run-"))
    write_corpus(folder)
    loop.run(configure(folder, checkpoint__keep=3), folder / "run")
    return folder / "run"


def exported(folder: Path) -> Path:
    """A fresh export of that run in `folder`."""
    return export(trained_run(), folder / "export").folder


def copied_run(folder: Path) -> Path:
    """A copy of that run that a test may write to."""
    return Path(shutil.copytree(trained_run(), folder / "run"))
