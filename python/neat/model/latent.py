"""The latent transformer: causal attention over patches, then a feed-forward layer, layer by layer, once or repeatedly.

B rows, P patch slots (or N bytes when the network has no patches), D width, R recursion depth. Recursion applies the
same layers again to what they made: `h_1 = layers(x)`, then `h_{r+1} = layers(x + g * norm(h_r))` with a learned vector
g. The input is injected anew each time, as in arXiv 2510.04871, but every application is causal: what position i holds
after any of them depends on positions up to i only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neat.config.schema import Config
from neat.model.active import Active, Kept
from neat.model.attention import Attention, Span, advance, make_span, new_clock, table_dtype
from neat.model.cache import Cache, part
from neat.model.experts.svf import adapt_outputs
from neat.model.halting import Halting
from neat.model.layers import feed_forward, rms_norm
from neat.model.levers import Levers
from neat.model.memory.module import Memory, Recall, make_recall
from neat.model.outputs import Latent


class LatentBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

    A layer with a memory has it where `memory.variant` says: "mag" adds it beside attention, "mal" before attention,
    "lmm" in its place (Titans, arXiv 2501.00663, sections 4.2-4.3; the paper multiplies the branches of "mag"). "mac"
    shows attention what the memory reads for each patch as a further key and value at the place of that patch, under
    the same mask; the memory is written from the layer's input, so nothing waits for attention (section 4.1 cuts the
    text into segments and writes what attention returns).
    """

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        network = config.network
        remembers = index in config.memory.layer_indices(network.layers)
        self.variant = config.memory.variant if remembers else "off"
        self.memory = Memory(config) if remembers else None
        self.attention = None if self.variant == "lmm" else _attention(config)
        self.feed_forward = feed_forward(network, network.width, network.ffn_width)

    def new_cache(self, rows: int, kept: int, *, recalls: bool) -> Cache:
        """What one pass through the layer keeps of `rows` streams.

        Args:
            rows: B.
            kept: Positions that attention looks back over.
            recalls: Whether the memory takes part in the pass.
        """
        cache: Cache = {}
        if self.attention is not None:
            shown = recalls and self.variant == "mac"
            cache["attention"] = self.attention.new_cache(rows, kept, context=shown)
        if self.memory is not None and recalls:
            cache["memory"] = self.memory.new_cache(rows)
        return cache

    def forward(
        self,
        x: Tensor,
        span: Span,
        recall: Recall | None = None,
        kept: Kept | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Applies the layer to [B, P, D], or to the active positions that `span` names.

        Args:
            x: What the layers before have made.
            span: What attention sees.
            recall: What memories need; None leaves the memory alone, neither read nor written.
            kept: What attention keeps of positions for when they have halted.
            cache: What this pass kept of the streams that the rows continue.
        """
        remembered = None
        if self.memory is not None and recall is not None:
            remembered = self.memory(rms_norm(x), recall, part(cache, "memory"))
        if remembered is not None and self.variant in ("mal", "lmm"):
            x = x + remembered
        if self.attention is not None:
            context = remembered if self.variant == "mac" else None
            attended = self.attention(rms_norm(x), span, context, kept, part(cache, "attention"))
            x = x + attended if remembered is None or self.variant != "mag" else x + attended + remembered
        changed: Tensor = x + self.feed_forward(rms_norm(x))
        return changed


def _attention(config: Config) -> Attention:
    network = config.network
    return Attention(
        network.width,
        network.heads,
        network.kv_heads,
        qk_norm=network.qk_norm,
        persistent=config.memory.persistent,
        levers=Levers.of(network),
    )


def _pass(application: int, step: int, place: int) -> str:
    """Name of the cache of one pass through one layer."""
    return f"{application}-{step}-{place}"


class LatentTransformer(nn.Module):
    """The stack that holds most of the parameters, [B, P, D] -> [B, P, D].

    Attributes:
        remembers: Read and write the memories.
        recurs: Apply the layers more than once.
        looped: The middle third of the layers runs twice; the trainer switches it on at `network.loop_middle`.
        skips_halted: Compute active positions only, which asks the device for their number once per application.
            false computes all of them and drops what halted ones would become: the same result, of static shape.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        network, recursion = config.network, config.recursion
        self.network, self.recursion, self.memory = network, recursion, config.memory
        self.remembers, self.recurs, self.looped, self.skips_halted = config.memory.on, True, False, True
        self.layers = nn.ModuleList(LatentBlock(config, index) for index in range(network.layers))
        if config.expert.count:
            adapt_outputs(self.layers)
        again = recursion.depth * recursion.micro_steps > 1
        self.injection = nn.Parameter(torch.empty(network.width)) if again else None
        self.skips = nn.Parameter(torch.empty(network.layers // 2, network.width)) if network.unet_skips else None
        self.halting = Halting(config) if recursion.halting else None

    def new_cache(self, rows: int, reach: int) -> Cache:
        """What all passes keep of `rows` streams; attention over the whole row keeps `reach` positions."""
        kept = self.network.window - 1 if self.network.window else reach
        order = self.order()
        cache: Cache = {"clock": new_clock(rows, kept, next(self.parameters()).device)}
        for application in range(self.depth):
            for step in range(self.recursion.micro_steps):
                for place, index in enumerate(order):
                    layer = self.layers[index]
                    assert isinstance(layer, LatentBlock)
                    recalls = self.remembers and application == step == 0 and order.index(index) == place
                    cache[_pass(application, step, place)] = layer.new_cache(rows, kept, recalls=recalls)
        return cache

    @property
    def depth(self) -> int:
        """Most applications that a position gets."""
        return self.recursion.depth if self.recurs else 1

    def forward(self, x: Tensor, document: Tensor, cache: Cache | None = None) -> Latent:
        """Applies all layers `recursion.depth` times; `document` [B, P] separates segments."""
        found = self._applied(x, document, cache)
        if cache is not None:
            advance(cache["clock"], document)
        return found

    def _applied(self, x: Tensor, document: Tensor, cache: Cache | None) -> Latent:
        span = self._span(x, document, cache, blocks=True)
        if self.halting is not None and self.recurs:
            return self._until_right(x, document, span, self.halting, cache)
        first = self._recall(x, document, cached=cache is not None)
        states = [self._once(x, None, span, first, cache=cache)]
        for application in range(1, self.depth):
            states.append(self._once(x, states[-1], span, cache=cache, application=application))
        return Latent(states[-1], tuple(states[:-1]))

    def progress(self, step: int, total: int) -> None:
        """Tells the network where in the run it is: `step` finished updates of `total`."""
        start = self.network.loop_middle
        self.looped = start > 0 and start * total <= step

    def metrics(self) -> dict[str, float]:
        """What recursion, halting and looped layers did in the last step, where they are on."""
        halting = {} if self.halting is None else self.halting.metrics()
        return halting | ({"latent/looped": float(self.looped)} if self.network.loop_middle else {})

    def order(self) -> list[int]:
        """Layers in the order in which one pass runs them."""
        num = len(self.layers)
        third = num // 3
        middle = list(range(third, num - third)) if self.looped else []
        return [*range(num - third), *middle, *range(num - third, num)] if middle else list(range(num))

    def _span(self, x: Tensor, document: Tensor, cache: Cache | None, *, blocks: bool) -> Span:
        network = self.network
        return make_span(
            document,
            network.window,
            network.width // network.heads,
            network.rope_theta,
            persistent=self.memory.persistent,
            rope_share=network.rope_share,
            taps=network.kv_conv,
            blocks=blocks,
            dtype=table_dtype(x),
            clock=part(cache, "clock"),
        )

    def _recall(self, x: Tensor, document: Tensor, *, cached: bool) -> Recall | None:
        """What memories need; they are read and written in the first pass only, which every position takes part in."""
        if not self.remembers:
            return None
        return make_recall(document, self.memory, torch.promote_types(x.dtype, torch.float32), cached=cached)

    def _once(
        self,
        x: Tensor,
        state: Tensor | None,
        span: Span,
        recall: Recall | None = None,
        kept: list[list[Kept]] | None = None,
        cache: Cache | None = None,
        application: int = 0,
    ) -> Tensor:
        """One application to the input `x` and the state that the last one left, None at the first."""
        for step in range(self.recursion.micro_steps):
            start = x if state is None else x + self._injected(state)
            caches = [part(cache, _pass(application, step, place)) for place in range(len(self.order()))]
            mine = None if kept is None else kept[step]
            state = self._layers(start, span, recall if step == 0 else None, mine, caches)
        assert state is not None
        return state

    def _injected(self, state: Tensor) -> Tensor:
        assert self.injection is not None
        return rms_norm(state) * self.injection.to(state.dtype)

    def _layers(
        self, x: Tensor, span: Span, recall: Recall | None, kept: list[Kept] | None, caches: list[Cache | None]
    ) -> Tensor:
        """One pass through the layers; each keeps its keys and values where `kept` is given."""
        num = len(self.layers)
        outputs: dict[int, Tensor] = {}
        order = self.order()
        for place, index in enumerate(order):
            if self.skips is not None and (mirror := num - 1 - index) < num // 2:
                x = x + 2 * torch.sigmoid(self.skips[mirror]).to(x.dtype) * outputs[mirror]
            first = order.index(index) == place
            mine = None if kept is None else kept[place]
            x = self.layers[index](x, span, recall if first else None, mine, caches[place])
            if self.skips is not None and index < num // 2:
                outputs[index] = x
        return x

    def _until_right(self, x: Tensor, document: Tensor, span: Span, halting: Halting, cache: Cache | None) -> Latent:
        """Applies the layers until each position is likely right; halted positions keep what they had.

        Their keys and values stay visible as their own last application left them.
        """
        kept = [[Kept() for _ in self.order()] for _ in range(self.recursion.micro_steps)]
        state = self._once(x, None, span, self._recall(x, document, cached=cache is not None), kept, cache)
        wide = self._span(x, document, cache, blocks=False)
        active = document >= 0
        states, logits = [state], [halting(state)]
        depth = active.long()
        for application in range(1, self.recursion.depth):
            active = active & ~halting.stops(logits[-1], application - 1)
            # The one look at a value per application; a compiled graph, whose shapes are static, makes none.
            gathers = self.skips_halted and not torch.compiler.is_compiling()
            num = int(active.sum(1).max()) if gathers else active.shape[1]
            if num:
                going = Active.of(active, num)
                start, before = going.pick(x), going.pick(state)
                changed = self._once(start, before, wide.only(going), None, kept, cache, application)
                state = going.put(changed, state)
                logits.append(going.put(halting(changed), logits[-1]))
            else:
                self._hold(wide, kept, cache, application)
                logits.append(logits[-1])
            states.append(state)
            depth = depth + active
        return Latent(state, tuple(states[:-1]), tuple(logits), depth)

    def _hold(self, span: Span, kept: list[list[Kept]], cache: Cache | None, application: int) -> None:
        """Lets later positions of a stream see, in an application that nobody got, what the last ones have left."""
        for step, passes in enumerate(kept if cache is not None else ()):
            for place, index in enumerate(self.order()):
                attention = self.layers[index].attention
                if isinstance(attention, Attention) and cache is not None:
                    attention.hold(span, passes[place], cache[_pass(application, step, place)]["attention"])

    def switchable(self) -> frozenset[str]:
        """Components that can be turned off; a memory in the place of attention cannot."""
        memory = {"memory"} if self.memory.variant in ("mag", "mal", "mac") else set()
        return frozenset(memory | ({"recursion"} if self.recursion.depth > 1 else set()))

    def activate(self, component: str, *, on: bool) -> None:
        """Turns a component of `switchable` off or on.

        Raises:
            ValueError: There is no such component in this network.
        """
        if component not in self.switchable():
            raise ValueError(f"{component} cannot be turned off here")
        self.remembers = on if component == "memory" else self.remembers
        self.recurs = on if component == "recursion" else self.recurs
