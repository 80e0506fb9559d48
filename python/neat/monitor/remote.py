"""A run on another machine: one `ssh` process sends what is new, and a local copy of the run grows from it.

The other side needs a POSIX shell, `ls`, `tail`, `head`, `cat`, `base64` and nothing of ours. It sends frames: a line
with a tag and three numbers, base64, a line with a dot. Nothing is ever written there.
"""

from __future__ import annotations

import base64
import binascii
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from neat.events.rundir import RunPaths
from neat.monitor.health import Holder, parse_holder

ROUND_S = 1
"""Seconds between two rounds on the other side."""
MAX_FRAME_BYTES = 4 * 2**20
"""Bytes of events sent in one round; a long history comes in many."""
AGAIN_S = 5.0
"""Seconds until a lost connection is tried again."""

_SCRIPT = """
cd -- {path} || {{ echo "X 0 0 0"; exit 3; }}
at={offset}; last={inode}
send() {{ echo "$1 $2 $3 $4"; base64; echo .; }}
while :; do
  for name in run.json config.toml run.lock; do
    [ -f $name ] && head -c 1048576 < $name | send "$name" 0 0 0
  done
  pid=$(sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p' run.lock 2>/dev/null)
  host=$(sed -n 's/.*"host": *"\\([^"]*\\)".*/\\1/p' run.lock 2>/dev/null)
  if [ "$host" = "$(hostname)" ] && [ -n "$pid" ]; then
    if kill -0 "$pid" 2>/dev/null || [ -d "/proc/$pid" ]; then echo "L 1 0 0"; else echo "L 0 0 0"; fi
  else echo "L 2 0 0"; fi
  if [ -f events.jsonl ]; then
    inode=$(ls -i events.jsonl | sed 's/^ *\\([0-9]*\\).*/\\1/'); size=$(($(wc -c < events.jsonl)))
    if [ "$inode" != "$last" ] && [ "$last" != 0 ] || [ "$size" -lt "$at" ]; then at=0; fi
    last=$inode; more=$((size - at))
    [ $more -gt {most} ] && more={most}
    if [ $more -gt 0 ]; then
      tail -c +$((at + 1)) events.jsonl | head -c $more | send E "$inode" "$at" "$size"
      at=$((at + more))
    fi
    [ $at -lt $size ] && continue
  fi
  sleep {round_s} || exit
done
"""


class Mirror:
    """A local copy of a run that ssh keeps up to date. Calling it tells who holds the run there.

    Args:
        host: `user@host` as ssh takes it.
        path: The run directory there.
    """

    def __init__(self, host: str, path: str) -> None:
        self._host, self._path = host, path
        self._folder = tempfile.TemporaryDirectory(prefix="neat-monitor-")
        self.paths = RunPaths(Path(self._folder.name) / (Path(path).name or "run"))
        self.paths.root.mkdir()
        self._offset, self._inode = 0, 0
        self._alive: bool | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"copy of {host}", daemon=True)
        self.trouble = ""
        self.rounds = 0

    def __call__(self) -> Holder:
        """The process that writes the run, and whether it lives there; None where that cannot be told."""
        try:
            content = self.paths.lock.read_bytes()[:4096]
        except OSError:
            content = b""
        return parse_holder(content, held=None if self.trouble else self._alive)

    def start(self) -> None:
        """Begins to copy."""
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the first whole round; false when there was none in time or the other side refused."""
        until = time.monotonic() + timeout_s
        while self.rounds == 0 and not self.trouble and time.monotonic() < until:
            time.sleep(0.02)
        return self.rounds > 0

    def close(self) -> None:
        """Ends ssh and deletes the copy."""
        self._closing.set()
        if self._process is not None:
            self._process.kill()
        if self._thread.is_alive():
            self._thread.join()
        self._folder.cleanup()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._copy()
            except (OSError, ValueError) as error:
                self.trouble = f"ssh {self._host}: {error}"
            self._closing.wait(AGAIN_S)

    def _copy(self) -> None:
        script = _SCRIPT.format(
            path=shlex.quote(self._path), offset=self._offset, inode=self._inode, most=MAX_FRAME_BYTES, round_s=ROUND_S
        )
        command = ["ssh", "-C", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        command += ["-o", "ServerAliveInterval=10", "--", self._host, f"exec sh -c {shlex.quote(script)}"]
        with subprocess.Popen(  # noqa: S603  the host cannot be an option, the path is quoted
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            self._process = process
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                self._frame(line.split(), process.stdout)
                if self._closing.is_set():
                    process.kill()
            words = process.stderr.read()[-300:].decode(errors="replace").split()
            process.wait()
            if not self._closing.is_set():
                self.trouble = self.trouble or f"ssh {self._host} ended: {' '.join(words) or process.returncode}"

    def _frame(self, words: list[bytes], lines: Iterator[bytes]) -> None:
        """Takes in one frame; a line that is none, such as a greeting, is passed over."""
        match words:
            case [b"X", *_]:
                self.trouble = f"there is no directory {self._path} on {self._host}"
            case [b"L", state, _, _]:
                self._alive = {b"0": False, b"1": True}.get(state)
                self.trouble = ""
                if not self.paths.events.exists():
                    self.rounds += 1
            case [b"E", inode, start, size] if all(word.isdigit() for word in words[1:]):
                self._append(int(inode), int(start), _body(lines))
                self.rounds += self._offset >= int(size)
            case [name, b"0", b"0", b"0"] if name in (b"run.json", b"config.toml", b"run.lock"):
                (self.paths.root / name.decode()).write_bytes(_body(lines))

    def _append(self, inode: int, start: int, content: bytes) -> None:
        events = self.paths.events
        if start == 0 and self._offset:
            # Another file stands there now; a new inode here tells the reader so.
            events.rename(events.with_suffix(".old"))
        if start not in (0, self._offset):
            raise ValueError("a part of the events is missing")
        with events.open("ab" if start else "wb") as file:
            file.write(content)
        self._inode, self._offset = inode, start + len(content)


def _body(lines: Iterator[bytes]) -> bytes:
    parts = []
    for line in lines:
        if line == b".\n":
            break
        parts.append(line.strip())
    try:
        return base64.b64decode(b"".join(parts), validate=True)
    except binascii.Error as error:
        raise ValueError("what came is not base64") from error
