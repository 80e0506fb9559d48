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
    parser.add_argument(
        "--recall",
        action="store_true",
        help="instead: what the model still knows of a text after 0 to 4096 bytes of --data, and without its memory",
    )
    add_device_option(parser)
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the scores."""
    if arguments.recall:
        return _recall(arguments)
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


def _recall(arguments: argparse.Namespace) -> int:
    from neat.data.pipeline import read_documents
    from neat.evaluate.load import load_all  # torch
    from neat.evaluate.recall import recall

    loaded = load_all(arguments.path, device=arguments.device)
    prose = read_documents(arguments.data, arguments.text_field, arguments.on_bad_row, loaded.config)
    found = recall(loaded.model, [document for document in prose if isinstance(document, bytes)])
    (print_json if arguments.json else print_table)(found)
    return 0
