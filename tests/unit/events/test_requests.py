"""Requests are files: written whole, read in their order, refused when they are anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from neat.errors import NeatError
from neat.events.requests import KINDS, MAX_BYTES, MAX_PENDING, MalformedRequestError, ask, pending, read


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_is_read(tmp_path: Path, kind: str) -> None:
    path = ask(tmp_path, kind, "because \u00e9\u2028", by="me@here")  # type: ignore[arg-type]
    assert pending(tmp_path) == [path]
    request = read(path)
    assert (request.kind, request.text, request.by) == (kind, "because \u00e9\u2028", "me@here")


def test_requests_come_in_the_order_of_asking(tmp_path: Path) -> None:
    assert pending(tmp_path) == []
    paths = [ask(tmp_path, "note", str(number)) for number in range(5)]
    (tmp_path / "requests" / ".half.tmp").write_text("{")
    (tmp_path / "requests" / "readme.txt").write_text("not a request")
    assert pending(tmp_path) == paths
    assert [read(path).text for path in pending(tmp_path)] == list("01234")


def test_a_flood_is_taken_in_turns(tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    for number in range(MAX_PENDING + 10):
        (tmp_path / "requests" / f"{number:05d}.json").write_text("{}")
    assert len(pending(tmp_path)) == MAX_PENDING


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"v":2,"request":"stop"}', b"[" * 100_000, b" " * (MAX_BYTES + 1),
        json.dumps({"v": 1, "request": "explode", "text": "", "by": "", "time": 1}).encode(),
        json.dumps({"v": 1, "request": ["stop"], "text": "", "by": "", "time": 1}).encode(),
        json.dumps({"v": 1, "request": "stop", "text": 3, "by": "", "time": 1}).encode(),
        json.dumps({"v": 1, "request": "stop", "text": "", "by": ""}).encode(),
    ],
)  # fmt: skip
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(MalformedRequestError):
        read(path)


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    good = ask(tmp_path, "stop")
    link, pipe, folder = tmp_path / "link.json", tmp_path / "pipe.json", tmp_path / "folder.json"
    link.symlink_to(good)
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (link, pipe, folder, tmp_path / "missing.json"):
        with pytest.raises(MalformedRequestError):
            read(path)


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "requests").write_text("in the way")
    with pytest.raises(NeatError, match="cannot ask the run"):
        ask(tmp_path, "save")
