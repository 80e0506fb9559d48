"""Settings of the text: where it is, how it is ordered, where patches start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Floats, Section, Strings


class Data(Section):
    """Training and validation text, and how it is streamed."""

    sources: Strings = ()
    """Training text, one entry per source: a file, a folder (searched recursively), a glob, or bundled:FILE for
    text inside the package. JSONL (plain, .gz, .zst), Parquet and plain text, recognised by content."""
    weights: Floats = ()
    """Share of each source in the bytes trained on, in the order of data.sources; they need not add up to 1.
    Empty: every document once per epoch."""
    validation: Strings = ()
    """Held-out text, written like data.sources. No document of it may also be in the training text."""
    validation_share: float = Field(default=0.0, ge=0.0, le=0.5)
    """Share of the training documents held out instead (0 to 0.5), chosen by the hash of their text.
    Used when data.validation is empty."""
    text_field: str = Field(default="text", min_length=1, max_length=200)
    """Name of the JSONL field or Parquet column that holds the text."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What a damaged row does: stop ends the run with file and line, skip counts it and goes on."""
    lanes: int = Field(default=64, ge=1, le=65536)
    """Documents open at once (1 to 65536). Row r of the run continues the document of lane r modulo lanes,
    so this is part of the order of the data."""
    prefetch: int = Field(default=4, ge=1, le=256)
    """Batches prepared ahead of the one in use (1 to 256)."""
    shuffle_blocks: int = Field(default=16, ge=1, le=4096)
    """Blocks (about 1 MiB of rows, or one Parquet row group) whose rows are shuffled together (1 to 4096)."""
    max_document_bytes: int = Field(default=16_777_216, ge=1, le=2**40)
    """Longest document accepted, in bytes (1 to 2^40); a longer one counts as a bad row."""

    def breaches(self) -> Iterator[Breach]:
        """Weights pair up with sources and leave something to train on."""
        if self.weights and len(self.weights) != len(self.sources):
            yield Breach(
                "weights",
                f"has {len(self.weights)} entries for {len(self.sources)} data.sources",
                "give one weight per source, or none",
            )
        if any(weight < 0 for weight in self.weights) or (self.weights and not sum(self.weights) > 0):
            yield Breach("weights", "must be 0 or more each, and more than 0 together")
        for key in ("sources", "validation"):
            if not all(getattr(self, key)):
                yield Breach(key, "has an empty entry")


class Patcher(Section):
    """Where a patch starts. Thresholds are calibrated on the data to a mean length, never set."""

    rule: Literal["global", "monotonic", "both", "space", "stride", "byte"] = "global"
    """Which bytes open a patch. global: those of entropy above a threshold. monotonic: where entropy rises by more
    than a threshold. both: the two together. space: after a space. stride: every patcher.stride bytes. byte: all."""
    mean_length: float = Field(default=4.25, ge=1.0, le=64.0)
    """Mean patch length in bytes that the entropy rules are calibrated to (1 to 64)."""
    max_length: int = Field(default=16, ge=1, le=512)
    """Longest patch in bytes (1 to 512); a longer one is cut."""
    stride: int = Field(default=4, ge=1, le=512)
    """Patch length of the rule stride, in bytes (1 to 512)."""

    def breaches(self) -> Iterator[Breach]:
        """The mean patch is no longer than the longest one."""
        if self.mean_length > self.max_length:
            yield Breach("mean_length", f"{self.mean_length:g} is more than patcher.max_length ({self.max_length})")


class Ngram(Section):
    """The byte n-gram model: places the patches, is the yardstick of every evaluation, feeds the network."""

    order: int = Field(default=6, ge=1, le=6)
    """Bytes of context (1 to 6)."""
    folds: int = Field(default=8, ge=2, le=64)
    """Parts of the training text (2 to 64); each document is read through a model that has not seen its part."""
    max_bytes: int = Field(default=16_777_216, ge=65_536, le=2**34)
    """Text the models are built from, in bytes (65536 to 2^34), about 10 bytes of memory each and per fold. Of a larger
    corpus a sample of this size is taken, by document."""
    model: str = ""
    """File written by `neat data entropy-model` to be used instead of building one. It must not have seen the
    training text."""
