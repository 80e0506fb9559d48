"""Reads an export: the folder that `neat.hub.export` writes and a model hub holds.

The invariant: nothing is believed before it is checked. Sizes and hashes of all files, the hash of the configuration,
and the names, shapes and types of all tensors are compared before memory for the weights is taken. Only safetensors
and JSON are read; a pickle, which can run code, never is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from neat import _native
from neat.config.schema import Config
from neat.errors import CheckpointError
from neat.model.neat import NeatModel
from neat.train.assembly import Loaded, assemble
from neat.train.device import place

SCHEMA_VERSION = 1
MODEL_TYPE = "neat"
CONFIG, SUMS = "config.json", "SHA256SUMS"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ENTROPY_MODEL, ENTROPY_CONFIG = "entropy_model.bin", "entropy_model.json"
DYNAMICS = "dynamics.bin"
DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Types of weights that the network computes with; in training, bfloat16 is a type of activations only."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]{1,200})")
_MAX_TEXT_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Description:
    """What `config.json` says of an export.

    Attributes:
        config: The configuration, without paths.
        patcher: Rule and numbers of the patcher, as a JSON text.
        step: Updates behind the weights.
        total_steps: Length of the run, as known at that step.
        run_id: Names the run.
        hash: Hash of the file's content.
    """

    config: Config
    patcher: str
    step: int
    total_steps: int
    run_id: str
    hash: str


def is_export(path: Path) -> bool:
    """Whether a folder looks like an export, or like a model folder of another make."""
    return (path / CONFIG).is_file() and not (path / "config.toml").exists()


def load_export(folder: Path, *, device: str = "auto", dtype: str = "float32") -> Loaded:
    """The model of an export, in evaluation mode.

    Args:
        folder: The export.
        device: `auto`, `cpu`, `cuda` or `mps`.
        dtype: Type of the weights in memory: `float32` or `float64`.

    Raises:
        CheckpointError: It is damaged, was tampered with, or was made by another version.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"{dtype} is not a type of weights", hint=f"choose one of {', '.join(DTYPES)}")
    sums = read_sums(folder)
    described = describe(folder)
    with torch.device("meta"):
        network = NeatModel(described.config)
    files = _weight_files(folder, sums)
    tied = _check_headers(folder, files, network, described.hash)
    check_files(folder, sums)
    runtime = described.config.runtime.model_copy(update={"device": device, "compile": "off", "threads": 0})
    placement = place(runtime)
    tensors = _read(folder, files, placement.device, DTYPES[dtype])
    _restore_tied(tensors, tied, network)
    network.load_state_dict(tensors, assign=True)
    ngram = _native.NgramModel.from_bytes((folder / ENTROPY_MODEL).read_bytes())
    patcher = _native.Patcher.from_json(described.patcher)
    network = network.eval().requires_grad_(False)
    progress = (described.step, described.total_steps)
    return assemble(described.config, network, ngram, patcher, progress)


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, as the export lists them.

    Raises:
        CheckpointError: There is no list, or it names something that is no plain file name.
    """
    if not (folder / SUMS).is_file():
        others = (path.name for path in folder.iterdir() if path.name not in (ENTROPY_MODEL, DYNAMICS))
        pickles = sorted(name for name in others if name.endswith(_PICKLES))
        if pickles:
            raise CheckpointError(
                f"`{folder}` holds {pickles[0]}, which may run code when it is opened",
                hint="neat reads safetensors only; ask for an export made by neat-upload",
            )
        raise CheckpointError(f"`{folder}` is not an export of neat: it has no {SUMS}")
    found: dict[str, str] = {}
    for line in _text(folder / SUMS).splitlines():
        match = _SUM.fullmatch(line)
        if match is None or match[2] in found or match[2].startswith("."):
            raise _refused(folder, f"{SUMS} has a line that is no hash and file name")
        found[match[2]] = match[1]
    for name in (CONFIG, ENTROPY_MODEL):
        if name not in found:
            raise _refused(folder, f"{SUMS} does not name {name}")
    return found


def check_files(folder: Path, sums: dict[str, str]) -> None:
    """Compares every listed file with its hash.

    Raises:
        CheckpointError: One is missing or not what was exported.
    """
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise _refused(folder, f"{name} is missing")
        if file_sha256(folder / name) != expected:
            raise _refused(folder, f"{name} is not what was exported")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def settings_hash(content: dict[str, Any]) -> str:
    """Hash of the content of `config.json`, without the hash itself."""
    kept = {key: value for key, value in content.items() if key != "config_hash"}
    return sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def describe(folder: Path) -> Description:
    """What `config.json` says, after comparing it with its hash.

    Raises:
        CheckpointError: It is damaged, of another schema, or names settings that this version does not know.
    """
    try:
        content = json.loads(_text(folder / CONFIG))
        if content.get("model_type") != MODEL_TYPE:
            raise _refused(folder, f"its model_type is {str(content.get('model_type'))[:80]}, not {MODEL_TYPE}")
        if content.get("schema_version") != SCHEMA_VERSION:
            raise CheckpointError(
                f"the export has schema version {str(content.get('schema_version'))[:80]}, this version reads "
                f"{SCHEMA_VERSION}",
                hint="use the version of neat that made it",
                where=f"in {folder}",
            )
        if content["config_hash"] != settings_hash(content):
            raise _refused(folder, f"{CONFIG} does not have the hash it says")
        config = Config.model_validate(content["settings"])
        patcher, run = json.dumps(content["patcher"]), str(content["run"])
        step, total = int(content["step"]), int(content["total_steps"])
        return Description(config, patcher, step, total, run, content["config_hash"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{CONFIG} has a setting that this version cannot take: {key}: {first['msg']}",
            hint="use the version of neat that made the export",
            where=f"in {folder}",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(folder, f"{CONFIG} cannot be read ({type(error).__name__})") from error


def _weight_files(folder: Path, sums: dict[str, str]) -> list[str]:
    """Names of the weight files; all of them are listed with a hash."""
    if WEIGHTS in sums:
        return [WEIGHTS]
    if INDEX not in sums:
        raise _refused(folder, f"{SUMS} names no weights")
    try:
        names = sorted(set(json.loads(_text(folder / INDEX))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(folder, f"{INDEX} cannot be read ({type(error).__name__})") from error
    if not names or not all(name in sums for name in names):
        raise _refused(folder, f"{INDEX} names a file that {SUMS} does not")
    return names


def _check_headers(folder: Path, files: list[str], network: NeatModel, config_hash: str) -> dict[str, str]:
    """Compares names, shapes and types with the network; returns which tensors are stored under another name."""
    expected = {name: (list(tensor.shape), tensor.dtype) for name, tensor in network.state_dict().items()}
    tied: dict[str, str] = {}
    seen: dict[str, tuple[list[int], str]] = {}
    for name in files:
        with _opened(folder / name) as file:
            metadata = file.metadata() or {}
            if metadata.get("config_hash") != config_hash:
                raise _refused(folder, f"{name} belongs to another {CONFIG}")
            tied.update(_aliases(folder, metadata))
            for key in file.keys():  # noqa: SIM118 - a reader, not a dictionary
                part = file.get_slice(key)
                seen[key] = (part.get_shape(), part.get_dtype())
    for alias, name in tied.items():
        if name not in seen or alias in seen:
            raise _refused(folder, f"{alias} is said to be {name}, which cannot be")
        seen[alias] = seen[name]
    if seen.keys() != expected.keys():
        names = ", ".join(sorted(seen.keys() ^ expected.keys())[:3])
        raise _refused(folder, f"its weights are not those of its configuration: {names}")
    for key, (shape, dtype) in seen.items():
        if shape != expected[key][0] or dtype not in ("F32", "F64", "BF16", "F16"):
            raise _refused(folder, f"{key} is {dtype} {shape}, the network has {expected[key][0]}")
    return tied


def _aliases(folder: Path, metadata: dict[str, str]) -> dict[str, str]:
    try:
        tied = json.loads(metadata.get("tied", "{}"))
        return {str(alias): str(name) for alias, name in tied.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _refused(folder, "its list of tied weights cannot be read") from error


def _read(folder: Path, files: list[str], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """All tensors, one after the other, so that no second copy of the weights is ever in memory."""
    return {key: tensor.to(device=device, dtype=dtype) for name in files for key, tensor in _tensors(folder / name)}


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with _opened(path) as file:
        for key in file.keys():  # noqa: SIM118 - a reader, not a dictionary
            yield key, file.get_tensor(key)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"`{path}` is not a safetensors file: {error}") from error


def _restore_tied(tensors: dict[str, Tensor], tied: dict[str, str], network: NeatModel) -> None:
    """Gives tensors stored once their other names; they share memory only where the network's parameters do."""
    shared: dict[str, int] = {name: id(value) for name, value in network.named_parameters(remove_duplicate=False)}
    for alias, name in tied.items():
        same = shared.get(alias) is not None and shared.get(alias) == shared.get(name)
        tensors[alias] = tensors[name] if same else tensors[name].clone()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_TEXT_BYTES + 1)
        if len(raw) > _MAX_TEXT_BYTES:
            raise ValueError("too large")
        return raw.decode("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from error


def _refused(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the export is not used: {what}", hint="download it again, or pin a revision you trust", where=f"in {folder}"
    )
