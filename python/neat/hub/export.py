"""From a checkpoint to the folder that others load and a model hub holds.

The invariant: an export holds what a user needs to run the model and nothing of the machine it was made on, and reads
the checkpoint and the events of its run only. `docs/hub.md` describes the files; `neat.train.exported` reads them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import neat
from neat import _native
from neat.config.compare import value_of
from neat.config.schema import Config, settings
from neat.config.show import dump_toml
from neat.errors import CheckpointError, HubError
from neat.hub.card import write_card
from neat.hub.facts import Facts, gather
from neat.hub.problems import is_full
from neat.hub.public import without_paths
from neat.hub.weights import MAX_SHARD_BYTES, read_header, write_weights
from neat.train import checkpoint
from neat.train.exported import (
    CONFIG,
    DYNAMICS,
    ENTROPY_CONFIG,
    ENTROPY_MODEL,
    MODEL_TYPE,
    SCHEMA_VERSION,
    SUMS,
    WEIGHTS,
    settings_hash,
)
from neat.train.loading import read_config, run_of

TRAIN_CONFIG, CARD, METRICS, PLOT = "train_config.toml", "README.md", "metrics.jsonl", "loss.svg"
MAX_METRICS = 2000
"""Lines of `metrics.jsonl` in an export."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished export.

    Attributes:
        folder: Where it lies.
        facts: What is known of it.
        sums: SHA-256 of each file, that of the list itself included.
    """

    folder: Path
    facts: Facts
    sums: Mapping[str, str]

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum((self.folder / name).stat().st_size for name in self.sums)


def find_checkpoint(path: Path, step: int | None = None) -> Path:
    """The checkpoint that a user names by a run directory and perhaps a step; it is verified.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if step is None:
        return checkpoint.find(path)
    folder = path / "checkpoints" / checkpoint.folder_name(step)
    if not folder.is_dir():
        steps = ", ".join(map(str, checkpoint.steps(path / "checkpoints"))) or "none"
        raise CheckpointError(f"`{path}` holds no checkpoint of step {step}", hint=f"there are: {steps}")
    return checkpoint.find(folder)


def export(
    source: Path,
    target: Path,
    *,
    run: Path | None = None,
    license: str = "",  # noqa: A002 - the word of model cards
    repo: str = "",
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Exported:
    """Writes the export of a checkpoint; it appears whole, by one rename.

    Args:
        source: Run directory or checkpoint folder; its manifest is verified first.
        target: The folder to make; it must not exist.
        run: The run directory with the events, where it is not the one around the checkpoint.
        license: Identifier of the licence, empty for none.
        repo: OWNER/NAME for the examples in the card, where it is known.
        max_shard_bytes: Data per weight file.

    Raises:
        CheckpointError: There is no valid checkpoint, it holds no model or numbers that are not finite.
        HubError: The folder cannot be written.
    """
    folder = checkpoint.find(source)
    staged = target.with_name(f".tmp-{target.name}-{os.getpid()}")
    if target.exists():
        raise HubError(f"`{target}` exists", hint="name another folder, or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        facts, sums = _fill(staged, folder, run or run_of(folder), license, repo, max_shard_bytes)
        staged.rename(target)
    except OSError as error:
        raise refusal(error, target) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Exported(target, facts, sums)


def refusal(error: OSError, target: Path) -> HubError:
    """What to tell when the disk refuses an export."""
    return HubError(
        f"the export could not be written: {error.strerror or error}",
        hint="make room, then run the same command again" if is_full(error) else "choose another folder",
        where=f"in {target.parent}",
    )


def _fill(
    staged: Path, folder: Path, run: Path | None, license_id: str, repo: str, max_shard_bytes: int
) -> tuple[Facts, dict[str, str]]:
    config = read_config(folder)
    if config.train.mode != "text":
        raise CheckpointError(
            f"`{folder}` is the training of {config.expert.name or 'a dispatcher'} on another model",
            hint="export its base",
        )
    state = checkpoint.read_state(folder)
    weights = folder / checkpoint.AVERAGE
    weights = weights if weights.exists() else folder / checkpoint.MODEL
    facts = gather(config, state, _count(weights), run)
    described = _describe(config, state, facts, weights.name == checkpoint.AVERAGE)
    texts = {
        CONFIG: json.dumps(described, indent=1) + "\n",
        TRAIN_CONFIG: dump_toml(without_paths(config)),
        ENTROPY_CONFIG: json.dumps(_entropy(folder, state), indent=1) + "\n",
        **_course(run),
    }
    texts[CARD] = write_card(facts, config, license=license_id, repo=repo, has_plot=PLOT in texts)
    sums = write_weights(weights, staged, {"format": "pt", "config_hash": described["config_hash"]}, max_shard_bytes)
    for name in (checkpoint.ENTROPY_MODEL, DYNAMICS):
        if (folder / name).exists():
            sums[name] = _copy(folder / name, staged / name)
    for name, text in texts.items():
        sums[name] = _write(staged / name, text)
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return facts, sums | {SUMS: _write(staged / SUMS, listed)}


def _describe(config: Config, state: Mapping[str, Any], facts: Facts, averaged: bool) -> dict[str, Any]:
    """The content of `config.json`."""
    content: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "architectures": ["NeatModel"],
        "schema_version": SCHEMA_VERSION,
        "neat_version": neat.__version__,
        "torch_dtype": "float32",
        "parameters": facts.parameters,
        "averaged": averaged,
        "step": facts.step,
        "total_steps": facts.total_steps,
        "run": facts.run_id,
        "run_config_hash": facts.config_hash,
        "window": config.train.window,
        "patch_slots": config.patch_slots(config.train.window),
        "patcher": json.loads(state["patcher"]),
        "settings": _nested(without_paths(config)),
    }
    return content | {"config_hash": settings_hash(content)}


def _nested(config: Config) -> dict[str, Any]:
    """Settings by section. Text of other machines is left out: reading a model needs none."""
    table: dict[str, Any] = {}
    for key in settings():
        section, _, name = key.rpartition(".")
        if section not in ("data", "hub"):
            (table.setdefault(section, {}) if section else table)[name] = value_of(config, key)
    plain: dict[str, Any] = json.loads(json.dumps(table))
    return plain


def _entropy(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the n-gram model is, and how patches follow from it."""
    raw = (folder / checkpoint.ENTROPY_MODEL).read_bytes()
    model = _native.NgramModel.from_bytes(raw)
    return {
        "file": ENTROPY_MODEL,
        "digest": model.digest,
        "order": model.order,
        "patcher": json.loads(state["patcher"]),
    }


def _course(run: Path | None) -> dict[str, str]:
    """Metrics and plot of the run; none for a checkpoint without its events."""
    if run is None or not (run / "events.jsonl").is_file():
        return {}
    from neat.report.export import decimated_metrics, loss_svg

    return {METRICS: b"".join(decimated_metrics(run, MAX_METRICS)).decode(), PLOT: loss_svg(run)}


def _count(weights: Path) -> int:
    with weights.open("rb") as file:
        return sum(math.prod(tensor.shape) for tensor in read_header(file, weights))


def _copy(source: Path, target: Path) -> str:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _write(target: Path, text: str) -> str:
    data = text.encode()
    target.write_bytes(data)
    return sha256(data).hexdigest()


assert WEIGHTS and ENTROPY_MODEL == checkpoint.ENTROPY_MODEL
