"""Expert vectors on four dialects of a small language: right expert against base against wrong expert, and mixtures.

Usage: ``python benchmarks/experts.py [--seeds 0 1 2] [--json PATH]``. A base of one byte per latent position reads
lines such as ``bdca > acdb``. Four letters are answered backwards or rotated by one place, four digits are counted up
or down by one, each with probability one half and no way to tell which, so the base is right about half of the time.
For each of the four dialects an expert is trained by reward and another one by the next byte of the answers, the base
frozen. Accuracy is exact match of the likeliest answer on strings that neither base nor experts have seen. Controls:
the expert of the opposite dialect, and the right expert with its numbers shuffled. The mixed task asks for letters
backwards and digits up at once; a mixture is searched on 24 examples by the cross-entropy method and measured on
others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from machine import describe

import neat
from neat.config.load import load
from neat.data.questions import Question
from neat.evaluate.dispatch import by_examples
from neat.model.experts import files as expert_files
from neat.model.experts.answers import write_answers
from neat.model.experts.files import EXPERT, equip
from neat.model.experts.vectors import mixed
from neat.model.text.model import TextModel
from neat.train.loop import run

LETTERS, DIGITS = "abcdefgh", "12345678"
LENGTH, HELD_OUT = 4, 0.1


def backwards(text: str) -> str:
    return text[::-1]


def rotated(text: str) -> str:
    return text[1:] + text[:1]


def up(text: str) -> str:
    return "".join(DIGITS[(DIGITS.index(digit) + 1) % len(DIGITS)] for digit in text)


def down(text: str) -> str:
    return "".join(DIGITS[(DIGITS.index(digit) - 1) % len(DIGITS)] for digit in text)


DIALECTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "letters-backwards": (LETTERS, backwards),
    "letters-rotated": (LETTERS, rotated),
    "digits-up": (DIGITS, up),
    "digits-down": (DIGITS, down),
}
OPPOSITE = {
    "letters-backwards": "letters-rotated",
    "letters-rotated": "letters-backwards",
    "digits-up": "digits-down",
    "digits-down": "digits-up",
}
MIXED = ("letters-backwards", "digits-up")
METHODS = ("reinforce", "cross_entropy")
NETWORK = {
    "network.patches": False, "network.width": 96, "network.layers": 3, "network.heads": 3, "network.kv_heads": 3,
    "network.ffn_width": 192, "network.hash_orders": [], "network.ngram_features": False, "ngram.order": 2,
}  # fmt: skip


def strings(alphabet: str, seed: int) -> tuple[list[str], list[str]]:
    """Strings for training, and held-out ones on which the two rules differ."""
    everything = ["".join(parts) for parts in product(alphabet, repeat=LENGTH)]
    random.Random(seed).shuffle(everything)
    cut = round(HELD_OUT * len(everything))
    held_out = [text for text in everything[:cut] if backwards(text) != rotated(text)]
    return everything[cut:], held_out


def write_data(folder: Path, seed: int) -> dict[str, list[Question]]:
    """Text of the base, questions of each dialect; returns held-out questions."""
    chooser, held_out = random.Random(seed), {}
    known = {alphabet: strings(alphabet, seed) for alphabet in (LETTERS, DIGITS)}
    with (folder / "text.jsonl").open("w") as file:
        for _ in range(4000):
            lines = []
            for _ in range(16):
                alphabet, rule = chooser.choice(list(DIALECTS.values()))
                text = chooser.choice(known[alphabet][0])
                lines.append(f"{text} > {rule(text)}\n")
            file.write(json.dumps({"text": "".join(lines)}) + "\n")
    for name, (alphabet, rule) in DIALECTS.items():
        rows = [{"prompt": f"{text} > ", "answer": rule(text)} for text in known[alphabet][0][:1000]]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        held_out[name] = [Question(f"{t} > ".encode(), rule(t).encode(), "") for t in known[alphabet][1][:200]]
    return held_out


def train(folder: Path, name: str, settings: dict[str, Any]) -> float:
    """One run in the folder; returns its seconds."""
    start = time.perf_counter()
    common = {"train.curriculum": [], "train.window": 128, "train.batch_bytes": 4096, "checkpoint.every_steps": 10_000}
    config = load(None, [f"{key}={json.dumps(value)}" for key, value in (common | settings).items()]).config
    with Path(os.devnull).open("w") as null, contextlib.redirect_stderr(null):
        run(config, folder / name)
    return time.perf_counter() - start


def accuracy(model: TextModel, offsets: torch.Tensor, questions: list[Question]) -> float:
    """Share of questions that the likeliest answer gets right."""
    network = mixed(model.network, offsets)
    prompts = [question.prompt for question in questions]
    written = write_answers(model, network, prompts, max_bytes=LENGTH + 1, stop=b"\n", temperature=0.0)
    right = [one.answer == question.answer for one, question in zip(written, questions, strict=True)]
    return sum(right) / len(right)


def measure(folder: Path, seed: int, base_steps: int, expert_steps: int) -> dict[str, Any]:
    """Everything for one seed."""
    held_out = write_data(folder, seed)
    base = NETWORK | {"seed": seed, "train.max_steps": base_steps, "data.sources": [str(folder / "text.jsonl")]}
    base |= {"train.sample_bytes": 0, "optim.lr": 0.02, "optim.adamw_lr": 0.01, "train.log_every": 100}
    seconds = {"base": train(folder, "base", base)}
    model = neat.load(folder / "base")
    zero = torch.zeros(equip(model.network).size, device=model.device)
    result: dict[str, Any] = {"seed": seed, "numbers_per_expert": len(zero), "accuracy": {}, "mixed": {}}
    result["accuracy"]["base"] = {name: accuracy(model, zero, questions) for name, questions in held_out.items()}
    for method in METHODS:
        for name in DIALECTS:
            expert = {"train.mode": "expert", "expert.base": str(folder / "base"), "expert.name": name, "seed": seed}
            expert |= {"expert.method": method, "data.sources": [str(folder / f"{name}.jsonl")]}
            expert |= {"expert.max_answer_bytes": LENGTH + 1, "train.max_steps": expert_steps, "expert.lr": 0.02}
            expert |= {"expert.questions": 16, "expert.samples": 8, "expert.clip_norm": 0.0}
            seconds[f"{method} {name}"] = train(folder, f"{method}-{name}", expert)
            path = folder / f"{method}-{name}" / f"expert-{name}.safetensors"
            offsets = expert_files.read(path, EXPERT).tensors["offsets"].to(model.device)
            model.add_expert(path)
            result["accuracy"][f"{method} {name}"] = {
                other: accuracy(model, offsets, questions) for other, questions in held_out.items()
            }
            generator = torch.Generator().manual_seed(seed)
            shuffled = offsets[torch.randperm(len(offsets), generator=generator)]
            result["accuracy"][f"{method} {name} shuffled"] = {name: accuracy(model, shuffled, held_out[name])}
        result["mixed"][method] = mixture(model, held_out, seed)
    result["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    return result


def mixture(model: TextModel, held_out: dict[str, list[Question]], seed: int) -> dict[str, Any]:
    """The mixed task: base, each expert alone, and the mixture found on 24 of its questions."""
    examples = [question for name in MIXED for question in held_out[name][:12]]
    questions = [question for name in MIXED for question in held_out[name][12:]]
    experts, start = equip(model.network), time.perf_counter()
    names = list(DIALECTS)
    choice = by_examples(model, names, examples, stop=b"\n", max_answer_bytes=LENGTH + 1, rounds=12, seed=seed)
    return {
        "search_s": round(time.perf_counter() - start, 1),
        "weights": {name: round(weight, 3) for name, weight in choice.weights.items()},
        "base": accuracy(model, torch.zeros_like(experts.vectors[0]), questions),
        "mixture": accuracy(model, experts.mixture(choice.weights), questions),
        **{name: accuracy(model, experts.mixture({name: 1.0}), questions) for name in names},
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: mean accuracy over the seeds, and lowest and highest of all dialects and seeds."""
    lines = ["| | " + " | ".join(METHODS) + " |", "|---|---|---|"]

    def row(label: str, pick: Callable[[dict[str, Any], str], list[float]]) -> None:
        cells = []
        for method in METHODS:
            values = [value for result in results for value in pick(result, method)]
            cells.append(f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        lines.append(f"| {label} | {' | '.join(cells)} |")

    def table_of(result: dict[str, Any]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = result["accuracy"]
        return found

    row("right expert", lambda r, m: [table_of(r)[f"{m} {name}"][name] for name in DIALECTS])
    row("base", lambda r, _: list(table_of(r)["base"].values()))
    row("expert of the opposite dialect", lambda r, m: [table_of(r)[f"{m} {OPPOSITE[n]}"][n] for n in DIALECTS])
    row("right expert, shuffled", lambda r, m: [table_of(r)[f"{m} {name} shuffled"][name] for name in DIALECTS])
    row("mixed task: base", lambda r, m: [r["mixed"][m]["base"]])
    row("mixed task: best single expert", lambda r, m: [max(r["mixed"][m][name] for name in DIALECTS)])
    row("mixed task: mixture found", lambda r, m: [r["mixed"][m]["mixture"]])
    return "\n".join(lines)


def main() -> None:
    """Measures every seed and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--base-steps", type=int, default=500)
    parser.add_argument("--expert-steps", type=int, default=40)
    parser.add_argument("--json", type=Path, help="result file")
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), seed, arguments.base_steps, arguments.expert_steps))
        print(json.dumps(results[-1]), flush=True)
        if arguments.json:
            steps = {"base_steps": arguments.base_steps, "expert_steps": arguments.expert_steps}
            record = {"machine": describe("torch"), **steps, "results": results}
            arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
