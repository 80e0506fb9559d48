"""Our tasks: right answers are right, wrong ones wrong, and scores are those of what a model prefers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from support.text import ngram, prose
from support.written import small_model

from neat.config.schema import Config
from neat.errors import DataError, UsageError
from neat.evaluate.likelihood import Likelihood
from neat.evaluate.tasks import items as items_module
from neat.evaluate.tasks.distance import copying, recalling
from neat.evaluate.tasks.items import Item, mean_and_stderr, score_items
from neat.evaluate.tasks.letters import characters, spelling
from neat.evaluate.tasks.passages import NOISES, cloze, is_utf8
from neat.evaluate.tasks.suite import TASKS, run_tasks
from neat.evaluate.tasks.symbols import arithmetic, brackets
from neat.train.loading import Loaded

DOCUMENTS = [b" ".join(prose(seed) for seed in range(first, first + 8)) for first in (0, 8, 16)]
PROSE = b" ".join(DOCUMENTS)
MAKERS: dict[str, Callable[[int, int], list[Item]]] = {
    "spelling": spelling,
    "characters": characters,
    "arithmetic": arithmetic,
    "brackets": brackets,
    "copy": lambda count, seed: copying(PROSE, count, seed),
    "recall": lambda count, seed: recalling(PROSE, count, seed),
    "cloze": lambda count, seed: cloze(DOCUMENTS, count, seed),
}


@pytest.mark.parametrize("name", MAKERS)
def test_items_are_a_function_of_the_seed_and_have_one_right_answer(name: str) -> None:
    items = MAKERS[name](40, 3)
    assert items == MAKERS[name](40, 3) != MAKERS[name](40, 4)
    assert len(items) == 40
    for item in items:
        answers = (item.right, *item.wrong)
        assert len(set(answers)) == len(answers) >= 2 and all(answers)


def last_line(item: Item) -> str:
    return item.prompt.decode().split("\n")[-1]


def test_sums_are_right() -> None:
    for item in arithmetic(80, 0):
        first, sign, second, _ = last_line(item).split()
        right = int(first) + int(second) if sign == "+" else int(first) - int(second)
        assert int(item.right) == right >= 0
        assert {len(answer) for answer in item.wrong} == {len(item.right)}
        assert len(first) == int(item.group.split()[0]) or first == "0"


def closing(text: str) -> str:
    stack: list[str] = []
    for character in text:
        at = "([{<)]}>".index(character)
        if at < 4:
            stack.append(")]}>"[at])
        else:
            assert stack.pop() == character
    return "".join(reversed(stack))


def test_brackets_are_closed() -> None:
    for item in brackets(60, 0):
        *shown, asked = item.prompt.decode().split("\n")
        assert [closing(line) for line in shown] == [""] * 3
        assert closing(asked)[0] == item.right.decode() and len(closing(asked)) == 3
        assert len(asked) - 3 == int(item.group.split()[0])
        assert {item.right, *item.wrong} == {b")", b"]", b"}", b">"}


def changed(question: str) -> str:
    """The answer to a question about letters, from its words alone."""
    words = question.rstrip(":?").split()
    match words:
        case ["is", letter, "in", word]:
            return "yes" if letter in word else "no"
        case [new, "after", letter, "in", word]:
            return word.replace(letter, letter + new)
        case [word, "without", letter]:
            return word.replace(letter, "")
        case [new, "for", letter, "in", word]:
            return word.replace(letter, new)
        case [first, "and", second, "swapped", "in", word]:
            return word.translate(str.maketrans(first + second, second + first))
    return "".join(words) if len(words) > 1 else " ".join(words[0])


@pytest.mark.parametrize("make", [spelling, characters])
def test_letters_are_where_they_belong(make: Callable[[int, int], list[Item]]) -> None:
    for item in make(100, 1):
        *shown, asked = item.prompt.decode().split("\n")
        assert item.right.decode() == f" {changed(asked)}\n"
        for line in shown:
            at = re.search("[:?] ", line)
            assert at is not None
            assert changed(line[: at.start() + 1]) == line[at.end() :]


def test_what_is_asked_stands_at_its_distance() -> None:
    for item in copying(PROSE, 12, 0):
        assert item.prompt.startswith(b"The code is " + item.right) and item.prompt.endswith(b" The code is ")
        assert len(item.prompt) == 12 + 8 + 2 + int(item.group) + 13
        assert {bytes(sorted(answer)) for answer in item.wrong} == {bytes(sorted(item.right))}
    for item in recalling(PROSE, 12, 0):
        name = item.prompt.split()[-1]
        assert re.search(name + b" " + item.right + rb"\.", item.prompt)
    with pytest.raises(DataError, match="do not fill"):
        copying(PROSE[:500], 4, 0)


def test_continuations_come_from_the_text() -> None:
    for item in cloze(DOCUMENTS, 20, 0):
        assert sum(document.count(item.prompt + item.right) for document in DOCUMENTS) >= 1
        assert all(any(wrong in document for document in DOCUMENTS) for wrong in item.wrong)
        assert len({len(answer) for answer in (item.right, *item.wrong)}) == 1
    with pytest.raises(DataError, match="too few"):
        cloze([b"short text"], 4, 0)


def test_noise_changes_a_tenth() -> None:
    text = "abcdefghij" * 400
    found = {name: change(text, random.Random(0)) for name, change in NOISES.items()}
    assert found["clean"] == text
    assert 0.08 < 1 - len(found["drop"]) / len(text) < 0.12
    assert 0.08 < len(found["repeat"]) / len(text) - 1 < 0.12
    upper = sum(character.isupper() for character in found["uppercase"]) / len(text)
    some = sum(character.isupper() for character in found["random case"]) / len(text)
    assert 0.08 < upper < 0.12 and 0.03 < some < 0.07
    assert found["uppercase"].lower() == found["random case"].lower() == text


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (b"", True),
        ("naïve".encode(), True),
        (b"na\xc3", True),
        (b"na\xc3x", False),
        (b"\xff", False),
        (b"\xaf.", False),
    ],
)
def test_a_character_may_be_cut_short_at_the_end_only(text: bytes, valid: bool) -> None:
    assert is_utf8(text) == valid


def test_scores_are_of_what_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of four items right, one tie, which counts as wrong."""
    items = [
        Item(b"a", b"xx", (b"y", b"z"), "one"),
        Item(b"b", b"x", (b"y",), "one"),
        Item(b"c", b"x", (b"y",), "two"),
        Item(b"d", b"x", (b"y",), "two"),
    ]
    nats = [-2.0, -3.0, -4.0, -1.0, -2.0, -1.0, -5.0, -1.0, -1.0]
    likely = [Likelihood(value, greedy=False) for value in nats]
    monkeypatch.setattr(items_module, "continuations", lambda _, pairs: likely[: len(pairs)])
    found: dict[str, Any] = score_items(small_model("stream"), ngram(), items)
    assert found["accuracy"] == 0.75 and found["by"] == {"one": 1.0, "two": 0.5}
    assert found["stderr"] == pytest.approx(0.25)
    assert found["chance"] == pytest.approx((1 / 3 + 3 / 2) / 4)
    assert found["bits_per_byte"] == pytest.approx(5.0 / 5 / 0.6931471805599453)
    assert mean_and_stderr([2.0]) == (2.0, None)


