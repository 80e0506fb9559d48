"""The dialogue of `neat generate --interactive`: lines are read and answered until the input ends.

A line that begins with `/` is a command, any other is text. Ctrl-C ends an answer, not the dialogue. Input that comes
from a pipe is answered the same way, without prompts.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from neat.cli.arguments import print_table, say
from neat.cli.conversation import Conversation
from neat.cli.screen import Screen
from neat.errors import DataError, NeatError, UsageError, render

PROMPT, CONTINUED = "> ", ". "
STATE_SUFFIX = ".safetensors"
HISTORY_LINES = 1000


class Command(NamedTuple):
    """One command: how it is written, what it does, and the method that does it."""

    form: str
    text: str
    run: Callable[[Repl, str], None]


class Interrupted:
    """Between `with` and its end the first Ctrl-C is only noted, in `pressed`; the second one raises."""

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


class Repl:
    """Reads lines, answers them, obeys commands."""

    def __init__(self, conversation: Conversation) -> None:
        self._talk, self._screen = conversation, Screen()
        self._typed = sys.stdin.isatty() and sys.stdout.isatty()

    def run(self, first: bytes | None = None) -> None:
        """Answers `first`, where there is one, and then every line of stdin until it ends."""
        _tolerate_bytes()
        with _history(self._typed):
            if self._typed:
                say("Type a text to go on from. Enter alone goes on, /help lists commands, Ctrl-D quits.")
            if first is not None:
                self._answer(first)
            for line in self._lines():
                self._obey(line) if line.startswith("/") else self._answer(line.encode(errors="surrogateescape"))

    def _lines(self) -> Iterator[str]:
        """Lines as they come; one that ends with a backslash goes on in the next."""
        before = ""
        while True:
            try:
                line = self._line(CONTINUED if before else PROMPT)
            except EOFError:
                if self._typed:
                    print()
                break
            except KeyboardInterrupt:
                if not self._typed:
                    raise
                say("\n(Ctrl-D quits)")
                before = ""
                continue
            if line.endswith("\\"):
                before += line[:-1] + "\n"
                continue
            yield before + line
            before = ""
        if before:
            yield before.removesuffix("\n")

    def _line(self, prompt: str) -> str:
        if self._typed:
            return input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    def _answer(self, line: bytes) -> None:
        """Streams the answer; a failure leaves the text as it was before."""
        turns = self._talk.turns
        pieces = self._talk.turn(line)
        try:
            with Interrupted() as interrupted, contextlib.closing(pieces):  # type: ignore[type-var]
                for piece in pieces:
                    self._screen.write(piece)
                    if interrupted.pressed:
                        break
            self._screen.end()
            print(" [stopped]" if interrupted.pressed else "", flush=True)
        except NeatError as error:
            if self._talk.turns > turns:
                self._talk.undo()
            say(render(error))

    def _obey(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        try:
            if name not in COMMANDS:
                raise UsageError(f"/{name} is not a command", hint="/help lists them")
            COMMANDS[name].run(self, rest.strip())
        except NeatError as error:
            say(render(error))

    def help(self, _: str) -> None:
        """Lists the commands."""
        width = max(len(command.form) for command in COMMANDS.values())
        for command in COMMANDS.values():
            print(f"{command.form:<{width}}  {command.text}")
        print(f"{'TEXT':<{width}}  is read and gone on from; a line that ends with \\ goes on in the next", flush=True)

    def set(self, rest: str) -> None:
        """Changes a setting, or shows all."""
        if not rest:
            print_table({name: _shown(getattr(self._talk.settings, name)) for name in SETTINGS})
            return
        name, _, value = rest.partition(" ")
        if name not in SETTINGS:
            raise UsageError(f"{name} is not a setting", hint=f"settings are {', '.join(SETTINGS)}")
        try:
            self._talk.set(**{name: SETTINGS[name](value.strip())})
        except ValueError as error:
            raise UsageError(f"{value.strip() or 'nothing'} is not a {name}", hint=_RANGES[name]) from error

    def seed(self, rest: str) -> None:
        """Starts the random choices anew."""
        self.set(f"seed {rest}")

    def reset(self, _: str) -> None:
        """Begins a new text."""
        self._talk.reset()

    def undo(self, _: str) -> None:
        """Takes the last turn back."""
        self._talk.undo()

    def save(self, rest: str) -> None:
        """Writes the text, or all that is remembered of it, to a file."""
        try:
            (name,) = shlex.split(rest)
        except ValueError as error:
            raise UsageError("/save needs the name of one file", hint="/save story.txt") from error
        path = Path(name).expanduser()
        if path.suffix == STATE_SUFFIX:
            self._talk.state.save(path)
        else:
            try:
                path.write_bytes(self._talk.text)
            except OSError as error:
                raise DataError(f"cannot write {path}: {error.strerror}") from error
        say(f"saved {path}")

    def stats(self, _: str) -> None:
        """Prints figures."""
        print_table(self._talk.stats())
        sys.stdout.flush()

    def system(self, rest: str) -> None:
        """Begins a new text behind a fixed beginning."""
        if not rest:
            print(os.fsdecode(self._talk.system) or "none", flush=True)
            return
        self._talk.reset(b"" if rest == "none" else rest.encode(errors="surrogateescape"))


def _number(text: str, low: float, high: float, *, above: bool = False) -> float:
    value = float(text)
    if not (low < value if above else low <= value) or not value <= high:
        raise ValueError(text)
    return value


def _integer(text: str, low: int) -> int:
    value = int(text)
    if not low <= value < 2**63:
        raise ValueError(text)
    return value


SETTINGS: dict[str, Callable[[str], object]] = {
    "temperature": lambda text: _number(text, 0.0, 1e9),
    "top_p": lambda text: _number(text, 0.0, 1.0, above=True),
    "top_k": lambda text: _integer(text, 0),
    "max_bytes": lambda text: _integer(text, 1),
    "seed": lambda text: _integer(text, 0),
    "stop": lambda text: tuple(word.encode(errors="surrogateescape") for word in shlex.split(text) if word),
}
_RANGES = {
    "temperature": "0 takes the likeliest byte, 1 samples",
    "top_p": "above 0 and at most 1",
    "top_k": "0 sets no limit",
    "max_bytes": "1 or more",
    "seed": "0 or more",
    "stop": 'texts that end an answer, in quotes: /set stop "THE END"',
}

COMMANDS = {
    "help": Command("/help", "this list", Repl.help),
    "set": Command("/set [NAME VALUE]", f"change one of {', '.join(SETTINGS)}; alone: show them", Repl.set),
    "seed": Command("/seed N", "start the random choices anew from N", Repl.seed),
    "undo": Command("/undo", "take the last turn back", Repl.undo),
    "reset": Command("/reset", "begin a new text", Repl.reset),
    "system": Command("/system TEXT|none", "begin a new text, and every later one, with TEXT", Repl.system),
    "stats": Command("/stats", "speed, surprise in bits per byte, patches", Repl.stats),
    "save": Command("/save FILE", f"write the text to FILE; FILE{STATE_SUFFIX}: all for --load-state", Repl.save),
}


def _shown(value: object) -> object:
    return " ".join(shlex.quote(os.fsdecode(text)) for text in value) or None if isinstance(value, tuple) else value


def _tolerate_bytes() -> None:
    """Input that is no UTF-8 is read as the bytes that it is."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")


@contextlib.contextmanager
def _history(typed: bool) -> Iterator[None]:
    """Earlier lines at the arrow keys, where Python has readline; kept in a file that others cannot read."""
    try:
        import readline
    except ImportError:
        yield
        return
    if not typed:
        yield
        return
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "neat" / "history"
    # History is a comfort: a folder that cannot be read or written takes nothing else away.
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(HISTORY_LINES)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            readline.write_history_file(path)
