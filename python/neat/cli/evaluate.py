"""Bits per byte of a trained model on text files, beside those of its n-gram model."""

from __future__ import annotations

import argparse
from pathlib import Path

from neat.cli.arguments import add_device_option, add_json_option, print_json, print_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat eval`."""
    parser.add_argument("path", type=Path, metavar="RUN|CHECKPOINT", help="run directory or one checkpoint of it")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="FILE", help="JSONL, Parquet or text files, globs, bundled:FILE"
    )
    parser.add_argument(
        "--text-field", default="text", metavar="NAME", help="field or column of the text (%(default)s)"
    )
    parser.add_argument(
        "--on-bad-row", choices=("stop", "skip"), default="stop", help="what a damaged row does (%(default)s)"
    )
    add_device_option(parser)
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the scores."""
    from neat.evaluate.bpb import evaluate  # torch

    scores = evaluate(
        arguments.path,
        arguments.data,
        text_field=arguments.text_field,
        on_bad_row=arguments.on_bad_row,
        device=arguments.device,
    )
    (print_json if arguments.json else print_table)(scores)
    return 0
