"""What is still known after some prose: a string of letters to repeat, or one of several numbers to tell."""

from __future__ import annotations

import string

from neat.errors import DataError
from neat.evaluate.recall import questions_at
from neat.evaluate.tasks.items import Item, chooser

DISTANCES = (0, 64, 256, 1024)
"""Bytes of prose between what is to be known and the question."""
LETTERS = 8


def copying(prose: bytes, count: int, seed: int) -> list[Item]:
    """A string of letters that stood before the prose; the wrong answers are its letters in other orders."""
    choose = chooser("copy", seed)
    found = []
    for number in range(count):
        distance = DISTANCES[number % len(DISTANCES)]
        letters = choose.sample(string.ascii_lowercase, LETTERS)
        answers = {"".join(letters): None}
        while len(answers) < 4:
            # The first letter stays, so that the answer is not given away by it.
            answers["".join(letters[:1] + choose.sample(letters[1:], LETTERS - 1))] = None
        right, *wrong = (answer.encode() for answer in answers)
        start = choose.randrange(_room(prose, distance))
        prompt = b"The code is " + right + b". " + prose[start : start + distance] + b" The code is "
        found.append(Item(prompt, right, tuple(wrong), str(distance)))
    return found


def recalling(prose: bytes, count: int, seed: int) -> list[Item]:
    """The number of one of several names that stood before the prose; the wrong answers are the others' numbers."""
    found: list[Item] = []
    for place, distance in enumerate(DISTANCES):
        number = len(range(place, count, len(DISTANCES)))
        _room(prose, distance)
        found += [
            Item(question.text, question.right, question.wrong, str(distance))
            for question in questions_at(prose, distance, number, seed)
        ]
    return found


def _room(prose: bytes, distance: int) -> int:
    """Places where a piece of prose of that length can begin."""
    if len(prose) < distance:
        raise DataError(f"{len(prose)} bytes of text do not fill a distance of {distance}", hint="give more --data")
    return len(prose) - distance + 1
