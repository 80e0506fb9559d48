"""Patches against flat bytes, with and without n-gram features, at equal wall clock on the bundled text.

Usage: ``python benchmarks/tiny_table.py [--budgets 100s 300s] [--seeds 0 1] [--json PATH]``. Each cell is a whole run
of `neat-train --config tiny` with the settings shown, learning rate decayed to zero, scored on the whole held-out text
with the weights that a user would get. Run it on an idle machine: the budget is wall clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import describe

FLAT = (
    "network.patches=false",
    "network.width=128",
    "network.layers=4",
    "network.heads=2",
    "network.kv_heads=2",
    "network.ffn_width=352",
)
MODELS = {
    "patches": (),
    "patches, no n-gram features": ("network.ngram_features=false",),
    "flat bytes": FLAT,
    "flat bytes, no n-gram features": (*FLAT, "network.ngram_features=false"),
}


def train(settings: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One run of the tiny preset with other settings; returns its final evaluation and speed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "neat", "train", "--config", "tiny", "--out", f"{folder}/run"]
        for setting in (*settings, f"seed={seed}", "train.sample_bytes=0"):
            command += ["--set", setting]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines = (Path(folder) / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    final = next(event for event in reversed(events) if event["type"] == "eval")
    steps = [event for event in events if event["type"] == "step" and event["step"] > 1]
    rates = [event["perf/bytes_per_s"] for event in steps if event["train/window"] == steps[-1]["train/window"]]
    return {
        "bpb": final["eval/bpb"],
        "ngram_bpb": final["eval/ngram_bpb"],
        "train_bpb": statistics.fmean(event["train/bpb"] for event in steps[-10:]),
        "steps": steps[-1]["train/total_steps"],
        "kB_per_s": statistics.median(rates) / 1e3,
        "parameters": next(event for event in events if event["type"] == "run")["parameters"],
    }


def table(results: list[dict[str, Any]], budgets: list[str]) -> str:
    """Markdown: a row per model, bpb of each seed per budget."""
    lines = ["| model | parameters | " + " | ".join(f"{b}: bpb (seeds), kB/s" for b in budgets) + " |"]
    lines.append("|---|---" * 1 + "|---" * len(budgets) + "|")
    for model in MODELS:
        cells = []
        for budget in budgets:
            runs = [r for r in results if r["model"] == model and r["budget"] == budget]
            if not runs:
                cells.append("not measured")
                continue
            bpbs = " / ".join(f"{r['bpb']:.4f}" for r in runs)
            cells.append(f"{bpbs}, {statistics.median(r['kB_per_s'] for r in runs):.1f}")
        parameters = next((r["parameters"] for r in results if r["model"] == model), 0)
        lines.append(f"| {model} | {parameters / 1e6:.2f} M | " + " | ".join(cells) + " |")
    ngram = results[0]["ngram_bpb"]
    lines.append(f"| order-6 Kneser-Ney alone | | {' | '.join(f'{ngram:.4f}' for _ in budgets)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs every cell that the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", default=["100s", "300s"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text(encoding="utf-8"))["results"]
    done = {(r["model"], r["budget"], r["seed"]) for r in results}
    for budget in arguments.budgets:
        for seed in arguments.seeds:
            for model, settings in MODELS.items():
                if (model, budget, seed) in done:
                    continue
                cell = {"model": model, "budget": budget, "seed": seed} | train(
                    (*settings, f"train.budget={budget}"), seed
                )
                results.append(cell)
                print(json.dumps(cell), file=sys.stderr, flush=True)
                if arguments.json:
                    record = {"machine": describe("torch"), "results": results}
                    arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(results, arguments.budgets))


if __name__ == "__main__":
    main()
