"""Questions with answers: rows of JSON lines, plain or gzip, small enough to be held in memory."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import xxhash

from neat.config.schema import Config
from neat.data.bundled import resolve
from neat.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Question:
    """One row.

    Attributes:
        prompt: What the model reads.
        answer: What it should write, without the ending.
        where: File and line, for messages.
    """

    prompt: bytes
    answer: bytes
    where: str


def open_questions(config: Config) -> tuple[list[Question], list[Question]]:
    """Training and held-out questions of a configuration.

    Raises:
        DataError: A file cannot be read, a row is bad, a prompt is on both sides, or nothing is left to train on.
    """
    config.require_sources()
    everything = read_questions(config.data.sources, config)
    if config.data.validation:
        held_out = read_questions(config.data.validation, config)
        shared = {question.prompt for question in everything} & {question.prompt for question in held_out}
        if shared:
            raise DataError(
                f"{len(shared)} of the held-out questions also stand in data.sources",
                hint="remove them from one side, or set data.validation=[] and data.validation_share=0.1",
            )
    else:
        held_out = [question for question in everything if _position(question) < config.data.validation_share]
        everything = [question for question in everything if _position(question) >= config.data.validation_share]
    if not everything:
        raise DataError("there is no question to train on", hint="check data.sources and data.validation_share")
    return everything, held_out


def _position(question: Question) -> float:
    """A number in [0, 1) that depends on the prompt alone, so that equal prompts fall on one side."""
    return xxhash.xxh64_intdigest(question.prompt) / 2**64


def read_questions(patterns: Sequence[str], config: Config) -> list[Question]:
    """All rows of files, folders or globs, in order."""
    fields = (config.expert.prompt_field, config.expert.answer_field)
    found = []
    for path in _files(patterns):
        for row in _rows(path, fields):
            if isinstance(row, Question):
                found.append(row)
            elif config.data.on_bad_row == "stop":
                raise row
    if not found:
        raise DataError(f"no questions in {', '.join(patterns)}", hint="every row needs a prompt and an answer")
    return found


def _files(patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        path = Path(resolve(pattern))
        if path.is_dir():
            matches = sorted(inner for inner in path.rglob("*") if inner.name.endswith(SUFFIXES))
        else:
            matches = [path] if path.is_file() else sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207
        if not matches:
            raise DataError(f"there is no file {pattern}", hint="questions are rows of .jsonl or .jsonl.gz files")
        for match in matches:
            if not match.name.endswith(SUFFIXES):
                raise DataError(f"{match} is not JSON lines", hint="questions are rows of .jsonl or .jsonl.gz files")
            yield match


def _rows(path: Path, fields: tuple[str, str]) -> Iterator[Question | DataError]:
    """Each row as a question, or as what is wrong with it."""
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.name.endswith(".gz") else data).split(b"\n")
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _question(line, fields, f"{path}, line {number}")


def _question(line: bytes, fields: tuple[str, str], where: str) -> Question | DataError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return DataError("a row is not JSON", where=where)
    if not isinstance(row, dict):
        return DataError("a row is not an object", where=where)
    for key, field in zip(("expert.prompt_field", "expert.answer_field"), fields, strict=True):
        if not isinstance(row.get(field), str) or not row[field]:
            return DataError(f"a row has no text in {field!r}", hint=f"{key} names the field", where=where)
    prompt, answer = (row[field].encode(errors="surrogatepass") for field in fields)
    return Question(prompt, answer, where)
