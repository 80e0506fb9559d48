"""Errors for people: what went wrong, where, and what to do about it.

Every error that a user can cause is a `NeatError`. Its class decides the exit code of the process; its text
is printed by `render`, the only place that knows the shape of an error on the terminal. Anything else that
reaches the command line is a fault of the program and leaves with code 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    DATA = 3
    CHECKPOINT = 4
    HUB = 5
    DIVERGED = 6
    OUT_OF_MEMORY = 7
    LOCKED = 8
    STOPPED = 75
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `message` is a sentence without its full stop, `where` a phrase such as `in 100m.toml, line 12, [train]`,
    `hint` what to do next.
    """

    message: str
    hint: str | None = None
    where: str | None = None

    def line(self) -> str:
        """The message and its place on one line, safe to print on a terminal."""
        place = f" ({self.where})" if self.where else ""
        return printable(self.message + place)


class NeatError(Exception):
    """Base of all errors that are answered by a message instead of a traceback."""

    title: ClassVar[str] = "error"
    exit_code: ClassVar[Exit] = Exit.INTERNAL

    def __init__(self, message: str, hint: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(message, hint, where),)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Self:
        """One error that reports several problems at once (at least one)."""
        collected = tuple(problems)
        error = cls(collected[0].message)
        error.problems = collected
        return error

    @property
    def message(self) -> str:
        """The first problem's sentence."""
        return self.problems[0].message

    @property
    def hint(self) -> str | None:
        """The first problem's advice."""
        return self.problems[0].hint

    @property
    def where(self) -> str | None:
        """The first problem's place."""
        return self.problems[0].where

    def __str__(self) -> str:
        return "\n".join(problem.line() for problem in self.problems)


class UsageError(NeatError):
    """A command line that cannot be understood."""

    title = "usage error"
    exit_code = Exit.USAGE


class ConfigError(NeatError):
    """A setting that is unknown, of the wrong type, out of range or at odds with another one."""

    title = "config error"
    exit_code = Exit.USAGE


class DataError(NeatError):
    """Training or evaluation data that is missing, damaged or empty."""

    title = "data error"
    exit_code = Exit.DATA


class CheckpointError(NeatError):
    """A run or checkpoint that cannot be read or written."""

    title = "checkpoint error"
    exit_code = Exit.CHECKPOINT


class HubError(NeatError):
    """A refused or failed exchange with a model hub."""

    title = "hub error"
    exit_code = Exit.HUB


class DivergedError(NeatError):
    """Training that no longer produces finite numbers."""

    title = "diverged"
    exit_code = Exit.DIVERGED


class OutOfMemoryError(NeatError):
    """A batch or a model that does not fit the device."""

    title = "out of memory"
    exit_code = Exit.OUT_OF_MEMORY


class LockedError(NeatError):
    """A run directory that another process is writing."""

    title = "run directory in use"
    exit_code = Exit.LOCKED


def render(error: NeatError) -> str:
    """The text of an error as it goes to stderr, without a final newline.

    One block per problem: the line with its place, and, after a blank line, the hint.
    """
    return "\n\n".join(_block(error.title, problem) for problem in error.problems)


def _block(title: str, problem: Problem) -> str:
    line = f"{title}: {problem.line()}"
    return f"{line}\n\nhint: {printable(problem.hint)}" if problem.hint else line


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates escaped, so that no file can steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
