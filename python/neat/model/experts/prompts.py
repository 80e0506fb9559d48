"""What a dispatcher sees of a prompt: the mean of its latent vectors, read with the base weights.

D latent width. Prompts longer than the window are read window after window; every patch counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neat.model.batch import Batch
from neat.model.experts.vectors import latent_sums
from neat.model.text.model import TextModel
from neat.model.text.state import POSITIONS_PER_PASS


@torch.no_grad()
def prompt_vectors(model: TextModel, prompts: Sequence[bytes]) -> Tensor:
    """Mean latent vector of each prompt, [len(prompts), D]; an empty prompt has that of the beginning of a text."""
    spans = [
        (row, start, end, scored)
        for row, prompt in enumerate(prompts)
        for start, end, scored in model.preparer.spans(prompt, model.window, model.patch_slots, 0)
    ]
    per_pass = max(1, POSITIONS_PER_PASS // model.window)
    sums: dict[int, Tensor] = {}
    counts: dict[int, Tensor] = {}
    for first in range(0, len(spans), per_pass):
        some = spans[first : first + per_pass]
        arrays = model.preparer.windows(list(prompts), some, model.window, model.patch_slots)
        totals, used = latent_sums(model.network, Batch.from_arrays(arrays, model.device))
        for (row, *_), total, count in zip(some, totals, used, strict=True):
            sums[row] = sums[row] + total if row in sums else total
            counts[row] = counts[row] + count if row in counts else count
    return torch.stack([sums[row] / counts[row].clamp(min=1) for row in range(len(prompts))])
