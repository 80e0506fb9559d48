"""The configuration of a run: one frozen tree, the only place where settings are declared.

The text under a field is its documentation everywhere: in `--help`, in `neat config show` and in the
`config.toml` of a run. Values come from `neat.config.load`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from pydantic import Field
from pydantic.fields import FieldInfo

from neat.config.base import Breach, Section, field_texts
from neat.config.data import Data, Ngram, Patcher
from neat.config.network import Network
from neat.config.optim import Optim
from neat.config.training import Checkpoint, Runtime, Train
from neat.errors import ConfigError

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What the name of a run looks like; it is also the name of a directory."""

__all__ = [
    "NAME", "Checkpoint", "Config", "Data", "Network", "Ngram", "Optim", "Patcher", "Runtime", "Train",
    "descriptions", "sections", "settings",
]  # fmt: skip


class Config(Section):
    """Everything that decides what a run computes."""

    name: str = Field(default="run", pattern=rf"\A{NAME}\z")
    """Name of the run: letters, digits, dot, dash, underscore. Its default directory is runs/NAME."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Seed of the order of the data, the initial weights and the sample (0 to 2^63 - 1)."""
    data: Data = Field(default_factory=Data)
    """Training and validation text, and how it is streamed."""
    patcher: Patcher = Field(default_factory=Patcher)
    """Where a patch starts."""
    ngram: Ngram = Field(default_factory=Ngram)
    """The byte n-gram model."""
    network: Network = Field(default_factory=Network)
    """Shape of the model."""
    optim: Optim = Field(default_factory=Optim)
    """Optimiser, learning rates, schedule."""
    train: Train = Field(default_factory=Train)
    """Length of the run, batches, evaluation."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the run is saved and what is kept."""
    runtime: Runtime = Field(default_factory=Runtime)
    """What the run uses of the machine."""

    def patch_slots(self, window: int) -> int:
        """Patch slots of a row of `window` positions, the padding slot included."""
        if self.patcher.rule == "byte" or not self.network.patches:
            return window + 1
        mean = self.patcher.stride if self.patcher.rule == "stride" else self.patcher.mean_length
        return min(window, math.ceil(window / mean * self.train.patch_slack)) + 1

    def breaches(self) -> Iterator[Breach]:
        """Rules between sections."""
        if self.patcher.max_length > self.train.window:
            yield Breach(
                "patcher.max_length", f"{self.patcher.max_length} is more than train.window ({self.train.window})"
            )

    def require_sources(self) -> None:
        """Raises `ConfigError` when there is no training text; a preset for your own text has none."""
        if not self.data.sources:
            raise ConfigError(
                "data.sources is empty: there is no text to train on",
                hint="""name it on the command line, --set 'data.sources=["text/*.jsonl.zst"]', or in your TOML file""",
            )


@cache
def sections() -> Mapping[str, type[Section]]:
    """Section name -> class, in the order of the tree."""
    fields = Config.model_fields.items()
    return MappingProxyType(
        {
            name: field.annotation
            for name, field in fields
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }
    )


@cache
def settings() -> Mapping[str, FieldInfo]:
    """Dotted key -> declaration (type, default, range) of every setting, in the order of the tree."""
    found: dict[str, FieldInfo] = {}
    for name, field in Config.model_fields.items():
        section = sections().get(name)
        if section is None:
            found[name] = field
        else:
            found.update({f"{name}.{key}": inner for key, inner in section.model_fields.items()})
    return MappingProxyType(found)


@cache
def descriptions() -> Mapping[str, str]:
    """Dotted key -> what it means, with unit and range, on one line."""
    own = field_texts(Config)
    found = {key: own[key] for key in settings() if key in own}
    for name, section in sections().items():
        found.update({f"{name}.{key}": text for key, text in field_texts(section).items()})
    return MappingProxyType(found)
