"""What all parts of the configuration share: frozen, strict, no unknown keys, every rule reported at once."""

from __future__ import annotations

from collections.abc import Iterator
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
        use_attribute_docstrings=True,
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


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Integers = Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
Floats = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]
Curriculum = Annotated[tuple[tuple[float, int], ...], BeforeValidator(_as_tuple)]
