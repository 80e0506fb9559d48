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

from neat.config.activation import Activation
from neat.config.base import Breach, Section, field_texts
from neat.config.data import Data, Ngram, Patcher
from neat.config.expert import Expert
from neat.config.hub import Hub
from neat.config.init import Init
from neat.config.memory import Memory
from neat.config.monitor import Monitor
from neat.config.network import Network
from neat.config.optim import Optim
from neat.config.predict import Dynamics, Predict
from neat.config.recursion import Recursion
from neat.config.training import Checkpoint, Runtime, Train
from neat.config.vision import Vision
from neat.errors import ConfigError

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What the name of a run looks like; it is also the name of a directory."""

__all__ = [
    "NAME", "Activation", "Checkpoint", "Config", "Data", "Dynamics", "Expert", "Hub", "Init", "Memory", "Monitor",
    "Network", "Ngram", "Optim", "Patcher", "Predict", "Recursion", "Runtime", "Train", "Vision", "descriptions",
    "sections", "settings",
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
    memory: Memory = Field(default_factory=Memory)
    """The memory that learns while it reads."""
    expert: Expert = Field(default_factory=Expert)
    """Expert vectors, and the training of one."""
    vision: Vision = Field(default_factory=Vision)
    """Images as codes between bytes."""
    recursion: Recursion = Field(default_factory=Recursion)
    """The latent transformer applied several times, and halting."""
    init: Init = Field(default_factory=Init)
    """The first weights: drawn, or taken over from another run."""
    activation: Activation = Field(default_factory=Activation)
    """Components turned off while the run goes on."""
    optim: Optim = Field(default_factory=Optim)
    """Optimiser, learning rates, schedule."""
    predict: Predict = Field(default_factory=Predict)
    """Hybrid prediction: phases, predicted deltas, jumps."""
    dynamics: Dynamics = Field(default_factory=Dynamics)
    """The dynamics model that watches training."""
    train: Train = Field(default_factory=Train)
    """Length of the run, batches, evaluation."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the run is saved and what is kept."""
    runtime: Runtime = Field(default_factory=Runtime)
    """What the run uses of the machine."""
    hub: Hub = Field(default_factory=Hub)
    """Publishing on a model hub."""
    monitor: Monitor = Field(default_factory=Monitor)
    """What a run tells of the machine it is on."""

    def patch_slots(self, window: int, mean_length: float | None = None) -> int:
        """Patch slots of a row of `window` positions, the padding slot included.

        `mean_length` is that of a stage of train.patch_curriculum, None for patcher.mean_length.
        """
        if self.patcher.rule == "byte" or not self.network.patches:
            return window + 1
        mean = self.patcher.stride if self.patcher.rule == "stride" else mean_length or self.patcher.mean_length
        # A row takes at least one image; every code is a patch, and so are what begins and ends it.
        image = self.vision.image_codes + 2 if self.vision.on and self.vision.codec else 0
        return min(window, max(image, math.ceil(window / mean * self.train.patch_slack))) + 1

    def breaches(self) -> Iterator[Breach]:
        """Rules between sections."""
        if self.patcher.max_length > self.train.window:
            yield Breach(
                "patcher.max_length", f"{self.patcher.max_length} is more than train.window ({self.train.window})"
            )
        if max(self.memory.layers, default=0) > self.network.layers:
            yield Breach(
                "memory.layers",
                f"names layer {max(self.memory.layers)}, network.layers is {self.network.layers}",
            )
        indices = self.memory.layer_indices(self.network.layers)
        if self.memory.persistent and self.memory.variant == "lmm" and len(indices) == self.network.layers:
            yield Breach(
                "memory.persistent",
                "needs attention, which memories replace in all layers",
                "name the layers with a memory in memory.layers",
            )
        if self.memory.on and self.network.width % self.memory.heads:
            yield Breach("memory.heads", f"{self.memory.heads} does not divide network.width ({self.network.width})")
        if self.vision.on and not self.network.patches:
            yield Breach("vision.on", "needs patches", "image codes are patches of their own; set network.patches=true")
        if self.vision.on and min(self.train.windows) < self.vision.image_codes + 2:
            yield Breach(
                "vision.grid",
                f"makes images of {self.vision.image_codes + 2} positions, more than the shortest window "
                f"({min(self.train.windows)})",
                "lengthen train.window, or drop the short windows of train.curriculum",
            )
        yield from self._patch_breaches()
        yield from self._prediction_breaches()
        yield from self._expert_breaches()

    def _prediction_breaches(self) -> Iterator[Breach]:
        if not self.optim.averages_itself:
            return
        name = f'optim.name="{self.optim.name}" averages the weights itself'
        if self.predict.micro:
            yield Breach("predict.micro", f"does not fit: {name}", "set predict.micro=false")
        if self.predict.jumps != "off":
            yield Breach(
                "predict.jumps", f'is "{self.predict.jumps}" and does not fit: {name}', "set predict.jumps=off"
            )

    def _patch_breaches(self) -> Iterator[Breach]:
        if not self.train.patch_curriculum:
            return
        if not self.network.patches or self.patcher.rule != "global":
            has = f'patcher.rule is "{self.patcher.rule}"' if self.network.patches else "network.patches is false"
            yield Breach(
                "train.patch_curriculum",
                f'needs patches by the rule "global"; {has}',
                "set patcher.rule=global, or train.patch_curriculum=[]",
            )
        longest = max(length for _, length in self.train.patch_curriculum)
        if longest > self.patcher.max_length:
            yield Breach(
                "train.patch_curriculum",
                f"has a patch length of {longest:g}, more than patcher.max_length ({self.patcher.max_length})",
            )

    def _expert_breaches(self) -> Iterator[Breach]:
        mode = self.train.mode
        if mode == "text":
            return
        if not self.expert.base:
            yield Breach(
                "expert.base", f'is empty; train.mode="{mode}" needs a base', "name a run: expert.base=runs/tiny"
            )
        if self.hub.upload != "off":
            yield Breach("hub.upload", f'does not go with train.mode="{mode}"', "set hub.upload=off")
        if mode == "expert" and not self.expert.name:
            yield Breach("expert.name", "is empty; the expert needs a name", "set expert.name=math")
        if not self.train.max_steps:
            yield Breach(
                "train.max_steps", f'is 0; train.mode="{mode}" counts its length in steps', "set train.max_steps=200"
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
            found.update({f"{name}.{inner.alias or key}": inner for key, inner in section.model_fields.items()})
    return MappingProxyType(found)


@cache
def descriptions() -> Mapping[str, str]:
    """Dotted key -> what it means, with unit and range, on one line."""
    own = field_texts(Config)
    found = {key: own[key] for key in settings() if key in own}
    for name, section in sections().items():
        fields = section.model_fields
        found.update({f"{name}.{fields[key].alias or key}": text for key, text in field_texts(section).items()})
    return MappingProxyType(found)
