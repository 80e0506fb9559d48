"""Writing text with images: bytes, and where the network begins an image, its codes.

Each symbol is drawn from the prediction after all symbols before it, by the rules of `neat.model.images.grammar`,
and then read. The prediction is that of a pass over the whole text, in the window that a score of it would use, so what
is drawn is what training has scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from neat.errors import UsageError
from neat.model.images.grammar import Grammar, Image
from neat.model.text.document import Document
from neat.model.text.model import TextModel
from neat.model.text.sampling import sample_byte
from neat.model.text.state import State
from neat.model.text.writing import Sampling, Watch, check_sampling, read_text
from neat.model.vocabulary import BOI, EOI, FIRST_CODE, IMAGE_BEGINS


def write_interleaved(
    model: TextModel,
    prompt: Document = b"",
    *,
    max_bytes: int = 400,
    seed: int | None = None,
    temperature: float = 0.8,
    top_p: float = 0.95,
    stop: Sequence[bytes] = (),
    state: State | None = None,
    top_k: int = 0,
    watch: Watch | None = None,
) -> Iterator[bytes | Image]:
    """Continues `prompt` with text and images, in pieces: text as it is written, an image when it is complete.

    Args:
        model: A model whose network has images.
        prompt: Not repeated in the result; it may end within an image, which is then completed and given whole.
        max_bytes: Most bytes to write; images do not count.
        seed: Seed of the choices; temperature 0 needs none. None goes on with the choices of `state`, or takes 0.
        temperature: 0 takes the most likely symbol.
        top_p: Smallest set of likely symbols whose probability reaches this is sampled from.
        stop: Texts that end the result; they are not part of it.
        state: A text to go on with, of one row; afterwards it has read the prompt and all that was written. The images
            written in it before count for `vision.max_images` and `vision.min_gap`.
        top_k: Only so many of the most likely symbols are chosen from; 0 sets no limit.
        watch: Is told of every chosen byte and the logits behind it, a stop text and what is held back included.

    Raises:
        UsageError: The network has no images, the state is not one of a single text, or a value is out of its range.
    """
    vision = model.network.vision
    if vision is None:
        raise UsageError("this model writes no images", hint="train one with vision.on=true, or write text only")
    check_sampling(temperature, top_p, stop, top_k)
    state = model.own(state, rows=1)
    return _write(state, prompt, Sampling(max_bytes, seed, temperature, top_p, tuple(stop), top_k, watch))


def _write(state: State, prompt: Document, sampling: Sampling) -> Iterator[bytes | Image]:
    sampling.start(state)
    read_text(state, [prompt])
    pending, count = bytearray(), 0
    held = max((len(text) for text in sampling.stop), default=1) - 1
    if state.open_image() is not None:
        yield _draw(state, sampling)
    while count < sampling.max_bytes:
        symbol = _choose(state.logits, state, sampling)
        if symbol == IMAGE_BEGINS:
            # No stop text reaches across an image.
            yield from _text(pending, len(pending))
            state.read([(BOI,)])
            yield _draw(state, sampling)
            continue
        if sampling.watch is not None:
            sampling.watch(state.logits[0], symbol)
        read_text(state, [bytes([symbol])])
        pending.append(symbol)
        count += 1
        ended = sampling.end(pending, 1)
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


def _place(state: State) -> Grammar:
    """Where the one text of a state stands."""
    assert state.model.network.vision is not None
    return Grammar.start(state.model.network.vision.settings, state.written[0], state.open_image())


def _choose(logits: Tensor, state: State, sampling: Sampling) -> int:
    """One symbol from the logits of the one row of a state: of the next byte, or of the next code."""
    assert state.choices is not None
    allowed = _place(state).allowed(logits[0]) if state.open_image() is None else logits[0]
    return sample_byte(allowed, sampling.temperature, sampling.top_p, state.choices[0], sampling.top_k)


def _draw(state: State, sampling: Sampling) -> Image:
    """Completes the image that has begun."""
    while _place(state).expects == "code":
        state.read([(FIRST_CODE + _choose(state.code_logits(), state, sampling),)])
    image, after = _place(state).end()
    state.read([(EOI,)])
    state.written[0] = after.written
    return image
