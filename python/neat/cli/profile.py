"""Where the time of a training step goes, part by part. Real steps on real text; nothing is saved."""

from __future__ import annotations

import argparse

from neat.cli.arguments import add_config_options, add_json_option, load_config, print_json
from neat.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat profile`."""
    add_config_options(parser, required=True)
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps to measure (%(default)s)")
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    if arguments.steps < 1:
        raise UsageError(f"--steps {arguments.steps} is not a positive number")
    config = load_config(arguments).config
    config.require_sources()
    from neat.profiling.profile import profile  # torch

    figures = profile(config, arguments.steps)
    if arguments.json:
        print_json(figures)
        return 0
    print(f"{figures['step_s'] * 1e3:.1f} ms a step, {figures['bytes_per_s'] / 1e3:.1f} kB/s, {figures['steps']} steps")
    for label, row in figures["parts"].items():
        print(f"{row['share']:7.1%}  {row['step_s'] * 1e3:9.2f} ms  {label}")
    print(f"{figures['covered']:7.1%}  of the step is in this table")
    return 0