@pytest.mark.parametrize("name", TASKS)
def test_each_task_runs_and_its_scores_are_json(name: str) -> None:
    loaded = Loaded(small_model("windows"), ngram(), Config(), 7)
    told: list[str] = []
    found: dict[str, Any] = run_tasks(loaded, [name], DOCUMENTS, limit=5, seed=1, tell=told.append)
    scores = json.loads(json.dumps(found, allow_nan=False))["tasks"][f"neat:{name}"]
    assert scores["items"] == 5 and len(told) == 1
    again: dict[str, Any] = run_tasks(loaded, [name], DOCUMENTS, limit=5, seed=1)
    assert again["tasks"][f"neat:{name}"] | {"seconds": 0} == scores | {"seconds": 0}
    assert found["step"] == 7 and found["versions"]["tasks"] == 1


def test_noise_costs_bits_and_clean_text_is_scored_as_it_is() -> None:
    loaded = Loaded(small_model("windows"), ngram(), Config(), 0)
    found: dict[str, Any] = run_tasks(loaded, ["noise"], [PROSE[:512]], limit=1)
    by = found["tasks"]["neat:noise"]["by"]
    assert by["clean"]["bpb"] == pytest.approx(loaded.model.score([PROSE[:512]]).bpb, rel=1e-5)
    assert by["clean"]["ngram_bpb"] == pytest.approx(ngram().bits(PROSE[:512]) / 512)
    assert all(by[name]["ngram_bpb"] > by["clean"]["ngram_bpb"] + 0.1 for name in NOISES if name != "clean")


def test_an_unknown_task_is_named() -> None:
    loaded = Loaded(small_model("windows"), ngram(), Config(), 0)
    with pytest.raises(UsageError, match="no task neat:spilling"):
        run_tasks(loaded, ["spilling"], DOCUMENTS)
