"""Where each layer of a deeper stack comes from.

preserve: the layers of the source in their order, with new ones after them that write nothing at first, so that the
function stays; the rest of a new layer is a copy of the one before it (LLaMA Pro, arXiv 2401.02415). stack: the whole
stack again and again (G_stack, arXiv 2405.15319; Gong et al., ICML 2019). copy: every layer several times in a row
(interleaved stacking, arXiv 1710.10348). The last two change the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from neat.config.schema import Config


class Origin(NamedTuple):
    """A layer of the grown network: the layer of the source it is a copy of, and whether it was put in between."""

    source: int
    new: bool


def kinds(config: Config) -> list[str]:
    """What stands in each latent layer beside the feed-forward part: attention ("off"), or a memory of some variant."""
    remembering = config.memory.layer_indices(config.network.layers)
    return [config.memory.variant if layer in remembering else "off" for layer in range(config.network.layers)]


def latent_layers(old: Config, new: Config, method: str) -> list[Origin] | None:
    """The origin of each latent layer; None where no layer of the source fits where its memory, or none, is wanted."""
    return layers(kinds(old), kinds(new), method)


def local_layers(old: int, new: int, method: str) -> list[Origin]:
    """The origin of each layer of a local stack; without layers to begin with every one is new."""
    if not old:
        return [Origin(-1, True)] * new
    found = layers(["off"] * old, ["off"] * new, method)
    assert found is not None
    return found


def layers(old: Sequence[str], new: Sequence[str], method: str) -> list[Origin] | None:
    """The origin of each layer, for stacks whose layers are of these kinds."""
    if method in ("stack", "copy"):
        wanted = [i % len(old) if method == "stack" else i * len(old) // len(new) for i in range(len(new))]
        copied = [_nearest(wish, _serving(old, kind)) for wish, kind in zip(wanted, new, strict=True)]
        return None if None in copied else [Origin(source, False) for source in copied if source is not None]
    places = _places(old, new)
    if places is None:
        return None
    found = {place: Origin(layer, False) for layer, place in enumerate(places)}
    before = 0
    for place, kind in enumerate(new):
        before = found[place].source if place in found else before
        # What a new layer copies does not matter for the function; one of its own kind has all that it needs.
        alike = _nearest(before, [layer for layer, own in enumerate(old) if own == kind])
        found.setdefault(place, Origin(before if alike is None else alike, True))
    return [found[place] for place in range(len(new))]


def _serves(old: str, new: str) -> bool:
    """Whether a layer of one kind computes the same as one of another: a memory that adds may begin with zero."""
    return old == new or (old == "off" and new in ("mag", "mal"))


def _serving(kinds: Sequence[str], kind: str) -> list[int]:
    return [layer for layer, own in enumerate(kinds) if _serves(own, kind)]


def _nearest(wish: int, layers: Sequence[int]) -> int | None:
    return min(layers, key=lambda layer: (abs(layer - wish), layer), default=None)


def _places(old: Sequence[str], new: Sequence[str]) -> list[int] | None:
    """Rising places of the old layers, each where its kind serves, as near to even spacing as that allows."""
    infinite = float("inf")
    wanted = [-(-layer * len(new) // len(old)) for layer in range(len(old))]
    # cost[p]: the least total distance with the layers so far at or before place p; chosen: where the last one stands.
    cost = [0.0] * (len(new) + 1)
    chosen: list[list[int]] = []
    for layer, kind in enumerate(old):
        best, last = [infinite], [-1]
        for place, own in enumerate(new):
            # A layer would rather move by one place than gain a memory.
            here = cost[place] + abs(place - wanted[layer]) + 2 * (kind != own) if _serves(kind, own) else infinite
            best.append(min(best[-1], here))
            last.append(place if here < best[-2] else last[-1])
        cost = best
        chosen.append(last)
    if cost[-1] == infinite:
        return None
    places, limit = [], len(new)
    for last in reversed(chosen):
        places.append(last[limit])
        limit = last[limit]
    return places[::-1]
