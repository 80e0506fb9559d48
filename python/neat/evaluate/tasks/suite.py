"""The tasks by name, and running some of them.

Items are a function of `VERSION`, the seed, the number asked for and, where a task uses it, the text: scores of
different models are comparable when all of these agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import neat
from neat.errors import UsageError
from neat.evaluate.load import Loaded
from neat.evaluate.tasks.distance import copying, recalling
from neat.evaluate.tasks.items import Item, score_items
from neat.evaluate.tasks.letters import characters, spelling
from neat.evaluate.tasks.passages import cloze, noise, samples
from neat.evaluate.tasks.symbols import arithmetic, brackets

VERSION = 1
PREFIX = "neat:"
TEXT = "bundled:prose.valid.jsonl.zst"
"""Held-out text of the tasks that need some, when none is named."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task is run with.

    Attributes:
        loaded: The model with its n-gram model.
        documents: Held-out text.
        count: Items.
        seed: Of the items.
    """

    loaded: Loaded
    documents: Sequence[bytes]
    count: int
    seed: int

    @property
    def prose(self) -> bytes:
        """All of the text."""
        return b" ".join(self.documents)

    def choice(self, items: Sequence[Item]) -> dict[str, object]:
        """Scores items of multiple choice."""
        return score_items(self.loaded.model, self.loaded.ngram, items)


@dataclass(frozen=True, slots=True)
class Task:
    """One task: items when no number is asked for, one line about it, and what runs it."""

    count: int
    about: str
    run: Callable[[Asked], dict[str, object]]


TASKS = {
    "spelling": Task(200, "words letter by letter, and back", lambda a: a.choice(spelling(a.count, a.seed))),
    "characters": Task(
        200, "a letter contained, inserted, deleted, replaced, swapped", lambda a: a.choice(characters(a.count, a.seed))
    ),
    "copy": Task(
        80,
        "a string of letters after 0 to 1024 bytes of prose",
        lambda a: a.choice(copying(a.prose, a.count, a.seed)),
    ),
    "recall": Task(
        80, "the number of one of four names, as far back", lambda a: a.choice(recalling(a.prose, a.count, a.seed))
    ),
    "arithmetic": Task(200, "sums and differences of 1 to 4 digits", lambda a: a.choice(arithmetic(a.count, a.seed))),
    "brackets": Task(150, "what closes the innermost open bracket", lambda a: a.choice(brackets(a.count, a.seed))),
    "cloze": Task(
        200, "the real continuation among three others", lambda a: a.choice(cloze(a.documents, a.count, a.seed))
    ),
    "noise": Task(
        32,
        "bits per byte when a tenth of the characters is changed",
        lambda a: noise(a.loaded.model, a.loaded.ngram, a.documents, a.count, a.seed),
    ),
    "samples": Task(
        32,
        "is what the model writes valid UTF-8, and does it repeat itself",
        lambda a: samples(a.loaded.model, a.documents, a.count, a.seed),
    ),
}


def require_task(name: str) -> None:
    """Raises `UsageError` when there is no task of that name."""
    if name not in TASKS:
        raise UsageError(f"there is no task {PREFIX}{name}", hint=f"tasks: {', '.join(PREFIX + one for one in TASKS)}")


def run_tasks(
    loaded: Loaded,
    names: Sequence[str],
    documents: Sequence[bytes],
    *,
    limit: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Runs tasks one after the other.

    Args:
        loaded: What is asked.
        names: Tasks, without the prefix.
        documents: Held-out text.
        limit: Most items of a task.
        seed: Of the items.
        tell: Is told which task begins.

    Returns:
        `tasks` by name, and what the scores depend on: `seed`, `limit`, `step`, `versions`.

    Raises:
        UsageError: There is no such task.
        DataError: The text is too short.
    """
    for name in names:
        require_task(name)
    found: dict[str, object] = {}
    for name in names:
        task, start = TASKS[name], time.perf_counter()
        tell(f"{PREFIX}{name}: {task.about}")
        count = task.count if limit is None else min(limit, task.count)
        scores = task.run(Asked(loaded, documents, count, seed))
        found[PREFIX + name] = scores | {"seconds": round(time.perf_counter() - start, 2)}
    versions = {"neat": neat.__version__, "tasks": VERSION}
    return {"tasks": found, "seed": seed, "limit": limit, "step": loaded.step, "versions": versions}
