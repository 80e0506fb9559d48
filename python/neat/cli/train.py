"""Train a model. The same command goes on with a run that was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from neat.cli.arguments import add_config_options, load_config
from neat.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat train`."""
    from neat.config.show import describe_settings  # pydantic; only this command lists settings

    add_config_options(parser, required=True)
    parser.add_argument(
        "--out", type=Path, metavar="RUN", help="run directory (default: runs/NAME; of an expert, runs/EXPERT)"
    )
    parser.add_argument(
        "--monitor", action="store_true", help="watch the run in the terminal; leaving it does not stop it"
    )
    parser.add_argument(
        "--log",
        metavar="COMPONENT=LEVEL",
        action="append",
        default=[],
        help="tell of a component in the first batches, as in blt=debug or memory=info; may be repeated",
    )
    parser.add_argument("--log-batches", type=int, default=3, metavar="N", help="batches told of (%(default)s)")
    parser.epilog = f"settings, with their defaults (`neat config show` has the full text):\n{describe_settings()}"


def run(arguments: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    loaded = load_config(arguments)
    loaded.config.require_sources()
    if arguments.monitor:
        from neat.cli.launch import train_and_watch

        expert = loaded.config.expert.name or "dispatcher"
        name = loaded.config.name if loaded.config.train.mode == "text" else expert
        return train_and_watch(arguments.out or Path("runs") / name)
    from neat.train import loop  # torch
    from neat.train.tracing import parse_watch

    watch = parse_watch(arguments.log, arguments.log_batches)
    if loaded.config.train.mode == "text":
        return loop.run(loaded.config, arguments.out or Path("runs") / loaded.config.name, watch)
    if arguments.log:
        raise UsageError("--log tells of training on text only", hint='leave it out, or set train.mode="text"')
    from neat.config.adopt import adopt
    from neat.train.adaptation import base_config

    config = adopt(loaded.config, base_config(loaded.config.expert.base), loaded.origins)
    return loop.run(config, arguments.out or Path("runs") / (config.expert.name or "dispatcher"))
