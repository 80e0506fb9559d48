"""Choose learning rates, momentum and batch for a configuration, by short branches with a full decay."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli.arguments import add_config_options, add_json_option, load_config, print_json, say
from neat.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from neat.train.tuning import Choice, Probe


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat tune`."""
    add_config_options(parser, required=True)
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--share", type=float, metavar="SHARE", help="most it may cost, as a share of the run (train.tune_share)"
    )
    limit.add_argument("--budget", metavar="TIME", help="most it may cost in time, as in 30s or 5m")
    parser.add_argument("--out", type=Path, metavar="FILE.toml", help="write the chosen settings, for --config")
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tunes and prints a table."""
    from neat.config.training import parse_duration

    seconds = parse_duration(arguments.budget) if arguments.budget is not None else None
    if arguments.budget is not None and seconds is None:
        raise UsageError(f"--budget {arguments.budget[:80]} is not a duration", hint="write it as 30s, 5m or 1h30m")
    if arguments.share is not None and not 0 < arguments.share <= 1:
        raise UsageError(f"--share {arguments.share:g} is not a share", hint="write a number above 0 and up to 1")
    config = load_config(arguments).config
    config.require_sources()
    if config.train.mode != "text":
        raise ConfigError("only training on text can be tuned", hint='set train.mode="text"')
    _check_out(arguments.out)
    from neat.train.build import build  # torch
    from neat.train.extent import Allowance
    from neat.train.loop import train_step
    from neat.train.tuning import tune

    probes: list[Probe] = []

    def tell(probe: Probe) -> None:
        probes.append(probe)
        say(f"{probe.name}: {probe.outcome}: {probe.reason}")

    share = config.train.tune_share if arguments.share is None else arguments.share
    choice = tune(build(config), train_step, Allowance(share, seconds), tell)
    assert choice is not None, "nobody can ask this search to stop"
    if arguments.out is not None:
        _write(arguments, choice)
    if arguments.json:
        from dataclasses import asdict

        print_json({"choice": asdict(choice), "probes": [asdict(probe) for probe in probes]})
    else:
        _print(choice, probes)
    return 0


def _print(choice: Choice, probes: list[Probe]) -> None:
    from neat.config.show import toml_value

    width = max(len(probe.name) for probe in probes)
    print(f"{'branch':<{width}}  {'steps':>6}  {'loss':>7}  {'outcome':<10}  settings")
    for probe in probes:
        loss = "" if probe.loss is None else f"{probe.loss:.4f}"
        changes = ", ".join(f"{key}={toml_value(new)}" for key, new in probe.changes.items())
        print(f"{probe.name:<{width}}  {probe.steps:>6}  {loss:>7}  {probe.outcome:<10}  {changes}")
    print(f"\n{choice.probes} branches, {choice.positions:,} positions, {choice.seconds:.1f} s")
    if not choice.values:
        print("the settings as configured are the best of these")
    for key, new in choice.values.items():
        print(f"{key} = {toml_value(new)}")


def _check_out(path: Path | None) -> None:
    """Finds out before the work, not after it, that the result cannot be written."""
    if path is None:
        return
    if path.suffix != ".toml":
        raise UsageError(f"--out {path} does not end in .toml", hint="name a file for --config, as in --out tuned.toml")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}", hint="make it first")


def _write(arguments: argparse.Namespace, choice: Choice) -> None:
    from neat.config.change import base_of, changed, over_preset
    from neat.events.rundir import replace_file

    head = "Chosen by: neat " + " ".join(sys.argv[1:])
    config = changed(load_config(arguments).config, choice.values)
    try:
        replace_file(arguments.out, over_preset(config, base_of(arguments.config), head).encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write {arguments.out}: {error.strerror or error}", hint="choose another --out"
        ) from error
    say(f"written: {arguments.out}; train with neat-train --config {arguments.out}")
