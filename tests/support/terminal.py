"""A real terminal for a real monitor: a pseudo-terminal that can be resized, typed into and hung up."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Self


class Terminal:
    """A command in a pseudo-terminal of its own, as its session leader; `output` is everything it wrote."""

    def __init__(self, command: list[str], size: tuple[int, int] = (100, 30), **environment: str) -> None:
        self._master, slave = pty.openpty()
        self.output = b""
        self.resize(*size)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True,
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            preexec_fn=_take_terminal,  # noqa: PLW1509  the only way to give a child its terminal
        )  # fmt: skip
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        """Another size; the kernel tells the process."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Types."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> None:
        """Takes in what is written for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self._master], [], [], left)[0]:
            try:
                self.output += os.read(self._master, 65_536)
            except OSError:
                return

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Reads until the process has written `text`."""
        end = time.monotonic() + seconds
        while text.encode() not in self.output:
            assert time.monotonic() < end, self.output[-2000:]
            self.read(0.1)

    def end(self, seconds: float = 30.0) -> int:
        """Reads until the process has ended; its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.output[-2000:]
            self.read(0.1)
        self.read(0.1)
        return self.process.returncode

    def hang_up(self) -> None:
        """The terminal goes away, as with a cut connection."""
        os.close(self._master)
        self._master = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def events_written(path: Path) -> int:
    """Lines of a file, 0 when there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
