"""From a configuration to text that is ready to train on: corpus, n-gram models, patcher, validation documents.

The invariant: no validation document is trained on, and the n-gram rows and patches of a training document come from
models that have not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neat import _native
from neat.config.schema import Config
from neat.data.bundled import resolve
from neat.data.stream import Stream
from neat.errors import DataError
from neat.model.text.document import Document

ENTROPY_RULES = ("global", "monotonic", "both")


@dataclass(frozen=True, slots=True)
class Text:
    """What a run reads.

    Attributes:
        corpus: Training sources.
        models: The n-gram model, with its cross-fitted folds where they are needed.
        patcher: The calibrated patch rule.
        preparer: Turns documents into rows.
        validation: Held-out documents; empty when the configuration names none.
        coarse: Preparers of the stages with another mean patch length, by that length.
    """

    corpus: _native.Corpus
    models: _native.CrossFit
    patcher: _native.Patcher
    preparer: _native.Preparer
    validation: list[Document]
    coarse: Mapping[float | None, _native.Preparer] = field(default_factory=dict)

    def stream(self, config: Config, state: str | None = None) -> Stream:
        """The endless stream of packed rows, from the beginning or from a saved state."""
        return Stream(
            self.corpus,
            {None: self.preparer, **self.coarse},
            lanes=config.data.lanes,
            prefetch=config.data.prefetch,
            state=state,
        )


def open_text(config: Config) -> Text:
    """Scans the sources, trains the n-gram models and calibrates the patcher.

    Raises:
        DataError: A source cannot be read, holds no text, or shares documents with the validation text.
    """
    config.require_sources()
    corpus = open_corpus(config)
    validation = _validation(config, corpus)
    models = _models(config, corpus)
    patcher = _patcher(config, models, corpus)
    preparer = make_preparer(config, models, patcher)
    coarse: dict[float | None, _native.Preparer] = {
        length: make_preparer(config, models, _calibrated(config, models, corpus, length))
        for _, length in config.train.patch_curriculum
    }
    return Text(corpus, models, patcher, preparer, validation, coarse)


def open_corpus(config: Config) -> _native.Corpus:
    """The training sources of a configuration."""
    data = config.data
    return _native.Corpus(
        [[resolve(source)] for source in data.sources],
        list(data.weights) or None,
        text_field=data.text_field,
        on_bad_row=data.on_bad_row,
        seed=config.seed,
        shuffle_blocks=data.shuffle_blocks,
        max_document_bytes=data.max_document_bytes,
        hold_out=data.validation_share if not data.validation else 0.0,
        image_codes=_image_codes(config),
        num_codes=config.vision.codes,
    )


def make_preparer(config: Config, models: _native.CrossFit, patcher: _native.Patcher) -> _native.Preparer:
    """The preparer that matches a network: its hash tables, its n-gram rows, its patches."""
    network = config.network
    return _native.Preparer(
        models,
        patcher,
        list(network.hash_orders),
        network.hash_rows,
        network.ngram_features,
        image_codes=_image_codes(config),
        num_codes=config.vision.codes,
    )


def read_documents(patterns: list[str], text_field: str, on_bad_row: str, config: Config) -> list[Document]:
    """All documents of files, folders or globs, in order; with images where the configuration reads them."""
    corpus = _native.Corpus(
        [[resolve(pattern) for pattern in patterns]],
        None,
        text_field=text_field,
        on_bad_row=on_bad_row,
        image_codes=_image_codes(config),
        num_codes=config.vision.codes,
    )
    return list(corpus.documents("all"))


def _image_codes(config: Config) -> int:
    # Without a codec nobody can say what a code stands for.
    return config.vision.image_codes if config.vision.on and config.vision.codec else 0


def _validation(config: Config, corpus: _native.Corpus) -> list[Document]:
    data = config.data
    if not data.validation:
        return list(corpus.documents("held_out")) if data.validation_share else []
    held_out = _native.Corpus(
        [[resolve(pattern) for pattern in data.validation]],
        None,
        text_field=data.text_field,
        on_bad_row=data.on_bad_row,
        max_document_bytes=data.max_document_bytes,
        image_codes=_image_codes(config),
        num_codes=config.vision.codes,
    )
    shared = np.intersect1d(corpus.document_hashes("train"), held_out.document_hashes("all"))
    if shared.size:
        raise DataError(
            f"{shared.size} of the validation documents also stand in data.sources",
            hint="remove them from one side, or set data.validation=[] and data.validation_share=0.01",
        )
    return list(held_out.documents("all"))


def _models(config: Config, corpus: _native.Corpus) -> _native.CrossFit:
    ngram = config.ngram
    if ngram.model:
        return _native.CrossFit.single(_native.NgramModel.load(ngram.model))
    # A corpus above the limit is sampled by document; a document outside the sample is new to every model.
    share = ngram.max_bytes / corpus.num_bytes if corpus.num_bytes > ngram.max_bytes else None
    folds = ngram.folds if _needs_folds(config) else 0
    return _native.CrossFit.train(corpus, ngram.order, folds, hash_below=share)


def _needs_folds(config: Config) -> bool:
    """Whether the network sees what the n-gram model says of its training documents: as input or by the patches."""
    network = config.network
    return network.ngram_features or (network.patches and config.patcher.rule in ENTROPY_RULES)


def _patcher(config: Config, models: _native.CrossFit, corpus: _native.Corpus) -> _native.Patcher:
    patcher = config.patcher
    if not config.network.patches:
        # Rows of a flat network still carry patch slots; they are never read.
        return _native.Patcher("byte", max_length=patcher.max_length)
    if patcher.rule not in ENTROPY_RULES:
        return _native.Patcher(patcher.rule, stride=patcher.stride, max_length=patcher.max_length)
    return _calibrated(config, models, corpus, patcher.mean_length)


def _calibrated(
    config: Config, models: _native.CrossFit, corpus: _native.Corpus, mean_length: float
) -> _native.Patcher:
    patcher = config.patcher
    return _native.Patcher.calibrate(models, corpus, patcher.rule, mean_length, patcher.max_length, patcher.stride)
