"""Exceptions that people see: what went wrong, and what to do about it."""


class NeatError(Exception):
    """A failure with a message for people, a hint, and the exit code of the command that meets it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DataError(NeatError):
    """Documents, windows or an n-gram model could not be had."""

    exit_code = 3
