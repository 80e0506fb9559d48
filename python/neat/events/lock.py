"""One writer per run directory, held by the kernel: a killed process never leaves a stale lock."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from neat.errors import LockedError, NeatError


class RunLock:
    """An exclusive `flock` on a file that names its holder. Taken when made, given back by `release`."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise NeatError(f"cannot open {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise LockedError(
                    f"{path.parent} is being written by {_holder(path)}",
                    hint="wait for it, stop it, or give another directory with --out",
                ) from None
            raise NeatError(
                f"cannot lock {path}: {error.strerror or error}", hint="use a file system that supports locks"
            ) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "start": time.time()}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(holder).encode() + b"\n", 0)

    def release(self) -> None:
        """Gives the lock back; the file stays, so that no two processes ever lock different files."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_held(path: Path) -> bool:
    """Whether some process holds the lock of a run now."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes()[:4096])
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["start"])))
        return f"process {int(holder['pid'])} on {str(holder['host'])[:100]}, started {started}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process"
