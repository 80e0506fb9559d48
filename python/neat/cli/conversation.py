"""A text that a person and a model write in turns: its state is kept, so that no turn reads again what is there.

Going back is cheap: reading never changes a state in place, so the states before the last turns are simply kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neat import _native
from neat.cli.pictures import MARK, Pictures
from neat.errors import UsageError
from neat.model.images.interleaved import write_interleaved
from neat.model.text.model import TextModel
from neat.model.text.state import State

if TYPE_CHECKING:
    from neat.model.images.grammar import Image

USER, ASSISTANT = b"User:", b"Assistant:"
MAX_UNDO = 32
"""Turns that can be taken back; each keeps a state."""

Part = bytes | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the model writes, see `TextModel.generate`."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    max_bytes: int = 400
    stop: tuple[bytes, ...] = ()
    seed: int = 0


@dataclass(slots=True)
class Answer:
    """What the model wrote in one turn.

    Attributes:
        drawn: Every byte chosen, a stop text included.
        bits: Their code length under the model itself, whatever the temperature.
        seconds: From the first byte of the prompt to the last of the answer.
    """

    drawn: bytearray = field(default_factory=bytearray)
    bits: float = 0.0
    seconds: float = 0.0

    def __call__(self, logits: Tensor, byte: int) -> None:
        """Takes note of a byte; the `watch` of `TextModel.generate`."""
        self.drawn.append(byte)
        self.bits -= float(torch.log_softmax(logits.double(), -1)[byte]) / math.log(2)


@dataclass(frozen=True, slots=True)
class _Moment:
    """All there was before a turn."""

    state: State
    parts: tuple[Part, ...]
    answers: tuple[Answer, ...]


class Conversation:
    """One text and the means to go on with it.

    Args:
        model: Who answers.
        settings: How.
        chat: Whether turns are framed as `User:` and `Assistant:`, for models that were trained on such text.
        pictures: What becomes of images; None for a model without any.
        state: A text to go on with.
    """

    def __init__(
        self,
        model: TextModel,
        settings: Settings,
        *,
        chat: bool = False,
        pictures: Pictures | None = None,
        state: State | None = None,
    ) -> None:
        self.model, self.settings, self.chat, self._pictures = model, settings, chat, pictures
        self.system = b""
        self._continued = state is not None
        self.state = self._begin() if state is None else state
        if self.state.choices is None:
            self.state.seed(settings.seed)
        self._parts: tuple[Part, ...] = ()
        self._answers: tuple[Answer, ...] = ()
        self._past: list[_Moment] = []
        self._noted = 0

    @property
    def text(self) -> bytes:
        """What was read and written, a mark in the place of each image."""
        return b"".join(part if isinstance(part, bytes) else MARK for part in self._parts)

    @property
    def turns(self) -> int:
        """Turns that can be taken back."""
        return len(self._past)

    def turn(self, line: bytes) -> Iterator[bytes]:
        """Reads a line and gives the answer piece by piece; ended early, the text stands where it was left."""
        self._past = [*self._past[-MAX_UNDO + 1 :], _Moment(self.state, self._parts, self._answers)]
        # The moment keeps its state: what follows reads into a copy.
        self.state = self.state.fork()
        prompt, answer, start = self._framed(line), Answer(), time.perf_counter()
        self._add(prompt)
        try:
            yield from self._write(prompt, answer)
        finally:
            answer.seconds = time.perf_counter() - start
            self._answers = (*self._answers, answer)
            self._add(bytes(answer.drawn[self._noted :]))

    def undo(self) -> None:
        """Takes the last turn back, its random choices too.

        Raises:
            UsageError: There is none.
        """
        if not self._past:
            raise UsageError("there is no turn to take back")
        moment = self._past.pop()
        self.state, self._parts, self._answers = moment.state, moment.parts, moment.answers

    def reset(self, system: bytes | None = None) -> None:
        """Begins a new text, with the same seed; `system` is what stands at its beginning, None leaves it as it was."""
        self.system = self.system if system is None else system
        self.state, self._continued = self._begin(), False
        self.state.seed(self.settings.seed)
        self._parts, self._answers, self._past = (), (), []

    def set(self, **changes: object) -> None:
        """Changes settings; a new seed starts the random choices anew."""
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        if "seed" in changes:
            self.state = self.state.fork()
            self.state.seed(self.settings.seed)

    def stats(self) -> dict[str, object]:
        """Figures of the answers and the text so far: speed, surprise in bits per byte, patches."""
        found: dict[str, object] = {"turns": self.turns}
        if self._answers:
            found |= {"last answer": _figures(self._answers[-1:]), "all answers": _figures(self._answers)}
        patches = None if self._continued else self._patches()
        num_bytes = sum(len(part) for part in self._parts if isinstance(part, bytes))
        found["text"] = {
            "bytes": num_bytes,
            "images": sum(not isinstance(part, bytes) for part in self._parts),
            "patches": patches,
            "bytes per patch": round(num_bytes / patches, 2) if patches else None,
        }
        return found

    def _patches(self) -> int:
        parts = [part if isinstance(part, bytes) else list(part) for part in self._parts]
        return int(self.model.preparer.starts(_native.Document(parts))[:-1].sum()) if parts else 0

    def _begin(self) -> State:
        return self.model.new_state()

    def _framed(self, line: bytes) -> bytes:
        """The line as the model reads it, with what stands at the beginning of a text."""
        text = self.text
        begun = bool(text) or self._continued
        head = self.system + b"\n" if self.system and not begun else b""
        if self.chat:
            asks = text.endswith(b"\n" + USER)
            opening = b"" if asks else (b"\n" if begun else b"") + USER
            return head + opening + b" " + line + b"\n" + ASSISTANT
        if begun and line and not text.endswith(b"\n"):
            return b"\n" + line
        return head + line

    def _write(self, prompt: bytes, answer: Answer) -> Iterator[bytes]:
        self._noted = 0
        chosen = self.settings
        stop = (*chosen.stop, b"\n" + USER) if self.chat else chosen.stop
        options = {
            "max_bytes": chosen.max_bytes,
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "top_k": chosen.top_k,
            "stop": stop,
            "state": self.state,
            "watch": answer,
        }
        if self._pictures is None:
            return self.model.generate(prompt, **options)  # type: ignore[arg-type]
        pieces = write_interleaved(self.model, prompt, **options)  # type: ignore[arg-type]
        return self._pictures.marked(self._with_images(pieces, answer))

    def _with_images(self, pieces: Iterable[bytes | Image], answer: Answer) -> Iterator[bytes | Image]:
        """The same pieces; images become parts of the text."""
        for piece in pieces:
            if not isinstance(piece, bytes):
                self._add(bytes(answer.drawn[self._noted :]))
                self._noted = len(answer.drawn)
                self._parts = (*self._parts, piece.codes)
            yield piece

    def _add(self, text: bytes) -> None:
        if self._parts and isinstance(self._parts[-1], bytes):
            self._parts = (*self._parts[:-1], self._parts[-1] + text)
        elif text:
            self._parts = (*self._parts, text)


def _figures(answers: Iterable[Answer]) -> dict[str, object]:
    some = list(answers)
    num_bytes, seconds = sum(len(answer.drawn) for answer in some), sum(answer.seconds for answer in some)
    return {
        "bytes": num_bytes,
        "bytes/s": round(num_bytes / seconds, 1) if seconds else None,
        "bits per byte": round(sum(answer.bits for answer in some) / num_bytes, 3) if num_bytes else None,
    }
