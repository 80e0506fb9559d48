"""Text that comes with the package, named `bundled:FILE` wherever a data path is expected."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from neat.errors import DataError

PREFIX = "bundled:"


def resolve(source: str) -> str:
    """The path of a `bundled:FILE` source; any other source unchanged.

    Raises `DataError` when the package has no such file.
    """
    if not source.startswith(PREFIX):
        return source
    name = source.removeprefix(PREFIX)
    # Chosen from the files that are there, so that no name can lead out of the folder.
    found = bundled_files().get(name)
    if found is None:
        raise DataError(f"there is no bundled text {name}", hint=f"bundled: {', '.join(sorted(bundled_files()))}")
    return str(found)


def bundled_files() -> dict[str, Path]:
    """Name and path of every bundled text."""
    folder = Path(str(files("neat.data") / "sample"))
    return {path.name: path for path in folder.glob("*.jsonl*")}
