"""How good a trained model is: bits per byte of text beside those of its n-gram model, or scores on tasks."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neat.cli.arguments import add_device_option, add_json_option, print_json, print_table, say
from neat.errors import DataError, UsageError

PREFIX = "neat:"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat eval`."""
    parser.add_argument("path", type=Path, metavar="RUN|CHECKPOINT", help="run directory or one checkpoint of it")
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="FILE",
        help="JSONL, Parquet or text files, globs, bundled:FILE; tasks have held-out bundled text without it",
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
    _add_task_options(parser)
    add_device_option(parser)
    add_json_option(parser)


def _add_task_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tasks")
    group.add_argument("--suite", action="store_true", help="instead: all tasks of our own; none needs a download")
    group.add_argument(
        "--tasks",
        metavar="NAME,…",
        help="instead: some tasks; neat:NAME is one of our own, any other one of the lm-evaluation-harness",
    )
    group.add_argument("--limit", type=int, metavar="N", help="most items of each task")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="seed of items and examples (%(default)s)")
    group.add_argument("--shots", type=int, metavar="K", help="examples before a question (harness; as the task says)")
    group.add_argument("--include", metavar="DIR", help="folder of YAML tasks for the harness")
    group.add_argument("--output", type=Path, metavar="FILE", help="write the scores of tasks to FILE, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the scores."""
    if arguments.suite or arguments.tasks is not None:
        return _tasks(arguments)
    if not arguments.data:
        raise UsageError("there is nothing to evaluate on", hint="--data FILE for bits per byte, --suite for tasks")
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


def _tasks(arguments: argparse.Namespace) -> int:
    """Runs our tasks and those of the harness; prints and writes their scores."""
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit} is not a positive number")
    if not 0 <= arguments.seed < 2**32:
        raise UsageError(f"--seed {arguments.seed} is not between 0 and 2^32 - 1")
    names = list(dict.fromkeys(name.strip() for name in (arguments.tasks or "").split(",") if name.strip()))
    if not names and not arguments.suite:
        raise UsageError("--tasks names none", hint="--tasks neat:cloze,hellaswag, or --suite")
    from neat.evaluate.load import load_all  # torch
    from neat.evaluate.tasks.suite import TASKS, TEXT, require_task, run_tasks

    ours = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    ours = [*TASKS, *(name for name in ours if name not in TASKS)] if arguments.suite else ours
    theirs = [name for name in names if not name.startswith(PREFIX)]
    for name in ours:
        require_task(name)
    if theirs:
        # Whether the extra is there is found before anything is loaded.
        from neat.evaluate.harness import run_harness
    loaded = load_all(arguments.path, device=arguments.device)
    found: dict[str, Any] = {"tasks": {}, "versions": {}}
    if ours:
        from neat.data.pipeline import read_documents

        text = read_documents(arguments.data or [TEXT], arguments.text_field, arguments.on_bad_row, loaded.config)
        documents = [document for document in text if isinstance(document, bytes)]
        some = run_tasks(loaded, ours, documents, limit=arguments.limit, seed=arguments.seed, tell=say)
        found = _merged(found, some)
    if theirs:
        some = run_harness(
            loaded,
            theirs,
            limit=arguments.limit,
            shots=arguments.shots,
            include=arguments.include,
            seed=arguments.seed,
            tell=say,
        )
        found = _merged(found, some)
    if arguments.output is not None:
        _write(arguments.output, found)
    if arguments.json:
        print_json(found)
    else:
        _print_scores(found["tasks"])
    return 0


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two reports in one."""
    both = {name: first[name] | second[name] for name in ("tasks", "versions")}
    return {**first, **second, **both}


def _write(path: Path, found: Mapping[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error.strerror}") from error


_COLUMNS = {
    "items": "items",
    "accuracy": "accuracy",
    "stderr": "± stderr",
    "chance": "chance",
    "ngram_accuracy": "n-gram",
    "bits_per_byte": "bits/byte",
    "ngram_bits_per_byte": "n-gram b/b",
}
"""Scores of multiple choice and their headings."""


def _print_scores(tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """Multiple choice as one table, with lines for its groups; other tasks by themselves, their groups as lines."""
    choices = {name: scores for name, scores in tasks.items() if "chance" in scores}
    if choices:
        rows = [["task", *_COLUMNS.values()]]
        for name, scores in choices.items():
            rows.append([name, *(_cell(scores[column]) for column in _COLUMNS)])
            if len(scores["by"]) > 1:
                rows += [[f"  {group}", "", _cell(share)] for group, share in scores["by"].items()]
        _print_rows(rows)
    for name, scores in tasks.items():
        if name in choices:
            continue
        print()
        if "by" in scores:
            measures = [measure for measure in next(iter(scores["by"].values())) if not measure.endswith("_stderr")]
            lines = [[f"  {group}", *(_cell(found[one]) for one in measures)] for group, found in scores["by"].items()]
            _print_rows([[f"{name} ({scores['items']})", *measures], *lines])
        else:
            print(name)
            print_table(scores, "  ")


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    """The first column to the left, the others to the right; a row may be short."""
    first = max(len(row[0]) for row in rows)
    widths = [max(len(row[at]) for row in rows if len(row) > at) for at in range(1, max(map(len, rows)))]
    for row in rows:
        cells = (f"{cell:>{width + 2}}" for cell, width in zip(row[1:], widths, strict=False))
        print((f"{row[0]:<{first}}" + "".join(cells)).rstrip())


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)
