"""A run that tunes itself at its beginning: `tuned.toml` beside its configuration, and the same in every checkpoint.

The invariant: the choice is made once. A run that goes on takes it from its checkpoint or, before there is one, from
`tuned.toml`, which is replaced as a whole when the search has ended; a search that was interrupted begins anew and,
from the same seed, finds the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from neat.config.change import changed
from neat.config.compare import value_of
from neat.config.schema import Config, settings
from neat.config.show import toml_value
from neat.errors import CheckpointError, ConfigError
from neat.events.rundir import HARMLESS_KEYS, Run, replace_file
from neat.train import checkpoint
from neat.train.build import assemble
from neat.train.extent import Allowance
from neat.train.fork import Step
from neat.train.report import Reporter
from neat.train.state import Trainer
from neat.train.tuning import Choice, Probe, tune

FILE = "tuned.toml"
_HEAD = """# The settings that this run chose for itself, in place of those in config.toml, and what choosing them cost.
# Written by the run; `positions` and `seconds` are taken off its length.
"""


def settle(trainer: Trainer, directory: Run, reporter: Reporter, take_step: Step, stopping: Callable[[], bool]) -> None:
    """Where `train.tune` asks for it, gives a run at its first step the settings that it chooses for itself.

    After a stop nothing has changed. A run that goes on from a checkpoint has its settings already.

    Raises:
        ConfigError: The run is too short to tune itself.
        CheckpointError: `tuned.toml` is damaged.
    """
    config, step, path = trainer.config, trainer.step, directory.paths.root / FILE
    if not config.train.tune or trainer.tuned is not None or step:
        return
    choice = read(path, config)
    if choice is None:
        allowance = Allowance(config.train.tune_share)
        choice = tune(trainer, take_step, allowance, lambda probe: reporter.probe(step, event(probe)), stopping)
        if choice is None:
            return
        replace_file(path, dump(choice, config).encode())
    take_over(trainer, asdict(choice))
    _shorten(trainer, choice)
    reporter.probe(step, chosen(choice))
    reporter.tuned(trainer)


def recall(trainer: Trainer, folder: Path) -> None:
    """Gives a trainer that is about to be restored the settings that the run of a checkpoint chose for itself."""
    choice = checkpoint.read_state(folder).get("tuned")
    if choice is not None and trainer.tuned is None:
        take_over(trainer, choice)


def take_over(trainer: Trainer, choice: dict[str, Any]) -> None:
    """Gives a trainer at its first step the chosen settings."""
    config = changed(trainer.config, choice["values"])
    trainer.stream.close()
    fresh = assemble(config, trainer.placement, trainer.text, trainer.model, trainer.forward)
    for part in fields(Trainer):
        setattr(trainer, part.name, getattr(fresh, part.name))
    trainer.tuned = choice


def _shorten(trainer: Trainer, choice: Choice) -> None:
    """Takes what tuning cost off the length of the run."""
    train, horizon = trainer.config.train, trainer.horizon
    if train.budget_s is not None:
        horizon.spent_s += choice.seconds
        return
    # Steps were counted in batches of the configured size.
    batch = choice.configured_batch_bytes
    length = train.max_bytes or train.max_steps * batch
    horizon.total = max(1, math.ceil((length - choice.positions) / train.batch_bytes))


def event(probe: Probe) -> dict[str, object]:
    """The data of the event of a branch."""
    return {"purpose": "tune"} | asdict(probe)


def chosen(choice: Choice) -> dict[str, object]:
    """The data of the event that ends a search."""
    moved = ", ".join(f"{key} {toml_value(new)}" for key, new in choice.values.items()) or "the settings as configured"
    return {
        "purpose": "tune",
        "name": "choice",
        "changes": dict(choice.values),
        "steps": 0,
        "loss": choice.loss,
        "baseline": choice.baseline,
        "outcome": "chosen",
        "reason": f"{moved}; {choice.probes} branches, {choice.positions:,} positions, {choice.seconds:.1f} s",
        "positions": choice.positions,
    }


def dump(choice: Choice, config: Config) -> str:
    """The text of `tuned.toml`."""
    lines = [_HEAD, f"config = {toml_value(_course(config))}"]
    for key in ("loss", "baseline", "positions", "seconds", "probes", "configured_batch_bytes"):
        number = getattr(choice, key)
        lines += [f"{key} = {toml_value(number)}"] if number is not None else []
    lines += ["", "[values]", *(f'"{key}" = {toml_value(new)}' for key, new in choice.values.items())]
    return "\n".join(lines) + "\n"


def read(path: Path, config: Config) -> Choice | None:
    """The choice that a run with this configuration made; None where there is none yet.

    Raises:
        CheckpointError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if table.pop("config") != _course(config):
            return None  # An earlier attempt, which saved nothing, had another configuration.
        choice = Choice(**({"baseline": None} | table))
        changed(config, choice.values)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"`{path}` is damaged ({type(error).__name__})",
            hint="delete it: a run that has no checkpoint yet tunes itself again; a checkpoint holds the choice too",
        ) from error
    return choice


def _course(config: Config) -> str:
    """A hash of the settings that decide the course of training."""
    values: Mapping[str, object] = {key: value_of(config, key) for key in settings() if key not in HARMLESS_KEYS}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
