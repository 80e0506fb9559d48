"""What all parts of the configuration share: frozen, strict, no unknown keys, every rule reported at once."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


class Breach(NamedTuple):
    """A broken rule between settings: the key it is reported at (relative to its section), what, and advice."""

    key: str
    message: str
    hint: str | None = None


class RuleError(ValueError):
    """All broken rules of one section; `load` turns it into a `ConfigError` with places."""

    def __init__(self, breaches: list[Breach]) -> None:
        super().__init__("; ".join(f"{breach.key} {breach.message}" for breach in breaches))
        self.breaches = breaches


class Section(BaseModel):
    """A group of settings. Values are immutable; types are taken literally (no `"3"` for `3`)."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        defer_build=True,  # half the time of --help, which validates nothing
    )

    def breaches(self) -> Iterator[Breach]:
        """The rules between settings of this section that its values break."""
        yield from ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        found = list(self.breaches())
        if found:
            raise RuleError(found)
        return self


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`, None when nothing is near.

    One that has `word`, or its plural, between underscores is nearer than one that is only spelt alike.
    """
    words, (section, _, name) = list(known), word[:200].rpartition(".")
    holding = [known for known in words if _holds(known, section, name)]
    near = difflib.get_close_matches(word[:200], holding or words, n=1, cutoff=0.0 if holding else 0.6)
    return near[0] if near else None


def _holds(known: str, section: str, name: str) -> bool:
    of, _, words = known.rpartition(".")
    return of == section and bool({name, name + "s"} & set(words.split("_")))


def field_texts(section: type[Section]) -> dict[str, str]:
    """Field -> the string that stands under it in the source, on one line.

    Pydantic can collect these too (`use_attribute_docstrings`), but does so on every import, for a sixth of the
    time that `--help` may take.
    """
    source = Path(str(sys.modules[section.__module__].__file__)).read_text(encoding="utf-8")
    bodies = (
        node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == section.__name__
    )
    texts = {}
    for body in bodies:
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(text))):
                    texts[name] = " ".join(text.split())
    return texts


def field_name(section: type[Section], key: str) -> str:
    """What the setting `key` of a section is called in code: the same, but for words of Python's own."""
    fields = section.model_fields
    return key if key in fields else next((name for name, field in fields.items() if field.alias == key), key)


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Integers = Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
Floats = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]
Curriculum = Annotated[tuple[tuple[float, int], ...], BeforeValidator(_as_tuple)]
Stages = Annotated[tuple[tuple[float, float], ...], BeforeValidator(_as_tuple)]
Factors = Annotated[tuple[tuple[str, float], ...], BeforeValidator(_as_tuple)]
