"""Whether two configurations are the same, and where they differ."""

from __future__ import annotations

import hashlib
import json

from neat.config.base import Section, field_name
from neat.config.schema import Config, settings

Difference = tuple[str, object, object]
"""Dotted key, value on the left, value on the right."""


def value_of(config: Config, key: str) -> object:
    """The value of a dotted key."""
    section, _, name = key.rpartition(".")
    owner: Section = getattr(config, section) if section else config
    return getattr(owner, field_name(type(owner), name))


def difference(left: Config, right: Config) -> list[Difference]:
    """Every key whose value differs, in the order of the tree."""
    pairs = ((key, value_of(left, key), value_of(right, key)) for key in settings())
    return [(key, old, new) for key, old, new in pairs if old != new]


def config_hash(config: Config) -> str:
    """64 hexadecimal digits that are equal exactly when two configurations are."""
    values = {key: value_of(config, key) for key in settings()}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
