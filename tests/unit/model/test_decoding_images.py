"""Reading on through images with the other components on: text and codes are predicted as by one full pass."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from support.images import CODES, GRID, vision
from support.networks import network, scattered
from support.text import ngram, patcher

from neat._native import CrossFit, Document, Preparer, Reader
from neat.config.base import Section
from neat.config.schema import Expert, Memory, Recursion
from neat.model.batch import Batch
from neat.model.experts.vectors import mixed
from neat.model.neat import NeatModel
from neat.model.text.document import symbols

SECTIONS: dict[str, Section] = {
    "memory": Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4, "persistent": 2}),
    "recursion": Recursion.model_validate({"depth": 3, "halting": True}),
    "expert": Expert.model_validate({"count": 2, "dispatcher_width": 4}),
    "vision": vision(),
}
TOGETHER = [*combinations(SECTIONS, 2), tuple(SECTIONS)]
SHAPE = network(window=5, local_window=6, decoder_mixer="attention", read="cross_attention")
PARTS: list[bytes | list[int]] = [b"the river ", [0, 1, 2, 3], b" and", [4, 4, 1, 0], [2, 2, 0, 1], b" so on and on"]


def build(sections: dict[str, Section], folder: Path) -> NeatModel:
    """A float64 network; where there are experts, with a mixture of two applied."""
    model = scattered(SHAPE, **sections)
    if model.experts is None:
        return model
    model.experts.factorise(folder)
    offsets = torch.randn(2, model.experts.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for name, vector in zip("ab", offsets * 0.3, strict=True):
        model.experts.add(name, vector)
    adapted = mixed(model, model.experts.mixture({"a": 0.7, "b": 0.5}))
    batch = Batch.from_arrays(preparer(images=model.vision is not None).windows([b"a"], [(0, 0, 2, 0)], 8, 9))
    assert not torch.allclose(adapted(batch), model(batch))
    return adapted


def preparer(*, images: bool) -> Preparer:
    tables = (list(SHAPE.hash_orders), SHAPE.hash_rows, SHAPE.ngram_features)
    return Preparer(CrossFit.single(ngram()), patcher("global"), *tables, GRID * GRID if images else 0, CODES)


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
@pytest.mark.parametrize("size", [1, 7])
def test_pieces_equal_one_pass(names: tuple[str, ...], size: int, tmp_path: Path) -> None:
    """Two documents at their own pace, cut anywhere; without images in the network they are text."""
    model = build({name: SECTIONS[name] for name in names}, tmp_path)
    images = model.vision is not None
    texts = [b"".join(part for part in PARTS if isinstance(part, bytes)), b"naive tide"]
    documents: list[Any] = [Document(PARTS), Document([[1, 0, 3, 3], b"tide"])] if images else texts
    ready = preparer(images=images)
    spans = [(row, 0, len(document) + 1, 0) for row, document in enumerate(documents)]
    whole = Batch.from_arrays(ready.windows(documents, spans, 64, 65))
    with torch.no_grad():
        expected = model.outputs(whole)
    readers, rest, at = [Reader(ready)] * 2, [symbols(document) for document in documents], [0, 0]
    cache, checked = model.new_cache(2), 0
    while any(rest):
        parts = [text[: size + row] for row, text in enumerate(rest)]
        rest = [text[size + row :] for row, text in enumerate(rest)]
        arrays, readers = Reader.read(readers, parts)
        batch = Batch.from_arrays(arrays)
        with torch.inference_mode():
            found = model.read_on(batch, cache).logits
            codes = model.next_code(cache) if images else None
        for row, count in enumerate((batch.document >= 0).sum(1).tolist()):
            close(found[row, :count], expected.logits[row, at[row] : at[row] + count])
            at[row] += count
            image = readers[row].image
            if codes is not None and image is not None and len(image) < GRID * GRID:
                assert expected.image_logits is not None
                close(codes[row], expected.image_logits[row, whole.patch[row, at[row] - 1]])
                checked += 1
    assert at == [len(document) + 1 for document in documents]
    assert bool(checked) == images


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Nothing but the order of sums may differ."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
