"""Choosing bytes from distributions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_byte(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator, top_k: int = 0) -> int:
    """`sample_bytes` of one row, [V] logits."""
    return sample_bytes(logits[None], temperature, top_p, [generator], top_k)[0]


def sample_bytes(
    logits: Tensor, temperature: float, top_p: float, generators: Sequence[torch.Generator], top_k: int = 0
) -> list[int]:
    """Draws a byte from each row of [B, V] logits by nucleus sampling (arXiv 1904.09751).

    Args:
        logits: Unnormalised log-probabilities.
        temperature: Divides the logits; 0 returns the most likely byte.
        top_p: Only the smallest set of most likely bytes with at least this probability is kept, in (0, 1].
        generators: CPU generators, one a row, so that no row's choice depends on the others.
        top_k: Only so many of the most likely bytes are kept; 0 sets no limit.
    """
    if temperature == 0:
        likeliest: list[int] = logits.argmax(-1).tolist()
        return likeliest
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    ordered, order = probabilities.sort(descending=True, stable=True)
    # A byte stays when the ones before it do not reach top_p yet, so the most likely byte always stays.
    kept = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
    if top_k:
        kept[:, top_k:] = 0.0
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(kept, generators, strict=True)]
    chosen: list[int] = order.gather(1, torch.stack(drawn)).flatten().tolist()
    return chosen
