"""From ids to vectors: byte embedding, hash n-grams, n-gram features and smear.

B rows, N positions, D width, T hash tables. Every addition has an exact off switch: off means that its
parameters do not exist and its term is not computed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Network
from neat.model.batch import Batch
from neat.model.cache import Cache, keep_last, num_valid, part
from neat.model.layers import same_document, shift
from neat.model.vocabulary import NUM_BYTES, NUM_IDS

SMEAR_INPUTS = 12
"""Leading channels that decide how much of the previous byte is added."""


class ByteEmbedding(nn.Module):
    """Input vectors of all positions, [B, N] -> [B, N, D].

    `x = byte[id] + sum_n table_n[hash of the last n bytes] + project(sqrt(p_ngram))`, then smear. Hash n-grams
    are BLT's (arXiv 2412.09871, section 3.2.1); the n-gram distribution as an input lets the network decide how
    far to believe it.
    """

    def __init__(self, network: Network, width: int) -> None:
        super().__init__()
        self.byte = nn.Embedding(NUM_IDS, width)
        tables = len(network.hash_orders)
        # Sparse gradients: a step touches a few thousand rows of a table that may have a hundred thousand.
        self.hash = nn.Embedding(tables * network.hash_rows, width, sparse=True) if tables else None
        self.ngram = nn.Linear(NUM_BYTES, width, bias=False) if network.ngram_features else None
        self.smear = Smear(width) if network.smear else None

    def new_cache(self, rows: int) -> Cache:
        """What the embedding of `rows` streams keeps."""
        return {} if self.smear is None else {"smear": self.smear.new_cache(rows, self.byte.embedding_dim)}

    def forward(self, batch: Batch, images: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Sums what is known of each position; where it holds an image code, `images` [B, N, D] stands instead."""
        x: Tensor = self.byte(batch.ids)
        if self.hash is not None:
            assert batch.hashes is not None
            x = x + self._hashed(batch.hashes)
        if self.ngram is not None:
            assert batch.features is not None
            x = x + self.ngram(batch.features.to(self.ngram.weight.dtype))
        if images is not None:
            assert batch.codes is not None
            x = torch.where((batch.codes >= 0)[..., None], images.to(x.dtype), x)
        if self.smear is None:
            return x
        smeared: Tensor = self.smear(x, batch.document, part(cache, "smear"))
        return smeared

    def _hashed(self, rows: Tensor) -> Tensor:
        assert self.hash is not None
        bags = F.embedding_bag(rows.view(-1, rows.shape[-1]), self.hash.weight, mode="sum", sparse=True)
        return bags.view(*rows.shape[:2], -1)


class Smear(nn.Module):
    """Adds a gated share of the previous position: `x_t += s * sigmoid(w . x_t[:12]) * x_{t-1}`.

    The scale s starts at zero, so a fresh model is exactly the model without it; nothing crosses a document start.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(min(SMEAR_INPUTS, width), 1, bias=False)
        self.scale = nn.Parameter(torch.empty(1))

    def new_cache(self, rows: int, width: int) -> Cache:
        """Room for the last vector of `rows` streams before it was smeared; zero at the beginning."""
        return {"last": self.scale.new_zeros(rows, 1, width)}

    def forward(self, x: Tensor, document: Tensor, cache: Cache | None = None) -> Tensor:
        """Smears [B, N, D] within the segments of `document` [B, N]."""
        share = self.scale * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))
        if cache is None:
            return x + (share * same_document(document, 1)[..., None]).to(x.dtype) * shift(x, 1)
        last = cache["last"]
        cache["last"] = keep_last(last, x, num_valid(document))
        return x + share.to(x.dtype) * torch.cat((last.to(x.dtype), x[:, :-1]), dim=1)
