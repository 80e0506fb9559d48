"""States of texts on disk: one safetensors file that names the weights it belongs to.

The tensors are the cache of the network, the logits of the next bytes and the generators of the random choices; the
metadata says how far each text has been read, be it within an image, and how many images were written.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from neat._native import Reader
from neat.errors import CheckpointError, DataError
from neat.model.cache import Cache, leaves
from neat.model.experts.files import network_digest
from neat.model.images.grammar import Written
from neat.model.text.document import Symbols
from neat.model.text.reading import Progress
from neat.model.text.state import State

if TYPE_CHECKING:
    from neat.model.text.model import TextModel

FORMAT = "neat-state-1"
LOGITS, CHOICES, CACHE = "logits", "choices", "cache."


def save_state(state: State, path: str | Path) -> None:
    """Puts the file in place in one step.

    Raises:
        CheckpointError: It cannot be written.
    """
    target = Path(path)
    tensors = {CACHE + name: leaf.cpu().contiguous() for name, leaf in leaves(state.cache)}
    tensors[LOGITS] = state.logits.contiguous()
    if state.choices is not None:
        tensors[CHOICES] = torch.stack([generator.get_state() for generator in state.choices])
    metadata = {
        "format": FORMAT,
        "weights": network_digest(state.model.network),
        "texts": json.dumps(list(map(_described, state.texts, state.written))),
    }
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        safetensors.torch.save_file(tensors, partial, metadata)
        partial.replace(target)
    except (OSError, safetensors.SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"the state cannot be written to `{target}`: {error}") from error


def load_state(model: TextModel, path: str | Path, rows: int | None = None) -> State:
    """The texts of a file, to be gone on with by the model that has read them.

    Args:
        model: The same weights, patcher and n-gram model as then.
        path: What `save_state` wrote.
        rows: Texts expected; None takes any number.

    Raises:
        CheckpointError: The file is missing, damaged, of other weights or of another number of texts.
    """
    source = Path(path)
    tensors, metadata = _read(source)
    present = network_digest(model.network)
    if metadata.get("weights") != present:
        raise CheckpointError(
            f"`{source}` belongs to another model: its weights are {metadata.get('weights')}, these are {present}",
            hint="go on with the checkpoint and the experts that it was saved with",
        )
    texts = _texts(model, metadata, source)
    if rows is not None and len(texts) != rows:
        raise CheckpointError(f"`{source}` holds {len(texts)} texts, not {rows}", hint="select the rows before saving")
    state = State(model, len(texts))
    state.texts, state.written = [text for text, _ in texts], [written for _, written in texts]
    state.cache = _filled(state.cache, tensors, source, CACHE)
    state.logits = _checked(tensors, LOGITS, state.logits, source)
    state.choices = _generators(tensors.pop(CHOICES), len(texts), source) if CHOICES in tensors else None
    if tensors:
        raise CheckpointError(f"`{source}` holds {next(iter(tensors))}, which this model has no place for")
    return state


def _described(progress: Progress, written: Written) -> Mapping[str, Any]:
    anchor = None if progress.anchor is None else progress.anchor.state()
    symbols = progress.text
    text = base64.b64encode(symbols).decode("ascii") if isinstance(symbols, bytes) else list(symbols)
    described = {"reader": progress.reader.state(), "anchor": anchor, "text": text, "first": progress.first}
    return described | {"images": written.images, "gap": written.gap}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"`{path}` is not a state of a text", hint="one is made by --save-state")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no state `{path}`", hint="one is made by --save-state") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from error


def _texts(model: TextModel, metadata: Mapping[str, str], path: Path) -> list[tuple[Progress, Written]]:
    try:
        described = json.loads(metadata["texts"])
        texts = [_progress(model, text) for text in described]
    except DataError as error:
        raise CheckpointError(f"`{path}`: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"`{path}` is damaged: it does not say how far its texts have been read") from error
    if not texts or any((text.anchor is None) != (model.windows is None) for text, _ in texts):
        raise CheckpointError(f"`{path}` is damaged: its texts are not read the way this model reads")
    return texts


def _progress(model: TextModel, text: Mapping[str, Any]) -> tuple[Progress, Written]:
    anchor = None if text["anchor"] is None else Reader(model.preparer, text["anchor"])
    reader = Reader(model.preparer, text["reader"])
    kept, gap = text["text"], text.get("gap")
    symbols: Symbols = tuple(map(int, kept)) if isinstance(kept, list) else base64.b64decode(kept, validate=True)
    written = Written(int(text.get("images", 0)), None if gap is None else int(gap))
    return Progress(reader, anchor, symbols, bool(text["first"])), written


def _filled(cache: Cache, tensors: dict[str, Tensor], path: Path, prefix: str) -> Cache:
    """The cache with the tensors of the file, which are taken out of `tensors`."""
    return {
        name: _checked(tensors, prefix + name, value, path)
        if isinstance(value, Tensor)
        else _filled(value, tensors, path, f"{prefix}{name}.")
        for name, value in cache.items()
    }


def _checked(tensors: dict[str, Tensor], name: str, like: Tensor, path: Path) -> Tensor:
    found = tensors.pop(name, None)
    if found is None:
        raise CheckpointError(f"`{path}` is damaged: it lacks {name}")
    if found.shape != like.shape or found.dtype != like.dtype:
        there, here = (f"{tensor.dtype} {list(tensor.shape)}" for tensor in (found, like))
        raise CheckpointError(
            f"{name} in `{path}` is {there}, this model needs {here}",
            hint="go on with the same window and the same components as then",
        )
    if not bool(found.isfinite().all()):
        raise CheckpointError(f"{name} in `{path}` holds numbers that are not finite")
    return found.to(like.device)


def _generators(states: Tensor, rows: int, path: Path) -> list[torch.Generator]:
    generators = [torch.Generator() for _ in range(rows)]
    try:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state.clone())
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{CHOICES} in `{path}` are not the states of {rows} generators") from error
    return generators
