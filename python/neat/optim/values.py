"""What every parameter is to be updated with, by the configuration alone, and the check that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neat.config.optim import AVERAGING, Optim

HIDDEN, EMBEDDINGS, HEAD, VECTORS, TABLES = "hidden matrices", "embeddings", "head", "vectors", "hash tables"
"""Roles of parameters, in the order of every table."""

SHOWN = {"schedule_free": "schedule-free adamw", "gpa": "gpa adamw"}
"""Names of optimizers that differ from `optim.name`."""


@dataclass(frozen=True, slots=True)
class Values:
    """What one parameter is updated with.

    Attributes:
        optimizer: Its name, as people read it.
        lr: Learning rate before the schedule.
        weight_decay: Decoupled decay per unit of learning rate.
        betas: AdamW's two decays, the weights of an averaging one; empty for Muon and Adagrad.
        eps: Guard against division by zero; 0 where the optimizer has none.
    """

    optimizer: str
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, ...] = ()
    eps: float = 0.0


def planned(optim: Optim, role: str, kind: str) -> Values:
    """The values of a parameter of `role` and `kind` (see `neat.optim.groups`)."""
    factor = optim.lr_factor(kind)
    if role == TABLES:
        return Values("row-wise adagrad", optim.hash_lr * factor)
    if role == HIDDEN and optim.name in ("muon", "mugrokfast"):
        return Values(optim.name, optim.lr * factor, optim.weight_decay)
    own = {HIDDEN: optim.lr, EMBEDDINGS: optim.embedding_lr, HEAD: optim.head_lr}.get(role, 0.0)
    lr = (own or optim.adamw_lr) * factor
    decay = optim.weight_decay if role == HIDDEN else 0.0
    name = SHOWN[optim.name] if optim.name in AVERAGING else "adamw"
    return Values(name, lr, decay, averaging_betas(optim) or (optim.beta1, optim.beta2), optim.eps)


def averaging_betas(optim: Optim) -> tuple[float, ...]:
    """(mu_y, beta2) of schedule_free, (mu_x, mu_y, beta2) of gpa; empty for the others."""
    if optim.name == "schedule_free":
        return (optim.beta1, optim.beta2)
    return (optim.gpa_mu_x, optim.gpa_mu_y, optim.beta2) if optim.name == "gpa" else ()


def verify(expected: Mapping[str, Values], found: Mapping[str, Values]) -> None:
    """Checks that the optimizers hold for every parameter what the configuration says.

    Raises:
        RuntimeError: They do not; a mistake of the program, not of a person.
    """
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise RuntimeError(f"{name} is updated with {found.get(name)}, the configuration says {expected.get(name)}")
