"""What a setting is worth: two branches from the middle of a run, with and without it, compared after a full decay."""

from __future__ import annotations

import argparse
from pathlib import Path

from neat.cli.arguments import add_json_option, print_json, say
from neat.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat credit`."""
    parser.add_argument("path", type=Path, metavar="RUN|CHECKPOINT", help="run directory or one checkpoint of it")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        required=True,
        dest="overrides",
        help="a setting of the second branch, as in optim.momentum=0.85; may be repeated",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="steps of each branch (default: those of its decay)")
    parser.add_argument(
        "--decay-share",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="length of the decay as a share of the steps behind the checkpoint, at least 0.2 (%(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="repeats on other continuations of the text (%(default)s)"
    )
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tests and prints the difference."""
    if arguments.seeds < 1:
        raise UsageError("--seeds is at least 1")
    from neat.train.credit import credit, figures  # torch

    result = credit(
        arguments.path,
        arguments.overrides,
        steps=arguments.steps,
        decay_share=arguments.decay_share,
        repeats=arguments.seeds,
        tell=say,
    )
    if arguments.json:
        print_json(figures(result))
        return 0
    print(f"from step {result.step}: branches of {result.steps} steps, the last {result.decay_steps} of them decay")
    for key, value in result.changes.items():
        print(f"  {key} = {value}")
    print(f"standard error over batches {result.error_batches:.5f}", end="")
    print(f", over repeats {result.error_repeats:.5f}" if result.error_repeats is not None else "")
    print(result.sentence())
    return 0
