"""Settings of expert vectors (Transformer²): what a model has of them, and how one is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Section


class Expert(Section):
    """Vectors that scale the singular values of the matrices which write into the latent residual stream."""

    count: int = Field(default=0, ge=0, le=256)
    """Expert vectors that the model holds (0 to 256; 0: none)."""
    dispatcher_width: int = Field(default=64, ge=1, le=4096)
    """Hidden width of the classifier that chooses among them (1 to 4096)."""
    name: str = Field(default="", max_length=100)
    """Expert to train with train.mode = "expert"."""
    base: str = ""
    """Run or checkpoint whose weights stay as they are while the expert is trained."""
    method: Literal["reinforce", "cross_entropy"] = "reinforce"
    """Train the expert by reward, or by the next byte of the answers."""
    reward: Literal["exact_match"] = "exact_match"
    """What makes an answer right."""
    prompt_field: str = "prompt"
    """Field of the question in rows of data.sources."""
    answer_field: str = "answer"
    """Field of the right answer in rows of data.sources."""
    samples: int = Field(default=8, ge=1, le=1024)
    """Answers tried per question (1 to 1024)."""
    kl: float = Field(default=0.0, ge=0.0, le=1e3)
    """Weight of the divergence from the base model (0 to 1000)."""
    lr: float = Field(default=2e-3, gt=0.0, le=10.0)
    """Peak learning rate of the expert vector (up to 10)."""

    def breaches(self) -> Iterator[Breach]:
        """A name without control characters."""
        if self.name and not self.name.isprintable():
            yield Breach("name", "has characters that cannot be printed")
