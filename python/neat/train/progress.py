"""What one training step hands to those who report it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Progress(NamedTuple):
    """What one step found, on the device: loss (nats per byte), gradient norm, and each part of the objective."""

    loss: Tensor
    norm: Tensor
    parts: dict[str, Tensor]
