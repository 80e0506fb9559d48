"""`neat.NeatModel`: a model that comes from a folder or a hub, and goes to one."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from neat.hub.load import load_pretrained
from neat.model.text.model import TextModel


class NeatModel(TextModel):
    """A trained model that reads and writes bytes, as `from_pretrained` returns it."""

    source: Path
    """The export it was read from."""

    @classmethod
    def from_pretrained(
        cls,
        repo_or_path: str | Path,
        revision: str | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        local_files_only: bool = False,
    ) -> Self:
        """Reads an export.

        Args:
            repo_or_path: Folder of an export, or OWNER/NAME on the hub; a folder goes first.
            revision: Branch, tag or commit on the hub; None is `main`.
            device: `auto`, `cpu`, `cuda` or `mps`.
            dtype: Type of the weights in memory: `float32` or `float64`.
            local_files_only: Take what is in the cache of this machine, and ask nobody.

        Raises:
            HubError: There is no such export, or it is not what was exported.
        """
        found, folder = load_pretrained(
            str(repo_or_path), revision, device=device, dtype=dtype, local_files_only=local_files_only
        )
        read = found.model
        model = cls(read.network, read.preparer, window=read.window, patch_slots=read.patch_slots)
        model.source = folder
        return model


from_pretrained = NeatModel.from_pretrained
