"""What a line of `events.jsonl` is.

One JSON object a line: `v` (version of this schema), `seq` (1, 2, 3 … over all attempts of a run), `time` (Unix
seconds), `mono` (seconds of a clock that never jumps, comparable within one attempt), `type`, `step`, and beside
them the data of the event. Metrics are named `group/name`, as in `train/bpb`. Numbers are finite; one that was not
is null, and `nonfinite` names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

VERSION = 1

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "run": "an attempt begins: versions, machine, device choices with their reasons",
        "resume": "training goes on from the checkpoint of `step`, or begins again at 0; what earlier attempts did "
        "after it is superseded",
        "growth": "the first weights were taken over from another run: what grew from what, and what it changed",
        "budget": "a length in time or bytes was turned into a number of steps",
        "stage": "a curriculum entered its next stage: another window or patch length",
        "phase": "prediction moved between WARMUP, FULL, PREDICT and CORRECT, or a move was refused, with the reason",
        "jump": "a prediction was tried in PREDICT: accepted or refused, with what was measured",
        "correct": "CORRECT ended: residual of the last jump, correction, credit",
        "rollback": "weights and optimizer state went back to the last healthy ones, with the reason",
        "dynamics": "what the dynamics model forecasts and how well it does",
        "probe": "a short forked run, of tuning or of a credit test, and its result",
        "step": "metrics of training, every `train.log_every` steps",
        "components": "what each component did in one step: gradient norms, time, patches, memory, halting",
        "activation": "a component was turned off or on while training, with the reason",
        "eval": "metrics of held-out text",
        "sample": "text written by the model",
        "checkpoint": "a checkpoint was written, verified or removed",
        "system": "what the machine does: GPU, processor, memory, disk",
        "request": "a person asked the run for something, and the answer",
        "upload": "an export is on its way to the Hub: queued, started, retried, done or failed",
        "alert": "something a person must see",
        "heartbeat": "the process is alive; nothing else is said by it",
        "end": "an attempt ends, with its reason",
    }
)

SUPERSEDED_BY_RESUME = frozenset(
    {
        "stage", "phase", "jump", "correct", "rollback", "dynamics", "step", "components", "activation", "eval",
        "sample", "checkpoint",
    }
)  # fmt: skip
"""Types that describe the course of training: after a resume from step k, those of later steps no longer count."""

ENVELOPE = ("v", "seq", "time", "mono", "type", "step")

MAX_LINE_BYTES = 1_048_576
"""A longer line is not an event, and a reader never holds more than this of one."""

MAX_TEXT = 16_384
"""Characters of a string in an event; the writer cuts a longer one."""

Data = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `events.jsonl`; `data` holds the keys beside the envelope."""

    seq: int
    time: float
    mono: float
    type: str
    step: int
    data: Data = field(default_factory=dict)


class MalformedEventError(ValueError):
    """A line that is not an event of this schema."""


def encode(event: Event) -> bytes:
    """The line of an event, its newline included.

    Raises `ValueError` for a type, key or value that does not belong in an event: that is a fault of the program.
    """
    if event.type not in TYPES:
        raise ValueError(f"{event.type!r} is not an event type")
    nonfinite: list[str] = []
    body = {key: _clean(key, value, nonfinite) for key, value in event.data.items()}
    taken = body.keys() & {*ENVELOPE, "nonfinite"}
    if taken:
        raise ValueError(f"{sorted(taken)} belong to the envelope of an event")
    envelope = dict(zip(ENVELOPE, (VERSION, event.seq, event.time, event.mono, event.type, event.step), strict=True))
    if nonfinite:
        body["nonfinite"] = list(dict.fromkeys(nonfinite))
    line = json.dumps(envelope | body, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"an event of type {event.type} has {len(line)} bytes")
    return line


def decode(line: bytes) -> Event:
    """The event of a line; raises `MalformedEventError` for anything else, whatever the bytes."""
    try:
        table = json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError("not JSON") from error
    if not isinstance(table, dict):
        raise MalformedEventError("not an object")
    version, seq, time, mono, kind, step = (table.pop(key, None) for key in ENVELOPE)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise MalformedEventError(f"schema version {version!r}"[:80])
    if type(seq) is not int or type(step) is not int or not isinstance(kind, str):
        raise MalformedEventError("no seq, step or type")
    if not _is_number(time) or not _is_number(mono):
        raise MalformedEventError("no time")
    return Event(seq, float(time), float(mono), kind, step, table)


def _is_number(value: object) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        return False


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _clean(key: str, value: object, nonfinite: list[str]) -> object:
    """`value` in JSON's own types; numbers that JSON lacks become null and are noted under `key`."""
    match value:
        case None | bool() | int():
            return value
        case float():
            if math.isfinite(value):
                return value
            nonfinite.append(key)
            return None
        case str():
            return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "\u2026"
        case list() | tuple():
            return [_clean(key, item, nonfinite) for item in value]
        case dict():
            return {str(name): _clean(key, item, nonfinite) for name, item in value.items()}
    raise ValueError(f"{key} holds a {type(value).__name__}, which is not a value of an event")
