"""Requests of a person to a running trainer, as files in the folder `requests` of the run directory.

Whoever asks writes a file whole, by one rename; the trainer reads the folder between steps, in the order of the names,
answers each with a `request` event and deletes the file. No signal, no socket: whoever may write the run directory may
ask, and nobody else.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from neat.errors import NeatError

FOLDER = "requests"
Kind = Literal["save", "stop", "pause", "resume", "note"]
KINDS: tuple[str, ...] = get_args(Kind)

MAX_BYTES = 65_536
"""A larger file is refused unread."""
MAX_PENDING = 64
"""Files looked at in one turn."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `kind`, a `text` that explains it or is the note itself, who asks, and when (Unix seconds)."""

    kind: str
    text: str = ""
    by: str = ""
    time: float = 0.0


class MalformedRequestError(ValueError):
    """A file that is no request."""


def ask(root: Path, kind: Kind, text: str = "", by: str | None = None) -> Path:
    """Puts a request before the trainer of the run directory `root`; returns the file.

    Raises:
        NeatError: The directory cannot be written.
    """
    request = {"v": 1, "request": kind, "text": text, "by": asker() if by is None else by, "time": time.time()}
    folder = root / FOLDER
    name = f"{time.time_ns():020d}-{os.getpid()}"
    draft, path = folder / f".{name}.tmp", folder / f"{name}.json"
    try:
        folder.mkdir(exist_ok=True)
        draft.write_text(json.dumps(request), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise NeatError(
            f"cannot ask the run: {error.strerror or error}", hint=f"{folder} must be writable", where=f"in {root}"
        ) from error
    return path


def pending(root: Path) -> list[Path]:
    """The files that wait for an answer, oldest first; empty when there is no folder."""
    try:
        names = sorted(entry.name for entry in os.scandir(root / FOLDER) if entry.name.endswith(".json"))
    except OSError:
        return []
    return [root / FOLDER / name for name in names[:MAX_PENDING] if not name.startswith(".")]


def read(path: Path) -> Request:
    """The request in a file; raises `MalformedRequestError` for anything else, whatever the bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        table = json.loads(content) if len(content) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise MalformedRequestError("the file is not JSON") from error
    if not isinstance(table, dict) or table.get("v") != 1:
        raise MalformedRequestError("the file is not a request of version 1")
    kind, text, by, when = (table.get(key) for key in ("request", "text", "by", "time"))
    if kind not in KINDS:
        raise MalformedRequestError(f"{kind!r} is not a request"[:200])
    if not isinstance(text, str) or not isinstance(by, str) or type(when) not in (int, float):
        raise MalformedRequestError("text, by or time is missing")
    return Request(str(kind), text, by, float(when))  # type: ignore[arg-type]


def asker() -> str:
    """Who asks: `user@host`, as far as the machine tells."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
