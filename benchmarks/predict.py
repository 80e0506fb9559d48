"""Does prediction shorten training? Every method against tuned baselines, after full decay, at equal backward passes.

Usage: ``python benchmarks/predict.py [--scale small|100m] [--steps N] [--seeds 1 2 3 4 5] [--workers 2] [--json PATH]
[--plot PATH]``.

Protocol, fixed before the first run: each family of methods gets the same number of trials (`TRIALS`) on seed 0; the
best of a family by held-out bits per byte after full decay goes on to the seeds given, which took no part in the
choice. Differences are paired by seed (same text order, same first weights). A difference is turned into a ratio of
steps by the slope of the base between N and 2N steps, each run with its own full decay: ratio = exp(difference /
slope). Equal backward passes first; at equal wall clock the steps of a method are cut by the ratio of measured step
times, probes included. Controls: the gate without a move (freeze), a random direction of equal norm, a fixed rule
instead of the gate, repeating the last displacement (the literal mode), one unsmoothed extrapolation, more momentum, a
larger learning rate.

The small profile takes less than 40 minutes on two cores. ``--scale 100m`` is for one GPU and runs the bases, micro
and macro on the 100m preset.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from variants import Results

TRIALS = 4
"""Settings tried per family, equal for all."""


def _adamw(lr: float, beta1: float) -> list[str]:
    return ["optim.name=adamw", f"optim.lr={lr}", f"optim.adamw_lr={lr}", f"optim.beta1={beta1}"]


def _muon(lr: float, momentum: float) -> list[str]:
    return [f"optim.lr={lr}", f"optim.adamw_lr={lr / 2}", f"optim.momentum={momentum}"]


MICRO = ["predict.micro=true"]
FACTORS = (1.0, 1.43, 2.0)
"""Learning rates at which the two finalists are compared once more, against those that were chosen."""
ADAMW = [_adamw(lr, beta1) for lr in (1.2e-2, 2.4e-2) for beta1 in (0.65, 0.8)]
MUON = [_muon(lr, momentum) for lr in (3e-2, 4.5e-2) for momentum in (0.85, 0.92)]

FAMILIES: dict[str, list[list[str]]] = {
    "AdamW": ADAMW,
    "AdamW, micro": [[*trial, *MICRO] for trial in ADAMW],
    "Muon": MUON,
    "Muon, micro": [[*trial, *MICRO] for trial in MUON],
    "schedule-free": [
        [
            "optim.name=schedule_free",
            "optim.schedule=constant",
            f"optim.lr={lr}",
            f"optim.adamw_lr={lr}",
            f"optim.beta1={beta}",
        ]
        for lr in (1.8e-2, 3.6e-2)
        for beta in (0.9, 0.95)
    ],
    "GPA": [
        ["optim.name=gpa", f"optim.lr={lr}", f"optim.adamw_lr={lr}", f"optim.gpa_mu_y={mu}"]
        for lr in (1.8e-2, 3.6e-2)
        for mu in (0.8, 0.9)
    ],
    "SNOO on Muon": [
        [*_muon(lr, 0.9), "optim.outer=snoo", "optim.outer_lr=0.7", f"optim.outer_momentum={mu}"]
        for lr in (3e-2, 4.5e-2)
        for mu in (0.3, 0.5)
    ],
}
"""Family -> trials. The untouched default of AdamW, 3e-3 and 0.9, is shown as a row of its own."""

MACRO = ["predict.jumps=macro", "predict.cost_cap=1.0", "predict.window=50", "predict.full_steps=30"]
LITERAL = ["predict.jumps=literal", "predict.full_steps=20", "predict.predict_steps=10", "predict.correct_steps=10"]
UNGATED = ["predict.min_confidence=0.0"]
HEADLINE = ("AdamW", "AdamW, micro", "Muon", "Muon, micro", "Muon, macro")
"""Methods that take all seeds; others take the first three, controls the first two."""


def seeds_of(name: str, seeds: list[int]) -> list[int]:
    """The seeds that a method takes."""
    return seeds if name in HEADLINE else seeds[:2] if name.startswith("control") else seeds[:3]


def late(base: list[str], micro: list[str]) -> dict[str, tuple[list[str], str]]:
    """Methods without trials of their own, on the chosen base and on the chosen micro: name -> (settings, control)."""
    louder = [_scaled(setting, FACTORS[1]) for setting in base]
    return {
        "Muon, macro": ([*base, *MACRO], ""),
        "Muon, micro and macro": ([*micro, *MACRO], ""),
        "Muon, learned gain": ([*micro, "predict.learn_gain=true"], ""),
        "Muon, literal": ([*base, *LITERAL, *UNGATED], ""),
        "control: gate without a move": ([*base, *MACRO], "freeze"),
        "control: random direction": ([*base, *MACRO], "random"),
        "control: fixed rule": ([*base, *MACRO, *UNGATED], "fixed"),
        "control: unsmoothed extrapolation": (
            [*base, *LITERAL, *UNGATED, "predict.damping=1.0", "predict.pull_back=false"],
            "",
        ),
        "control: larger learning rate": (louder, ""),
        "control: more momentum": ([*base, "optim.momentum=0.97"], ""),
        "control: micro, gain 0": ([*micro, "predict.gain=0.0"], ""),
        "control: micro backwards": ([*micro, "predict.gain=-0.3"], ""),
    }


def _scaled(setting: str, factor: float) -> str:
    """A setting with its learning rate times `factor`, where it is one."""
    name, value = setting.split("=")
    rate = name in ("optim.lr", "optim.adamw_lr") and factor != 1.0
    return f"{name}={float(value) * factor:.6g}" if rate else setting


def choose(results: Results, steps: int) -> dict[str, list[str]]:
    """The best trial of each family on seed 0."""
    length = f"train.max_steps={steps}"
    results.measure([([*trial, length], 0, "") for trials in FAMILIES.values() for trial in trials])
    chosen = {}
    for family, trials in FAMILIES.items():
        scored = [(bpb, trial) for trial in trials if (bpb := results.bpb([*trial, length], 0)) is not None]
        if scored:
            chosen[family] = min(scored, key=lambda row: row[0])[1]
    return chosen


def slope(results: Results, base: list[str], steps: int, seeds: list[int]) -> float:
    """Bits per byte that the base falls per unit of ln(steps), by full runs of N and 2N steps."""
    lengths = [f"train.max_steps={steps}", f"train.max_steps={2 * steps}"]
    results.measure([([*base, length], seed, "") for length in lengths for seed in seeds])
    falls = [
        (first - second) / math.log(2)
        for seed in seeds
        if (first := results.bpb([*base, lengths[0]], seed)) is not None
        and (second := results.bpb([*base, lengths[1]], seed)) is not None
    ]
    return statistics.fmean(falls)


def compare(
    results: Results, method: tuple[list[str], str], base: list[str], seeds: list[int], steps: int, base_steps: int
) -> dict[str, Any]:
    """Paired differences of a method with its base; negative is better."""
    settings, control = method
    pairs = []
    for seed in seeds:
        mine = results.bpb([*settings, f"train.max_steps={steps}"], seed, control)
        theirs = results.bpb([*base, f"train.max_steps={base_steps}"], seed)
        if mine is not None and theirs is not None:
            pairs.append((mine, theirs))
    if not pairs:
        return {"pairs": 0}
    differences = [mine - theirs for mine, theirs in pairs]
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
    cells = [results.cell([*settings, f"train.max_steps={steps}"], seed, control) for seed in seeds]
    cells = [cell for cell in cells if cell.get("bpb") is not None]
    return {
        "pairs": len(pairs),
        "bpb": statistics.fmean(mine for mine, _ in pairs),
        "difference": statistics.fmean(differences),
        "error": error,
        "differences": [round(d, 5) for d in differences],
        "steps": steps,
        "backward_passes": cells[0]["backward_passes"],
        "probe_steps": statistics.fmean(cell["probe_steps"] for cell in cells),
        "jumps": {k: sum(cell["jumps"][k] for cell in cells) for k in cells[0]["jumps"]},
    }


def row(name: str, found: dict[str, Any], fall: float) -> str:
    """One line of the table."""
    if not found["pairs"]:
        return f"| {name} | failed or not run | | | | |"
    error = "" if found["error"] is None else f" ± {found['error']:.4f}"
    ratio = math.exp(-found["difference"] / fall)
    made = found["jumps"]
    jumps = f"{made['accepted']} / {made['refused']} / {made['rollback']}" if sum(made.values()) else ""
    return (
        f"| {name} | {found['bpb']:.4f} | {found['difference']:+.4f}{error} | {ratio:.2f} | "
        f"{found['probe_steps']:.0f} | {jumps} |"
    )


HEAD = (
    "| method | bpb | against its base | step ratio | probes, in steps | jumps accepted / refused / rolled back |\n"
    "|---|---|---|---|---|---|"
)


def step_times(
    results: Results, settings: dict[str, tuple[list[str], str]], base: list[str], steps: int
) -> dict[str, float]:
    """Seconds a step of each method over that of the base, run one after the other in turn, nothing beside them."""
    length = f"train.max_steps={steps}"
    alone = Results(None, 1)
    ratios: dict[str, list[float]] = {}
    for turn in range(3):
        cells = [([*base, length], 100 + turn, ""), *(([*s, length], 100 + turn, c) for s, c in settings.values())]
        alone.measure(cells)
        own = alone.cell([*base, length], 100 + turn)["seconds"]
        for name, (s, c) in settings.items():
            ratios.setdefault(name, []).append(alone.cell([*s, length], 100 + turn, c)["seconds"] / own)
    return {name: statistics.median(values) for name, values in ratios.items()}


def small(results: Results, steps: int, seeds: list[int]) -> dict[str, Any]:
    """The whole small profile; returns what the tables are made of."""
    chosen = choose(results, steps)
    base, micro = chosen["Muon"], chosen["Muon, micro"]
    fall = {"Muon": slope(results, base, steps, seeds[:2]), "AdamW": slope(results, chosen["AdamW"], steps, seeds[:2])}
    more = late(base, micro)
    length = f"train.max_steps={steps}"
    methods = {name: (settings, "") for name, settings in chosen.items()} | more
    results.measure([([*s, length], seed, c) for name, (s, c) in methods.items() for seed in seeds_of(name, seeds)])
    bases = {
        name: chosen["AdamW" if name.startswith(("AdamW", "schedule", "GPA")) else "Muon"] for name in [*chosen, *more]
    }
    table = {
        name: compare(results, (settings, control), bases[name], seeds, steps, steps)
        for name, (settings, control) in ({k: (v, "") for k, v in chosen.items()} | more).items()
    }
    default = _adamw(3e-3, 0.9)
    results.measure([([*default, length], seed, "") for seed in seeds[:3]])
    table["AdamW, 3e-3 and 0.9 untuned"] = compare(results, (default, ""), chosen["AdamW"], seeds, steps, steps)
    return {"chosen": chosen, "slope": fall, "equal_backward_passes": table, "steps": steps, "seeds": seeds}


def sweep(results: Results, summary: dict[str, Any]) -> None:
    """Adds the learning rates of Muon and of Muon with micro once more, all seeds: is the gain a hidden larger rate?"""
    chosen, steps, seeds = summary["chosen"], summary["steps"], summary["seeds"]
    length = f"train.max_steps={steps}"
    table: dict[str, dict[str, Any]] = {}
    for name in ("Muon", "Muon, micro"):
        for factor in FACTORS:
            settings = [_scaled(setting, factor) for setting in chosen[name]]
            results.measure([([*settings, length], seed, "") for seed in seeds])
            scores = [bpb for seed in seeds if (bpb := results.bpb([*settings, length], seed)) is not None]
            row_of = {"settings": settings, "bpb": statistics.fmean(scores), "scores": scores}
            table[f"{name}, rate times {factor:g}"] = row_of
    best = {
        name: min((row for key, row in table.items() if key.startswith(f"{name}, rate")), key=lambda row: row["bpb"])
        for name in ("Muon", "Muon, micro")
    }
    pair = compare(results, (best["Muon, micro"]["settings"], ""), best["Muon"]["settings"], seeds, steps, steps)
    summary["rates"], summary["best_rates"] = table, pair


def wall_clock(results: Results, summary: dict[str, Any]) -> None:
    """Adds the table at equal wall clock for what is meant to be used: micro and macro on Muon."""
    chosen, steps, seeds = summary["chosen"], summary["steps"], summary["seeds"]
    base = chosen["Muon"]
    methods = {"Muon, micro": (chosen["Muon, micro"], ""), "Muon, macro": ([*base, *MACRO], "")}
    times = step_times(results, methods, base, min(steps, 120))
    table = {}
    for name, (settings, control) in methods.items():
        fewer = max(1, round(steps / max(1.0, times[name])))
        results.measure([([*settings, f"train.max_steps={fewer}"], seed, control) for seed in seeds])
        table[name] = compare(results, (settings, control), base, seeds, fewer, steps)
    summary["step_time"], summary["equal_wall_clock"] = times, table


def show(summary: dict[str, Any]) -> str:
    """The tables in Markdown."""
    fall = summary["slope"]
    lines = [HEAD]
    for name, found in summary["equal_backward_passes"].items():
        lines.append(row(name, found, fall["AdamW" if name.startswith(("AdamW", "schedule", "GPA")) else "Muon"]))
    if "rates" in summary:
        lines += ["", "| Muon at other learning rates | bpb, all seeds |", "|---|---|"]
        lines += [f"| {name} | {found['bpb']:.4f} |" for name, found in summary["rates"].items()]
        lines += ["", "Micro against none, each at its best of these rates:", "", HEAD]
        lines.append(row("Muon, micro", summary["best_rates"], fall["Muon"]))
    if "equal_wall_clock" in summary:
        lines += ["", "At equal wall clock:", "", HEAD]
        lines += [row(name, found, fall["Muon"]) for name, found in summary["equal_wall_clock"].items()]
        lines += [
            "",
            "Step time against the base: " + ", ".join(f"{k} {v:.3f}" for k, v in summary["step_time"].items()),
        ]
    return "\n".join(lines)


def plot(summary: dict[str, Any], path: Path) -> None:
    """Differences with two standard errors, as SVG or PNG by the name's ending."""
    import matplotlib.pyplot as plt

    rows = [(k, v) for k, v in summary["equal_backward_passes"].items() if v["pairs"] > 1 and v["difference"]]
    rows = [(name, found) for name, found in rows if abs(found["difference"]) < 0.2]
    figure, axes = plt.subplots(figsize=(8, 0.35 * len(rows) + 1), layout="constrained")
    for place, (_, found) in enumerate(reversed(rows)):
        axes.errorbar(found["difference"], place, xerr=2 * (found["error"] or 0), fmt="o", color="#0072B2", capsize=3)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("bits per byte against the tuned base (left is better)")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Runs what the result file does not hold yet, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("small", "100m"), default="small")
    parser.add_argument("--steps", type=int, default=200, help="updates per run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--workers", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--no-wall-clock", action="store_true", help="leave out what needs an idle machine")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="settings of all runs of --scale 100m"
    )
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    parser.add_argument("--plot", type=Path, help="plot of the differences, .svg or .png")
    arguments = parser.parse_args()
    if arguments.scale == "100m":
        from predict_large import large

        print(large(arguments.steps, arguments.seeds, arguments.json, extra=tuple(arguments.set)))
        return
    results = Results(arguments.json, arguments.workers)
    summary = small(results, arguments.steps, arguments.seeds)
    sweep(results, summary)
    results.save(summary=summary)
    if not arguments.no_wall_clock:
        wall_clock(results, summary)
    results.save(summary=summary)
    print(show(summary))
    print(json.dumps(summary["chosen"], indent=1), file=sys.stderr)
    if arguments.plot:
        plot(summary, arguments.plot)


if __name__ == "__main__":
    main()
