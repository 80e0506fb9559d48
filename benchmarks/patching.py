"""Throughput of entropies and patch rules on one thread, beside the patcher of the Byte Latent Transformer.

Usage: ``python benchmarks/patching.py [FILE...] [--json PATH]``. The files are the text, by default the bundled one:
two thirds of it train the n-gram model, the last third is patched. The peer is that patcher's algorithm in torch: a
mask over ``[B, L]`` entropies, patch starts to lengths, and long patches split by a Python loop. It gets its entropies
for nothing, as do the rules alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from machine import describe

from neat._native import CrossFit, NgramModel, Patcher
from neat.data.pipeline import read_documents

if TYPE_CHECKING:
    import torch

REPEATS = 5
ROWS, LENGTH = 8, 8192
MAX_LENGTH = 16


def best_seconds(work: Callable[[], object]) -> float:
    """Shortest of several runs."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def blt_patch_lengths(entropies: torch.Tensor, threshold: float, max_length: int) -> torch.Tensor:
    """Patch lengths ``[B, P]`` from entropies ``[B, L]``, padded with zeros."""
    import torch

    rows, length = entropies.shape
    mask = entropies > threshold
    mask[:, :2] = True
    counts = mask.sum(1)
    order = torch.arange(length).expand(rows, length)
    starts = torch.where(mask, order, length).sort(1).values[:, : int(counts.max())]
    ends = torch.cat([starts[:, 1:], torch.full((rows, 1), length)], 1)
    lengths = ends - starts
    if int(lengths.max()) <= max_length:
        return lengths
    split = []
    for row in lengths.tolist():
        pieces: list[int] = []
        for patch in row:
            whole, rest = divmod(patch, max_length)
            pieces.extend([max_length] * whole)
            if rest:
                pieces.append(rest)
        split.append(torch.tensor(pieces))
    return torch.nn.utils.rnn.pad_sequence(split, batch_first=True)


def measure(text: bytes) -> dict[str, Any]:
    """Rates in MB/s, with what they were measured on."""
    import torch

    torch.set_num_threads(1)
    training, held_out = text[: len(text) * 2 // 3], text[len(text) * 2 // 3 :]
    documents = [training[at : at + 16384] for at in range(0, len(training), 16384)]
    begin = time.perf_counter()
    model = NgramModel.train_bytes(documents, threads=1)
    train_s = time.perf_counter() - begin
    patcher = Patcher.calibrate_bytes(CrossFit.single(model), [held_out], "global", 4.5, MAX_LENGTH)
    entropies = model.entropies(held_out)
    cells = ROWS * LENGTH
    batch = np.resize(entropies, cells).reshape(ROWS, LENGTH)
    tensor = torch.from_numpy(batch)
    megabyte = 1e6

    def rate(num_bytes: int, work: Callable[[], object]) -> float:
        return num_bytes / megabyte / best_seconds(work)

    rates = {
        "entropies": rate(len(held_out), lambda: model.entropies(held_out)),
        "entropies and starts": rate(len(held_out), lambda: patcher.starts(held_out, model.entropies(held_out))),
        "distributions": rate(65536, lambda: model.distributions(held_out[:65536])),
    }
    for rule in ("global", "monotonic", "both"):
        rules = Patcher(rule, patcher.threshold, 0.0, MAX_LENGTH)
        rates[f"rule {rule}"] = rate(len(held_out), lambda rules=rules: rules.starts(held_out, entropies))
    rates["peer: BLT global in torch"] = rate(cells, lambda: blt_patch_lengths(tensor, patcher.threshold, MAX_LENGTH))
    return {
        "unit": "MB/s",
        "rates": rates,
        "train_mb": len(training) / megabyte,
        "train_s": train_s,
        "held_out_mb": len(held_out) / megabyte,
        "num_contexts": model.num_contexts,
        "mean_patch_length": patcher.mean_length,
        "machine": describe("torch"),
    }


def main() -> None:
    """Print a table and write the JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=["bundled:prose.train.jsonl.zst"], help="text, 3 MB or more in all")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    result = measure(b"".join(read_documents(arguments.files, "text")))
    for name, value in result["rates"].items():
        print(f"{name:28} {value:10.1f} MB/s")
    print(f"trained on {result['train_mb']:.2f} MB in {result['train_s']:.2f} s, one thread")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
