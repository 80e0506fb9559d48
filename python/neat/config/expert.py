"""Settings of expert vectors (Transformer²): what a model has of them, and how one is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neat.config.base import Section


class Expert(Section):
    """Vectors that scale the singular values of the matrices which write into the latent residual stream. The keys from
    expert.name on are for train.mode = "expert" and "dispatcher".
    """

    count: int = Field(default=0, ge=0, le=256)
    """Expert vectors that the model has room for (0 to 256; 0: none). Training on text leaves them at zero; an expert
    can be trained and used with any base, also one without room."""
    dispatcher_width: int = Field(default=64, ge=1, le=4096)
    """Hidden width of the classifier that chooses among them (1 to 4096)."""
    name: str = Field(default="", pattern=r"\A([A-Za-z0-9][A-Za-z0-9._-]{0,99})?\z")
    """Expert to train: letters, digits, dot, dash, underscore. It also names the file."""
    base: str = ""
    """Run or checkpoint whose weights stay as they are while the expert or the dispatcher is trained."""
    method: Literal["reinforce", "cross_entropy"] = "reinforce"
    """Train the expert by reward, or by the next byte of the answers."""
    reward: Literal["exact_match", "contains"] = "exact_match"
    """When an answer is right (+1, otherwise -1): it equals the one of the row, or holds it somewhere."""
    prompt_field: str = Field(default="prompt", min_length=1, max_length=200)
    """Field of the question in the JSONL rows of data.sources."""
    answer_field: str = Field(default="answer", min_length=1, max_length=200)
    """Field of the right answer; for a dispatcher, of the name of the expert that the question is for."""
    stop: str = Field(default="\n", min_length=1, max_length=100)
    """Text that ends an answer. It is learned as part of the answer."""
    max_answer_bytes: int = Field(default=32, ge=1, le=65_536)
    """Longest answer that is tried, the ending included (1 to 65536)."""
    questions: int = Field(default=16, ge=1, le=65_536)
    """Questions per step (1 to 65536)."""
    samples: int = Field(default=8, ge=1, le=1024)
    """Answers tried per question (1 to 1024). The mean reward of the others is the baseline of each."""
    kl: float = Field(default=0.0, ge=0.0, le=1e3)
    """Weight of the divergence from the base model (0 to 1000)."""
    lr: float = Field(default=2e-3, gt=0.0, le=10.0)
    """Peak learning rate of Adam (up to 10); it follows optim.schedule."""
    clip_norm: float = Field(default=1e-3, ge=0.0, le=1e6)
    """Largest gradient norm (0 to 1e6; 0: no limit)."""
