"""Reads a TOML file into a flat table of values, each with the line it stands on.

`tomllib` decides what the file means; it keeps no positions, so a small scanner finds the line of each key. A
position that the scanner cannot see (a key inside an inline table) falls back to that of the enclosing key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from neat.errors import ConfigError, printable

MAX_FILE_BYTES = 65_536
"""A configuration is a page or two of text; anything larger is not one."""

_MAX_DEPTH = 4
_MAX_DOTS = 1000  # the time tomllib takes is quadratic in the parts of a dotted key
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*\[\[?[ \t]*({_DOTTED})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=(.*)", re.DOTALL)
_PART = re.compile(_KEY)
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

KeyPath = tuple[str, ...]


def read(path: Path) -> str:
    """The text of a configuration file; raises `ConfigError` when it is missing, huge or not text."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes", hint="this is not a configuration file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path} is not UTF-8 text", where=f"line {line}") from error


def parse(text: str, name: str) -> dict[str, object]:
    """The nested table of a TOML text; raises `ConfigError` with the line of a syntax error."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            raise ConfigError(f"a line has more than {_MAX_DOTS} dots", where=f"in {name}, line {number}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, name) from None
    except RecursionError:
        raise ConfigError("not valid TOML: nested too deeply", where=f"in {name}") from None
    except ValueError:
        raise ConfigError("not valid TOML: a number has too many digits", where=f"in {name}") from None


def _syntax_error(message: str, text: str, name: str) -> ConfigError:
    match = _POSITION.fullmatch(message)
    reason, line = (match[1], match[2]) if match else (message, None)
    number = int(line) if line else text.count("\n") + 1
    reason = reason[:1].lower() + reason[1:200]
    return ConfigError(f"not valid TOML: {reason}", where=f"in {name}, line {number}")


def flatten(table: Mapping[str, object], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Path and value of every leaf; tables below the depth of the tree, and empty ones, count as leaves."""
    for key, value in table.items():
        path = (*prefix, key)
        if isinstance(value, dict) and value and len(path) < _MAX_DEPTH:
            yield from flatten(value, path)
        else:
            yield path, value


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line number (from 1) of every section header and assignment of a valid TOML text."""
    lines: dict[KeyPath, int] = {}
    section: KeyPath = ()
    skip = _Nesting()
    for number, line in enumerate(text.split("\n"), start=1):
        if skip.inside:
            skip.feed(line)
            continue
        if header := _HEADER.match(line):
            section = _parts(header[1])
            for depth in range(1, min(len(section), _MAX_DEPTH) + 1):
                lines.setdefault(section[:depth], number)
        elif assignment := _ASSIGNMENT.match(line):
            path = section + _parts(assignment[1])
            for depth in range(len(section) + 1, min(len(path), _MAX_DEPTH) + 1):
                lines.setdefault(path[:depth], number)
            skip.feed(assignment[2])
    return lines


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """Line of a key, or of the nearest enclosing key that has one."""
    for depth in range(min(len(path), _MAX_DEPTH), 0, -1):
        if path[:depth] in lines:
            return lines[path[:depth]]
    return None


def display(path: KeyPath) -> str:
    """A key as it would be written, shortened when it is absurdly long."""
    text = ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part) for part in path)
    return printable(text if len(text) <= 120 else text[:117] + "...")


def _parts(dotted: str) -> KeyPath:
    return tuple(next(iter(tomllib.loads(f"{part} = 0"))) for part in _PART.findall(dotted))


class _Nesting:
    """Whether a value goes on after the end of a line: an open bracket or an open multi-line string."""

    _TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*|[\[\]{}]')

    def __init__(self) -> None:
        self._depth = 0
        self._quote: str | None = None

    @property
    def inside(self) -> bool:
        return self._quote is not None or self._depth > 0

    def feed(self, text: str) -> None:
        """Follows one line, or the rest of one."""
        at = 0
        while at < len(text):
            if self._quote is not None:
                end = text.find(self._quote, at)
                if end < 0:
                    return
                at, self._quote = end + len(self._quote), None
            elif match := self._TOKEN.search(text, at):
                at = match.end()
                self._open(match[0])
            else:
                return

    def _open(self, token: str) -> None:
        if token in ('"""', "'''"):
            self._quote = token
        elif token in ("[", "{"):
            self._depth += 1
        elif token in ("]", "}"):
            self._depth -= 1
