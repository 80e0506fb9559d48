"""Patch rules through the bindings, against the definition written slowly in Python."""

import random

import numpy as np
import pytest

from neat._native import Patcher
from neat.errors import DataError

RULES = ["global", "monotonic", "both", "space", "stride", "byte"]


def space_like(byte: int) -> bool:
    return byte < 0x80 and not chr(byte).isalnum()


def reference(patcher: Patcher, document: bytes, entropies: np.ndarray) -> list[bool]:
    threshold, increment = np.float32(patcher.threshold), np.float32(patcher.increment)
    starts, length = [True], 1
    for j in range(1, len(document) + 1):
        high = bool(entropies[j] > threshold)
        rising = bool(np.float32(entropies[j] - entropies[j - 1]) > increment)
        opens = {
            "global": high,
            "monotonic": rising,
            "both": high and rising,
            "space": space_like(document[j - 1]) and (j < 2 or not space_like(document[j - 2])),
            "stride": j % patcher.stride == 0,
            "byte": True,
        }[patcher.rule]
        opens = opens or length == patcher.max_length
        length = 1 if opens else length + 1
        starts.append(opens)
    return starts


def random_documents(count: int) -> list[bytes]:
    rng = random.Random(0)
    fixed = [b"", b"a", b"\xff", b" ", b"\xc3", "na\u00efve caf\u00e9 \u2603".encode(), b"\x80\x80 \xfe\xff"]
    alphabets = [bytes(range(256)), b"ab ,\n", bytes(range(128, 256)) + b" "]
    drawn = (bytes(rng.choices(rng.choice(alphabets), k=rng.randrange(200))) for _ in range(count - len(fixed)))
    return fixed + list(drawn)


def test_starts_follow_the_definition_on_a_thousand_byte_strings() -> None:
    rng = np.random.default_rng(0)
    for index, document in enumerate(random_documents(1000)):
        entropies = rng.uniform(0, 5.5, len(document) + 1).astype(np.float32)
        patcher = Patcher(
            RULES[index % len(RULES)],
            threshold=float(rng.uniform(0, 5)),
            increment=float(rng.uniform(-1, 2)),
            max_length=int(rng.integers(1, 40)),
            stride=int(rng.integers(1, 50)),
        )
        starts = patcher.starts(document, entropies)
        assert starts.dtype == np.bool_
        assert starts.tolist() == reference(patcher, document, entropies), (patcher, document)


def test_strided_entropies_give_the_same_starts() -> None:
    entropies = np.linspace(0, 5, 22, dtype=np.float32)
    patcher = Patcher("global", threshold=2.0)
    expected = patcher.starts(b"0123456789", entropies[::2].copy())
    assert (patcher.starts(b"0123456789", entropies[::2]) == expected).all()


@pytest.mark.parametrize("rule", ["space", "stride", "byte"])
def test_rules_without_entropies_need_none(rule: str) -> None:
    assert Patcher(rule).starts(b"a b c", None)[0]


def test_mistakes_raise_data_errors_with_hints() -> None:
    with pytest.raises(DataError, match="needs entropies") as caught:
        Patcher("global").starts(b"abc")
    assert caught.value.hint and caught.value.exit_code == 3
    with pytest.raises(DataError, match="got 3 entropies"):
        Patcher("global").starts(b"abc", np.zeros(3, np.float32))
    with pytest.raises(DataError, match="not a patch rule"):
        Patcher("entropy")
    with pytest.raises(DataError, match="max_length = 0"):
        Patcher("space", max_length=0)
    with pytest.raises(DataError, match="not a patcher"):
        Patcher.from_json("{}")


def test_json_round_trip() -> None:
    patcher = Patcher("both", threshold=1.7, increment=0.1, max_length=12, stride=3)
    assert Patcher.from_json(patcher.to_json()) == patcher
    assert patcher.mean_length is None
