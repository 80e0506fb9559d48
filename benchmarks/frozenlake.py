"""Do images on the way to the answer help? FrozenLake, with and without them, at equal training cost.

Usage: ``python benchmarks/frozenlake.py [--steps 250] [--seeds 0 1 2] [--arms direct images ...] [--json PATH]``.

Every arm reads an image of the board and the moves, and answers where they lead: goal, hole or safe. `direct` answers
at once; `images` draws the board after each move and then answers, trained with the token discrepancy loss;
`images, no discrepancy` the same without it. All see the same number of positions in training, so `direct` sees more
puzzles. Answers and images are those that the network writes by itself, greedily, on puzzles it was not trained on.
`blank` is the same network with an empty board in the prompt: what it can guess from the moves alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from machine import describe

from neat.config.load import load
from neat.data.worlds.rows import IMAGE, Row, rows, take
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.images.grammar import Grammar, Image
from neat.model.neat import NeatModel
from neat.model.vocabulary import BOI, BOS, EOI, IMAGE_BEGINS, IMG
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.state import Trainer

SIZES = (3, 4)
GRID = 4
ARMS = {"direct": ("direct", 0.0), "images": ("images", 0.5), "images, no discrepancy": ("images", 0.0)}
"""Arm -> arm of the puzzles, weight of the discrepancy loss."""
TRAIN_ROWS, TEST_ROWS = 6000, 100
MAX_BYTES, MAX_IMAGES = 80, 6
SETTINGS = {
    "data.validation_share": 0.0,
    "patcher.rule": "byte",
    "network.width": 96,
    "network.layers": 3,
    "network.heads": 4,
    "network.kv_heads": 4,
    "network.ffn_width": 256,
    "network.local_width": 64,
    "network.local_heads": 2,
    "network.decoder_layers": 1,
    "network.decoder_ffn_width": 128,
    "network.hash_orders": [],
    "network.ngram_features": False,
    "vision.on": True,
    "vision.codec": "palette:18",
    "vision.codes": 18,
    "vision.grid": GRID,
    "vision.head_layers": 1,
    "vision.head_ffn_width": 128,
    "vision.min_gap": 1,
    "optim.ema_decay": 0.0,
    "train.window": 256,
    "train.batch_bytes": 4096,
    "train.curriculum": [],
    "train.log_every": 1000,
    "runtime.device": "cpu",
    "runtime.dtype": "float32",
}

Symbol = tuple[int, int, int]
"""Input id, image code or -1, cell or -1."""


# Writing


@dataclass
class Stream:
    """A prompt, and what the network has written after it."""

    grammar: Grammar
    new: list[Symbol]
    text: str = ""
    images: list[Image] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """The line with the answer has ended, or nothing came of it."""
        last = self.text.rpartition("\n")[0].rpartition("\n")[2]
        return (self.text.endswith("\n") and last.startswith("answer")) or len(self.text) >= MAX_BYTES

    def take(self, byte_logits: torch.Tensor, code_logits: torch.Tensor) -> None:
        """Chooses the next symbol, which is then the one to read."""
        if self.grammar.expects == "end":
            image, self.grammar = self.grammar.end()
            self.images.append(image)
            self.new = [(EOI, -1, -1)]
        elif self.grammar.codes is not None:
            code = int(code_logits.argmax())
            self.new = [(IMG, code, len(self.grammar.codes))]
            self.grammar = self.grammar.after(code)
        else:
            chosen = int(self.grammar.allowed(byte_logits).argmax())
            self.new = [(BOI if chosen == IMAGE_BEGINS else chosen, -1, -1)]
            self.grammar = self.grammar.after(chosen)
            self.text += IMAGE if chosen == IMAGE_BEGINS else chr(chosen)


def prompt_symbols(row: Row, *, blank: bool) -> list[Symbol]:
    """What is read before anything is written."""
    codes = [0] * GRID**2 if blank else row["images"][0]
    found: list[Symbol] = [(BOS, -1, -1)]
    for char in row["prompt"]:
        if char == IMAGE:
            image = [(IMG, code, cell) for cell, code in enumerate(codes)]
            found += [(BOI, -1, -1), *image, (EOI, -1, -1)]
        else:
            found.append((ord(char), -1, -1))
    return found


def chunk(new: Sequence[Sequence[Symbol]]) -> Batch:
    """The next symbols of several streams, each a patch of its own; some streams may have none."""
    longest = max(map(len, new))
    filled = torch.tensor([[*row, *[(0, -1, -1)] * (longest - len(row))] for row in new])
    used = torch.arange(longest) < torch.tensor([len(row) for row in new])[:, None]
    document = torch.where(used, 0, -1).int()
    slots = torch.arange(longest + 1).expand(len(new), -1)
    patch = torch.where(used, slots[:, :-1], longest)
    padded = torch.nn.functional.pad(document, (0, 1), value=-1)
    return Batch(
        ids=filled[..., 0],
        targets=torch.full_like(patch, IGNORED_TARGET),
        document=document,
        patch=patch,
        read=torch.where(used, patch + 1, 0),
        patch_document=padded,
        patch_first=slots.clamp(max=longest - 1),
        patch_last=slots.clamp(max=longest - 1),
        patch_length=(padded == 0).int(),
        codes=filled[..., 1],
        cell=filled[..., 2],
    )


@torch.inference_mode()
def write(trainer: Trainer, tests: list[Row], *, blank: bool = False) -> list[Stream]:
    """Lets the network go on from the prompts, all at once."""
    network: NeatModel = trainer.model
    vision = trainer.config.vision
    streams = [Stream(Grammar.start(vision), prompt_symbols(row, blank=blank)) for row in tests]
    cache = network.new_cache(len(streams))
    while not all(stream.finished for stream in streams):
        new = [stream.new if not stream.finished else [] for stream in streams]
        logits = network.read_on(chunk(new), cache).logits
        codes = network.next_code(cache)
        for index, stream in enumerate(streams):
            if new[index]:
                stream.take(logits[index, len(new[index]) - 1], codes[index])
    return streams


# Scoring


def is_right(stream: Stream, row: Row) -> bool:
    """Whether the last line says the right answer."""
    return stream.text.rstrip("\n").rpartition("\n")[2] == f"answer: {row['answer']}"


def score(streams: list[Stream], tests: list[Row]) -> dict[str, float]:
    """Shares of right answers, of right images, and of right cells; an image that was not drawn is wrong."""
    figures = {"answer": statistics.mean(is_right(*pair) for pair in zip(streams, tests, strict=True))}
    truths = [row["images"][1:] for row in tests]
    if not any(truths):
        return figures
    pairs = []
    for stream, truth in zip(streams, truths, strict=True):
        drawn = [image.codes for image in stream.images[: len(truth)]] + [()] * (len(truth) - len(stream.images))
        pairs += list(zip(drawn, map(tuple, truth), strict=True))
    cells = [bool(code == right) for image, truth in pairs if image for code, right in zip(image, truth, strict=True)]
    missing = sum(len(truth) for image, truth in pairs if not image)
    return figures | {
        "images": statistics.mean(image == truth for image, truth in pairs),
        "cells": sum(cells) / (len(cells) + missing),
    }


# Training


def make_rows(arm: str, split: str, seed: int, number: int) -> list[Row]:
    """Puzzles of all sizes, equally many of each."""
    share = number // len(SIZES)
    return [
        row
        for size in SIZES
        for row in take(rows("frozenlake", arm, size=size, seed=seed, split=split, grid=GRID), share)
    ]


def run(name: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Trains one arm and scores what it writes, halfway and at the end."""
    arm, discrepancy = ARMS[name]
    path = folder / f"{arm}-{seed}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in make_rows(arm, "train", seed, TRAIN_ROWS)))
    settings = SETTINGS | {
        "data.sources": [str(path)],
        "seed": seed,
        "train.max_steps": steps,
        "vision.discrepancy_weight": discrepancy,
        "vision.max_images": MAX_IMAGES if arm == "images" else 0,
    }
    trainer = build(load(None, [f"{key}={json.dumps(value)}" for key, value in settings.items()]).config)
    tests = make_rows(arm, "test", 10_000 + seed, TEST_ROWS)
    start, curve = time.perf_counter(), []
    for share in (1, 2):
        while trainer.step < steps * share // 2:
            train_step(trainer, *trainer.next_batch())
        curve.append({"step": trainer.step} | score(write(trainer, tests), tests))
    return {
        "arm": name,
        "seed": seed,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "half": curve[0],
        "end": curve[1] | {"blank": score(write(trainer, tests, blank=True), tests)["answer"]},
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Prints a table and writes the figures of every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for name in arguments.arms:
                results.append(run(name, seed, arguments.steps, Path(folder)))
                print(json.dumps(results[-1]), flush=True)
    print(table(results))
    if arguments.json:
        record = {"machine": describe("torch"), "steps": arguments.steps, "settings": SETTINGS, "runs": results}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def table(results: list[dict[str, Any]]) -> str:
    """Means over seeds and, in brackets, the range."""
    columns = [
        ("half", "answer"),
        ("half", "cells"),
        ("end", "answer"),
        ("end", "images"),
        ("end", "cells"),
        ("end", "blank"),
    ]
    lines = ["| arm | " + " | ".join(f"{key}, {when}" for when, key in columns) + " |", "|---" * 7 + "|"]
    for name in dict.fromkeys(result["arm"] for result in results):
        cells = []
        for when, key in columns:
            values = [result[when][key] for result in results if result["arm"] == name and key in result[when]]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.2f}-{max(values):.2f})" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
