"""Bits per byte of a checkpoint on files, beside the n-gram model on the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neat.data.pipeline import read_documents
from neat.errors import DataError
from neat.evaluate.load import load_all


def evaluate(
    path: Path,
    files: Sequence[str],
    *,
    text_field: str = "text",
    on_bad_row: str = "stop",
    device: str = "auto",
    average: bool = True,
) -> dict[str, float | int | str]:
    """Scores every byte of the files once: documents on their own, weights in float32, no adaptation.

    Returns:
        `bpb`, `ngram_bpb`, `bytes` (raw bytes of the documents), `documents`, `step`.

    Raises:
        DataError: The files hold no text.
        CheckpointError: There is no valid checkpoint at `path`.
    """
    loaded = load_all(path, device=device, average=average)
    found = read_documents(list(files), text_field, on_bad_row, loaded.config)
    documents = [document for document in found if document]
    if not documents:
        raise DataError("the files hold no text to evaluate on", hint="`neat data inspect FILE` shows what is in them")
    score = loaded.model.score(documents)
    return {
        "bpb": score.bpb,
        "ngram_bpb": sum(loaded.ngram.bits(document) for document in documents) / score.num_bytes,
        "bytes": score.num_bytes,
        "documents": score.num_documents,
        "step": loaded.step,
    }
