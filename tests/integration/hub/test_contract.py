"""Which requests the client makes for one upload and one download: a new version that asks for more fails here."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fakehub.server import FakeHub
from support.hub import REPO, queued

import neat
from neat.hub.worker import work

LISTED = Path(__file__).parents[2] / "fakehub" / "requests.json"


def plain(requests: list[str]) -> list[str]:
    """Without what differs between runs: hashes, and the order in which files are asked for at the same time."""
    masked = [re.sub(r"[0-9a-f]{40,64}", "HASH", request) for request in requests]
    first = next((i for i, request in enumerate(masked) if "/resolve/" in request), len(masked))
    return masked[:first] + sorted(masked[first:])


def test_the_requests_are_those_on_the_list(hub: FakeHub, tmp_path: Path, storage: str) -> None:
    spool, _ = queued(tmp_path)
    work(spool, 1)
    uploaded = plain(hub.requests)
    hub.requests.clear()
    neat.from_pretrained(REPO)
    expected = json.loads(LISTED.read_text())[storage]
    assert {"upload": uploaded, "download": plain(hub.requests)} == expected
