"""Exact rules on symbols: sums and differences by number of digits, brackets by what stands between them."""

from __future__ import annotations

import random

from neat.evaluate.tasks.items import Item, chooser

DIGITS = (1, 2, 3, 4)
BRACKETS = ("()", "[]", "{}", "<>")
INNER = (0, 4, 12)
"""Brackets between the one that is open and the place where it is closed."""
EXAMPLES = 3


def arithmetic(count: int, seed: int) -> list[Item]:
    """Sums and differences of numbers of so many digits; the wrong answers have as many digits as the right one."""
    choose = chooser("arithmetic", seed)
    found = []
    for number in range(count):
        digits = DIGITS[number % len(DIGITS)]
        shown = "".join("{} {}\n".format(*_calculation(choose, digits)) for _ in range(EXAMPLES))
        question, answer = _calculation(choose, digits)
        wrong = tuple(f" {value}\n".encode() for value in _near(answer, choose))
        found.append(Item((shown + question).encode(), f" {answer}\n".encode(), wrong, f"{digits} digits"))
    return found


def _calculation(choose: random.Random, digits: int) -> tuple[str, int]:
    low = 10 ** (digits - 1) if digits > 1 else 0
    first, second = (choose.randrange(low, 10**digits) for _ in range(2))
    if choose.random() < 0.5:
        return f"{first} + {second} =", first + second
    first, second = max(first, second), min(first, second)
    return f"{first} - {second} =", first - second


def _near(answer: int, choose: random.Random) -> list[int]:
    """Three other numbers of as many digits, a little away.

    How many of them are smaller is drawn too: were the right answer always in the middle, a mere liking for small or
    large digits would put a model below chance.
    """
    length = len(str(answer))
    steps = (1, 2, 3, 10, 20, 100) if length > 1 else range(1, 10)
    below, above = (
        [
            answer + sign * step
            for step in steps
            if answer + sign * step >= 0 and _digits(answer + sign * step) == length
        ]
        for sign in (-1, 1)
    )
    smaller = min(max(choose.randrange(4), 3 - len(above)), len(below), 3)
    return choose.sample(below, smaller) + choose.sample(above, 3 - smaller)


def _digits(number: int) -> int:
    return len(str(abs(number)))


def brackets(count: int, seed: int) -> list[Item]:
    """Which bracket closes the innermost open one, after whole groups inside it."""
    choose = chooser("brackets", seed)
    found = []
    for number in range(count):
        inner = INNER[number % len(INNER)]
        shown = "".join(f"{opened}{closing}\n" for opened, closing in (_open(choose, inner) for _ in range(EXAMPLES)))
        opened, closing = _open(choose, inner)
        wrong = tuple(pair[1].encode() for pair in BRACKETS if pair[1] != closing[0])
        found.append(Item((shown + opened).encode(), closing[0].encode(), wrong, f"{inner} between"))
    return found


def _open(choose: random.Random, inner: int) -> tuple[str, str]:
    """A text with three brackets open, whole groups after the last of them, and what closes all three."""
    pairs = choose.choices(BRACKETS, k=3)
    opened = "".join(pair[0] for pair in pairs)
    return opened + _groups(choose, inner // 2), "".join(pair[1] for pair in reversed(pairs))


def _groups(choose: random.Random, pairs: int) -> str:
    """Balanced text of so many pairs."""
    if pairs == 0:
        return ""
    within = choose.randrange(pairs)
    pair = choose.choice(BRACKETS)
    return pair[0] + _groups(choose, within) + pair[1] + _groups(choose, pairs - 1 - within)
