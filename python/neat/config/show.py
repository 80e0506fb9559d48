"""Writes a configuration as commented TOML that loads back to an equal one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from neat.config.compare import value_of
from neat.config.load import Origin
from neat.config.schema import Config, descriptions, sections, settings

_WIDTH = 110


def dump_toml(config: Config, origins: Mapping[str, Origin] | None = None, *, comments: bool = True) -> str:
    """The resolved configuration as TOML.

    With `comments` the description of each setting stands above it; with `origins` the place each value came
    from stands behind it.
    """
    lines: list[str] = []
    section = ""
    for key in settings():
        prefix, _, name = key.rpartition(".")
        if prefix != section:
            section = prefix
            lines += ["", *_section_comment(section, comments), f"[{section}]"]
        if comments:
            lines += _comment(descriptions()[key])
        origin = f"  # {_one_line(origins[key].label)}" if origins else ""
        lines.append(f"{name} = {toml_value(value_of(config, key))}{origin}")
    return "\n".join(lines) + "\n"


def describe_settings() -> str:
    """One line per setting, for `--help`: key, default, and the first sentence of its description."""
    lines = []
    for key, declared in settings().items():
        summary = descriptions()[key].split(". ")[0].rstrip(".")
        default = toml_value(declared.get_default())
        lines += textwrap.wrap(
            f"{key} = {default}: {summary}", width=_WIDTH, initial_indent="  ", subsequent_indent="      "
        )
    return "\n".join(lines)


def toml_value(value: object) -> str:
    """A string, number, truth value or list as TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(_escaped(character) for character in value) + '"'
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no TOML form here")


def _escaped(character: str) -> str:
    if character in ('"', "\\"):
        return "\\" + character
    code = ord(character)
    return character if character.isprintable() else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _section_comment(section: str, comments: bool) -> Iterator[str]:
    if comments:
        yield from _comment(sections()[section].__doc__ or "")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(_one_line(text), width=_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _one_line(text: str) -> str:
    return " ".join(text.split())
