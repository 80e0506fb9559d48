"""Files of expert vectors and dispatchers: safetensors that name the base weights they belong to.

R is the sum of the ranks of the adapted matrices. A vector scales the singular values of particular matrices; applied
to other weights it would be noise, so a file is refused unless the digest in it is that of the model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import xxhash
from torch import Tensor

from neat.errors import CheckpointError
from neat.model.experts.decomposition import digest
from neat.model.experts.svf import adapt_outputs
from neat.model.experts.vectors import PREFIX, Dispatcher, Experts
from neat.model.neat import NeatModel

VERSION = "1"
EXPERT, DISPATCHER = "neat-expert", "neat-dispatcher"


@dataclass(frozen=True, slots=True)
class ExpertFile:
    """One expert, or one dispatcher, as it stands on disk.

    Attributes:
        kind: `neat-expert` or `neat-dispatcher`.
        names: Name of the expert; for a dispatcher those of its outputs.
        base: Digest of the base weights it was trained on.
        tensors: `offsets` [R], or `hidden` [H, D] and `choice` [K, H].
        facts: What else the file says, such as method and accuracy.
    """

    kind: str
    names: tuple[str, ...]
    base: str
    tensors: dict[str, Tensor]
    facts: dict[str, str]


def weights_digest(model: NeatModel) -> str:
    """Digest of all weights but the experts', in hexadecimal; the same on every device."""
    found = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(PREFIX):
            found.update(f"{name} {digest(tensor)}\n".encode())
    return found.hexdigest()


def network_digest(model: NeatModel) -> str:
    """Digest of what a network computes with: its weights and, in a mixture, the adapted matrices.

    It names the owner of a state: what one mixture has read means nothing to another one or to the base.
    """
    sites = model.experts.sites if model.experts is not None else ()
    adapted = [tensor for site in sites for tensor in (site.merged, site.offsets) if tensor is not None]
    return f"{weights_digest(model)}+{digest(*adapted)}" if adapted else weights_digest(model)


def write(path: Path, content: ExpertFile) -> None:
    """Puts the file in place in one step.

    Raises:
        CheckpointError: The disk refuses.
    """
    metadata = content.facts | {
        "kind": content.kind,
        "version": VERSION,
        "names": json.dumps(content.names),
        "base": content.base,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in content.tensors.items()}
    draft = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, draft, metadata)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"`{path}` could not be written: {error}", hint="make room or check the disk") from error


def read(path: Path, kind: str) -> ExpertFile:
    """Reads a file of `kind`.

    Raises:
        CheckpointError: It is not there, damaged, of another kind or of another version.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file `{path}`", hint="training an expert writes expert-NAME.safetensors")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"`{path}` is damaged: {error}", hint="train it again, or use a copy") from error
    found, version = metadata.pop("kind", "no file of neat"), metadata.pop("version", "")
    if found != kind or version != VERSION:
        raise CheckpointError(f"`{path}` is {found} version {version or '-'}, {kind} version {VERSION} is needed")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(f"`{path}` holds numbers that are not finite", hint="train it again")
    try:
        names, base = tuple(map(str, json.loads(metadata.pop("names")))), metadata.pop("base")
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"`{path}` is damaged: it lacks a name or a base", hint="train it again") from error
    return ExpertFile(kind, names, base, tensors, metadata)


def equip(model: NeatModel) -> Experts:
    """The expert part of a network; one that was made without gets it, with all weights as they are."""
    if model.experts is None:
        adapt_outputs(model.latent.layers)
        # The width of the residual stream, which every adapted matrix writes into.
        width = next(iter(Experts(model.latent, 0, 1, 1).sites)).out_features
        experts = Experts(model.latent, 0, width, 1)
        model.experts = experts.to(next(model.parameters())).train(model.training)
    return model.experts


def add_expert(model: NeatModel, path: Path) -> str:
    """Takes an expert file into a network; returns the name of the expert.

    Raises:
        CheckpointError: It belongs to other base weights; both digests are named.
    """
    file = read(path, EXPERT)
    _require_base(model, file, path)
    experts = equip(model)
    offsets = file.tensors.get("offsets")
    if len(file.names) != 1 or offsets is None or offsets.shape != (experts.size,):
        raise CheckpointError(f"`{path}` is damaged: it holds no vector of {experts.size} numbers")
    experts.add(file.names[0], offsets)
    return file.names[0]


def load_dispatcher(model: NeatModel, path: Path) -> list[str]:
    """Takes a dispatcher into a network; returns the names of the experts it chooses among.

    Raises:
        CheckpointError: It belongs to other base weights or is damaged.
    """
    file = read(path, DISPATCHER)
    _require_base(model, file, path)
    experts = equip(model)
    hidden, choice = file.tensors.get("hidden"), file.tensors.get("choice")
    width = experts.sites[0].out_features
    if hidden is None or choice is None or hidden.dim() != choice.dim() or hidden.shape[1] != width:
        raise CheckpointError(f"`{path}` is damaged: it holds no classifier of vectors of width {width}")
    if choice.shape != (len(file.names), len(hidden)):
        raise CheckpointError(f"`{path}` is damaged: {len(file.names)} names for {choice.shape[0]} outputs")
    dispatcher = Dispatcher(width, len(hidden), len(choice))
    dispatcher.load_state_dict({"hidden": hidden, "choice": choice})
    experts.dispatcher = dispatcher.to(experts.vectors)
    experts.dispatched = list(file.names)
    return experts.dispatched


def _require_base(model: NeatModel, file: ExpertFile, path: Path) -> None:
    present = weights_digest(model)
    if file.base != present:
        raise CheckpointError(
            f"`{path}` belongs to other base weights: it was trained on {file.base}, this model is {present}",
            hint="use the checkpoint it was trained on, or train the expert again on this one",
        )


def describe(content: ExpertFile) -> Mapping[str, object]:
    """What a file says about itself."""
    return {"names": list(content.names), "base": content.base, **content.facts}
