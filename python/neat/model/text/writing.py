"""Writing text: a byte is drawn, read, and the next one is drawn from what it changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from neat.errors import UsageError
from neat.model.text.document import Document, num_bytes
from neat.model.text.sampling import sample_bytes
from neat.model.text.state import State
from neat.model.vocabulary import NUM_BYTES

Watch = Callable[[Tensor, int], None]
"""Is told of every byte that is chosen, before it is read: the logits it was chosen from, [V], and the byte."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How bytes are chosen and when to end; see `TextModel.generate`."""

    max_bytes: int
    seed: int | None
    temperature: float
    top_p: float
    stop: tuple[bytes, ...]
    top_k: int = 0
    watch: Watch | None = None

    def start(self, state: State) -> None:
        """Starts the choices of a state, unless it goes on with its own."""
        if self.seed is not None or state.choices is None:
            state.seed(self.seed or 0)

    def draw(self, state: State, rows: Sequence[int]) -> list[int]:
        """The next byte of some rows; that an image begins is not among the choices."""
        assert state.choices is not None
        generators = [state.choices[row] for row in rows]
        logits = state.logits[list(rows), :NUM_BYTES]
        chosen = sample_bytes(logits, self.temperature, self.top_p, generators, self.top_k)
        if self.watch is not None:
            for row, byte in zip(logits, chosen, strict=True):
                self.watch(row, byte)
        return chosen

    def end(self, text: bytearray, new: int) -> int:
        """Where a stop text begins in `text`, when one ends in its last `new` bytes; else -1."""
        found = (text.find(stop, max(0, len(text) - new - len(stop) + 1)) for stop in self.stop)
        return min((at for at in found if at >= 0), default=-1)


def write(state: State, prompt: Document, sampling: Sampling) -> Iterator[bytes]:
    """Goes on with the one text of `state`, piece by piece."""
    sampling.start(state)
    read_text(state, [prompt])
    _require_text(state)
    pending = bytearray()
    held = max((len(text) for text in sampling.stop), default=1) - 1
    for _ in range(sampling.max_bytes):
        pending += bytes(sampling.draw(state, [0]))
        read_text(state, [bytes(pending[-1:])])
        ended = sampling.end(pending, 1)
        if ended >= 0:
            yield bytes(pending[:ended])
            return
        # What could be the beginning of a stop text is held back until it is clear that it is not.
        ready = len(pending) - held
        if ready > 0:
            yield bytes(pending[:ready])
            del pending[:ready]
    if pending:
        yield bytes(pending)


def write_all(state: State, prompts: Sequence[Document], sampling: Sampling) -> list[bytes]:
    """Goes on with every text of `state`; one that has ended waits for the others."""
    sampling.start(state)
    read_text(state, prompts)
    _require_text(state)
    written = [bytearray() for _ in prompts]
    going = list(range(len(prompts)))
    for _ in range(sampling.max_bytes):
        new = [b""] * len(prompts)
        for row, byte in zip(going, sampling.draw(state, going), strict=True):
            new[row] = bytes([byte])
            written[row].append(byte)
        read_text(state, new)
        for row in going:
            ended = sampling.end(written[row], 1)
            if ended >= 0:
                del written[row][ended:]
                new[row] = b""
        going = [row for row in going if new[row]]
        if not going:
            break
    return [bytes(text) for text in written]


def read_text(state: State, prompts: Sequence[Document]) -> None:
    """Reads text that was not drawn under the grammar of images; for that it counts as bytes only."""
    state.read(prompts)
    state.written = [
        written.followed_by(num_bytes(prompt)) for written, prompt in zip(state.written, prompts, strict=True)
    ]


def _require_text(state: State) -> None:
    """Raises `UsageError` when a text ends within an image, where no byte can follow."""
    if any(state.open_image(row) is not None for row in range(state.num_rows)):
        raise UsageError("the text ends within an image", hint="go on with `write_interleaved`")


def check_sampling(temperature: float, top_p: float, stop: Sequence[bytes], top_k: int = 0) -> None:
    """Raises `UsageError` for what cannot be sampled with."""
    if not 0 <= temperature < math.inf:
        raise UsageError(
            f"a temperature of {temperature} is not possible", hint="0 takes the likeliest byte, 1 samples"
        )
    if not 0 < top_p <= 1:
        raise UsageError(f"a top_p of {top_p} is not possible", hint="it lies above 0 and is at most 1")
    if top_k < 0:
        raise UsageError(f"a top_k of {top_k} is not possible", hint="0 sets no limit")
    if not all(stop):
        raise UsageError("a stop text is empty", hint="leave it out to write until max_bytes")
