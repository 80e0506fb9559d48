"""The run directory: one experiment, written by one process at a time, continued by the same command.

run.json      what the run is: versions, machine, configuration hash
config.toml   the resolved configuration, commented
events.jsonl  everything that happened
checkpoints/  resumable states
run.lock      held by the process that writes
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from neat.config.compare import Difference, config_hash, difference
from neat.config.load import load_file
from neat.config.schema import Config
from neat.config.show import dump_toml, toml_value
from neat.errors import CheckpointError, ConfigError, NeatError, Problem
from neat.events.lock import RunLock
from neat.events.writer import HEARTBEAT_S, EventWriter

RECORD_VERSION = 1

HARMLESS_KEYS = frozenset(
    {
        "name",
        "data.prefetch",
        "train.log_every",
        "train.eval_every",
        "train.eval_bytes",
        "train.sample_bytes",
        "checkpoint.every_steps",
        "checkpoint.keep",
        "monitor.sample_s",
        "runtime.threads",
        "hub.repo",
        "hub.upload",
        "hub.public",
        "hub.tag",
        "hub.license",
        "hub.include_optimizer",
        "hub.final_wait_s",
        "hub.connect_s",
        "hub.read_s",
        "hub.attempt_s",
        "hub.max_retry_wait_s",
        "hub.max_queued",
    }
)
"""Settings that may change between attempts of a run: what they decide is not the course of training."""


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where things lie in a run directory."""

    root: Path

    @property
    def record(self) -> Path:
        """`run.json`."""
        return self.root / "run.json"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "config.toml"

    @property
    def events(self) -> Path:
        """The event stream."""
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Parent of `step-XXXXXXXX` directories."""
        return self.root / "checkpoints"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / "run.lock"

    def is_run(self) -> bool:
        """Whether this is a run directory (its configuration is written first)."""
        return self.config.is_file()


class Run:
    """A run directory that this process holds; made by `open_run`, closed by `close` or `with`.

    `changed` lists the harmless settings that differ from the previous attempt; `is_new` is whether this is the
    first attempt.
    """

    def __init__(
        self, paths: RunPaths, config: Config, lock: RunLock, *, is_new: bool, changed: list[Difference]
    ) -> None:
        self.paths = paths
        self.config = config
        self.is_new = is_new
        self.changed = changed
        self._lock = lock

    def events(self, heartbeat_s: float | None = HEARTBEAT_S) -> EventWriter:
        """The writer of `events.jsonl`; there is one per attempt."""
        return EventWriter(self.paths.events, heartbeat_s)

    def record(self, **facts: object) -> None:
        """Adds facts (JSON values) to `run.json`, such as the digest of the data."""
        replace_file(self.paths.record, _json(read_record(self.paths) | facts))

    def close(self) -> None:
        """Gives the directory back."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_run(root: Path, config: Config) -> Run:
    """Makes the run directory `root`, or goes on with it, and locks it.

    Raises `LockedError` when another process holds it, and `ConfigError` when it was made with another
    configuration or is not a run directory; in both cases nothing in it is changed.
    """
    paths = RunPaths(root)
    _make(paths)
    lock = RunLock(paths.lock)
    try:
        changed = _changed(paths, config)
        is_new = changed is None
        if is_new:
            replace_file(paths.record, _json(_facts(config)))
        if is_new or changed:
            replace_file(paths.config, dump_toml(config).encode())
        paths.checkpoints.mkdir(exist_ok=True)
        return Run(paths, config, lock, is_new=is_new, changed=changed or [])
    except OSError as error:
        lock.release()
        raise ConfigError(f"cannot write {root}: {error.strerror or error}", hint="choose another --out") from error
    except BaseException:
        lock.release()
        raise


def read_config(paths: RunPaths) -> Config:
    """The configuration of a run; raises `CheckpointError` when there is no run, `ConfigError` when it is damaged."""
    if not paths.is_run():
        raise CheckpointError(f"{paths.root} is not a run directory", hint="it has no config.toml")
    return load_file(paths.config).config


def read_record(paths: RunPaths) -> dict[str, object]:
    """The content of `run.json`; empty when the file is missing, damaged or not an object."""
    try:
        record = json.loads(paths.record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` in place of `path` so that a reader, or a crash, sees the old file or the new one."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _make(paths: RunPaths) -> None:
    """Creates the directory; refuses one that holds something else."""
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        found = {entry.name for entry in paths.root.iterdir()}
    except FileExistsError:
        raise ConfigError(f"{paths.root} is a file", hint="choose another --out") from None
    except OSError as error:
        raise ConfigError(f"cannot use {paths.root}: {error.strerror or error}", hint="choose another --out") from error
    # What a first attempt may leave when it is killed before its configuration is in place.
    unfinished = {"run.lock", "run.json", "run.json.tmp", "config.toml.tmp"}
    if "config.toml" not in found and found - unfinished:
        raise ConfigError(
            f"{paths.root} exists and is not a run directory", hint="choose another --out; nothing was changed"
        )


def _changed(paths: RunPaths, config: Config) -> list[Difference] | None:
    """Harmless differences to the run's configuration; raises `ConfigError` naming all others.

    None where there is nothing to go on with: no run, or one that ended before its first checkpoint (a mistyped path,
    say) and is now begun with another configuration.
    """
    if not paths.is_run():
        return None
    differences = difference(read_config(paths), config)
    fatal = [(key, old, new) for key, old, new in differences if key not in HARMLESS_KEYS]
    if not fatal:
        return differences
    if not any(paths.checkpoints.glob("step-*")):
        return None
    hint = "choose another --out, or repeat the configuration the run was made with; nothing was changed"
    where = f"in {paths.config}"
    problems = [
        Problem(f"{key} is {toml_value(old)} in the existing run and {toml_value(new)} here", None, where)
        for key, old, new in fatal
    ]
    last = problems.pop()
    raise ConfigError.of([*problems, Problem(last.message, hint, where)])


def _facts(config: Config) -> dict[str, object]:
    packages = ("neat", "torch", "numpy", "safetensors", "pydantic")
    return {
        "v": RECORD_VERSION,
        "name": config.name,
        "created": time.time(),
        "config_hash": config_hash(config),
        "command": sys.argv,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "machine": {"host": platform.node(), "system": platform.platform(), "cores": os.cpu_count()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _json(record: dict[str, object]) -> bytes:
    try:
        return json.dumps(record, indent=2).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise NeatError(f"run.json cannot hold {error}") from error
