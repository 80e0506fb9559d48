"""Recall beyond the attention window: does the memory carry what attention no longer sees?

Usage: ``python benchmarks/mqar.py [--seeds 0 1 2] [--steps 300] [--json PATH]``. Multi-query associative recall (arXiv
2312.04927): a few key-value pairs, filler of two symbols that is longer than all windows together, then every key once
more; the next byte is right when it is the value. Two layers with a window of 16 reach 31 positions back, the nearest
pair is further away. Arms, all the network of `neat` with the same seed, data and optimiser:

- memory: windowed attention and a memory in both layers;
- memory, shuffled: the same weights, but at evaluation each row gets what the memory of another row answers;
- window: windowed attention alone;
- attention: attention over the whole row, the upper bound.

"far" is the accuracy with three times the filler, without further training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import describe
from torch import Tensor

from neat.config.load import load
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.losses import byte_loss
from neat.model.memory.module import Memory
from neat.model.neat import NeatModel
from neat.optim.build import Optimizers
from neat.optim.schedule import lr_scale, momentum

KEYS, VALUES, FILLER = range(32, 62), range(64, 96), range(62, 64)
PAIRS, GAP, ROWS = 4, 32, 64
NETWORK = (
    "network.patches=false",
    "network.width=64",
    "network.layers=2",
    "network.heads=2",
    "network.kv_heads=2",
    "network.ffn_width=128",
    "network.hash_orders=[]",
    "network.ngram_features=false",
)
WINDOW = ("network.window=16",)
MEMORY = (
    *WINDOW,
    "memory.variant=mag",
    "memory.layers=[1, 2]",
    "memory.heads=2",
    "memory.hidden=64",
    "memory.chunk=16",
)
OPTIMIZER = (
    "optim.name=muon",
    "optim.lr=0.01",
    "optim.adamw_lr=5e-3",
    "optim.warmup_share=0.05",
    "optim.weight_decay=0.0",
)
ARMS = {"memory": MEMORY, "window": WINDOW, "attention": ("network.window=0",)}
ORDER = ("memory", "memory, shuffled", "window", "attention")


def rows(generator: torch.Generator, num: int, gap: int) -> Batch:
    """Rows of pairs, filler and queries; only the byte after each queried key is a target."""

    def choose(symbols: range) -> Tensor:
        order = torch.rand(num, len(symbols), generator=generator).argsort(1)
        return symbols.start + order[:, :PAIRS]

    keys = choose(KEYS)
    values = torch.randint(VALUES.start, VALUES.stop, (num, PAIRS), generator=generator)
    filler = torch.randint(FILLER.start, FILLER.stop, (num, gap), generator=generator)
    order = torch.rand(num, PAIRS, generator=generator).argsort(1)
    pairs = torch.stack((keys, values), dim=2).flatten(1)
    queries = torch.stack((keys.gather(1, order), values.gather(1, order)), dim=2).flatten(1)
    ids = torch.cat((pairs, filler, queries), dim=1)
    targets = torch.full_like(ids, IGNORED_TARGET)
    targets[:, 2 * PAIRS + gap :: 2] = queries[:, 1::2]
    place = torch.arange(ids.shape[1]).expand(num, -1)
    document = torch.zeros_like(ids, dtype=torch.int32)
    return Batch(
        ids=ids, targets=targets, document=document, patch=place, read=place, patch_document=document,
        patch_first=place, patch_last=place, patch_length=torch.ones_like(document),
    )  # fmt: skip


def train(
    settings: tuple[str, ...], seed: int, steps: int, optimizer: tuple[str, ...] = OPTIMIZER
) -> tuple[NeatModel, float]:
    """A network trained on fresh rows, and the seconds it took."""
    torch.manual_seed(seed)
    config = load(None, [*NETWORK, *settings, *optimizer]).config
    model = NeatModel(config)
    optimizers = Optimizers(model, config.optim)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1))
    start = time.perf_counter()
    for step in range(steps):
        batch = rows(generator, ROWS, GAP)
        loss = byte_loss(model(batch), batch.targets) / (ROWS * PAIRS)
        loss.backward()
        optimizers.step(lr_scale(config.optim, step, steps), momentum(config.optim, step, steps))
        optimizers.zero_grad()
        if step % 50 == 49:
            print(f"  step {step + 1}: loss {loss.item():.4f}", file=sys.stderr, flush=True)
    return model, time.perf_counter() - start


@torch.inference_mode()
def accuracy(model: NeatModel, gap: int) -> float:
    """Share of queries answered right, over rows that no training has drawn."""
    batch = rows(torch.Generator().manual_seed(7), 512, gap)
    asked = batch.targets != IGNORED_TARGET
    return float((model(batch).argmax(-1) == batch.targets)[asked].float().mean())


@contextmanager
def shuffled(model: NeatModel) -> Iterator[None]:
    """Inside, each row is answered by the memory of the row before it."""
    memories = [module for module in model.modules() if isinstance(module, Memory)]
    hooks = [memory.register_forward_hook(lambda _, __, found: found.roll(1, 0)) for memory in memories]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def measure(seed: int, steps: int, optimizer: tuple[str, ...] = OPTIMIZER) -> list[dict[str, Any]]:
    """All arms of one seed."""
    results = []
    for arm, settings in ARMS.items():
        print(f"seed {seed}, {arm}", file=sys.stderr, flush=True)
        model, seconds = train(settings, seed, steps)
        base = {"seed": seed, "parameters": sum(p.numel() for p in model.parameters()), "train_s": round(seconds, 1)}
        results.append(base | {"arm": arm, "accuracy": accuracy(model, GAP), "far": accuracy(model, 3 * GAP)})
        if arm == "memory":
            with shuffled(model):
                other = {"arm": "memory, shuffled", "accuracy": accuracy(model, GAP), "far": accuracy(model, 3 * GAP)}
            results.append(base | other)
    for result in results:
        print(json.dumps(result), file=sys.stderr, flush=True)
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row per arm, accuracies of all seeds."""
    lines = ["| arm | parameters | accuracy (seeds) | far (seeds) | training |", "|---|---|---|---|---|"]
    for arm in ORDER:
        found = [result for result in results if result["arm"] == arm]
        near, far = (" / ".join(f"{result[key]:.3f}" for result in found) for key in ("accuracy", "far"))
        seconds = statistics.median(result["train_s"] for result in found)
        lines.append(f"| {arm} | {found[0]['parameters'] / 1e3:.0f} k | {near} | {far} | {seconds:.0f} s |")
    return "\n".join([*lines, f"| chance | | {1 / len(VALUES):.3f} | {1 / len(VALUES):.3f} | |"])


def main() -> None:
    """Trains every arm, writes the result file and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="updates of each arm, 64 rows each")
    parser.add_argument("--json", type=Path, help="result file")
    arguments = parser.parse_args()
    record: dict[str, Any] = {"machine": describe("torch"), "steps": arguments.steps, "settings": OPTIMIZER}
    record |= {"pairs": PAIRS, "gap": GAP, "rows": ROWS, "results": []}
    for seed in arguments.seeds:
        record["results"] += measure(seed, arguments.steps)
        if arguments.json:
            arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record["results"]))


if __name__ == "__main__":
    main()
