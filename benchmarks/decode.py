"""Speed and memory of writing byte by byte, after contexts of 1 kB to 256 kB.

Usage: ``python benchmarks/decode.py [--contexts 1 16 64 256] [--bytes 200] [--json PATH]``. Weights are not trained,
which changes no time. Three ways: reading on from a state without end (the tiny preset with a latent window and a
memory), in overlapping windows (the tiny preset as it is), and reading the window anew for every byte.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe

from neat.config.load import load
from neat.model.batch import Batch
from neat.model.cache import leaves
from neat.model.text.model import TextModel
from neat.model.text.state import State
from neat.train.build import build

ARMS = {
    "on and on": ("network.window=64", "memory.variant=mag", "memory.hidden=64"),
    "in windows": (),
}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def text_model(*settings: str) -> tuple[TextModel, bytes]:
    """An untrained model of the tiny preset with some settings, and text for it to read."""
    trainer = build(load("tiny", list(settings)).config)
    window = trainer.config.train.window
    slots = trainer.config.patch_slots(window)
    text = b"".join(document for document in trainer.text.validation if isinstance(document, bytes))
    return TextModel(trainer.model.eval(), trainer.text.preparer, window=window, patch_slots=slots), text


def peak_bytes() -> int | None:
    """Most memory of the process since the last call, where the system tells it (Linux)."""
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    CLEAR.write_text("5", encoding="ascii")
    return int(line.split()[1]) * 1024


def state_bytes(state: State) -> int:
    """All that a state holds: tensors, last bytes, places of readers."""
    told = sum(len(text.reader.state()) + len(text.text) for text in state.texts)
    return told + state.logits.nbytes + sum(leaf.nbytes for _, leaf in leaves(state.cache))


def measured(model: TextModel, text: bytes, context: int, num: int) -> dict[str, Any]:
    """Reads `context` bytes and then `num` more one by one."""
    source = text * (1 + (context + num) // len(text))
    state = model.new_state()
    peak_bytes()
    start = time.perf_counter()
    state.read([source[:context]])
    read_s = time.perf_counter() - start
    start = time.perf_counter()
    for at in range(context, context + num):
        state.read([source[at : at + 1]])
    rate = num / (time.perf_counter() - start)
    found = {"context": context, "bytes_per_s": rate, "read_s": read_s, "state_bytes": state_bytes(state)}
    return found | {"peak_bytes": peak_bytes()}


@torch.inference_mode()
def anew(model: TextModel, text: bytes, num: int) -> float:
    """Bytes per second when a whole window is read for each."""
    start = time.perf_counter()
    for at in range(num):
        document = text[at : at + model.window - 1]
        arrays = model.preparer.windows([document], [(0, 0, len(document) + 1, 0)], model.window, model.window + 1)
        model.network(Batch.from_arrays(arrays, model.device))
    return num / (time.perf_counter() - start)


def main() -> None:
    """Prints a table; with --json writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 16, 64, 256], metavar="KB")
    parser.add_argument("--bytes", type=int, default=200, help="bytes written after each context")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": describe("torch"), "threads": torch.get_num_threads(), "arms": {}}
    for name, settings in ARMS.items():
        model, text = text_model(*settings)
        rows = [measured(model, text, 1000 * context, arguments.bytes) for context in arguments.contexts]
        again = anew(model, text, max(1, arguments.bytes // 4))
        result["arms"][name] = {"settings": settings, "contexts": rows, "anew_bytes_per_s": again}
        print(f"{name} (the window anew for every byte: {again:.0f} bytes/s)")
        for row in rows:
            peak = "" if row["peak_bytes"] is None else f", peak {row['peak_bytes'] / 1e6:.0f} MB"
            held = f"state {row['state_bytes'] / 1e3:.0f} kB{peak}"
            print(f"  after {row['context'] // 1000:4d} kB: {row['bytes_per_s']:6.0f} bytes/s, {held}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
