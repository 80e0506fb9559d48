"""Checkpoints: written aside, hashed, published by one rename, verified before they are believed.

A folder without a valid manifest is not a checkpoint. `docs/checkpoint-format.md` describes the files. The newest one
is found by looking, never stored.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import xxhash
from torch import Tensor

import neat
from neat.errors import CheckpointError
from neat.train.storage import Storage

FORMAT = 1
MANIFEST = "manifest.json"
MODEL, AVERAGE, OPTIMIZER = "model.safetensors", "average.safetensors", "optimizer.safetensors"
PREDICT, DYNAMICS = "predict.safetensors", "dynamics.bin"
STATE, CONFIG, ENTROPY_MODEL = "state.json", "config.toml", "entropy_model.bin"
ALWAYS = frozenset({MODEL, OPTIMIZER, STATE, CONFIG, ENTROPY_MODEL})
"""Files that every checkpoint has; averaged weights and the state of prediction are there when the run keeps them."""
_NAME = re.compile(r"step-([0-9]{8,})")


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything a run needs to go on, and a user needs to run the model.

    Attributes:
        model: Weights by parameter name.
        average: Averaged weights by parameter name; empty when no average is kept.
        optimizer: Optimizer state by name, with the state of torch's generator.
        state: Plain values: step, horizon, data position, counters, patcher.
        config: Resolved configuration as TOML.
        entropy_model: File of the n-gram model that places the patches.
        predict: Tensors of hybrid prediction; empty without it.
        dynamics: State of the dynamics model; empty without one.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    config: str
    entropy_model: bytes
    predict: dict[str, Tensor] = field(default_factory=dict)
    dynamics: bytes = b""


def folder_name(step: int) -> str:
    """Name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def write(root: Path, step: int, contents: Contents, storage: Storage) -> Path:
    """Writes and publishes the checkpoint of `step`; returns its folder.

    Raises:
        CheckpointError: The disk refuses; earlier checkpoints are untouched.
    """
    final = root / folder_name(step)
    staged = root / f".tmp-{final.name}-{os.getpid()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        for name, fill in _writers(contents):
            storage.write(staged / name, fill)
        manifest = _manifest(staged, step)
        storage.write(staged / MANIFEST, lambda path: _write_text(path, manifest))
        if final.exists():
            storage.remove(final)
        storage.publish(staged, final)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written: {error.strerror or error}",
            hint="earlier checkpoints are intact; make room or check the disk, then run the same command again",
            where=f"in {root}",
        ) from error
    return final


def _writers(contents: Contents) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for name, tensors in (
        (MODEL, contents.model),
        (AVERAGE, contents.average),
        (OPTIMIZER, contents.optimizer),
        (PREDICT, contents.predict),
    ):
        if tensors:
            yield name, _tensor_writer(tensors)
    state = json.dumps(contents.state, indent=1, sort_keys=True)
    yield STATE, lambda path: _write_text(path, state)
    yield CONFIG, lambda path: _write_text(path, contents.config)
    yield ENTROPY_MODEL, lambda path: _write_bytes(path, contents.entropy_model)
    if contents.dynamics:
        yield DYNAMICS, lambda path: _write_bytes(path, contents.dynamics)


