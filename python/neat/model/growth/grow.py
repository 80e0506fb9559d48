"""The weights, and what optimizers remember, of a network grown from another one.

The invariant of the method `preserve`: the grown network computes what its source did, up to rounding. Width grows the
same way with every method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neat.config.schema import Config
from neat.errors import CheckpointError, ConfigError, Problem
from neat.model.growth.axes import Axes, axes_between
from neat.model.growth.check import begins_without_effect, check
from neat.model.growth.depth import Origin, latent_layers, local_layers
from neat.model.growth.roles import Lines, lines_of
from neat.model.growth.spread import spread_gradient, spread_weight, unseen_noise

HASH = "embedding.hash.weight"
SKIPS = "latent.skips"
CODEC = "vision.codec."
EXPERTS = "experts."
STACKS = {
    "latent.layers.": "latent", "patching.encoder.": "encoder", "patching.decoder.": "decoder",
    "patching.reads.": "decoder",
}  # fmt: skip
WRITERS = re.compile(
    r"(attention\.out|feed_forward\.down|memory\.out)\.weight|patching\.reads\.\d+\.(out|project)\.weight"
    r"|patching\.(encoder|decoder)\.\d+\.convolution\.kernel"
)
"""What adds to a residual stream: where a new layer has zero, it writes nothing."""
STARTS_ON = ("embedding.ngram.weight", "feed_forward.down.weight")
"""What begins with an effect in a fresh network, but must not where it is added to a trained one."""
POWERS = {"muon.momentum": 1, "adamw.exp_avg": 1, "adamw.exp_avg_sq": 2}
"""What optimizers remember of each number: means of gradients, or of their squares."""
ROW_SQUARES = "row_adagrad.squares"
DISPLACEMENT = "lookahead"
COUNTER = "adamw.step"


@dataclass(frozen=True, slots=True)
class Growth:
    """A way from one network to another, made by `plan`.

    Attributes:
        changes: Settings that differ and change what is computed, although no weight.
    """

    old: Config
    new: Config
    axes: Axes
    layers: Mapping[str, list[Origin]]
    changes: tuple[str, ...]

    def weights(self, source: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Name and value of each grown parameter and buffer, one after the other, float64 where they have grown.

        Args:
            source: Those of the source, by name.
            live: Those of the fresh network; what the source lacks begins as it is there, without effect.

        Raises:
            CheckpointError: The source is not what its configuration says.
        """
        generator = torch.Generator().manual_seed(self.new.seed)
        for name, fresh in live.items():
            yield name, self._weight(name, fresh, source, generator)

    def optimizer(
        self, source: Mapping[str, Tensor], live: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The grown state of optimizers; what they remember of new layers and new parts is nothing.

        Args:
            source: State tensors of the source by name, `OPTIMIZER.KIND.PARAMETER`.
            live: Those of the fresh run.
            parameters: Parameters of the source by name.

        Raises:
            ConfigError: The source had other optimizers.
        """
        return {name: self._remembered(name, fresh, source, parameters).to(fresh.dtype) for name, fresh in live.items()}

    def _weight(self, name: str, fresh: Tensor, source: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        origin, is_new = self.origin(name)
        if name.startswith(EXPERTS):
            return self._experts(name, fresh, source)
        if origin not in source:
            return self._begun(name, fresh, is_new=is_new)
        if is_new and WRITERS.search(name):
            return torch.zeros_like(fresh)
        tensor = source[origin]
        if name.startswith(CODEC):
            return self._codec(tensor, fresh)
        if not tensor.is_floating_point():
            return tensor
        lines, blocked = self.lines(name, self._picked(name, tensor, fresh))
        grown = unseen_noise(spread_weight(blocked, lines), lines, self.new.init.noise, generator)
        return _fitting(name, grown.reshape(-1, *grown.shape[2:]) if name == HASH else grown, fresh)

    def _remembered(
        self, name: str, fresh: Tensor, source: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> Tensor:
        kind, parameter = _named(name)
        origin, is_new = self.origin(parameter)
        if is_new or origin not in parameters:
            return torch.zeros_like(fresh)
        found = source.get(f"{kind}.{origin}")
        if found is None:
            raise ConfigError(
                f"init.optimizer is map, but the optimizers of the source remember no {kind} of {parameter}",
                hint="set init.optimizer=reset, or the optim settings of the source",
            )
        if kind == COUNTER:
            return found
        if kind == ROW_SQUARES:
            # One number per row: the mean of its squared gradients over all channels.
            lines, blocked = self.lines(parameter, parameters[origin])
            assert lines[-1] is not None
            share = lines[-1].dual.square().mean()
            grown = spread_gradient(found.view(blocked.shape[:2]), lines[:2]) * share.to(found.device)
            return _fitting(name, grown.flatten(), fresh)
        lines, blocked = self.lines(parameter, self._picked(parameter, found, fresh))
        if kind == DISPLACEMENT:
            grown = spread_weight(blocked, lines)
        elif kind in POWERS:
            grown = spread_gradient(blocked, lines, POWERS[kind])
        else:
            raise ConfigError(
                f"init.optimizer is map, and nobody knows how {kind} grows", hint="set init.optimizer=reset"
            )
        return _fitting(name, grown.reshape(-1, *grown.shape[2:]) if parameter == HASH else grown, fresh)

    def lines(self, name: str, tensor: Tensor) -> tuple[Lines, Tensor]:
        """How a parameter grows, and the parameter with a dimension of its own for each axis."""
        if name == HASH:
            tensor = tensor.view(-1, self.old.network.hash_rows, tensor.shape[1])
        return lines_of(name, tensor.dim(), self.axes), tensor

    def origin(self, name: str) -> tuple[str, bool]:
        """The parameter of the source that `name` comes from, and whether it stands in a new layer."""
        for prefix, stack in STACKS.items():
            if name.startswith(prefix):
                layer, _, rest = name.removeprefix(prefix).partition(".")
                origin = self.layers[stack][int(layer)]
                return f"{prefix}{origin.source}.{rest}", origin.new
        return name, False

    def _begun(self, name: str, fresh: Tensor, *, is_new: bool) -> Tensor:
        """The first value of a parameter that the source lacks."""
        if not is_new and not begins_without_effect(name, self.old, self.new):
            raise CheckpointError(f"the source has no {name}", hint="it was made by another version of neat")
        off = name.endswith(STARTS_ON) or (is_new and WRITERS.search(name) is not None)
        return torch.zeros_like(fresh) if off else fresh

    def _experts(self, name: str, fresh: Tensor, source: Mapping[str, Tensor]) -> Tensor:
        """Expert vectors are zero in a base; a dispatcher says nothing before it is trained."""
        found = source.get(name)
        if found is not None and found.shape == fresh.shape:
            return found
        if found is not None and name.endswith(".vectors") and bool(found.count_nonzero()):
            raise ConfigError(
                "the source holds trained expert vectors, which belong to matrices of its own size",
                hint="grow from the run that they were trained on",
            )
        return fresh

    def _codec(self, tensor: Tensor, fresh: Tensor) -> Tensor:
        if self.new.vision.codec and not torch.equal(tensor.to(fresh), fresh):
            raise ConfigError(
                f"vision.codec is {self.new.vision.codec!r}: its codes mean something else than those of the source",
                hint="name the codec that the source was trained with",
            )
        return tensor

    def _picked(self, name: str, tensor: Tensor, fresh: Tensor) -> Tensor:
        """`tensor`, and of skips [L // 2, D] the one that each layer of the first half has from where it comes."""
        if name != SKIPS or len(tensor) == len(fresh):
            return tensor
        places = torch.arange(len(fresh))
        stacked = self.new.init.method == "stack"
        return tensor[places % len(tensor) if stacked else places * len(tensor) // len(fresh)]


def plan(old: Config, new: Config) -> Growth:
    """How the network of `new` grows from that of `old`, by the method in `new.init`.

    Raises:
        ConfigError: It cannot, with every reason.
    """
    method = new.init.method
    problems, changes = check(old, new)
    if not problems:
        problems += _depth_problems(old, new)
    if problems:
        raise ConfigError.of(problems)
    axes, problems = axes_between(old, new)
    latent = latent_layers(old, new, method)
    if latent is None:
        hint = "name the layers with a memory in memory.layers, so that those of the source keep theirs in their order"
        message = f"memory.layers: no layer of the source fits where memories stand in {new.network.layers} layers"
        problems.append(Problem(message, hint))
    if problems or latent is None:
        raise ConfigError.of(problems)
    before, after = old.network, new.network
    layers = {
        "latent": latent,
        "encoder": local_layers(before.encoder_layers, after.encoder_layers, method),
        "decoder": local_layers(before.decoder_layers, after.decoder_layers, method),
    }
    return Growth(old, new, axes, layers, tuple(changes))


def _depth_problems(old: Config, new: Config) -> Iterator[Problem]:
    before, after = old.network, new.network
    deeper = before.layers != after.layers
    if deeper and after.unet_skips and new.init.method == "preserve":
        yield Problem(
            "network.layers differs from the source, and network.unet_skips adds every layer to its mirror image: "
            "a layer in between cannot leave the function as it is",
            "set init.method=stack or copy, or keep the number of layers",
        )
    if deeper and after.unet_skips and before.layers < 2:
        yield Problem(
            "network.unet_skips is on, and the source has no pair of layers to take skips from", "leave it off"
        )


def _named(name: str) -> tuple[str, str]:
    """What a state tensor is and the parameter that it belongs to, of `OPTIMIZER.KIND.PARAMETER`."""
    if name.startswith(DISPLACEMENT + "."):
        return DISPLACEMENT, name.removeprefix(DISPLACEMENT + ".")
    optimizer, kind, parameter = name.split(".", 2)
    return f"{optimizer}.{kind}", parameter


def _fitting(name: str, grown: Tensor, fresh: Tensor) -> Tensor:
    if grown.shape != fresh.shape:
        raise CheckpointError(
            f"{name} of the source grows to {list(grown.shape)}, the network has {list(fresh.shape)}",
            hint="the source was made by another version of neat",
        )
    return grown
