"""Choosing one byte from a distribution."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_byte(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """Draws a byte from [256] logits by nucleus sampling (arXiv 1904.09751).

    Args:
        logits: Unnormalised log-probabilities.
        temperature: Divides the logits; 0 returns the most likely byte.
        top_p: Only the smallest set of most likely bytes with at least this probability is kept, in (0, 1].
        generator: CPU generator.
    """
    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.double() / temperature, dim=0)
    ordered, order = probabilities.sort(descending=True, stable=True)
    # A byte stays when the ones before it do not reach top_p yet, so the most likely byte always stays.
    kept = ordered.masked_fill(ordered.cumsum(0) - ordered >= top_p, 0.0)
    return int(order[torch.multinomial(kept, 1, generator=generator)])
