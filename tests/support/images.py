"""Rows of text with images, made position by position, and networks that read them.

A document is a list of parts: bytes, or the codes of an image as a tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neat import _native
from neat.config.schema import Network, Vision
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.text.model import TextModel
from neat.model.vocabulary import BOI, BOS, EOI, FIRST_CODE, IMAGE_BEGINS, IMG, PAD

GRID = 2
CODES = 5
STRIDE = 3
"""Bytes per patch of the text parts."""

Document = Sequence[bytes | tuple[int, ...]]
Symbol = tuple[str, int, int]


def vision(**changes: object) -> Vision:
    """Images of 2 x 2 codes of a palette of five colours."""
    base: dict[str, object] = {"on": True, "codec": f"palette:{CODES}", "codes": CODES, "grid": GRID}
    return Vision.model_validate(base | {"head_layers": 2, "head_ffn_width": 12} | changes)


def symbols(document: Document) -> list[Symbol]:
    """(kind, value, cell) of each position that the document fills."""
    found: list[Symbol] = []
    for part in document:
        if isinstance(part, bytes):
            found += [("byte", value, -1) for value in part]
        else:
            codes = [("code", code, cell) for cell, code in enumerate(part)]
            found += [("begin", BOI, -1), *codes, ("end", EOI, -1)]
    return found


def image_rows(
    shape: Network, rows: Sequence[Sequence[Document]], positions: int, slots: int = 0, stride: int = STRIDE
) -> Batch:
    """Each row holds some documents, one after the other; the rest is padding."""
    streams = [[symbols(document) for document in row] for row in rows]
    made = [_row(shape, row, positions, slots or positions + 1, stride) for row in streams]
    return Batch(**{name: torch.stack([row[name] for row in made]) for name in made[0]})


def _starts(stream: list[Symbol], stride: int) -> list[bool]:
    """Whether each symbol opens a patch: the byte after a full one, each code, the end of an image, what follows it.

    What begins an image follows the rule for bytes: whether it comes must not be known before.
    """
    found, length = [], 0
    for index, (kind, _, _) in enumerate(stream):
        opens = kind in ("code", "end") or index == 0 or stream[index - 1][0] == "end" or length == stride
        length = 1 if opens else length + 1
        found.append(opens)
    return found


def _row(
    shape: Network, documents: list[list[Symbol]], positions: int, slots: int, stride: int
) -> dict[str, torch.Tensor]:
    row = {
        "ids": torch.full((positions,), PAD),
        "targets": torch.full((positions,), IGNORED_TARGET),
        "document": torch.full((positions,), -1, dtype=torch.int32),
        "patch": torch.full((positions,), slots - 1),
        "read": torch.full((positions,), slots - 1),
        "patch_document": torch.full((slots,), -1, dtype=torch.int32),
        "patch_first": torch.zeros(slots, dtype=torch.int64),
        "patch_last": torch.zeros(slots, dtype=torch.int64),
        "patch_length": torch.zeros(slots, dtype=torch.int32),
        "codes": torch.full((positions,), -1),
        "cell": torch.full((positions,), -1),
        "code_targets": torch.full((slots,), IGNORED_TARGET),
    }
    if shape.hash_orders:
        row["hashes"] = torch.zeros(positions, len(shape.hash_orders), dtype=torch.int64)
    if shape.ngram_features:
        row["features"] = torch.full((positions, 256), 1 / 16, dtype=torch.float16)
    at, slot = 0, -1
    for number, stream in enumerate(documents):
        at, slot = _fill(shape, row, stream, number, at, slot, stride)
    return row


def _fill(
    shape: Network, row: dict[str, torch.Tensor], stream: list[Symbol], number: int, at: int, slot: int, stride: int
) -> tuple[int, int]:
    """Writes one document from position `at`; returns where the next one begins and the last slot used."""
    starts, seen = _starts(stream, stride), [BOS]
    for q, (kind, value, _) in enumerate(stream):
        if q == 0 or starts[q - 1]:
            slot += 1
            row["patch_first"][slot], row["patch_document"][slot] = at + q, number
        before = stream[q - 1] if q else ("special", BOS, -1)
        row["ids"][at + q] = IMG if before[0] == "code" else before[1]
        row["codes"][at + q] = before[1] if before[0] == "code" else -1
        row["cell"][at + q] = before[2]
        row["targets"][at + q] = {"byte": value, "begin": IMAGE_BEGINS}.get(kind, IGNORED_TARGET)
        row["document"][at + q], row["patch"][at + q] = number, slot
        row["read"][at + q] = slot if starts[q] else slot - 1
        row["patch_last"][slot] = at + q
        row["patch_length"][slot] += 1
        if kind == "code":
            row["code_targets"][slot] = value
        for table, order in enumerate(shape.hash_orders):
            # Any function of the last symbols will do.
            row["hashes"][at + q, table] = table * shape.hash_rows + sum(seen[-order:]) * 31 % shape.hash_rows
        seen.append(IMG if kind == "code" else value)
    return at + len(stream), slot


def continuation(whole: Batch, start: int, end: int) -> Batch:
    """Positions [start, end) of rows with one patch per position, as a batch that continues streams."""
    num = end - start
    document = whole.document[:, start:end]
    slots = torch.arange(num + 1).expand(whole.num_rows, -1)
    patch = torch.where(document >= 0, slots[:, :-1], num)
    closed = torch.nn.functional.pad(document, (0, 1), value=-1)
    assert whole.codes is not None and whole.cell is not None
    return Batch(
        ids=whole.ids[:, start:end],
        targets=whole.targets[:, start:end],
        document=document,
        patch=patch,
        read=torch.where(document >= 0, patch + 1, 0),
        patch_document=closed,
        patch_first=slots.clamp(max=num - 1),
        patch_last=slots.clamp(max=num - 1),
        patch_length=(closed >= 0).int(),
        hashes=None if whole.hashes is None else whole.hashes[:, start:end].contiguous(),
        features=None if whole.features is None else whole.features[:, start:end],
        codes=whole.codes[:, start:end],
        cell=whole.cell[:, start:end],
    )


def prefix(symbols: Sequence[int]) -> _native.Document:
    """The document of the first symbols of another one, whose last image may be open."""
    parts: list[bytes | list[int]] = []
    is_open = False
    for symbol in symbols:
        if symbol == BOI:
            parts, is_open = [*parts, []], True
        elif symbol == EOI:
            is_open = False
        elif symbol >= FIRST_CODE:
            parts[-1] = [*parts[-1], symbol - FIRST_CODE]
        else:
            parts.append(bytes([symbol]))
    return _native.Document(parts, open=is_open)


@torch.no_grad()
def predicted(model: TextModel, document: _native.Document) -> torch.Tensor:
    """Logits of the symbol after a document by one pass over it: [257] in text, [K] in an image that is open.

    A network whose attention has no window sees the last window of the document only.
    """
    if model.windows is None:
        room = len(document) + GRID * GRID + 2
        start, end, arrays_room = 0, len(document) + 1, (room, room + 1)
    else:
        start, end, _ = model.preparer.spans(document, model.window, model.patch_slots, model.window // 2)[-1]
        arrays_room = (model.window, model.patch_slots)
    batch = Batch.from_arrays(model.preparer.windows([document], [(0, start, end, start)], *arrays_room))
    outputs, last = model.network.outputs(batch), end - start - 1
    if not document.is_open:
        return outputs.logits[0, last].float()
    assert outputs.image_logits is not None
    return outputs.image_logits[0, batch.patch[0, last]].float()
