"""NEAT trains byte-level language models from your own text on one machine.

`neat.load(path)` gives the model of a run or checkpoint. Importing this package imports neither torch nor the compiled
part; both come with the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neat.evaluate.load import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from neat.evaluate.load import load

        return load
    raise AttributeError(f"module 'neat' has no attribute {name!r}")
