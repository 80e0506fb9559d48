"""What a collection of text looks like: how much, how long, how predictable, how it would be patched."""

from __future__ import annotations

import numpy as np

from neat import _native

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
MEAN_LENGTH = 4.25
SAMPLE_BYTES = 4_194_304
"""Text whose entropies are looked at; enough for two digits of a mean."""


def describe(corpus: _native.Corpus, order: int, max_bytes: int) -> dict[str, object]:
    """Documents, bytes, length quantiles in bytes, share of valid UTF-8; entropy and patches of a sample.

    The n-gram model is trained on the first `max_bytes` of the same text, in folds, so that no document is judged
    by a model that has seen it.
    """
    lengths: list[int] = []
    kept: list[bytes] = []
    valid = kept_bytes = 0
    for document in corpus.documents("all"):
        assert isinstance(document, bytes), "the corpus was opened without images"
        lengths.append(len(document))
        valid += _is_utf8(document)
        if kept_bytes < max_bytes:
            kept.append(document)
            kept_bytes += len(document)
    quantiles = np.quantile(np.array(lengths), QUANTILES)
    return {
        "documents": len(lengths),
        "bytes": sum(lengths),
        "bad_rows": corpus.num_bad_rows,
        "valid_utf8_share": valid / len(lengths),
        "length_bytes": {f"{q:.0%}": round(float(value)) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "mean_length_bytes": sum(lengths) / len(lengths),
        "ngram": _ngram_figures(kept, order),
    }


def _ngram_figures(documents: list[bytes], order: int) -> dict[str, object]:
    models = _native.CrossFit.train_bytes(documents, order)
    patcher = _native.Patcher.calibrate_bytes(models, documents, "global", MEAN_LENGTH)
    entropies: list[np.ndarray] = []
    patches: list[np.ndarray] = []
    sampled = 0
    for document in documents:
        if sampled >= SAMPLE_BYTES:
            break
        fold = models.fold_of(document)
        model = models.full if fold is None else models.model(fold)
        entropy = model.entropies(document)
        starts = np.flatnonzero(patcher.starts(document, entropy)[: len(document)])
        entropies.append(entropy[: len(document)])
        patches.append(np.diff(np.append(starts, len(document))))
        sampled += len(document)
    entropy, lengths = np.concatenate(entropies), np.concatenate(patches)
    return {
        "order": order,
        "trained_bytes": sum(map(len, documents)),
        "sample_bytes": sampled,
        "mean_entropy_nats": float(entropy.mean()),
        "threshold_nats": patcher.threshold,
        "patch_length": {"mean": float(lengths.mean()), "median": float(np.median(lengths)), "max": int(lengths.max())},
    }


def _is_utf8(document: bytes) -> bool:
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return True
