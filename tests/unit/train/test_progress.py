"""Losses of a step in the units in which they are reported."""

from __future__ import annotations

import torch

from neat.train.progress import Progress


def progress(**parts: float) -> Progress:
    tensors = {name: torch.tensor(value) for name, value in parts.items()}
    return Progress(tensors["byte"], torch.tensor(1.0), tensors)


def test_image_losses_are_per_code() -> None:
    """Eight codes in two hundred scored bytes: every part comes divided by the bytes."""
    found = progress(byte=2.0, image=16 / 200, discrepancy=4 / 200, codes=8 / 200, halting=0.5).losses()
    torch.testing.assert_close(found, {"train/image_loss": 2.0, "train/discrepancy": 0.5, "train/halting_loss": 0.5})


def test_a_batch_without_images_has_no_image_loss() -> None:
    assert progress(byte=2.0, image=0.0, discrepancy=0.0, codes=0.0).losses() == {}
