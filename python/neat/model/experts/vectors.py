"""Expert vectors and the classifier that chooses among them (Transformer², arXiv 2501.06252).

K experts, R the sum of the ranks of all adapted matrices, D latent width. An expert is the offset z - 1 of every
singular value, zero for the base. Mixtures are linear: z' - 1 = sum_k a_k (z_k - 1), the base taking the weight that is
left, so that all weights add up to one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.errors import UsageError
from neat.model.experts.decomposition import default_folder
from neat.model.experts.svf import AdaptedLinear

if TYPE_CHECKING:
    from neat.model.batch import Batch
    from neat.model.neat import NeatModel

PREFIX = "experts."
"""Where the parameters of this file stand in a state dictionary; all others are base weights."""


class Dispatcher(nn.Module):
    """Which expert a prompt asks for: mean latent vector [.., D] -> scores [.., K], by one hidden layer."""

    def __init__(self, width: int, hidden: int, count: int) -> None:
        super().__init__()
        # Not `nn.Linear`: these few numbers are no matrices for Muon, and making them draws no random numbers.
        self.hidden = nn.Parameter(torch.empty(hidden, width), requires_grad=False)
        self.choice = nn.Parameter(torch.empty(count, hidden), requires_grad=False)

    def forward(self, summary: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the experts."""
        normed = F.layer_norm(summary, summary.shape[-1:]).to(self.hidden.dtype)
        return F.linear(F.silu(F.linear(normed, self.hidden)), self.choice)


class Experts(nn.Module):
    """The expert vectors of a model and what applies them.

    Training on text gives them no gradient: they are trained on a finished base.

    Args:
        latent: The latent transformer, its matrices adapted.
        count: K.
        width: D.
        hidden: Hidden width of the dispatcher.

    Attributes:
        vectors: Offsets z - 1 of each expert, [K, R].
        names: Names of the experts, in the order of `vectors`; those behind them are free.
        dispatched: Names that the outputs of the dispatcher stand for; empty until one is loaded.
    """

    def __init__(self, latent: nn.Module, count: int, width: int, hidden: int) -> None:
        super().__init__()
        # A tuple, so that the matrices stay parameters of the latent transformer alone.
        self.sites = tuple(module for module in latent.modules() if isinstance(module, AdaptedLinear))
        self.vectors = nn.Parameter(torch.empty(count, self.size), requires_grad=False)
        self.dispatcher = Dispatcher(width, hidden, count)
        self.names: list[str] = []
        self.dispatched: list[str] = []

    @property
    def size(self) -> int:
        """R, numbers in one expert."""
        return sum(site.rank for site in self.sites)

    def factorise(self, folder: Path | None = None) -> float:
        """Decomposes the matrices where it has not been done; returns the largest relative error of a new one.

        Args:
            folder: Where factors are kept between processes; None takes the user's cache folder.
        """
        folder = folder or default_folder()
        found = [site.factorise(folder) for site in self.sites]
        return max((factors.error for factors in found if factors is not None), default=0.0)

    def split(self, offsets: Tensor) -> tuple[Tensor, ...]:
        """Cuts [.., R] into the vectors of the single matrices."""
        return torch.split(offsets, [site.rank for site in self.sites], dim=-1)

    @contextmanager
    def applied(self, offsets: Tensor) -> Iterator[None]:
        """The network computes with z = 1 + `offsets` ([R], or [B, R] for each row) inside the block.

        Gradients reach `offsets`. Whatever happens inside, the network is what it was after the block.
        """
        before = [(site, site.offsets) for site in self.sites]
        try:
            self.factorise()
            for site, part in zip(self.sites, self.split(offsets), strict=True):
                site.offsets = part
            yield
        finally:
            for site, earlier in before:
                site.offsets = earlier

    def merge(self, offsets: Tensor) -> None:
        """Computes with the adapted matrices of `offsets` [R] until `unmerge`."""
        self.factorise()
        for site, part in zip(self.sites, self.split(offsets), strict=True):
            site.merge(part)

    def unmerge(self) -> None:
        """Computes with the base weights again."""
        for site in self.sites:
            site.unmerge()

    @torch.no_grad()
    def add(self, name: str, offsets: Tensor) -> None:
        """Holds the expert `name`; one of that name is replaced, and there is always room for one more."""
        if name not in self.names:
            if len(self.names) == len(self.vectors):
                room = torch.cat((self.vectors, self.vectors.new_zeros(1, self.size)))
                self.vectors = nn.Parameter(room, requires_grad=False)
            self.names.append(name)
        self.vectors[self.names.index(name)] = offsets.to(self.vectors)

    def mixture(self, weights: Mapping[str, float]) -> Tensor:
        """Offsets z' - 1 of a mixture by name, [R].

        Raises:
            UsageError: An expert is not there.
        """
        total = self.vectors.new_zeros(self.size)
        for name, weight in weights.items():
            if name not in self.names:
                raise unknown_expert(name, self.names)
            total = total + weight * self.vectors[self.names.index(name)]
        return total


def unknown_expert(name: str, known: list[str]) -> UsageError:
    """What to say about a name that no expert has."""
    import difflib

    near = difflib.get_close_matches(name[:200], known, n=1)
    there = ", ".join(known) or "none"
    hint = f"did you mean {near[0]}? experts: {there}" if near else f"experts: {there}"
    return UsageError(f"there is no expert {name[:100]}", hint=hint)


def mixed(model: NeatModel, offsets: Tensor) -> NeatModel:
    """A network that computes with z = 1 + `offsets`, beside `model`, which stays as it is.

    Both share all weights; the adapted matrices are the only new memory. A state that one of them has filled means
    nothing to the other. `offsets` is [R], or [B, R] for batches of B rows with a mixture each.
    """
    assert model.experts is not None
    model.experts.factorise()
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)
    assert twin.experts is not None
    if offsets.dim() == 1:
        twin.experts.merge(offsets)
    else:
        for site, part in zip(twin.experts.sites, twin.experts.split(offsets), strict=True):
            site.offsets = part
    return twin


def latent_sums(model: NeatModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sum of the latent vectors of each row and how many there are: ([B, D], [B])."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((output.vectors, inputs[1]))

    handle = model.latent.register_forward_hook(keep)
    try:
        model.outputs(batch)
    finally:
        handle.remove()
    vectors, document = seen[-1]
    used = (document >= 0).to(vectors.dtype)
    return torch.einsum("bpd,bp->bd", vectors, used), used.sum(1)
