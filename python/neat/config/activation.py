"""Settings of components that are turned off while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from neat.config.base import Breach, Section, Strings

SWITCHABLE = ("memory", "recursion")
"""Components whose absence leaves a valid network in the middle of a run."""


class Activation(Section):
    """When a training step goes without some components, to save memory or because its text is easy."""

    memory_limit_mib: int = Field(default=0, ge=0, le=2**30)
    """Memory above which components are turned off, one after the other: of the device, or of the process on a CPU, in
    MiB (0 to 2^30; 0: no limit). They come back below nine tenths of it."""
    easy_patch_length: float = Field(default=0.0, ge=0.0, le=65_536.0)
    """Batches whose mean patch is longer than this many bytes, text of low entropy, go without the components
    (0 to 65536; 0: none do)."""
    components: Strings = SWITCHABLE
    """Components that may be turned off, in this order: memory, recursion."""
    patience: int = Field(default=10, ge=1, le=1_000_000)
    """Steps between two changes because of the memory limit (1 to 1000000)."""

    @property
    def on(self) -> bool:
        """Whether anything can be turned off."""
        return bool(self.memory_limit_mib or self.easy_patch_length)

    def breaches(self) -> Iterator[Breach]:
        """Only components that can be missed."""
        for name in self.components:
            if name not in SWITCHABLE:
                yield Breach("components", f"names {name!r}", f"there are {' and '.join(SWITCHABLE)}")
        if len(set(self.components)) != len(self.components):
            yield Breach("components", "names a component twice")
