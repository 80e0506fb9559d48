"""Where several texts, with images or without, stand while they are read and written: all that is remembered of them.

A state holds one row per text. It grows with nothing that is read: attention keeps its windows, a memory its weights, a
patch its bytes so far. Reading replaces what a state holds and never writes to it, so forks are cheap and independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neat._native import Reader
from neat.errors import UsageError
from neat.model.batch import Batch
from neat.model.cache import Cache, fork, put, select
from neat.model.images.grammar import Written
from neat.model.text.document import Text, symbols
from neat.model.text.reading import Continuation, begin, go_on

if TYPE_CHECKING:
    from neat.model.text.model import TextModel

POSITIONS_PER_PASS = 8192
"""Positions in one forward pass outside training; bounds memory, changes no result."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one forward pass has found of some texts.

    Attributes:
        rows: Their numbers.
        counts: Positions read of each.
        logits: Predictions after each position, [len(rows), longest, V], on the model's device.
    """

    rows: list[int]
    counts: list[int]
    logits: Tensor


class State:
    """Texts in progress. Made by `TextModel.new_state`.

    Attributes:
        model: What reads them.
        texts: How far each text has been read.
        cache: What the network keeps of them, one row each.
        logits: Of the next byte of each text, float32 [B, V] on the CPU; not a number before anything is read. Within
            an image they mean nothing, see `code_logits`.
        choices: Generators of the random choices of each text; None before any has been made.
        written: Images that were written in each text so far.
    """

    def __init__(self, model: TextModel, rows: int) -> None:
        self.model = model
        self.texts = [begin(Reader(model.preparer), model.windows) for _ in range(rows)]
        self.cache: Cache = model.new_cache(rows)
        self.logits = torch.full((rows, model.network.head.out_features), torch.nan)
        self.choices: list[torch.Generator] | None = None
        self.written = [Written()] * rows

    @property
    def num_rows(self) -> int:
        """Texts."""
        return len(self.texts)

    def read(self, texts: Sequence[Text]) -> Tensor:
        """Reads on in every text; returns `logits` of the bytes after them, [B, V].

        Args:
            texts: What follows, one for each row. The first reading of an empty text gives the first byte's logits.
                Symbols (`neat.model.text.document`) may begin and end between the codes of an image.

        Raises:
            DataError: A text cannot follow: it has images that the network cannot read, or goes on in the wrong place.
        """
        for _ in self.pieces(texts):
            pass
        return self.logits

    def open_image(self, row: int = 0) -> tuple[int, ...] | None:
        """Codes so far of an image that a text has begun and not ended; None elsewhere."""
        codes = self.texts[row].reader.image
        return None if codes is None else tuple(codes)

    @torch.inference_mode()
    def code_logits(self) -> Tensor:
        """Of the next image code of each text, float32 [B, K] on the CPU; they mean nothing outside images."""
        return self.model.network.next_code(self.cache).float().cpu()

    def pieces(self, texts: Sequence[Text]) -> Iterator[Piece]:
        """`read`, and what is predicted on the way; texts in windows skip what the last window does not need."""
        if len(texts) != self.num_rows:
            raise UsageError(f"{len(texts)} texts for a state of {self.num_rows} rows", hint="give each row one")
        plans = [
            go_on(progress, symbols(text), self.model.windows) for progress, text in zip(self.texts, texts, strict=True)
        ]
        # Rows that begin a window read half of it; they go apart from rows that read a byte.
        anew = [row for row, plan in enumerate(plans) if plan.anew]
        if anew:
            rows = torch.tensor(anew, device=self.model.device)
            self.cache = put(self.cache, rows, self.model.new_cache(len(anew)))
            yield from self._run(anew, plans)
        yield from self._run([row for row, plan in enumerate(plans) if not plan.anew], plans)

    def _run(self, rows: list[int], plans: Sequence[Continuation]) -> Iterator[Piece]:
        """Reads what is planned for some rows, so much at a time."""
        readers = {row: plans[row].reader for row in rows}
        rest = {row: plans[row].text for row in rows}
        size = max(1, min(self.model.window, POSITIONS_PER_PASS // max(1, len(rows))))
        while going := [row for row in rows if rest[row] or not readers[row].num_positions]:
            parts = [rest[row][:size] for row in going]
            arrays, moved = Reader.read([readers[row] for row in going], parts)
            yield self._forward(going, Batch.from_arrays(arrays, self.model.device))
            for row, reader in zip(going, moved, strict=True):
                readers[row], rest[row] = reader, rest[row][size:]
        for row in rows:
            self.texts[row] = replace(plans[row].progress, reader=readers[row])

    @torch.inference_mode()
    def _forward(self, rows: list[int], batch: Batch) -> Piece:
        some = torch.tensor(rows, device=self.model.device)
        everything = len(rows) == self.num_rows
        cache = fork(self.cache) if everything else select(self.cache, some)
        logits = self.model.network.read_on(batch, cache).logits
        self.cache = cache if everything else put(self.cache, some, cache)
        counts = (batch.document >= 0).sum(1)
        last = logits[torch.arange(len(rows), device=logits.device), counts - 1].float().cpu()
        self.logits = self.logits.index_copy(0, torch.tensor(rows), last)
        return Piece(rows, counts.tolist(), logits)

    def fork(self, times: int = 1) -> State:
        """A state that goes on by itself, with every row `times` times, copies side by side."""
        return self.select([row for row in range(self.num_rows) for _ in range(times)])

    def select(self, rows: Sequence[int]) -> State:
        """A state of some rows, in that order; this one stays as it is."""
        copy = State.__new__(State)
        places = torch.tensor(list(rows), dtype=torch.int64)
        copy.model, copy.texts = self.model, [self.texts[row] for row in rows]
        copy.cache = select(self.cache, places.to(self.model.device))
        copy.logits = self.logits[places]
        copy.written = [self.written[row] for row in rows]
        copy.choices = None if self.choices is None else [_copied(self.choices[row]) for row in rows]
        return copy

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Puts rows, or all, back to the beginning of a text. Their random choices go on."""
        chosen = list(range(self.num_rows) if rows is None else rows)
        if not chosen:
            return
        fresh, places = State(self.model, len(chosen)), torch.tensor(chosen)
        self.cache = put(self.cache, places.to(self.model.device), fresh.cache)
        self.logits = self.logits.index_copy(0, places, fresh.logits)
        for row, progress in zip(chosen, fresh.texts, strict=True):
            self.texts[row], self.written[row] = progress, Written()

    def save(self, path: str | Path) -> None:
        """Writes all of it to a file, for `TextModel.load_state`.

        Raises:
            UsageError: Nothing has been read yet.
            CheckpointError: The file cannot be written.
        """
        from neat.model.text.state_file import save_state  # it makes states itself

        if not bool(self.logits.isfinite().all()):
            raise UsageError("a text that has not begun cannot be saved", hint="read something first, be it nothing")
        save_state(self, path)

    def seed(self, seed: int) -> None:
        """Starts the random choices: row r draws from `seed` + r."""
        self.choices = [torch.Generator().manual_seed(seed + row) for row in range(self.num_rows)]


def _copied(generator: torch.Generator) -> torch.Generator:
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    return copy
