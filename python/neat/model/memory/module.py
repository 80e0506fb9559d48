"""The memory of a latent layer: a small network per head that learns from every patch while it reads (Titans).

arXiv 2501.00663, section 3; the rule it learns by is in `rule.py`. Queries, keys and values are projections of
the layer's input through SiLU and a short convolution; forgetting, momentum and inner learning rate are functions of
the same input, per head. What is learned lasts to the end of the document: it is state of a stream, never of the
module, so rows cannot influence each other.

B rows, N patches, D width, H heads, K = D / H, F hidden width, C patches per chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.memory import Memory as Settings
from neat.config.schema import Config
from neat.model.cache import Cache, num_valid, part
from neat.model.layers import SplitLinear, rms_norm
from neat.model.memory.metrics import Meter, Probe, report_gate
from neat.model.memory.rows import learn
from neat.model.memory.rule import begin, places
from neat.model.memory.stream import new_stream, resume
from neat.model.memory.terms import Place, Rule, Weights, Writes
from neat.model.mixers import CausalConvolution, LocalContext, reach_back

HALF_UNIT = bool(torch.cpu._is_amx_tile_supported())
"""Whether this CPU has a unit for products in bfloat16; asked once, as a compiled graph cannot."""
UNIT = 1e-6
"""Length below which a query or key is not stretched to 1."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What all memories of one forward pass share.

    Attributes:
        document: Document of each patch, -1 where none stands, [B, N].
        context: How far the short convolution reaches.
        chunks: The chunks of the row; empty when a stream is continued, whose layers know where they stand.
    """

    document: Tensor
    context: LocalContext
    chunks: Sequence[Place]


def make_recall(document: Tensor, settings: Settings, dtype: torch.dtype, *, cached: bool = False) -> Recall:
    """Prepares rows whose documents are `document` [B, N], for memories whose states have type `dtype`."""
    if not cached:
        context = LocalContext(None, reach_back(document, settings.conv_taps, dtype))
        return Recall(document, context, places(document, settings.chunk))
    # A stream is one document: all that the convolution has kept and all that is new lie in reach.
    reach = torch.ones(1, settings.conv_taps - 1 + document.shape[1], 1, dtype=dtype, device=document.device)
    return Recall(document, LocalContext(None, (reach,) * (settings.conv_taps - 1), num_valid(document)), ())


class Memory(nn.Module):
    """Writes every patch of [B, N, D] into the memory of its document and returns what its query reads, [B, N, D].

    `out(norm(y) * sigmoid(gate))`, y being the reads; `out` starts at zero, so a fresh memory adds nothing. With
    `memory.variant = "mac"` the same is called `context` and starts like any other matrix, as attention reads it.

    Attributes:
        probe: Receives the metrics of each forward pass, see `memory_metrics.Meter`; None costs nothing.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.settings, width = config.memory, config.network.width
        heads, hidden = self.settings.heads, self.settings.hidden
        self.project = SplitLinear(width, (width,) * 4)
        self.convolution = CausalConvolution(3 * width, self.settings.conv_taps)
        self.gates = nn.Parameter(torch.empty(3 * heads, width))
        self.gate_bias = nn.Parameter(torch.empty(3, heads))
        self.first = nn.Parameter(torch.empty(heads, width // heads, hidden))
        self.second = nn.Parameter(torch.empty(heads, hidden, width // heads))
        last = nn.Linear(width, width, bias=False)
        shown = self.settings.variant == "mac"
        self.out = None if shown else last
        self.context = last if shown else None
        self.probe: Probe | None = None

    def forward(self, x: Tensor, recall: Recall, cache: Cache | None = None) -> Tensor:
        """Writes each patch and answers its query; from a fresh memory, or from where the streams of `cache` stand."""
        width = x.shape[-1]
        mixed, gate = self.project(x).split((3 * width, width), dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            exact = self._exact(mixed.dtype)
            # Products follow the projections where that is faster.
            slow = x.device.type == "cpu" and (cache is not None or not HALF_UNIT)
            rule = self._rule(exact if slow else mixed.dtype)
            writes = self._writes(mixed.to(exact), x.to(exact), recall, cache)
            reads = rms_norm(self._learn(writes, recall, rule, cache)).transpose(1, 2).flatten(2)
            gate = gate.sigmoid()
            gated = reads.to(gate.dtype) * gate
        if self.probe is not None:
            report_gate(gate, recall.document >= 0, self.probe)
        last = self.out if self.context is None else self.context
        assert last is not None
        found: Tensor = last(gated)
        return found

    def new_cache(self, rows: int) -> Cache:
        """The state of `rows` streams before their first patch."""
        exact = self._exact(self.first.dtype)
        start = Weights(self.first.detach().to(exact), self.second.detach().to(exact))
        return new_stream(start, rows, gram=self.settings.gram) | {"convolution": self.convolution.new_cache(rows)}

    def _exact(self, dtype: torch.dtype) -> torch.dtype:
        return torch.promote_types(torch.promote_types(dtype, self.first.dtype), torch.float32)

    def _rule(self, product: torch.dtype) -> Rule:
        settings = self.settings
        return Rule(settings.clip, settings.gram, settings.surprise_threshold, product, settings.recompute)

    def _learn(self, writes: Writes, recall: Recall, rule: Rule, cache: Cache | None) -> Tensor:
        """Reads of all patches, [B, H, N, K]."""
        meter = Meter() if self.probe is not None else None
        watch = None if meter is None else meter.add
        if cache is None:
            fresh = Weights(*(weights.to(writes.query.dtype) for weights in (self.first, self.second)))
            reads = learn(begin(fresh, writes.query.shape[0]), fresh, writes, recall.chunks, rule, watch)
        else:
            reads = resume(cache, writes, num_valid(recall.document), self.settings.chunk, rule, watch)
        if meter is not None and self.probe is not None:
            meter.report(self.probe)
        return reads

    def _writes(self, mixed: Tensor, x: Tensor, recall: Recall, cache: Cache | None) -> Writes:
        """Queries, keys, values and the three gates of each patch, from projections [B, N, 3D] and input [B, N, D]."""
        batch, num = x.shape[:2]
        mixed = self.convolution(F.silu(mixed), recall.context, part(cache, "convolution"))
        mixed = mixed.view(batch, num, 3, self.settings.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query, key = (F.normalize(vectors, dim=-1, eps=UNIT) for vectors in (query, key))
        logits = F.linear(x, self.gates.to(x.dtype)).view(batch, num, 3, -1) + self.gate_bias.to(x.dtype)
        forgetting, momentum, rate = logits.permute(2, 0, 3, 1)
        log_momentum = F.logsigmoid(momentum)
        # Momentum m adds a step up to 1 / (1 - m) times; this keeps the sum below `max_rate`.
        rate = self.settings.max_rate * (-torch.expm1(log_momentum)) * rate.sigmoid()
        return Writes(query, key, value, F.logsigmoid(-forgetting), log_momentum, rate)
