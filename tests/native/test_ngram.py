"""The n-gram model and its folds through the bindings."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import xxhash

from neat._native import Corpus, CrossFit, NgramModel, Patcher
from neat.errors import DataError

STEP = 1 / 8192
TEXT = "the quick brown fox jumps over a lazy dog while seven wizards brew strong tea at dawn"
WORDS = TEXT.split()


def corpus(count: int = 60) -> list[bytes]:
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(3, 80))).encode() for _ in range(count)]


@pytest.fixture(scope="module")
def documents() -> list[bytes]:
    return corpus()


@pytest.fixture(scope="module")
def model(documents: list[bytes]) -> NgramModel:
    return NgramModel.train_bytes(documents)


PROBES = [b"", b"t", b"the quick brown fox", b"\xff\x00 never seen \xc3", b"dawn tea " * 20]


@pytest.mark.parametrize("probe", PROBES)
def test_distributions_sum_to_one_and_agree_with_entropies_and_bits(model: NgramModel, probe: bytes) -> None:
    rows = model.distributions(probe)
    assert rows.shape == (len(probe) + 1, 256) and rows.dtype == np.float32
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(exact.sum(1), 1, atol=1e-6)
    entropies = model.entropies(probe)
    assert entropies.shape == (len(probe) + 1,) and entropies.dtype == np.float32
    np.testing.assert_allclose(entropies, -(exact * np.log(exact)).sum(1), atol=0.51 * STEP)
    scored = exact[np.arange(len(probe)), np.frombuffer(probe, np.uint8)]
    assert model.bits(probe) == pytest.approx(-np.log2(scored).sum(), rel=1e-5)


def test_values_depend_on_the_past_alone(model: NgramModel) -> None:
    document = b"the lazy dog jumps over the quick fox"
    for length in range(len(document)):
        prefix = document[:length]
        assert (model.entropies(prefix) == model.entropies(document)[: length + 1]).all()
        assert (model.distributions(prefix) == model.distributions(document)[: length + 1]).all()


def test_training_is_a_function_of_the_set_of_documents(documents: list[bytes], model: NgramModel) -> None:
    shuffled = random.Random(2).sample(documents, len(documents))
    again = NgramModel.train_bytes(shuffled, threads=3)
    assert again.digest == model.digest and again.to_bytes() == model.to_bytes()
    assert NgramModel.train_bytes(documents[1:]).digest != model.digest
    assert NgramModel.train_bytes(documents, order=3).order == 3


def test_files_keep_the_model_and_the_patcher(model: NgramModel, tmp_path: Path) -> None:
    patcher = Patcher("global", threshold=1.25)
    model.save(tmp_path / "model.bin", patcher)
    loaded = NgramModel.load(tmp_path / "model.bin")
    assert loaded.patcher == patcher and model.patcher is None
    assert loaded.digest == model.digest and loaded.num_contexts == model.num_contexts
    assert (loaded.entropies(PROBES[2]) == model.entropies(PROBES[2])).all()
    assert NgramModel.from_bytes(model.to_bytes()).digest == model.digest


def test_damaged_files_are_data_errors(model: NgramModel, tmp_path: Path) -> None:
    whole = model.to_bytes()
    rng = random.Random(3)
    for _ in range(200):
        place = rng.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :]
        for damaged in (flipped, whole[:place], whole + flipped[place:]):
            with pytest.raises(DataError):
                NgramModel.from_bytes(damaged)
    (tmp_path / "text.bin").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"text\.bin"):
        NgramModel.load(tmp_path / "text.bin")
    with pytest.raises(DataError, match=r"absent\.bin"):
        NgramModel.load(tmp_path / "absent.bin")


def test_fold_models_have_not_seen_their_documents(documents: list[bytes]) -> None:
    planted = b"zq#xv~9174 unique-secret-string \x01\x02\x03"
    cross = CrossFit.train_bytes([*documents, planted], folds=5)
    own = cross.fold_of(planted)
    assert own == xxhash.xxh3_64_intdigest(planted) % 5
    per_byte = {fold: cross.model(fold).bits(planted) / len(planted) for fold in range(cross.folds)}
    assert per_byte[own] > 4
    assert all(bits < 2.5 for fold, bits in per_byte.items() if fold != own)
    assert cross.full.bits(planted) / len(planted) < 2.5


def test_a_fold_model_equals_training_without_the_fold(documents: list[bytes]) -> None:
    cross = CrossFit.train_bytes(documents, folds=3)
    for fold in range(3):
        rest = [document for document in documents if cross.fold_of(document) != fold]
        assert cross.model(fold).digest == NgramModel.train_bytes(rest).digest


def test_without_folds_there_is_the_full_model(documents: list[bytes], model: NgramModel) -> None:
    for cross in (CrossFit.single(model), CrossFit.train_bytes(documents, folds=0)):
        assert cross.folds == 0 and cross.fold_of(documents[0]) is None
        assert cross.full.digest == model.digest
        with pytest.raises(DataError, match="no fold 0"):
            cross.model(0)


def test_impossible_requests_name_the_way_out() -> None:
    with pytest.raises(DataError, match="too few documents for 8 folds") as caught:
        CrossFit.train_bytes([b"only one"])
    assert caught.value.hint is not None and "ngram.folds" in caught.value.hint
    with pytest.raises(DataError, match="no bytes to train on"):
        NgramModel.train_bytes([])
    with pytest.raises(DataError, match="order 9"):
        NgramModel.train_bytes([b"text"], order=9)


@pytest.mark.parametrize("rule", ["global", "monotonic", "both"])
@pytest.mark.parametrize("mean_length", [4.0, 6.0])
def test_calibration_reaches_the_mean_patch_length(documents: list[bytes], rule: str, mean_length: float) -> None:
    cross = CrossFit.train_bytes(documents, folds=4)
    patcher = Patcher.calibrate_bytes(cross, documents, rule, mean_length)
    patches = sum(
        int(patcher.starts(document, cross.model(cross.fold_of(document)).entropies(document))[:-1].sum())
        for document in documents
    )
    reached = sum(map(len, documents)) / patches
    assert reached == pytest.approx(mean_length, rel=0.02)
    assert patcher.mean_length == pytest.approx(reached)


def test_calibration_beyond_reach_is_an_error(documents: list[bytes], model: NgramModel) -> None:
    with pytest.raises(DataError, match="out of reach"):
        Patcher.calibrate_bytes(CrossFit.single(model), documents, "global", 30.0, max_length=16)


def test_a_corpus_trains_the_model_of_its_documents(documents: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": document.decode()}) + "\n" for document in documents))
    corpus = Corpus([[str(path)]], hold_out=0.2)
    training = list(corpus.documents("train"))
    assert 0 < len(training) < len(documents)
    assert NgramModel.train(corpus).digest == NgramModel.train_bytes(training).digest
    limited = list(corpus.documents("train", limit_bytes=3000))
    assert NgramModel.train(corpus, limit_bytes=3000).digest == NgramModel.train_bytes(limited).digest
    sample = list(corpus.documents("train", hash_below=0.5))
    assert NgramModel.train(corpus, hash_below=0.5).digest == NgramModel.train_bytes(sample).digest
    cross, same = CrossFit.train(corpus, folds=3), CrossFit.train_bytes(training, folds=3)
    assert [cross.model(fold).digest for fold in range(3)] == [same.model(fold).digest for fold in range(3)]
    patcher = Patcher.calibrate(cross, corpus, "global", 4.5)
    assert patcher == Patcher.calibrate_bytes(same, training, "global", 4.5)
    assert patcher.mean_length == pytest.approx(4.5, rel=0.02)
