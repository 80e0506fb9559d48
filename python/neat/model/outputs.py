"""What one forward pass returns besides the logits that everybody wants.

B rows, N byte positions, P latent positions, V byte classes (256, and one more where images may begin), K image codes,
C width of a codebook entry.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Latent(NamedTuple):
    """What the latent transformer returns.

    Attributes:
        vectors: State after the last application, [B, P, D].
        earlier: State after each application before it, empty unless recursion is on.
        halting: Logit of being right after each application, one [B, P] each, empty unless halting is on.
        depth: Applications that each position got, int64 [B, P], None unless halting is on.
    """

    vectors: Tensor
    earlier: tuple[Tensor, ...] = ()
    halting: tuple[Tensor, ...] = ()
    depth: Tensor | None = None


class Outputs(NamedTuple):
    """What the network returns for one batch.

    Attributes:
        logits: Next symbol of each position, [B, N, V].
        earlier: The same after each application of the latent transformer that a loss is asked for.
        image_logits: Image code that follows each patch, [B, P, K], None without images.
        codebook: What the codes stand for, standardised, [K, C], None without images.
        halting: See `Latent`.
        depth: See `Latent`.
    """

    logits: Tensor
    earlier: tuple[Tensor, ...] = ()
    image_logits: Tensor | None = None
    codebook: Tensor | None = None
    halting: tuple[Tensor, ...] = ()
    depth: Tensor | None = None
