"""The part of `neat data` that makes images: worlds, codecs, images as codes."""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neat.cli.arguments import add_json_option, print_json, print_table
from neat.errors import DataError, UsageError

if TYPE_CHECKING:
    from neat.cli.arguments import Parser

COMMANDS = {
    "world": "write puzzles of a small world as JSON lines with images as codes",
}
_PNGS = 16


def configure(commands: Mapping[str, Parser]) -> None:
    """The options of the commands named in `COMMANDS`."""
    _configure_world(commands["world"])
    for name in COMMANDS:
        add_json_option(commands[name])


def _configure_world(world: Parser) -> None:
    world.add_argument("world", metavar="WORLD", help="frozenlake, maze or minibehavior")
    world.add_argument("--arm", default="images", metavar="ARM", help="direct, text or images (%(default)s)")
    world.add_argument("--size", type=int, default=4, metavar="N", help="cells per side of the board (%(default)s)")
    world.add_argument("--grid", type=int, default=8, metavar="N", help="cells per side of the images (%(default)s)")
    world.add_argument("--max-steps", type=int, default=0, metavar="N", help="most actions; 0 fits the size")
    world.add_argument("--rows", type=int, default=1000, metavar="N", help="puzzles to write (%(default)s)")
    world.add_argument("--seed", type=int, default=0, metavar="N", help="other seed, other puzzles (%(default)s)")
    world.add_argument("--split", default="all", metavar="SPLIT", help="all, train or test; the last two share none")
    world.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.jsonl or FILE.jsonl.gz to write")
    world.add_argument("--png", type=Path, metavar="DIR", help=f"also write the images of {_PNGS} puzzles, to look at")


def run_world(arguments: argparse.Namespace) -> int:
    """`neat data world`."""
    from neat.data.worlds.rows import rows

    if arguments.rows < 1:
        raise UsageError(f"{arguments.rows} rows are not possible", hint="--rows 1000")
    found = rows(
        arguments.world,
        arguments.arm,
        size=arguments.size,
        seed=arguments.seed,
        split=arguments.split,
        grid=arguments.grid,
        max_steps=arguments.max_steps,
    )
    made = list(islice(found, arguments.rows))
    write_rows(arguments.out, made)
    if arguments.png:
        _write_pngs(arguments.png, made[:_PNGS])
    answers = sorted({str(row["answer"]) for row in made})
    figures = {
        "out": str(arguments.out),
        "rows": len(made),
        "images": sum(len(row["images"]) for row in made),
        "answers": {answer: sum(row["answer"] == answer for row in made) for answer in answers},
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSON lines, gzipped where the name says so."""
    if path.suffix == ".gz":
        # Without a name and a time in the header equal rows give equal files.
        data = gzip.compress(_lines(rows), 6, mtime=0)
    elif path.suffix == ".jsonl":
        data = _lines(rows)
    else:
        raise UsageError(f"{path} is not a name for JSON lines", hint="choose FILE.jsonl or FILE.jsonl.gz")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write_pngs(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from neat.data.png import write_png
    from neat.data.worlds.tiles import draw

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            for number, codes in enumerate(row["images"]):
                write_png(folder / f"{row['id']}-{number}.png", draw(codes))
    except OSError as error:
        raise DataError(f"cannot write images to {folder}: {error.strerror}") from error
