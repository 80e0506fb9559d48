"""Letters within words: spelling, and changes of single letters as in CUTE (arXiv 2409.15452).

What a model of tokens must have memorised, a model of bytes can see.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Mapping

from neat.evaluate.tasks.items import Item, chooser

WORDS = (
    "about above after again along among begin black board bread bring brown build chair child clean clear close cloth "
    "cloud coast count cover crowd dance doubt dream drink early earth eight empty every faith field fight final first "
    "flame floor forth found frame fresh front fruit ghost glass grant great green group guard guest heart horse hotel "
    "house human judge large laugh learn light lunch march might money month mouth music night north ocean order other "
    "paint paper party peace place plain plane plant point pound power pride prize proud quick quiet reach ready right "
    "river rough round royal scale scene shade shape share sharp shirt short shout sight smoke solid sound south space "
    "speak speed stand start steam stick stone storm story sugar table think third those tiger touch tower track trade "
    "train trial trust truth under until usual value visit voice waste watch water wheel white whole woman world would "
    "write young bridge castle corner danger family finger flower friend garden ground island market minute mother "
    "nature number orange person planet search silent silver simple single source spring strong winter"
).split()
PLAIN = [word for word in WORDS if len(set(word)) == len(word)]
"""Words in which no letter stands twice, so that a letter names a place."""
EXAMPLES = 3

Exercise = tuple[str, str, list[str]]
"""A question, its answer, and wrong answers."""


def spelling(count: int, seed: int) -> list[Item]:
    """Words letter by letter, and back; the wrong answers have letters swapped or replaced."""
    return list(_items("spelling", {"spell": _spell, "join": _join}, count, seed))


def characters(count: int, seed: int) -> list[Item]:
    """A letter contained, inserted, deleted, replaced or swapped; the wrong answers do it in other places."""
    kinds = {"contains": _contains, "insert": _insert, "delete": _delete, "replace": _replace, "swap": _swap}
    return list(_items("characters", kinds, count, seed))


def _items(
    task: str, kinds: Mapping[str, Callable[[random.Random], Exercise]], count: int, seed: int
) -> Iterator[Item]:
    choose, names = chooser(task, seed), list(kinds)
    for number in range(count):
        kind = names[number % len(names)]
        shown = "".join(f"{question} {answer}\n" for question, answer, _ in _several(kinds[kind], choose))
        question, answer, wrong = kinds[kind](choose)
        endings = tuple(f" {word}\n".encode() for word in wrong)
        yield Item(f"{shown}{question}".encode(), f" {answer}\n".encode(), endings, kind)


def _several(make: Callable[[random.Random], Exercise], choose: random.Random) -> list[Exercise]:
    return [make(choose) for _ in range(EXAMPLES)]


def _misspelt(word: str, choose: random.Random) -> list[str]:
    """Three different words with one mistake."""
    found: set[str] = set()
    while len(found) < 3:
        letters = list(word)
        at = choose.randrange(len(word) - 1)
        if choose.random() < 0.5:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        else:
            letters[at] = choose.choice(string.ascii_lowercase)
        found.add("".join(letters))
        found.discard(word)
    return sorted(found)


def _spell(choose: random.Random) -> Exercise:
    word = choose.choice(WORDS)
    return f"{word}:", " ".join(word), [" ".join(wrong) for wrong in _misspelt(word, choose)]


def _join(choose: random.Random) -> Exercise:
    word = choose.choice(WORDS)
    return f"{' '.join(word)}:", word, _misspelt(word, choose)


def _contains(choose: random.Random) -> Exercise:
    word, inside = choose.choice(PLAIN), choose.random() < 0.5
    letter = choose.choice(word if inside else sorted(set(string.ascii_lowercase) - set(word)))
    answers = ["yes", "no"] if inside else ["no", "yes"]
    return f"is {letter} in {word}?", answers[0], answers[1:]


def _at_places(word: str, choose: random.Random, change: Callable[[int], str]) -> tuple[int, str, list[str]]:
    """A place, the change there, and the same change in three other places."""
    right, *others = choose.sample(range(len(word)), 4)
    return right, change(right), [change(at) for at in others]


def _insert(choose: random.Random) -> Exercise:
    word = choose.choice(PLAIN)
    new = choose.choice(sorted(set(string.ascii_lowercase) - set(word)))
    at, right, wrong = _at_places(word, choose, lambda at: word[: at + 1] + new + word[at + 1 :])
    return f"{new} after {word[at]} in {word}:", right, wrong


def _delete(choose: random.Random) -> Exercise:
    word = choose.choice(PLAIN)
    at, right, wrong = _at_places(word, choose, lambda at: word[:at] + word[at + 1 :])
    return f"{word} without {word[at]}:", right, wrong


def _replace(choose: random.Random) -> Exercise:
    word = choose.choice(PLAIN)
    new = choose.choice(sorted(set(string.ascii_lowercase) - set(word)))
    at, right, wrong = _at_places(word, choose, lambda at: word[:at] + new + word[at + 1 :])
    return f"{new} for {word[at]} in {word}:", right, wrong


def _swap(choose: random.Random) -> Exercise:
    word = choose.choice(PLAIN)
    pairs = [(first, second) for second in range(len(word)) for first in range(second)]
    (first, second), *others = choose.sample(pairs, 4)
    question = f"{word[first]} and {word[second]} swapped in {word}:"
    return question, _swapped(word, first, second), [_swapped(word, *pair) for pair in others]


def _swapped(word: str, first: int, second: int) -> str:
    letters = list(word)
    letters[first], letters[second] = letters[second], letters[first]
    return "".join(letters)
