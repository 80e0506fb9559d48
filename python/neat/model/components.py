"""Which part of the network a parameter or module belongs to, decided in one place.

Parts are what a person looks for in a table of parameters or times; components are what a configuration switches on
and off. Everything that lists, times or measures parts of the network asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

COMPONENTS = ("core", "memory", "experts", "patching", "vision", "halting")
"""In the order of every table."""

ALIASES = {"blt": "patching", "titans": "memory", "mvot": "vision", "svf": "experts", "act": "halting"}
"""Names of the publications that people also look for."""

_PARTS = (
    (r"embedding\.hash\b", "hash n-grams", "patching"),
    (r"embedding\.", "byte inputs", "patching"),
    (r"embedding$", "byte inputs", "patching"),
    (r"patching\.encoder\b", "local encoder", "patching"),
    (r"patching\.pool\b", "patch pooling", "patching"),
    (r"patching\.reads\b", "patch reading", "patching"),
    (r"patching\.decoder\b", "local decoder", "patching"),
    (r"head\b", "byte head", "patching"),
    (r"latent\.layers\.\d+\.memory\b", "memory", "memory"),
    (r"latent\..*\bpersistent\b", "memory", "memory"),
    (r"latent\.halting\b", "halting", "halting"),
    (r"latent\.injection\b", "halting", "halting"),
    (r"experts\b", "expert vectors", "experts"),
    (r"vision\.codec\b", "image codec", "vision"),
    (r"vision\b", "image parts", "vision"),
    (r"latent\b", "latent transformer", "core"),
)
_ADAPTED = re.compile(r"latent\.layers\.\d+\.(attention\.out|feed_forward\.down)\.")


def part_of(name: str) -> str:
    """The part that the parameter or module `name` of a `NeatModel` belongs to."""
    return _find(name)[1]


def component_of(name: str, *, experts: bool) -> str:
    """The component that the parameter or module `name` belongs to.

    Args:
        name: As in `named_parameters`.
        experts: Whether the model holds expert vectors. The matrices whose singular values they scale then count to
            the experts, as in the budget of the presets; nothing is added to the network by that.
    """
    return "experts" if experts and _ADAPTED.match(name) else _find(name)[2]


def timed_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(part, module) of the modules whose time makes a table: the outermost one of each part and layer."""
    seen: list[str] = []
    for name, module in model.named_modules():
        if not name or isinstance(module, nn.ModuleList) or name in ("latent", "patching", "vision"):
            continue
        part = part_of(name)
        inside = any(name.startswith(outer + ".") and part_of(outer) == part for outer in seen)
        if not inside:
            seen.append(name)
            yield part, module


def resolve(name: str) -> str | None:
    """The component that `name` or an alias of it means; None when there is none."""
    found = ALIASES.get(name.lower(), name.lower())
    return found if found in COMPONENTS else None


def _find(name: str) -> tuple[str, str, str]:
    for row in _PARTS:
        if re.match(row[0], name):
            return row
    raise ValueError(f"{name} belongs to no part of the network")
