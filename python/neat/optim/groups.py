"""Which parameter goes to which optimizer, decided in one place and printed as a table.

Hidden matrices -> Muon (or AdamW with decay); the hash table -> row-wise Adagrad; embeddings, the output head and
everything that is not a matrix -> AdamW without decay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from neat.model.layers import SplitLinear
from neat.optim.muon import Matrix

NOT_HIDDEN = ("head.weight", "embedding.", "vision.embedding.", "vision.head.codes.")
"""Name prefixes of matrices that face the ids, the bytes or the image codes and so are not hidden."""


@dataclass(slots=True)
class Groups:
    """The trained parameters of a model, each in exactly one group."""

    hidden: list[Matrix] = field(default_factory=list)
    sparse: list[tuple[str, Tensor]] = field(default_factory=list)
    other: list[tuple[str, Tensor]] = field(default_factory=list)


def group_parameters(model: nn.Module) -> Groups:
    """Sorts the parameters of `model` that are trained; a parameter that two modules share is met once."""
    groups = Groups()
    splits = {id(m.weight): m.splits for m in model.modules() if isinstance(m, SplitLinear)}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding) and m.sparse}
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in tables:
            groups.sparse.append((name, parameter))
        elif id(parameter) in linear and not name.startswith(NOT_HIDDEN):
            parts = splits.get(id(parameter), (parameter.shape[0],))
            groups.hidden.append(Matrix(name, parameter, parts))
        else:
            groups.other.append((name, parameter))
    return groups
