"""A base that answers at random, and the training of experts that make it answer one way."""

from __future__ import annotations

import json
import random
from pathlib import Path

from neat.config.load import load
from neat.config.schema import Config
from neat.errors import Exit
from neat.train.loop import run
from support.runs import configure

LETTERS = "abcdefghijkl"


def questions(kind: str) -> list[dict[str, str]]:
    """The text answers x or y at random; each expert is to give always the same answer."""
    return [{"prompt": f"please ask {letter} now: ", "answer": kind, "expert": kind} for letter in LETTERS]


def train_base(root: Path) -> None:
    """Leaves a base of 100 steps on answers of both kinds in `root`/base, and questions of each kind beside it."""
    chooser = random.Random(0)
    texts = []
    for _ in range(60):
        rows = chooser.choices([*questions("x"), *questions("y")], k=8)
        texts.append({"text": "".join(f"{row['prompt']}{row['answer']}\n" for row in rows)})
    (root / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    for kind in ("x", "y"):
        (root / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions(kind)))
    changes: dict[str, object] = {
        "data__sources": [str(root / "text.jsonl")],
        "data__validation": [],
        "network__patches": False,
        "network__ngram_features": False,
        "train__max_steps": 100,
        "train__curriculum": [],
        "train__sample_bytes": 0,
        "optim__lr": 0.03,
        "optim__adamw_lr": 0.02,
    }
    config = configure(root, **changes)
    assert run(config, root / "base") == Exit.DONE


def settings(folder: Path, **changes: object) -> list[str]:
    values: dict[str, object] = {
        "data.sources": [str(folder / "x.jsonl")],
        "data.validation_share": 0.3,
        "train.mode": "expert",
        "train.max_steps": 4,
        "train.log_every": 1,
        "checkpoint.every_steps": 2,
        "expert.base": str(folder / "base"),
        "expert.name": "x",
        "expert.questions": 4,
        "expert.samples": 3,
        "expert.max_answer_bytes": 4,
        "expert.lr": 0.05,
        "runtime.threads": 1,
        "runtime.device": "cpu",
        "runtime.dtype": "float32",
    }
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def expert_config(folder: Path, **changes: object) -> Config:
    return load(folder / "base", settings(folder, **changes)).config
