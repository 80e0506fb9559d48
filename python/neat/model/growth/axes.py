"""How every kind of channel of one network becomes that of a larger one, or why it cannot.

Heads keep their width: the rotary frequencies, the norm of queries and keys and the scale of their products all belong
to it. So wider means more heads, here and in a memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from neat.config.schema import Config, Network
from neat.errors import Problem
from neat.model.bytes import SMEAR_INPUTS
from neat.model.growth.spread import Line, Spread
from neat.model.levers import GATE_INPUTS


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a network. Those of heads count heads; `Spread.blocks` makes channels of them.

    Attributes:
        stream: Vectors of byte positions as the embedding makes them: `local`, or `width` without patches.
        smeared: Leading channels of `stream` that the smear gate reads.
        gated: Leading channels of `width` that the gate of attention heads reads; None where they moved.
    """

    width: Spread
    local: Spread
    heads: Spread
    kv_heads: Spread
    local_heads: Spread
    memory_heads: Spread
    ffn: Spread
    encoder_ffn: Spread
    decoder_ffn: Spread
    image_ffn: Spread
    hash_rows: Spread
    stream: Spread
    smeared: Line | None
    gated: Line | None
    head_width: int
    local_head_width: int
    memory_head_width: int


def axes_between(old: Config, new: Config) -> tuple[Axes, list[Problem]]:
    """The axes from `old` to `new`, neither of them smaller, and what about them cannot be kept."""
    before, after = old.network, new.network
    problems = [*_head_problems(old, new), *_pooled_problems(before, after)]
    if before.hash_orders and after.hash_rows % before.hash_rows:
        problems.append(
            Problem(
                f"network.hash_rows is {after.hash_rows}, no multiple of the source's {before.hash_rows}",
                "only in a multiple does every n-gram find the row that it had",
            )
        )
    heads, kv_heads = _attention_heads(before, after)
    if heads is None:
        hint = "give it at least as many query heads per key-value head, or a multiple of its key-value heads"
        message = (
            f"network.kv_heads is {after.kv_heads} for {after.heads} heads: not all heads of the source find a place"
        )
        problems.append(Problem(message, hint))
        heads = Spread.repeated(before.heads, after.heads)
    local = Spread.residual(before.local_width, after.local_width)
    width = _width(before, after, local)
    stream = local if after.patches else width
    gated = width.leading(min(GATE_INPUTS, before.width), min(GATE_INPUTS, after.width))
    if gated is None and before.attention_gate:
        message = (
            f"network.local_width is {after.local_width}: the channels that network.attention_gate reads would move"
        )
        problems.append(Problem(message, f"keep it at {before.local_width}"))
    axes = Axes(
        width=width,
        local=local,
        heads=heads,
        kv_heads=kv_heads,
        local_heads=Spread.repeated(before.local_heads, after.local_heads),
        memory_heads=Spread.repeated(old.memory.heads, new.memory.heads),
        ffn=_hidden(before, after, "ffn_width"),
        encoder_ffn=_hidden(before, after, "encoder_ffn_width"),
        decoder_ffn=_hidden(before, after, "decoder_ffn_width"),
        image_ffn=Spread.repeated(old.vision.head_ffn_width, new.vision.head_ffn_width),
        hash_rows=Spread.repeated(before.hash_rows, after.hash_rows),
        stream=stream,
        smeared=stream.leading(min(SMEAR_INPUTS, stream.old), min(SMEAR_INPUTS, len(stream.source))),
        gated=gated,
        head_width=after.width // after.heads,
        local_head_width=after.local_width // after.local_heads,
        memory_head_width=new.network.width // new.memory.heads,
    )
    return axes, problems


def _hidden(old: Network, new: Network, key: str) -> Spread:
    """Hidden units; a squared unit has half as many again (see `feed_forward`). 0 means that there is no such part."""
    before, after = (getattr(network, key) or 1 for network in (old, new))
    if new.activation != "swiglu":
        before, after = before * 3 // 2, after * 3 // 2
    return Spread.repeated(before, after)


def _width(old: Network, new: Network, local: Spread) -> Spread:
    if not new.patches or "cross_attention" not in (new.pool, new.read):
        return Spread.residual(old.width, new.width)
    # Cross-attention cuts a latent vector into vectors of the local width, each with a norm of its own.
    vectors = Spread.residual(old.width // old.local_width, new.width // new.local_width)
    return vectors.times(local)


def _attention_heads(old: Network, new: Network) -> tuple[Spread | None, Spread]:
    """Query and key-value heads such that each query still meets its own keys; None where a query finds no place.

    Key-value head k copies head k mod G of the source. The query heads that share it go through those of the source's
    group in turn, and further copies of the group go on where the one before has ended.
    """
    kv_heads = Spread.repeated(old.kv_heads, new.kv_heads)
    before, after = old.heads // old.kv_heads, new.heads // new.kv_heads
    copy = torch.arange(new.kv_heads) // old.kv_heads
    slot = copy[:, None] * after + torch.arange(after)
    source = (kv_heads.source[:, None] * before + slot % before).flatten()
    if not bool(torch.bincount(source, minlength=old.heads).all()):
        return None, kv_heads
    return Spread(source, torch.ones(new.heads, dtype=torch.float64), old.heads), kv_heads


def _head_problems(old: Config, new: Config) -> list[Problem]:
    found = []
    pairs = [
        ("network.heads", "network.width", old.network.width, old.network.heads, new.network.width, new.network.heads)
    ]
    before, after = old.network, new.network
    if after.patches:
        widths = (before.local_width, before.local_heads, after.local_width, after.local_heads)
        attends = "cross_attention" in (after.pool, after.read) or "attention" in (
            after.encoder_mixer,
            after.decoder_mixer,
        )
        if attends:
            pairs.append(("network.local_heads", "network.local_width", *widths))
    if old.memory.on:
        pairs.append(("memory.heads", "network.width", before.width, old.memory.heads, after.width, new.memory.heads))
    for key, of, width, heads, new_width, new_heads in pairs:
        each = width // heads
        if new_width // new_heads != each:
            fits = new_width % each == 0
            message = (
                f"{key} is {new_heads}, which leaves heads of width {new_width // new_heads}; the source has {each}"
            )
            hint = f"set {key}={new_width // each}" if fits else f"make {of} a multiple of {each}, and {key} with it"
            found.append(Problem(message, hint))
    return found


def _pooled_problems(old: Network, new: Network) -> list[Problem]:
    if not new.patches or "cross_attention" not in (new.pool, new.read):
        return []
    before, after = old.width // old.local_width, new.width // new.local_width
    if after % before == 0:
        return []
    message = (
        f"network.width is {after} times network.local_width, and {before} times in the source: cross-attention, which "
        "cuts a latent vector into as many, cannot compute the same"
    )
    return [Problem(message, f"make it a multiple of {before} times network.local_width")]