def _tensor_writer(tensors: dict[str, Tensor]) -> Callable[[Path], None]:
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def save(path: Path) -> None:
        try:
            safetensors.torch.save_file(ready, path, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            # What the system refused, a full disk for one, arrives wrapped in the library's own error.
            raise OSError(str(error)) from error

    return save


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _manifest(folder: Path, step: int) -> str:
    files = {
        path.name: {"bytes": path.stat().st_size, "xxh3_128": file_digest(path)} for path in sorted(folder.iterdir())
    }
    head = {"format": FORMAT, "step": step, "neat": neat.__version__, "torch": torch.__version__}
    return json.dumps(head | {"files": files}, indent=1)


def file_digest(path: Path) -> str:
    """xxh3-128 of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def verify(folder: Path) -> str | None:
    """Why `folder` is not a checkpoint that can be believed; None when it is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT:
            return f"its format is {manifest.get('format')}, this version reads {FORMAT}"
        files = manifest["files"]
        there = {name for name in (*ALWAYS, AVERAGE) if (folder / name).exists()}
        if unnamed := sorted((ALWAYS | there) - files.keys()):
            return f"its manifest does not name `{unnamed[0]}`"
        return next((reason for reason in (_differs(folder, *file) for file in files.items()) if reason), None)
    except FileNotFoundError as error:
        return f"`{Path(error.filename).name}` is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its manifest cannot be read ({type(error).__name__})"


def _differs(folder: Path, name: str, expected: dict[str, Any]) -> str | None:
    """How one file differs from its line in the manifest; None when it does not."""
    path = folder / name
    if path.parent != folder or path.is_symlink():
        return f"its manifest names `{name}`, which is not a plain file in it"
    if path.stat().st_size != expected["bytes"] or file_digest(path) != expected["xxh3_128"]:
        return f"`{name}` is not what was written"
    return None


def steps(root: Path) -> list[int]:
    """Steps of the published checkpoints under `root`, oldest first; validity is not checked."""
    if not root.is_dir():
        return []
    names = {path.name for path in root.iterdir() if path.is_dir()}
    found = (int(match.group(1)) for match in map(_NAME.fullmatch, names) if match)
    return sorted(step for step in found if folder_name(step) in names)


def newest(root: Path) -> tuple[Path | None, dict[str, str]]:
    """The newest valid checkpoint under `root`; for every newer folder that is refused its name and one sentence."""
    refused: dict[str, str] = {}
    for step in reversed(steps(root)):
        folder = root / folder_name(step)
        reason = verify(folder)
        if reason is None:
            return folder, refused
        refused[folder.name] = f"{folder.name} is not used: {reason}"
    return None, refused


def find(path: Path) -> Path:
    """The checkpoint that a user names: a checkpoint folder, a run directory or its `checkpoints` folder.

    Raises:
        CheckpointError: There is none, or the one named is damaged.
    """
    if not path.exists():
        raise CheckpointError(f"there is no `{path}`", hint="name a run directory or one of its checkpoints")
    if (path / MANIFEST).exists():
        reason = verify(path)
        if reason is None:
            return path
        raise CheckpointError(f"`{path}` is damaged: {reason}", hint="use another checkpoint of the run")
    root = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    folder, refused = newest(root)
    if folder is not None:
        return folder
    raise CheckpointError(
        f"`{path}` holds no checkpoint" + "".join(f"; {reason}" for reason in refused.values()),
        hint="train first: neat-train --config tiny --out " + str(path),
    )


def retain(root: Path, keep: int, storage: Storage) -> list[int]:
    """Deletes all but the newest `keep` checkpoints; returns the steps deleted."""
    doomed = steps(root)[:-keep]
    for step in doomed:
        storage.remove(root / folder_name(step))
    return doomed


def sweep(root: Path) -> None:
    """Removes what a killed process left half written or half deleted; the caller holds the run's lock."""
    if root.is_dir():
        for path in root.iterdir():
            if path.name.startswith((".tmp-", ".old-")):
                shutil.rmtree(path, ignore_errors=True)


def set_aside(root: Path, name: str) -> None:
    """Renames a damaged checkpoint so that it is neither tried nor counted again; nothing of it is deleted."""
    target = root / f"damaged-{name}"
    number = 1
    while target.exists():
        number += 1
        target = root / f"damaged-{name}-{number}"
    (root / name).rename(target)


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Tensors of one file of a verified checkpoint; empty when it has no such file."""
    path = folder / name
    return safetensors.torch.load_file(path) if path.exists() else {}


def read_dynamics(folder: Path) -> bytes:
    """State of the dynamics model of a verified checkpoint; empty when it has none."""
    path = folder / DYNAMICS
    return path.read_bytes() if path.exists() else b""


def read_state(folder: Path) -> dict[str, Any]:
    """`state.json` of a verified checkpoint."""
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return state
