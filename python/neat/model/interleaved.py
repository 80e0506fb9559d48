"""Writing text with images: bytes, and where the network begins an image, its codes.

Each symbol is drawn from the network's prediction after all symbols before it, by the rules of `neat.model.grammar`.
The text is read anew for each symbol, in the window that a score of it would use, so what is drawn is what training
has scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neat import _native
from neat.errors import UsageError
from neat.model.batch import Batch
from neat.model.document import Document
from neat.model.grammar import Grammar, Image
from neat.model.sampling import sample_byte
from neat.model.text import TextModel
from neat.model.vocabulary import IMAGE_BEGINS

Part = bytes | list[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """How symbols are drawn; see `TextModel.generate`."""

    temperature: float
    top_p: float
    generator: torch.Generator

    def draw(self, logits: Tensor) -> int:
        """One symbol from [V] logits."""
        return sample_byte(logits, self.temperature, self.top_p, self.generator)


@dataclass(slots=True)
class Draft:
    """The prompt and what has been written after it, as parts of a document."""

    parts: list[Part] = field(default_factory=list)

    @classmethod
    def after(cls, prompt: Document) -> Draft:
        """Nothing but the prompt."""
        return cls(list(prompt.parts()) if isinstance(prompt, _native.Document) else [prompt])

    def document(self, codes: Sequence[int] | None) -> Document:
        """The parts so far, and the codes so far of an image that has begun."""
        if codes is None:
            return _native.Document(self.parts)
        return _native.Document([*self.parts, list(codes)], open=True)

    def add(self, part: Part) -> None:
        """Goes on with text or a whole image."""
        self.parts.append(part)


def write_interleaved(
    model: TextModel,
    prompt: Document = b"",
    *,
    max_bytes: int = 400,
    seed: int = 0,
    temperature: float = 0.8,
    top_p: float = 0.95,
    stop: Sequence[bytes] = (),
) -> Iterator[bytes | Image]:
    """Continues `prompt` with text and images, in pieces: text as it is written, an image when it is complete.

    Args:
        model: A model whose network has images.
        prompt: Not repeated in the result.
        max_bytes: Most bytes to write; images do not count.
        seed: Seed of the choices; temperature 0 needs none.
        temperature: 0 takes the most likely symbol.
        top_p: Smallest set of likely symbols whose probability reaches this is sampled from.
        stop: Texts that end the result; they are not part of it.

    Raises:
        UsageError: The network has no images.
    """
    vision = model.network.vision
    if vision is None:
        raise UsageError("this model writes no images", hint="train one with vision.on=true, or write text only")
    choice = Choice(temperature, top_p, torch.Generator().manual_seed(seed))
    return _write(model, Draft.after(prompt), Grammar.start(vision.settings), choice, max_bytes, tuple(stop))


@torch.inference_mode()
def _write(
    model: TextModel, draft: Draft, grammar: Grammar, choice: Choice, max_bytes: int, stop: tuple[bytes, ...]
) -> Iterator[bytes | Image]:
    pending, written = bytearray(), 0
    held = max((len(text) for text in stop), default=1) - 1
    while written < max_bytes:
        symbol = choice.draw(grammar.allowed(predict(model, draft.document(None))))
        grammar = grammar.after(symbol)
        if symbol == IMAGE_BEGINS:
            # No stop text reaches across an image.
            yield from _text(pending, len(pending))
            image, grammar = _draw(model, draft, grammar, choice)
            draft.add(list(image.codes))
            yield image
            continue
        draft.add(bytes([symbol]))
        pending.append(symbol)
        written += 1
        ended = min((at for at in map(pending.find, stop) if at >= 0), default=-1)
        if ended >= 0:
            yield from _text(pending, ended)
            return
        # What could be the beginning of a stop text is held back until it is clear that it is not.
        yield from _text(pending, len(pending) - held)
    yield from _text(pending, len(pending))


def _text(pending: bytearray, length: int) -> Iterator[bytes]:
    """The first `length` bytes, if any, which are then no longer pending."""
    if length > 0:
        yield bytes(pending[:length])
        del pending[:length]


def _draw(model: TextModel, draft: Draft, grammar: Grammar, choice: Choice) -> tuple[Image, Grammar]:
    """All codes of an image that has begun, and the place after it."""
    while grammar.expects == "code":
        assert grammar.codes is not None
        grammar = grammar.after(choice.draw(predict(model, draft.document(grammar.codes))))
    return grammar.end()


def predict(model: TextModel, document: Document) -> Tensor:
    """Logits of the symbol after `document`, float32 on the CPU: [257] in text, [K] in an image that is open."""
    start, end, scored = model.preparer.spans(document, model.window, model.patch_slots, model.window // 2)[-1]
    arrays = model.preparer.windows([document], [(0, start, end, scored)], model.window, model.patch_slots)
    batch = Batch.from_arrays(arrays, model.device)
    outputs, last = model.network.outputs(batch), end - start - 1
    if not (isinstance(document, _native.Document) and document.is_open):
        return outputs.logits[0, last].float().cpu()
    assert outputs.image_logits is not None
    return outputs.image_logits[0, batch.patch[0, last]].float().cpu()
