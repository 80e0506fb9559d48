"""`neat.NeatModel`: a model that comes from a folder or a hub, and goes to one."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch

from neat.errors import HubError
from neat.hub.load import load_pretrained
from neat.hub.push import push_to_hub
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

    def push_to_hub(self, repo: str, *, public: bool = False) -> str:
        """Uploads the export that this model was read from, and returns the commit that holds it.

        Raises:
            HubError: The weights were changed since, or the upload failed.
        """
        read = load_pretrained(str(self.source), device="cpu")[0].model.network.state_dict()
        if any(
            not torch.equal(read[name], value.cpu().to(read[name].dtype))
            for name, value in self.network.state_dict().items()
        ):
            raise HubError(
                "the weights in memory are not those of the export", hint="train on with neat-train, then push the run"
            )
        return push_to_hub(self.source, repo, public=public)


from_pretrained = NeatModel.from_pretrained
