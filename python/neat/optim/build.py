"""All optimizers of a run behind one object: step, state and the table of who updates what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from neat.config.optim import GROUPS
from neat.config.schema import Optim
from neat.errors import ConfigError
from neat.optim.adamw import AdamW, Assigned
from neat.optim.averaging import AveragedAdamW
from neat.optim.grokfast import Grokfast
from neat.optim.groups import Groups, group_parameters, kind_of, role_of
from neat.optim.muon import Muon
from neat.optim.outer import Snoo
from neat.optim.row_adagrad import RowAdagrad
from neat.optim.values import HIDDEN, TABLES, Values, planned, verify

BY_MUON = ("muon", "mugrokfast")
"""Optimizers whose hidden matrices go to Muon."""


class Row(NamedTuple):
    """Parameters that are updated alike: which, by what, how many, with which values before the schedule."""

    parameters: str
    optimizer: str
    num: int
    lr: float
    weight_decay: float
    details: str


class Optimizers:
    """Muon or an AdamW for the hidden matrices, an AdamW for the rest, row-wise Adagrad for hash tables.

    Args:
        model: Whose parameters are updated.
        optim: How.

    Raises:
        ConfigError: A learning rate is scaled for a part that this network does not have.
    """

    def __init__(self, model: nn.Module, optim: Optim) -> None:
        self.config = optim
        self.groups = group_parameters(model)
        self._roles = _roles(self.groups)
        _require_parts(optim, self._roles)
        plan = {name: planned(optim, role, kind_of(name)) for name, role in self._roles.items()}
        self._muon = _muon(self.groups, optim) if optim.name in BY_MUON else None
        self._adamw = _adamw(self.groups, optim, plan)
        self._tables = [RowAdagrad(name, table, lr=plan[name].lr) for name, table in self.groups.sparse]
        dense = list(self.dense())
        slow = optim.grokfast_lambda
        self._filter = Grokfast(dense, optim.grokfast_alpha, slow) if slow else None
        self._outer = _outer(dense, optim) if optim.outer == "snoo" else None
        self.values = self._values()
        verify(plan, self.values)

    @property
    def averaged(self) -> AveragedAdamW | None:
        """The optimizer that keeps an average of its own, where there is one."""
        return self._adamw if isinstance(self._adamw, AveragedAdamW) else None

    def step(self, scale: float, momentum: float) -> None:
        """One update of every parameter; `scale` multiplies all learning rates."""
        if self._filter is not None:
            self._filter.apply()
        self._adamw.step(scale)
        for table in self._tables:
            table.step(scale)
        if self._muon is not None:
            self._muon.step(scale, momentum)
        if self._outer is not None:
            self._outer.step()

    def dense(self) -> Iterator[tuple[str, Tensor]]:
        """(name, parameter) of all trained parameters but the hash tables."""
        yield from ((matrix.name, matrix.parameter) for matrix in self.groups.hidden)
        yield from self.groups.other

    def dense_gradients(self) -> list[Tensor]:
        """Gradients that count towards the norm: all but those of the hash tables."""
        return [gradient for _, parameter in self.dense() if (gradient := parameter.grad) is not None]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for _, parameter in [*self.dense(), *self.groups.sparse]:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Every state tensor by name; the tensors are the live ones."""
        parts = [self._muon, *self._tables, self._adamw, self._filter, self._outer]
        return {name: tensor for part in parts if part is not None for name, tensor in part.state().items()}

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

    def table(self) -> list[Row]:
        """Who updates what, read from the optimizers themselves, for people to read."""
        counts: dict[tuple[str, Values], int] = {}
        sizes = {name: parameter.numel() for name, parameter in [*self.dense(), *self.groups.sparse]}
        for name, role in self._roles.items():
            scaled = self.config.lr_factor(kind_of(name)) != 1.0
            key = (f"{role} ({kind_of(name)})" if scaled else role, self.values[name])
            counts[key] = counts.get(key, 0) + sizes[name]
        return [
            Row(label, values.optimizer, count, values.lr, values.weight_decay, self._details(values))
            for (label, values), count in counts.items()
        ]

    def _details(self, values: Values) -> str:
        """Momentum and everything else that a person tunes."""
        optim, found = self.config, list[str]()
        if values.optimizer in BY_MUON:
            start = min(optim.momentum_start, optim.momentum) if optim.momentum_warmup_share else optim.momentum
            rise = f"{start:g} to {optim.momentum:g}" if start < optim.momentum else f"{optim.momentum:g}"
            found.append(f"momentum {rise}" + (" (nesterov)" if optim.nesterov else ""))
        if values.betas:
            names = {3: ("mu_x", "mu_y", "beta2"), 2: ("beta1", "beta2")}[len(values.betas)]
            found += [f"{name} {beta:g}" for name, beta in zip(names, values.betas, strict=True)]
        if self._filter is not None and (values.betas or values.optimizer in BY_MUON):
            found.append(f"grokfast {optim.grokfast_lambda:g} (alpha {optim.grokfast_alpha:g})")
        if self._outer is not None and (values.betas or values.optimizer in BY_MUON):
            found.append(f"snoo every {optim.outer_every} (lr {optim.outer_lr:g}, momentum {optim.outer_momentum:g})")
        return ", ".join(found)

    def _values(self) -> dict[str, Values]:
        found = self._adamw.values()
        if self._muon is not None:
            found |= self._muon.values(self.config.name)
        for table in self._tables:
            found |= table.values()
        return found


def _roles(groups: Groups) -> dict[str, str]:
    """Role of every trained parameter, in the order of tables."""
    roles = dict.fromkeys((matrix.name for matrix in groups.hidden), HIDDEN)
    others = [(name, role_of(name, parameter)) for name, parameter in groups.other]
    return (
        roles | dict(sorted(others, key=lambda other: other[1])) | dict.fromkeys((n for n, _ in groups.sparse), TABLES)
    )


def _require_parts(optim: Optim, roles: dict[str, str]) -> None:
    present = {kind_of(name) for name in roles}
    for name, _ in optim.lr_scale:
        if not present & set(GROUPS.get(name, (name,))):
            own = "; expert vectors are trained with expert.lr" if name == "experts" else ""
            raise ConfigError(
                f"optim.lr_scale names {name}, of which this network trains nothing{own}",
                hint=f"leave it out; trained here: {', '.join(sorted(present))}",
            )


def _muon(groups: Groups, optim: Optim) -> Muon:
    return Muon(
        [replace(matrix, factor=optim.lr_factor(kind_of(matrix.name))) for matrix in groups.hidden],
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        nesterov=optim.nesterov,
        steps=optim.newton_schulz_steps,
    )


def _adamw(groups: Groups, optim: Optim, plan: dict[str, Values]) -> AdamW | AveragedAdamW:
    assigned: list[Assigned] = [(name, parameter, plan[name]) for name, parameter in groups.other]
    if optim.name not in BY_MUON:
        assigned += [(matrix.name, matrix.parameter, plan[matrix.name]) for matrix in groups.hidden]
    return AveragedAdamW(assigned) if optim.averages_itself else AdamW(assigned)


def _outer(dense: list[tuple[str, Tensor]], optim: Optim) -> Snoo:
    return Snoo(dense, every=optim.outer_every, lr=optim.outer_lr, momentum=optim.outer_momentum)
