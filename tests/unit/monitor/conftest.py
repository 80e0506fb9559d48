"""Runs for the screens, and a clock whose zone is that of the golden files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recording import copy_recorded, with_made_up_events


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run; nothing in it is made up."""
    return copy_recorded(tmp_path_factory.mktemp("recorded") / "real")


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real run with the events that this machine cannot write."""
    return with_made_up_events(tmp_path_factory.mktemp("made-up") / "made-up")
