"""Which parameter goes to which optimizer, decided in one place and printed as a table.

Hidden matrices -> Muon (or AdamW with decay); the hash table -> row-wise Adagrad; embeddings, the output head and
everything that is not a matrix -> AdamW without decay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from torch import Tensor, nn

from neat.model.components import part_of
from neat.model.layers import SplitLinear
from neat.optim.muon import Matrix
from neat.optim.values import EMBEDDINGS, HEAD, VECTORS

NOT_HIDDEN = ("head.weight", "embedding.", "vision.embedding.", "vision.head.codes.")
"""Name prefixes of matrices that face the ids, the bytes or the image codes and so are not hidden."""

_KINDS = {
    "hash n-grams": "embedding",
    "byte inputs": "embedding",
    "local encoder": "local",
    "patch pooling": "local",
    "patch reading": "local",
    "local decoder": "local",
    "byte head": "head",
    "memory": "memory",
    "expert vectors": "experts",
    "image codec": "vision",
    "image parts": "vision",
}
"""Part of the network -> kind; the latent transformer is told apart further."""
_LATENT = re.compile(r"latent\.layers\.\d+\.(attention|feed_forward)\.")


def kind_of(name: str) -> str:
    """Kind of the parameter `name` of a `NeatModel`, one of `neat.config.optim.KINDS`.

    Kinds are what learning rates are scaled by and what predictions are told apart by. `vectors` are the parameters of
    the latent transformer outside attention, feed-forward and memory: of recursion, halting and skips.
    """
    kind = _KINDS.get(part_of(name))
    if kind is not None:
        return kind
    inner = _LATENT.match(name)
    return inner.group(1) if inner else "vectors"


def role_of(name: str, parameter: Tensor) -> str:
    """Role of a dense parameter that is no hidden matrix: embedding, head or vector."""
    if parameter.ndim < 2:
        return VECTORS
    if name.startswith(("embedding.", "vision.embedding.")):
        return EMBEDDINGS
    return HEAD if name.startswith(("head.", "vision.head.codes.")) else VECTORS


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
