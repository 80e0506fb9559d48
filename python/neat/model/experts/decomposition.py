"""Singular value decompositions of weight matrices, kept on disk under the hash of the matrix.

A factorisation is a function of the weights alone, so it is only ever a cache: a file that is missing, damaged or made
from other weights is computed anew and replaced. A matrix m x n has rank r = min(m, n).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xxhash
from torch import Tensor

from neat.errors import CheckpointError

CACHED_FROM = 256 * 256
"""Elements from which a matrix is worth a file; smaller ones take milliseconds."""


@dataclass(frozen=True, slots=True)
class Factors:
    """W = left diag(singular) right.

    Attributes:
        left: U, [m, r].
        singular: sigma in falling order, [r].
        right: V transposed, [r, n].
        error: Frobenius norm of what the product misses, relative to that of W.
        cached: Whether the factors came from a file.
    """

    left: Tensor
    singular: Tensor
    right: Tensor
    error: float
    cached: bool = False


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/neat/svd`, or the same under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "neat" / "svd"


def digest(*tensors: Tensor) -> str:
    """xxh3-128 of types, shapes and values, in hexadecimal."""
    found = xxhash.xxh3_128()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        found.update(f"{flat.dtype}{list(flat.shape)}".encode())
        found.update(flat.view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def decompose(weight: Tensor, folder: Path | None) -> Factors:
    """The factors of a matrix, float32 (float64 for a float64 matrix), on its device.

    Args:
        weight: W, [m, n].
        folder: Where factors are kept; None keeps none.

    Raises:
        CheckpointError: The matrix holds numbers that are not finite, or its factors do not give it back.
    """
    if not bool(torch.isfinite(weight).all()):
        raise CheckpointError("a weight matrix holds numbers that are not finite", hint="use another checkpoint")
    matrix = weight.detach().cpu()
    matrix = matrix if matrix.dtype == torch.float64 else matrix.float()
    key = digest(matrix)
    path = folder / f"{key}.safetensors" if folder is not None and matrix.numel() >= CACHED_FROM else None
    found = _read(path, key, matrix) if path is not None else None
    if found is None:
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        found = Factors(left.contiguous(), singular, right.contiguous(), _error(matrix, left, singular, right))
        if path is not None:
            _write(path, key, found)
    _check(found.error, matrix.dtype)
    device = weight.device
    return Factors(found.left.to(device), found.singular.to(device), found.right.to(device), found.error, found.cached)


def _error(matrix: Tensor, left: Tensor, singular: Tensor, right: Tensor) -> float:
    missing = torch.linalg.matrix_norm(matrix - (left * singular) @ right)
    return float(missing / torch.linalg.matrix_norm(matrix).clamp(min=torch.finfo(matrix.dtype).tiny))


def _check(error: float, dtype: torch.dtype) -> None:
    # An SVD is backward stable: the error is a few roundings, whatever the matrix. More means a broken library.
    limit = 1e4 * torch.finfo(dtype).eps
    if not error <= limit:
        raise CheckpointError(
            f"the singular vectors of a weight matrix give it back with a relative error of {error:.1e}",
            hint=f"at most {limit:.1e} is expected; check the installation of torch",
        )


def _read(path: Path, key: str, matrix: Tensor) -> Factors | None:
    """The factors in a file; None when there is none that can be believed."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = safetensors.torch.load_file(path)
        left, singular, right = tensors["left"], tensors["singular"], tensors["right"]
    except (OSError, KeyError, safetensors.SafetensorError):
        return None
    believed = metadata.get("weight") == key and metadata.get("factors") == digest(left, singular, right)
    if not believed or left.dtype != matrix.dtype or (left.shape[0], right.shape[-1]) != tuple(matrix.shape):
        return None
    return Factors(left, singular, right, _error(matrix, left, singular, right), cached=True)


def _write(path: Path, key: str, factors: Factors) -> None:
    """Keeps the factors. A folder that cannot be written costs time the next time, nothing else."""
    tensors = {"left": factors.left, "singular": factors.singular, "right": factors.right}
    metadata = {"weight": key, "factors": digest(*tensors.values())}
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, draft, metadata)
        draft.replace(path)
    except (OSError, safetensors.SafetensorError):
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
