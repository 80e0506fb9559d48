"""The figures of an export, each from the checkpoint or from the events of its run.

The invariant: nothing is estimated. A figure that no event holds is None, which the card shows as "not measured".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from neat.config.compare import config_hash
from neat.config.schema import Config
from neat.events.reader import effective, read_events
from neat.events.rundir import RunPaths, read_record
from neat.events.schema import Event

_MAX_GAP_S = 60.0
"""Power samples further apart than this say nothing about the time between them."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Bits per byte of held-out text, at the newest evaluation up to the exported step."""

    step: int
    bpb: float
    ngram_bpb: float
    num_bytes: int
    num_documents: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a checkpoint and its run.

    Attributes:
        name: Name of the run.
        run_id: Names the run in commits; the same for all its exports.
        step: Updates behind the weights.
        total_steps: Length of the run, as known at that step.
        bytes_seen: Scored bytes of these steps.
        parameters: Numbers in the network.
        config_hash: Hash of the configuration it was trained with.
        evaluation: Newest evaluation up to the step.
        train_bpb: Bits per byte of the last reported step.
        device: Where it was trained.
        versions: Packages by name.
        cores: CPU cores of the machine.
        gpus: Names of its GPUs.
        training_s: Seconds from the beginning of training to the step, over all attempts.
        energy_kwh: Energy of the GPUs over that time.
        backward_passes: Backward passes of these steps.
        command: Words of the command line of the first attempt.
    """

    name: str
    run_id: str
    step: int
    total_steps: int
    bytes_seen: int
    parameters: int
    config_hash: str
    evaluation: Evaluation | None = None
    train_bpb: float | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    cores: int | None = None
    gpus: tuple[str, ...] = ()
    training_s: float | None = None
    energy_kwh: float | None = None
    backward_passes: int | None = None
    command: Sequence[str] = ()


def gather(config: Config, state: Mapping[str, Any], parameters: int, run: Path | None) -> Facts:
    """The facts of a checkpoint.

    Args:
        config: Its configuration.
        state: Its `state.json`.
        parameters: Numbers in its network.
        run: The run directory around it; None for a checkpoint that stands alone, of which little is known.
    """
    step = int(state["step"])
    base = Facts(
        name=config.name,
        run_id=run_id(run, config),
        step=step,
        total_steps=int(state["horizon"]["total"]),
        bytes_seen=int(state["bytes_seen"]),
        parameters=parameters,
        config_hash=config_hash(config),
    )
    return base if run is None else _with_events(base, RunPaths(run))


def run_id(run: Path | None, config: Config) -> str:
    """Twelve hexadecimal digits that tell runs apart, also those of equal configurations; the same in every attempt."""
    record = read_record(RunPaths(run)) if run is not None else {}
    told = [record.get("config_hash") or config_hash(config), record.get("created"), record.get("machine")]
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _with_events(facts: Facts, paths: RunPaths) -> Facts:
    record = read_record(paths)
    events = [event for event in read_events(paths.events) if event.step <= facts.step]
    course = effective(events)
    last_step = _last(course, "step")
    begun = _last(events, "run")
    versions = record.get("versions")
    machine = record.get("machine")
    command = record.get("command")
    cores = machine.get("cores") if isinstance(machine, dict) else None
    return Facts(
        **{name: getattr(facts, name) for name in ("name", "run_id", "step", "total_steps", "bytes_seen")},
        parameters=facts.parameters,
        config_hash=facts.config_hash,
        evaluation=_evaluation(course),
        train_bpb=_number(last_step, "train/bpb"),
        device=str(begun.data["device"]) if begun is not None and "device" in begun.data else None,
        versions={key: value for key, value in versions.items() if isinstance(value, str)}
        if isinstance(versions, dict)
        else {},
        cores=cores if isinstance(cores, int) else None,
        gpus=_gpus(events),
        training_s=_training_s(events),
        energy_kwh=_energy_kwh(events),
        backward_passes=_whole(_number(last_step, "perf/backward_passes")),
        command=[str(word) for word in command] if isinstance(command, list) else (),
    )


def _evaluation(course: Iterable[Event]) -> Evaluation | None:
    found = None
    for event in course:
        bpb, ngram = _number(event, "eval/bpb"), _number(event, "eval/ngram_bpb")
        if event.type == "eval" and bpb is not None and ngram is not None:
            size, documents = _number(event, "eval/bytes"), _number(event, "eval/documents")
            found = Evaluation(event.step, bpb, ngram, int(size or 0), int(documents or 0))
    return found


def _training_s(events: Sequence[Event]) -> float | None:
    """Time from `run` to the last event of training, added up over the attempts."""
    total, begun, last = 0.0, None, None
    for event in events:
        if event.type == "run":
            total += last - begun if begun is not None and last is not None else 0.0
            begun, last = event.mono, None
        elif event.type in ("step", "checkpoint", "eval") and begun is not None:
            last = max(event.mono, begun)
    if begun is not None and last is not None:
        total += last - begun
    return total or None


def _energy_kwh(events: Iterable[Event]) -> float | None:
    """Power of all GPUs, integrated by the trapezium rule; None where no GPU told its power."""
    joules, seen = 0.0, False
    before: tuple[float, float] | None = None
    for event in events:
        if event.type == "run":
            before = None
        if event.type != "system":
            continue
        watts = [value for key, value in event.data.items() if key.startswith("gpu/") and key.endswith("/power_w")]
        power = sum(float(value) for value in watts if isinstance(value, int | float))
        if not watts:
            continue
        if before is not None and 0 < event.mono - before[0] <= _MAX_GAP_S:
            joules += (event.mono - before[0]) * (power + before[1]) / 2
            seen = True
        before = (event.mono, power)
    return joules / 3.6e6 if seen else None


def _gpus(events: Iterable[Event]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for event in events:
        if event.type == "system":
            names |= {k: str(v) for k, v in event.data.items() if k.startswith("gpu/") and k.endswith("/name")}
    return tuple(names[key] for key in sorted(names))


def _last(events: Iterable[Event], kind: str) -> Event | None:
    found = None
    for event in events:
        if event.type == kind:
            found = event
    return found


def _number(event: Event | None, key: str) -> float | None:
    value = event.data.get(key) if event is not None else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
