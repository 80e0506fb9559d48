"""What this machine offers for training: versions, devices and their reasons, cores, disk."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

from neat.cli.arguments import add_json_option, print_json, print_table

_PACKAGES = ("neat", "torch", "numpy", "safetensors", "pydantic")
_PROBE_BYTES = 67_108_864


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat doctor`."""
    parser.add_argument("--path", type=Path, default=Path(), metavar="DIR", help="where runs would be written (here)")
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Looks around and prints."""
    figures: dict[str, object] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "compute": _compute(),
        "disk": _disk(arguments.path),
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compute() -> dict[str, object]:
    import torch  # 2 s

    from neat.config.schema import Runtime
    from neat.train.device import cpu_has_bfloat16, place

    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cuda": cuda or None,
        "mps": torch.backends.mps.is_available(),
        "cpu_bfloat16": cpu_has_bfloat16(),
        "choices": list(place(Runtime()).reasons),
    }


def _disk(folder: Path) -> dict[str, object]:
    """Free space, and the rate of writing one file through to the disk."""
    try:
        free = shutil.disk_usage(folder).free
        block = os.urandom(1_048_576)
        start = time.perf_counter()
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".neat-doctor-") as file:
            for _ in range(_PROBE_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            seconds = time.perf_counter() - start
    except OSError as error:
        return {"path": str(folder.resolve()), "problem": error.strerror or str(error)}
    return {"path": str(folder.resolve()), "free_bytes": free, "write_bytes_per_s": _PROBE_BYTES / seconds}
