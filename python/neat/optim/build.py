"""All optimizers of a run behind one object: step, state and the table of who updates what."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from neat.config.schema import Optim
from neat.optim.groups import Groups, group_parameters
from neat.optim.muon import Muon
from neat.optim.row_adagrad import RowAdagrad


class Optimizers:
    """Muon or AdamW for the hidden matrices, AdamW for the rest, row-wise Adagrad for hash tables."""

    def __init__(self, model: nn.Module, optim: Optim) -> None:
        self.config = optim
        self.groups = group_parameters(model)
        self._muon = _muon(self.groups, optim) if optim.name == "muon" else None
        self._adamw, self._names = _adamw(self.groups, optim)
        self._start_adamw()
        self._tables = [RowAdagrad(name, table, lr=optim.hash_lr) for name, table in self.groups.sparse]

    def step(self, scale: float, momentum: float) -> None:
        """One update of every parameter; `scale` multiplies all learning rates."""
        for group in self._adamw.param_groups:
            group["lr"] = group["base_lr"] * scale
        self._adamw.step()
        for table in self._tables:
            table.step(scale)
        if self._muon is not None:
            self._muon.step(scale, momentum)

    def dense_gradients(self) -> list[Tensor]:
        """Gradients that count towards the norm: all but those of the hash tables."""
        parameters = [m.parameter for m in self.groups.hidden] + [p for _, p in self.groups.other]
        return [p.grad for p in parameters if p.grad is not None]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Every state tensor by name; the tensors are the live ones."""
        state: dict[str, Tensor] = {}
        if self._muon is not None:
            state |= self._muon.state()
        for table in self._tables:
            state |= table.state()
        for parameter, name in self._names.items():
            state |= {f"adamw.{key}.{name}": value for key, value in self._adamw.state[parameter].items()}
        return state

    def load(self, saved: dict[str, Tensor]) -> None:
        """Copies `saved` into the live state.

        Raises:
            KeyError: A tensor is missing or unknown; the checkpoint belongs to another model or optimizer.
        """
        live = self.state()
        if live.keys() != saved.keys():
            raise KeyError(", ".join(sorted(live.keys() ^ saved.keys())[:3]))
        for name, tensor in live.items():
            tensor.copy_(saved[name])

    def table(self) -> list[tuple[str, str, int, float]]:
        """(parameters, optimizer, count, learning rate before the schedule) for people to read."""
        optim = self.config
        hidden = sum(m.parameter.numel() for m in self.groups.hidden)
        other = sum(p.numel() for _, p in self.groups.other)
        sparse = sum(p.numel() for _, p in self.groups.sparse)
        rows = [
            ("hidden matrices", optim.name, hidden, optim.lr),
            ("embeddings, head, vectors", "adamw", other, optim.adamw_lr),
        ]
        return rows + ([("hash tables", "row-wise adagrad", sparse, optim.hash_lr)] if sparse else [])

    def _parameters(self) -> Iterator[Tensor]:
        yield from (m.parameter for m in self.groups.hidden)
        yield from (p for _, p in self.groups.other)
        yield from (p for _, p in self.groups.sparse)

    def _start_adamw(self) -> None:
        """Creates AdamW's state tensors, which torch makes only at the first step: a state saved before it is whole."""
        for parameter in self._names:
            self._adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def _muon(groups: Groups, optim: Optim) -> Muon:
    return Muon(
        groups.hidden,
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        nesterov=optim.nesterov,
        steps=optim.newton_schulz_steps,
    )


def _adamw(groups: Groups, optim: Optim) -> tuple[torch.optim.AdamW, dict[Tensor, str]]:
    names = {parameter: name for name, parameter in groups.other}
    sets = [{"params": list(names), "weight_decay": 0.0, "base_lr": optim.adamw_lr}]
    if optim.name == "adamw":
        hidden = {matrix.parameter: matrix.name for matrix in groups.hidden}
        sets.append({"params": list(hidden), "weight_decay": optim.weight_decay, "base_lr": optim.lr})
        names |= hidden
    adamw = torch.optim.AdamW(
        sets, lr=optim.adamw_lr, betas=(optim.beta1, optim.beta2), eps=optim.eps, fused=_can_fuse(names)
    )
    return adamw, names


def _can_fuse(names: dict[Tensor, str]) -> bool:
    return all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in names)
