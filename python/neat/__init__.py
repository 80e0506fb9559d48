"""NEAT trains byte-level language models from your own text on one machine.

`neat.load(path)` gives the model of a run or checkpoint, `neat.from_pretrained(repository)` one that was published.
Importing this package imports neither torch nor the compiled part; both come with the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neat.evaluate.load import load
    from neat.hub.pretrained import NeatModel, from_pretrained
    from neat.hub.push import push_to_hub

__version__ = "0.1.0"
__all__ = ["NeatModel", "__version__", "from_pretrained", "load", "push_to_hub"]

_PUBLIC = {
    "load": "neat.evaluate.load",
    "NeatModel": "neat.hub.pretrained",
    "from_pretrained": "neat.hub.pretrained",
    "push_to_hub": "neat.hub.push",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'neat' has no attribute {name!r}")
