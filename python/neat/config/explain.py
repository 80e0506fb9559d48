"""Turns what validation finds into sentences: the key, what is wrong with its value, where it was set, a hint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from neat.config.base import RuleError, suggest
from neat.config.schema import sections, settings
from neat.config.tomlfile import KeyPath, display
from neat.errors import Problem

Places = Mapping[str, str | None]
"""Dotted key -> where its value was set."""


def unknown_key(path: KeyPath, where: str | None) -> Problem:
    """A key that names no setting, or that uses a section or a setting as what it is not."""
    key = display(path)
    if key in sections():
        return Problem(f"{key} is a group of settings, not one", f"write [{key}], then KEY = VALUE below it", where)
    owner = next((".".join(path[:n]) for n in (1, 2) if ".".join(path[:n]) in settings()), None)
    if owner is not None:
        return Problem(f"{key} is not a setting", f"{owner} holds a single value", where)
    near = _near_setting(path)
    return Problem(f"{key} is not a setting", f"did you mean {near}?" if near else _LIST_HINT, where)


_LIST_HINT = "`neat config show` lists every setting"


def _near_setting(path: KeyPath) -> str | None:
    """The setting meant by `path`: of the same name elsewhere, or spelt alike; a section for a lone section name."""
    if len(path) > 1:
        same = [key for key in settings() if key.rpartition(".")[2] == path[-1]]
        if len(same) == 1:
            return same[0]
    return suggest(".".join(path), [*settings(), *sections()]) or _near_name(path[-1])


def _near_name(name: str) -> str | None:
    by_name = {key.rpartition(".")[2]: key for key in settings()}
    near = suggest(name, by_name)
    return by_name[near] if near else None


def explain(error: ValidationError, places: Places) -> list[Problem]:
    """All problems of a failed validation, in the order of the tree."""
    return [problem for details in error.errors(include_url=False) for problem in _problems(details, places)]


def _problems(details: ErrorDetails, places: Places) -> Iterator[Problem]:
    location = [str(part) for part in details["loc"]]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, RuleError):
        prefix = ".".join(location)
        for breach in cause.breaches:
            key = f"{prefix}.{breach.key}" if prefix else breach.key
            yield Problem(f"{key} {breach.message}", breach.hint, places.get(key))
        return
    key = ".".join(location[:2]) if location[:1] and location[0] in sections() else location[0]
    element = "".join(f"[{part}]" for part in location[key.count(".") + 1 :])
    yield Problem(f"{key}{element} = {_shown(details['input'])} {_complaint(details)}", _hint(details), places.get(key))


def _complaint(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Input should be ").removeprefix("String should have ")
    message = message.replace("a valid tuple", "a list").replace("a valid ", "a ").replace("a integer", "an integer")
    if details["type"] == "string_pattern_mismatch":
        return "must consist of letters, digits, dots, dashes and underscores, and begin with a letter or digit"
    return ("must have " if "String should have" in details["msg"] else "must be ") + message


def _hint(details: ErrorDetails) -> str | None:
    if details["type"] != "literal_error" or not isinstance(details["input"], str):
        return None
    expected = str(details.get("ctx", {}).get("expected", ""))
    near = suggest(details["input"], [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")])
    return f"did you mean {near}?" if near else None


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = "..." if isinstance(value, int) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
