"""Look into text files, make entropy models from them, and make text with images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli import images
from neat.cli.arguments import add_json_option, print_json, print_table, readable, say
from neat.errors import DataError, Exit

if TYPE_CHECKING:
    from neat._native import Corpus
    from neat.cli.arguments import Parser

_MODEL_BYTES = 33_554_432


def configure(parser: Parser) -> None:
    """The subcommands of `neat data`."""
    commands = parser.add_commands(
        inspect="format, rows, bytes, columns and bad rows of each file; exit code 3 when one is not readable",
        entropy_model="train the byte n-gram model that places patches, and calibrate its threshold",
        stats="documents, lengths, entropies and patch lengths of text",
        **images.COMMANDS,
    )
    images.configure(commands)
    for name in ("inspect", "stats"):
        commands[name].add_argument("files", nargs="+", metavar="FILE", help="JSONL, Parquet or text; bundled:FILE")
        add_json_option(commands[name])
    model = commands["entropy_model"]
    model.add_argument("--data", nargs="+", required=True, metavar="FILE", help="files, folders or globs")
    model.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model file to write")
    model.add_argument("--mean-length", type=float, default=4.25, metavar="BYTES", help="mean patch (%(default)s)")
    add_json_option(model)
    for name in ("entropy_model", "stats"):
        commands[name].add_argument("--order", type=int, default=6, metavar="N", help="bytes of context (%(default)s)")
        commands[name].add_argument(
            "--max-bytes",
            type=int,
            default=_MODEL_BYTES,
            metavar="N",
            help="text the model is built from (%(default)s)",
        )
    for name in ("inspect", "entropy_model", "stats"):
        commands[name].add_argument(
            "--text-field", default="text", metavar="NAME", help="field or column (%(default)s)"
        )


def run(arguments: argparse.Namespace) -> int:
    """Runs the subcommand."""
    commands = {"inspect": _inspect, "entropy-model": _entropy_model, "stats": _stats, "world": images.run_world} | {
        "codec": images.run_codec,
        "encode": images.run_encode,
    }
    return commands[arguments.command](arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from neat.data.bundled import resolve

    reports = []
    for name in arguments.files:
        report = {"path": name} | _inspected(resolve(name), arguments.text_field)
        reports.append(report)
        if not arguments.json:
            print_table(_spoken(report))
            print()
    readable_all = all(report["readable"] for report in reports)
    if arguments.json:
        print_json(reports[0] if len(reports) == 1 else {"files": reports, "readable": readable_all})
    return Exit.DONE if readable_all else Exit.DATA


def _inspected(path: str, text_field: str) -> dict[str, object]:
    """The report on one file; one that cannot be opened is reported too, so that the others still are."""
    from neat import _native  # the extension module loads numpy

    try:
        report: dict[str, object] = json.loads(_native.inspect(path, text_field))
    except DataError as error:
        return {"readable": False, "problem": error.message}
    return report


def _spoken(report: dict[str, object]) -> dict[str, object]:
    """A report in lines for people: the first bad row as one sentence."""
    first = report.get("first_bad")
    return report | ({"first_bad": f"{first['place']}: {first['reason']}"} if isinstance(first, dict) else {})


def _entropy_model(arguments: argparse.Namespace) -> int:
    from neat import _native  # the extension module loads numpy

    documents = list(_corpus(arguments.data, arguments.text_field).documents("all", arguments.max_bytes))
    models = _native.CrossFit.train_bytes(documents, arguments.order)
    patcher = _native.Patcher.calibrate_bytes(models, documents, "global", arguments.mean_length)
    models.full.save(arguments.out, patcher)
    figures = {
        "out": str(arguments.out),
        "digest": models.full.digest,
        "order": models.full.order,
        "contexts": models.full.num_contexts,
        "trained_bytes": sum(map(len, documents)),
        "threshold": patcher.threshold,
        "mean_length": patcher.mean_length,
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    from neat.data.statistics import describe  # numpy

    corpus = _corpus(arguments.files, arguments.text_field)
    figures = describe(corpus, order=arguments.order, max_bytes=arguments.max_bytes)
    if corpus.num_bad_rows:
        say(f"{readable(corpus.num_bad_rows)} rows are bad and were skipped")
    (print_json if arguments.json else print_table)(figures)
    return 0


def _corpus(patterns: list[str], text_field: str) -> Corpus:
    from neat import _native  # the extension module loads numpy
    from neat.data.bundled import resolve

    return _native.Corpus([[resolve(pattern) for pattern in patterns]], None, text_field=text_field, on_bad_row="skip")
