"""A copy of everything that a rollback brings back, on the host and outside the device's memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xxhash
from torch import Tensor

PREFIX = "snapshot."
WEIGHTS = "model."


class Snapshot:
    """Copies of live tensors, taken again and again into the same host memory.

    `step` is that of the last `take`, -1 before it; `digest` names the weights of that moment.
    """

    def __init__(self) -> None:
        self.step = -1
        self.digest = ""
        self._copies: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self, live: Mapping[str, Tensor], step: int) -> None:
        """Copies `live`; waits for the device."""
        if self._copies.keys() != live.keys():
            self._copies = {name: _host(tensor) for name, tensor in live.items()}
        for name, tensor in live.items():
            self._copies[name].copy_(tensor)
        self.step = step
        self.digest = digest({name: t for name, t in self._copies.items() if name.startswith(WEIGHTS)})

    @torch.no_grad()
    def restore(self, live: Mapping[str, Tensor]) -> None:
        """Copies the tensors of `live` back, all or some of those that were taken."""
        for name, tensor in live.items():
            tensor.copy_(self._copies[name])

    def state(self) -> dict[str, Tensor]:
        """The copies by name, for a checkpoint."""
        return {PREFIX + name: tensor for name, tensor in self._copies.items()}

    @torch.no_grad()
    def load(self, saved: Mapping[str, Tensor], step: int) -> None:
        """Takes the copies of a checkpoint, whose names begin with `PREFIX`."""
        self.take({name.removeprefix(PREFIX): tensor for name, tensor in saved.items()}, step)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """XXH3 of names, in order, and values; equal weights have equal digests on every device."""
    state = xxhash.xxh3_64()
    for name in sorted(tensors):
        state.update(name.encode())
        host = tensors[name].detach().cpu().contiguous()
        state.update(host.reshape(-1).view(torch.uint8).numpy().data)
    return str(state.hexdigest())


def _host(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.device.type == "cuda")
