"""Settings of the first weights: drawn, or taken over from another run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import ConfigDict, Field

from neat.config.base import Breach, Section


class Init(Section):
    """Where the first weights come from. A run that is continued has its own and looks at none of this."""

    # `from` is a word of Python's own: the field has another name in code, and this one everywhere else.
    model_config = ConfigDict(populate_by_name=True)

    source: str = Field(default="", alias="from")
    """Run or checkpoint whose weights a training on text begins with (empty: none, they are drawn). The network may be
    larger than that one; the steps, the schedule and the data of the run are its own."""
    method: Literal["exact", "preserve", "stack", "copy"] = "preserve"
    """How a network grows. exact: not at all, its shape is that of the source. preserve: it computes what the source
    does; new layers write nothing at first. stack: deeper by repeating the whole stack of layers. copy: deeper by
    repeating each layer in its place. Width preserves the function either way."""
    weights: Literal["average", "raw"] = "average"
    """Which weights of the source: the moving average where there is one, or those of its last step."""
    optimizer: Literal["reset", "map"] = "reset"
    """What the optimizers remember: nothing, or what those of the source did, grown like the weights."""
    noise: float = Field(default=0.5, ge=0.0, le=10.0)
    """Random part of the weights that read copied channels, relative to the size of these weights (0 to 10; 0: none).
    The function stays the same, whatever the value: the random part is zero as long as copies are equal, and lets them
    part."""

    def breaches(self) -> Iterator[Breach]:
        """Momentum belongs to the weights that it was gathered at."""
        if self.optimizer == "map" and self.weights == "average" and self.source:
            yield Breach(
                "optimizer",
                "is map, but init.weights is average: what the optimizers remember belongs to the raw weights",
                "set init.weights=raw, or init.optimizer=reset",
            )
