"""What a configuration will need: parameters, operations, memory, bytes and time. Nothing is trained."""

from __future__ import annotations

import argparse

from neat.cli.arguments import add_config_options, add_json_option, load_config, print_json, print_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat plan`."""
    add_config_options(parser, required=True)
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plans and prints."""
    config = load_config(arguments).config
    from neat.profiling.plan import plan  # torch

    figures = plan(config)
    (print_json if arguments.json else print_table)(figures)
    return 0
