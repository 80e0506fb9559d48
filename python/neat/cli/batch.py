"""Many prompts from a file of JSON lines, answered some at a time into another.

An answer is a function of its row and the settings: choices are drawn from the row's own seed, and the sums of the
network are taken in double precision, so that what is computed beside a row does not round it into another answer.
Answers are kept in `OUTPUT.partial` as they come; the same command goes on there, and the last answer renames the file.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xxhash

from neat.cli.arguments import say
from neat.errors import DataError, LockedError, Problem, UsageError
from neat.model.experts.files import network_digest

if TYPE_CHECKING:
    from neat.model.text.model import TextModel

FORMAT = "neat-batch-1"
MAX_REPORTED = 20
"""Bad rows that are named one by one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the input.

    Attributes:
        values: Its JSON object.
        prompt: What is gone on with.
        seed: Of its choices.
    """

    values: Mapping[str, Any]
    prompt: bytes
    seed: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the fields: of the prompt, of what tells rows apart, of the answer."""

    prompt: str
    id: str
    answer: str


def read_rows(path: Path, fields: Fields, seed: int, on_bad_row: str) -> list[Row]:
    """Every row of a file; a row without `seed` takes the one given, a row without an id its line number.

    Raises:
        DataError: The file cannot be read, or a row is bad and `on_bad_row` is `stop`.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    rows, bad, seen = [], [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(line, number, fields, seed)
            key = json.dumps(row.values[fields.id])
            if key in seen:
                raise ValueError(f"the {fields.id} {key} stands in an earlier row")
        except ValueError as error:
            bad.append(Problem(str(error), where=f"{path}, line {number}"))
            continue
        seen.add(key)
        rows.append(row)
    if bad and on_bad_row == "stop":
        hint = f"{len(bad)} bad rows; --on-bad-row skip leaves them out"
        *others, last = bad[:MAX_REPORTED]
        raise DataError.of([*others, Problem(last.message, hint, last.where)])
    for problem in bad[:MAX_REPORTED]:
        say(f"skipped: {problem.line()}")
    if bad:
        say(f"{len(bad)} bad rows skipped")
    if not rows:
        raise DataError(f"{path} holds no prompts", hint=f'a row is {{"{fields.id}": 1, "{fields.prompt}": "Once "}}')
    return rows


def _row(line: bytes, number: int, fields: Fields, seed: int) -> Row:
    """The row of a line; `ValueError` says what is wrong with it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("a row is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("a row is not an object")
    if not isinstance(values.get(fields.prompt), str):
        raise ValueError(f"a row has no text in {fields.prompt!r}")
    if fields.answer in values:
        raise ValueError(f"a row already has a field {fields.answer!r}, where its answer would go")
    own = values.get("seed", seed)
    if isinstance(own, bool) or not isinstance(own, int) or not 0 <= own < 2**63:
        raise ValueError("the seed of a row is not a whole number from 0 to 2^63 - 1")
    prompt = values[fields.prompt].encode(errors="surrogatepass")
    return Row({fields.id: number} | values, prompt, own)


class Answers:
    """The file of answers while it grows: one header with what they depend on, then a line for each row, in order.

    Args:
        target: Where the answers stand in the end.
        settings: All that answers depend on.

    Raises:
        UsageError: The target exists, or answers were begun there with other settings.
        DataError: The file cannot be read or written.
        LockedError: Another process writes it.
    """

    def __init__(self, target: Path, settings: Mapping[str, object]) -> None:
        self._target, self._partial = target, target.with_name(target.name + ".partial")
        if target.exists():
            raise UsageError(f"{target} exists", hint="move it away, or name another --output")
        self._header = json.dumps({"format": FORMAT, "settings": settings}, sort_keys=True).encode() + b"\n"
        self.done = 0
        """Rows answered before."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("a+b")
        except OSError as error:
            raise DataError(f"cannot write {self._partial}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._resume()
        except BlockingIOError:
            self.close()
            raise LockedError(f"another process writes {self._partial}", hint="wait for it, or stop it") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the file; what was added stays in it."""
        self._file.close()

    def _resume(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        # What follows the last line end was cut off while it was written.
        whole = data[: data.rfind(b"\n") + 1]
        header, _, rest = whole.partition(b"\n")
        if header and header + b"\n" != self._header:
            raise UsageError(
                f"{self._partial} was begun otherwise: {_difference(header, self._header)}",
                hint="give the same options and input again, or delete that file to begin anew",
            )
        self.done = rest.count(b"\n")
        self._file.truncate(len(whole))
        if not header:
            self._write(self._header)

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Appends finished rows; when this returns they are on the disk."""
        self._write(b"".join(json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n" for row in rows))

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self._partial}: {error.strerror}") from error

    def finish(self) -> None:
        """Puts the answers, without the header, in their place in one step."""
        scratch = self._target.with_name(f".{self._target.name}.{os.getpid()}")
        try:
            self._file.seek(len(self._header))
            with scratch.open("wb") as file:
                file.write(self._file.read())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self._target)
            self._partial.unlink()
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise DataError(f"cannot write {self._target}: {error.strerror}") from error


def _difference(there: bytes, here: bytes) -> str:
    """The first setting that two headers differ in."""
    try:
        old, new = json.loads(there)["settings"], json.loads(here)["settings"]
        name = next(name for name in new if old.get(name) != new[name])
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return "its first line is not that of a batch"
    return f"{name} was {json.dumps(old.get(name))}, is {json.dumps(new[name])}"


def run_batch(model: TextModel, arguments: argparse.Namespace) -> dict[str, object]:
    """Answers every row of `--input` that `--output` lacks.

    Returns:
        `rows` in all, `resumed` of them answered before, `bytes` written now.
    """
    fields = Fields(arguments.prompt_field, arguments.id_field, arguments.answer_field)
    rows = read_rows(arguments.input, fields, arguments.seed, arguments.on_bad_row)
    settings = _settings(model, arguments, rows)
    if arguments.precision == "float64":
        if model.device.type == "mps":
            raise UsageError("this device has no float64", hint="--precision float32, or --device cpu")
        model.network.double()
    written = 0
    with contextlib.closing(Answers(arguments.output, settings)) as answers:
        if answers.done:
            say(f"going on behind {answers.done} of {len(rows)} answers")
        for some, texts in _answered(model, rows[answers.done :], arguments):
            answers.add([_told(row, text, fields) for row, text in zip(some, texts, strict=True)])
            written += sum(map(len, texts))
        answers.finish()
    return {"rows": len(rows), "resumed": answers.done, "bytes": written}


def _answered(
    model: TextModel, rows: Sequence[Row], arguments: argparse.Namespace
) -> Iterator[tuple[Sequence[Row], list[bytes]]]:
    for first in range(0, len(rows), arguments.batch_size):
        some = rows[first : first + arguments.batch_size]
        state = model.new_state(len(some))
        state.choices = [torch.Generator().manual_seed(row.seed) for row in some]
        yield (
            some,
            model.generate_batch(
                [row.prompt for row in some],
                max_bytes=arguments.max_bytes,
                temperature=arguments.temperature,
                top_p=arguments.top_p,
                top_k=arguments.top_k,
                stop=[os.fsencode(text) for text in arguments.stop],
                state=state,
            ),
        )


def _told(row: Row, answer: bytes, fields: Fields) -> dict[str, object]:
    """The row with its answer; bytes that are no UTF-8 are given beside it as they are."""
    text = answer.decode(errors="replace")
    told: dict[str, object] = {**row.values, fields.answer: text}
    if text.encode() != answer:
        told[f"{fields.answer}_base64"] = base64.b64encode(answer).decode("ascii")
    return told


def _settings(model: TextModel, arguments: argparse.Namespace, rows: Sequence[Row]) -> dict[str, object]:
    """What the answers depend on. The size of the batches is not among it."""
    asked = xxhash.xxh3_128()
    for row in rows:
        asked.update(json.dumps([row.values, row.seed], sort_keys=True).encode())
    names = ("max_bytes", "temperature", "top_p", "top_k", "stop", "precision", "expert")
    return {name: getattr(arguments, name) for name in names} | {
        "fields": [arguments.prompt_field, arguments.id_field, arguments.answer_field],
        "weights": network_digest(model.network),
        "rows": asked.hexdigest(),
    }
