"""A fresh hub for each test, and the real client in this process talking to it by either way of storing large files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakehub.server import FakeHub
from support.hub import client_in_process


@pytest.fixture(params=["xet", "lfs"])
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str) -> Iterator[FakeHub]:
    monkeypatch.setattr("neat.hub.worker.FIRST_WAIT_S", 0.02)
    with FakeHub(tmp_path) as server, client_in_process(server, tmp_path, monkeypatch, xet=storage == "xet"):
        yield server
