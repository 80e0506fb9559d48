"""Answers to many prompts at once: writing them, and the rows in which their probability is taken.

B prompts, N positions. Prompt and answer stand in one window together, so that the probability of an answer while it is
written and afterwards is the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from neat.errors import UsageError
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.neat import NeatModel
from neat.model.text.model import TextModel

_ROUNDED = 16
"""Row lengths are rounded up to this, so that batches share shapes."""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer.

    Attributes:
        text: All bytes written, the ending included.
        answer: The bytes before the ending; None when it did not come.
    """

    text: bytes
    answer: bytes | None


def require_room(model: TextModel, prompts: Sequence[bytes], answer_bytes: int) -> None:
    """Raises `UsageError` unless every prompt and an answer of `answer_bytes` fit into one window."""
    longest = max(map(len, prompts), default=0)
    if longest + answer_bytes > model.window:
        raise UsageError(
            f"a prompt of {longest} bytes and an answer of {answer_bytes} do not fit into the window of {model.window}",
            hint="shorten the prompts or expert.max_answer_bytes, or use a base with a longer train.window",
        )


def answer_rows(model: TextModel, documents: Sequence[bytes], scored: Sequence[int], *, following: int = 0) -> Batch:
    """One row per document, its targets from byte `scored` on; `following` = 1 adds the position after the last byte.

    Rows are as short as the longest document allows and have room for its patches.
    """
    ends = [len(document) + following for document in documents]
    positions = min(model.window, -(-max(ends) // _ROUNDED) * _ROUNDED)
    patches = max(int(model.preparer.starts(document).sum()) for document in documents) + 2
    spans = [(row, 0, end, first) for row, (end, first) in enumerate(zip(ends, scored, strict=True))]
    arrays = model.preparer.windows(list(documents), spans, positions, -(-patches // _ROUNDED) * _ROUNDED)
    return Batch.from_arrays(arrays, model.device)


@torch.inference_mode()
def write_answers(
    model: TextModel,
    network: NeatModel,
    prompts: Sequence[bytes],
    *,
    max_bytes: int,
    stop: bytes,
    temperature: float,
    generator: torch.Generator | None = None,
) -> list[Written]:
    """Continues every prompt until `stop` or for `max_bytes`.

    Args:
        model: Prepares rows.
        network: Reads them; that of `model`, or one with another mixture, or with one for each row.
        prompts: Texts to go on from.
        max_bytes: Most bytes of an answer, the ending included.
        stop: What ends an answer.
        temperature: Divides the logits; 0 takes the likeliest byte.
        generator: CPU generator of the choices; temperature 0 needs none.
    """
    require_room(model, prompts, max_bytes)
    texts = [bytearray(prompt) for prompt in prompts]
    ended = [False] * len(texts)
    for _ in range(max_bytes):
        documents = [bytes(text) for text in texts]
        batch = answer_rows(model, documents, [0] * len(texts), following=1)
        last = torch.tensor([len(document) for document in documents], device=model.device)
        logits = network(batch)[torch.arange(len(texts), device=model.device), last]
        for row, byte in enumerate(_choose(logits.cpu(), temperature, generator).tolist()):
            if not ended[row]:
                texts[row].append(byte)
                ended[row] = texts[row].endswith(stop) and len(texts[row]) - len(prompts[row]) >= len(stop)
        if all(ended):
            break
    written = [bytes(text[len(prompt) :]) for text, prompt in zip(texts, prompts, strict=True)]
    return [Written(text, text[: -len(stop)] if done else None) for text, done in zip(written, ended, strict=True)]


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    if temperature == 0:
        return logits[:, :256].argmax(-1)
    probabilities = torch.softmax(logits[:, :256].double() / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def answer_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of the scored bytes of each row, in nats: [B, N, V] and [B, N] -> [B]."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED_TARGET, reduction="none")
    return -losses.view(targets.shape).sum(1)
