"""What one training step hands to those who report it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PER_CODE = {"image": "train/image_loss", "discrepancy": "train/discrepancy"}
"""Parts that count image codes, and their metrics."""


class Progress(NamedTuple):
    """What one step found, on the device: loss (nats per byte), gradient norm, and each part of the objective."""

    loss: Tensor
    norm: Tensor
    parts: dict[str, Tensor]

    def losses(self) -> dict[str, float]:
        """Metrics of the parts other than the bytes: per scored byte, those of images per image code."""
        codes = float(self.parts["codes"]) if "codes" in self.parts else 0.0
        found = {}
        for name, part in self.parts.items():
            if name in PER_CODE and codes:
                found[PER_CODE[name]] = float(part) / codes
            elif name not in (*PER_CODE, "byte", "codes"):
                found[f"train/{name}_loss"] = float(part)
        return found
