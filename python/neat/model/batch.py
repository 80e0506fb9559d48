"""What one forward pass reads: rows of static shape, as the packer made them.

Shapes: B rows, N byte positions, P patch slots, T hash tables. The invariant: position i of a row may see
only what stands at positions <= i of the same document, and `read[i]` names a patch that is closed when
the target of position i is generated.

An image is one BOI, its codes and one EOI, each a patch of its own. Codes are predicted at the clock of patches: the
patch that a code follows carries it in `code_targets`. At the clock of bytes BOI is class 256 of `targets`; codes and
EOI, which nothing decides, are not scored there.

A batch that continues streams (`NeatModel.read_on`) holds their new positions only. Each row belongs to
one document, its segment is 0 and its positions come first. Slot 0 is the patch of the row's first new position, which
may have begun before. `patch_document` is 0 for the patches that the new positions close, so these come first, and P
is one more than the most patches that a row closes: the last slot belongs to padding and to patches that stay open.
`read` counts the patches closed up to a position, so that 0 is the one closed last before the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

IGNORED_TARGET = -100
"""Target value of positions that carry no loss (`torch.nn.functional.cross_entropy`'s own default)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed documents.

    Attributes:
        ids: Input ids, int64 [B, N]; 0-255 bytes, above them the special ids.
        targets: Next byte of each position, 256 where an image begins next, or -100, int64 [B, N].
        document: Segment number within the row, -1 for padding, int32 [B, N].
        patch: Patch slot of each position, int64 [B, N].
        read: Patch slot whose latent output each position reads, int64 [B, N].
        patch_document: Segment number of each patch slot, -1 when unused, int32 [B, P].
        patch_first: First position of each patch, int64 [B, P].
        patch_last: Last position of each patch, int64 [B, P].
        patch_length: Positions in each patch, 0 when unused, int32 [B, P].
        hashes: Rows of the hash n-gram table, int64 [B, N, T], or None.
        features: Square roots of the n-gram model's next-byte probabilities, float16 [B, N, 256], or None.
        codes: Code at each position, -1 where the input is no code, int64 [B, N]; None without images.
        cell: Index of that code within its image, 0 .. grid^2 - 1, -1 elsewhere, int64 [B, N]; None without images.
        code_targets: Code that follows each patch, -100 where none does or it is not scored, int64 [B, P]; None
            without images.
    """

    ids: Tensor
    targets: Tensor
    document: Tensor
    patch: Tensor
    read: Tensor
    patch_document: Tensor
    patch_first: Tensor
    patch_last: Tensor
    patch_length: Tensor
    hashes: Tensor | None = None
    features: Tensor | None = None
    codes: Tensor | None = None
    cell: Tensor | None = None
    code_targets: Tensor | None = None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], device: torch.device | None = None) -> Batch:
        """Wraps the packer's NumPy arrays without copying them, then moves them to `device`."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch = cls(**tensors)
        return batch if device is None or device.type == "cpu" else batch.to(device)

    def to(self, device: torch.device) -> Batch:
        """A copy on `device`; from pinned memory the transfer overlaps with computation."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def rows(self, start: int, stop: int) -> Batch:
        """Rows [start, stop) as views: one micro-batch."""
        return self._map(lambda tensor: tensor[start:stop])

    @property
    def num_rows(self) -> int:
        """Rows in the batch."""
        return self.ids.shape[0]

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in values}
        return Batch(**changed)


def micro_batches(batch: Batch, positions: int) -> Iterator[Batch]:
    """Cuts a batch into parts of `positions` positions; 0 keeps it whole."""
    rows = max(1, positions // batch.ids.shape[1]) if positions else batch.num_rows
    for start in range(0, batch.num_rows, rows):
        yield batch.rows(start, min(start + rows, batch.num_rows))
