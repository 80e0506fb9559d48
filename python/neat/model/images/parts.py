"""Images as codes in the stream of bytes (MVoT, arXiv 2501.07542): in through a frozen codebook, out through a head.

B rows, N positions, P patch slots, D latent width, E width of embedded positions, K codes, C width of a codebook entry,
G codes per side of an image. Each code is a patch of its own, so the latent vector of the patch that holds code i
predicts code i + 1, and that of the patch that ends with the beginning of the image predicts code 0. The invariant:
nothing here touches a position that is not an image code, and a batch without `codes` runs none of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Config
from neat.model.batch import Batch
from neat.model.images.codec import make_codec
from neat.model.layers import FeedForward, rms_norm

Pixels = npt.NDArray[np.uint8]


class ImageParts(nn.Module):
    """What images add to the network: the codec, the embedding of codes and the head that predicts them.

    Args:
        config: Its `vision` section, and the latent width D.
        width: E.
    """

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        vision = config.vision
        self.settings = vision
        # Frozen: a codebook that learns with the discrepancy loss would pull all codes together.
        self.codec = make_codec(vision)
        codes, code_width = self.codec.codebook.shape
        self.embedding = CodeEmbedding(code_width, vision.grid, width)
        self.head = ImageHead(config.network.width, vision.head_layers, vision.head_ffn_width, codes)

    def codebook(self) -> Tensor:
        """The entries as the network sees them, [K, C]: see `standardised`."""
        return standardised(self.codec.codebook)

    @torch.no_grad()
    def pixels(self, codes: Sequence[int]) -> Pixels:
        """RGB pixels of the image of these codes, uint8 [H, H, 3]."""
        book = self.codec.codebook
        drawn = self.codec.decode(torch.tensor([codes], device=book.device))[0]
        pixels: Pixels = (drawn.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return pixels

    @torch.no_grad()
    def codes(self, pixels: Pixels) -> list[int]:
        """Codes of an image of RGB pixels, uint8 [H, H, 3]."""
        book = self.codec.codebook
        image = torch.tensor(pixels).to(book.device, book.dtype).permute(2, 0, 1) / 255
        found: list[int] = self.codec.encode(image[None])[0].tolist()
        return found

    def embed(self, batch: Batch) -> Tensor | None:
        """Vectors for the positions that hold a code, [B, N, E], arbitrary elsewhere; None for a batch without."""
        if batch.codes is None:
            return None
        assert batch.cell is not None
        vectors: Tensor = self.embedding(batch.codes, batch.cell, self.codebook())
        return vectors


def standardised(codebook: Tensor) -> Tensor:
    """The codebook moved to mean zero and scaled to a mean square of one, [K, C].

    Distances keep their proportions, whatever the units of the codec: the mean squared distance of two entries
    drawn at random (the same one twice allowed) becomes 2.
    """
    centred = codebook - codebook.mean(0)
    return centred * centred.square().mean().rsqrt()


class CodeEmbedding(nn.Module):
    """Input vectors of image codes: `project(entry of the codebook) + row + column`, -> [B, N, E]."""

    def __init__(self, code_width: int, grid: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(code_width, width, bias=False)
        self.row = nn.Parameter(torch.empty(grid, width))
        self.column = nn.Parameter(torch.empty(grid, width))

    def forward(self, codes: Tensor, cell: Tensor, codebook: Tensor) -> Tensor:
        """Embeds codes [B, N] at cells [B, N] of their images; where they are -1 the result means nothing."""
        place = (self.row[:, None] + self.column).flatten(0, 1)
        # The whole codebook is projected, not each position: there are fewer entries than positions.
        seen = F.embedding(codes.clamp(min=0), self.project(codebook))
        return seen + F.embedding(cell.clamp(min=0), place)


class ImageHead(nn.Module):
    """From latent vectors to the next image code: feed-forward layers of its own, then logits, [B, P, D] -> [B, P, K].

    Logits are float32 (float64 for a float64 model). They are over image codes only: bytes have another head, so no
    probability can leave an image for the text.
    """

    def __init__(self, width: int, layers: int, hidden: int, codes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FeedForward(width, hidden) for _ in range(layers))
        self.codes = nn.Linear(width, codes, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Predicts the code after each patch; slots that no code follows get a prediction that nobody scores."""
        for layer in self.layers:
            vectors = vectors + layer(rms_norm(vectors))
        logits: Tensor = self.codes(rms_norm(vectors))
        return logits if logits.dtype.itemsize > 2 else logits.float()
