"""`neat train --monitor`: the trainer as a process of its own, the monitor in front of it.

The trainer has its own session: neither Ctrl-C in the monitor, nor its end, nor that of the terminal reaches it. What
it says goes to a file beside the run directory.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from neat.cli.arguments import say
from neat.errors import NeatError, UsageError, printable
from neat.events.lock import is_held
from neat.events.rundir import RunPaths

FIRST_WAIT_S = 0.05
"""Seconds between looks for the run directory, while the trainer starts."""


LAST_WAIT_S = 20.0
"""Longest wait for the end of a trainer that no longer holds its run."""
_LAST_BYTES = 2000


def train_and_watch(out: Path) -> int:
    """Starts the command of this process again, without `--monitor`, and watches the run `out`.

    Raises:
        UsageError: There is no terminal.
        NeatError: The trainer ended before it had a run directory.
    """
    from neat.cli.monitor import watch
    from neat.monitor.follow import Follower

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--monitor needs a terminal", hint="leave it out, and look with: neat monitor --print overview"
        )
    console = out.with_name(out.name + ".console.log")
    process = start(trainer_command(sys.argv), console)
    _wait_for_run(process, out, console)
    code = watch([Follower(RunPaths(out))])
    if not is_held(RunPaths(out).lock):
        # It has given the directory back and is about to end.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WAIT_S)
    ended = process.poll()
    if ended is None:
        say(f"training goes on as process {process.pid}; its messages are in {console}")
        say(f"neat monitor {out} shows it again, and stops it with S")
        return code
    if ended:
        say(_last_words(console))
    say(f"the trainer ended with exit code {ended}; its messages are in {console}")
    return ended


def trainer_command(argv: list[str]) -> list[str]:
    """The command line of this process without `--monitor`, as a module of this interpreter."""
    words = argv[1:]
    if not Path(argv[0]).name.startswith("neat-train"):
        words = words[words.index("train") + 1 :]
    return [sys.executable, "-m", "neat", "train", *(word for word in words if word != "--monitor")]


def start(command: list[str], console: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own, whose output goes to the end of a file."""
    try:
        console.parent.mkdir(parents=True, exist_ok=True)
        with console.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  the words of our own command line
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise NeatError(f"cannot start the trainer: {error.strerror or error}", where=f"in {console}") from error


def _wait_for_run(process: subprocess.Popen[bytes], out: Path, console: Path) -> None:
    """Waits until the trainer holds its directory; what it said is shown when it ends before."""
    begun = RunPaths(out)
    before = begun.lock.stat().st_mtime_ns if begun.lock.exists() else None
    while process.poll() is None:
        if begun.is_run() and begun.lock.exists() and begun.lock.stat().st_mtime_ns != before:
            return
        time.sleep(FIRST_WAIT_S)
    if process.returncode:
        raise NeatError(
            f"the trainer ended with exit code {process.returncode}:\n{_last_words(console)}",
            hint=f"its messages are in {console}",
        )


def _last_words(console: Path) -> str:
    """The end of what a trainer said."""
    return printable(console.read_bytes()[-_LAST_BYTES:].decode(errors="replace").strip())
