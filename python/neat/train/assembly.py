"""A network with what turns text into its batches, whichever kind of folder both came from."""

from __future__ import annotations

from dataclasses import dataclass

from neat import _native
from neat.config.schema import Config
from neat.data.pipeline import make_preparer
from neat.model.neat import NeatModel
from neat.model.text.model import TextModel


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        model: Network, patcher and n-gram rows, in evaluation mode.
        ngram: The n-gram model of the run, the yardstick of every evaluation.
        config: The configuration it was trained with.
        step: Updates behind the weights.
    """

    model: TextModel
    ngram: _native.NgramModel
    config: Config
    step: int


def assemble(
    config: Config, network: NeatModel, ngram: _native.NgramModel, patcher: _native.Patcher, progress: tuple[int, int]
) -> Loaded:
    """A network with what turns text into its batches.

    Args:
        config: The configuration it was trained with.
        network: Its weights, in evaluation mode.
        ngram: The n-gram model of the run.
        patcher: Its calibrated patch rule.
        progress: Finished steps, and the length of the run.
    """
    preparer = make_preparer(config, _native.CrossFit.single(ngram), patcher)
    network.latent.progress(*progress)
    window = config.train.window
    model = TextModel(network, preparer, window=window, patch_slots=config.patch_slots(window))
    return Loaded(model, ngram, config, progress[0])
