"""Which channels each dimension of each parameter holds, for every parameter of a `NeatModel`.

A stacked projection holds several kinds of channels in one dimension, one behind the other. None stands for a dimension
that does not grow. What no row names does not grow at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from neat.model.growth.axes import Axes
from neat.model.growth.spread import Line, Spread

Lines = tuple[Line | None, ...]
Role = tuple[str, Callable[[Axes], Lines]]


def lines_of(name: str, dims: int, axes: Axes) -> Lines:
    """How each dimension of the parameter `name` grows, which has `dims` of them."""
    for pattern, lines in _ROLES:
        if re.fullmatch(pattern, name):
            found = lines(axes)
            assert len(found) == dims, name
            return found
    return (None,) * dims


def _stacked(*spreads: Spread) -> Line:
    return Line.joined([spread.copy() for spread in spreads])


def _local(axes: Axes) -> Spread:
    return axes.local_heads.blocks(axes.local_head_width)


def _heads(axes: Axes) -> Spread:
    return axes.heads.blocks(axes.head_width)


def _kv(axes: Axes) -> Spread:
    return axes.kv_heads.blocks(axes.head_width)


def _remembered(axes: Axes) -> Spread:
    return axes.memory_heads.blocks(axes.memory_head_width)


def _feed_forward(prefix: str, axes: Callable[[Axes], tuple[Spread, Spread]]) -> tuple[Role, ...]:
    """Gated or squared, between the hidden units and the stream that `axes` names."""

    def gated(a: Axes) -> Lines:
        hidden, stream = axes(a)
        return _stacked(hidden, hidden), stream.read()

    def squared(a: Axes) -> Lines:
        hidden, stream = axes(a)
        return hidden.copy(), stream.read()

    def down(a: Axes) -> Lines:
        hidden, stream = axes(a)
        return stream.write(), hidden.read()

    return (prefix + r"gate_up\.weight", gated), (prefix + r"up\.weight", squared), (prefix + r"down\.weight", down)


_LATENT = r"latent\.layers\.\d+\."
_LOCAL = r"patching\.(encoder|decoder)\.\d+\."
_READ = r"patching\.reads\.\d+\."

_ROLES: tuple[Role, ...] = (
    (r"embedding\.byte\.weight", lambda a: (None, a.stream.write())),
    # A table of several orders is one block of rows per order; `grow.py` takes it apart.
    (r"embedding\.hash\.weight", lambda a: (None, a.hash_rows.copy(), a.stream.write())),
    (r"embedding\.ngram\.weight", lambda a: (a.stream.write(), None)),
    (r"embedding\.smear\.gate\.weight", lambda a: (None, a.smeared)),
    (r"head\.weight", lambda a: (None, a.stream.read())),
    # Local encoder and decoder.
    (_LOCAL + r"convolution\.kernel", lambda a: (None, a.local.copy())),
    (_LOCAL + r"attention\.qkv\.weight", lambda a: (_stacked(*[_local(a)] * 3), a.local.read())),
    (_LOCAL + r"attention\.out\.weight", lambda a: (a.local.write(), _local(a).read())),
    *_feed_forward(r"patching\.encoder\.\d+\.feed_forward\.", lambda a: (a.encoder_ffn, a.local)),
    *_feed_forward(r"patching\.decoder\.\d+\.feed_forward\.", lambda a: (a.decoder_ffn, a.local)),
    # Between the clocks. Pooling's queries are not projected after their norm: they carry the scale of the stream.
    (r"patching\.pool\.project\.weight", lambda a: (a.width.write(), Line.joined([a.local.read()] * 2))),
    (r"patching\.pool\.query\.weight", lambda a: (a.width.write(), a.local.read())),
    (
        r"patching\.pool\.key_value\.weight",
        lambda a: (Line.joined([a.local.undo(), _local(a).copy()]), a.local.read()),
    ),
    (r"patching\.pool\.out\.weight", lambda a: (a.local.write(), _local(a).read())),
    (_READ + r"project\.weight", lambda a: (a.local.write(), a.width.read())),
    (_READ + r"query\.weight", lambda a: (_local(a).copy(), a.local.read())),
    (_READ + r"key_value\.weight", lambda a: (_stacked(_local(a), _local(a)), a.local.read())),
    (_READ + r"out\.weight", lambda a: (a.local.write(), _local(a).read())),
    # Latent transformer.
    (_LATENT + r"attention\.qkv\.weight", lambda a: (_stacked(_heads(a), _kv(a), _kv(a)), a.width.read())),
    (_LATENT + r"attention\.out\.weight", lambda a: (a.width.write(), _heads(a).read())),
    (_LATENT + r"attention\.persistent", lambda a: (None, a.kv_heads.copy(), None, None)),
    (_LATENT + r"attention\.query_gain\.gain", lambda a: (a.heads.copy(),)),
    (_LATENT + r"attention\.exclusive\.share", lambda a: (a.heads.copy(),)),
    (_LATENT + r"attention\.convolution\.kernel", lambda a: (None, _stacked(a.kv_heads, a.kv_heads), None)),
    (_LATENT + r"attention\.head_gate\.weight", lambda a: (a.gated, a.heads.copy())),
    *_feed_forward(_LATENT + r"feed_forward\.", lambda a: (a.ffn, a.width)),
    (_LATENT + r"memory\.project\.weight", lambda a: (_stacked(*[_remembered(a)] * 4), a.width.read())),
    (_LATENT + r"memory\.convolution\.kernel", lambda a: (None, _stacked(*[_remembered(a)] * 3))),
    (_LATENT + r"memory\.gates", lambda a: (_stacked(*[a.memory_heads] * 3), a.width.read())),
    (_LATENT + r"memory\.gate_bias", lambda a: (None, a.memory_heads.copy())),
    (_LATENT + r"memory\.(first|second)", lambda a: (a.memory_heads.copy(), None, None)),
    (_LATENT + r"memory\.(out|context)\.weight", lambda a: (a.width.write(), _remembered(a).read())),
    (r"latent\.injection", lambda a: (a.width.copy(),)),
    (r"latent\.skips", lambda a: (None, a.width.copy())),
    (r"latent\.halting\.hidden\.weight", lambda a: (None, a.width.read())),
    # Images.
    (r"vision\.embedding\.project\.weight", lambda a: (a.stream.write(), None)),
    (r"vision\.embedding\.(row|column)", lambda a: (None, a.stream.write())),
    *_feed_forward(r"vision\.head\.layers\.\d+\.", lambda a: (a.image_ffn, a.width)),
    (r"vision\.head\.codes\.weight", lambda a: (None, a.width.read())),
)
