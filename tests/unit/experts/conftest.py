"""What all tests of experts share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.experts import train_base


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and questions for it."""
    root = tmp_path_factory.mktemp("experts")
    train_base(root)
    return root


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors are kept in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
