"""Muon against torch's own, and its treatment of stacked matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neat.optim.muon import Matrix, Muon, orthogonalise

SHAPES = [(24, 24), (48, 16), (16, 48), (24, 24)]
LR, DECAY = 0.02, 0.1
# Both sides multiply in bfloat16, in another order: one part in 2^8 of an update of about `lr` an entry.
BF16 = LR * 2**-6


def drawn(seed: int) -> list[Tensor]:
    """Matrices of several shapes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_equals_torch(nesterov: bool, decay: float) -> None:
    mine = [torch.nn.Parameter(matrix) for matrix in drawn(0)]
    theirs = [torch.nn.Parameter(matrix.clone()) for matrix in mine]
    muon = Muon(
        [Matrix(str(index), matrix, (matrix.shape[0],)) for index, matrix in enumerate(mine)],
        lr=LR,
        weight_decay=decay,
        nesterov=nesterov,
        steps=5,
    )
    reference = torch.optim.Muon(
        theirs, lr=LR, momentum=0.9, nesterov=nesterov, weight_decay=decay, ns_steps=5, adjust_lr_fn="original"
    )
    for step in range(5):
        for parameters in (mine, theirs):
            for parameter, gradient in zip(parameters, drawn(step + 1), strict=True):
                parameter.grad = gradient.clone()
        before = [matrix.detach().clone() for matrix in mine]
        muon.step(1.0, 0.9)
        reference.step()
        for old, left, right in zip(before, mine, theirs, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=BF16 * (step + 1))
            assert float((left - old).detach().norm()) > 10 * BF16


def test_the_schedule_scales_update_and_decay() -> None:
    """Half the rate is half of both, which is what torch does with `lr`."""
    moves = []
    for scale in (1.0, 0.5):
        matrix = torch.nn.Parameter(drawn(0)[0])
        start = matrix.detach().clone()
        matrix.grad = drawn(1)[0]
        Muon([Matrix("m", matrix, (24,))], lr=LR, weight_decay=DECAY, nesterov=True, steps=5).step(scale, 0.9)
        moves.append(matrix.detach() - start)
    torch.testing.assert_close(moves[1], moves[0] / 2, rtol=0, atol=1e-6)


def test_orthogonalisation_brings_singular_values_near_one() -> None:
    # A square random matrix may have a singular value near zero, which five iterations do not lift to one.
    for matrix in drawn(3)[1:3]:
        values = torch.linalg.svdvals(orthogonalise(matrix[None], 5)[0].float())
        assert float(values.min()) > 0.5 and float(values.max()) < 1.3


def test_the_parts_of_a_stack_are_matrices_of_their_own() -> None:
    splits = (24, 8, 8)
    stacked = torch.nn.Parameter(torch.randn(40, 24))
    parts = [torch.nn.Parameter(part.clone()) for part in stacked.detach().split(splits)]
    stacked.grad = torch.randn(40, 24)
    for part, gradient in zip(parts, stacked.grad.split(splits), strict=True):
        part.grad = gradient.clone()
    options = {"lr": LR, "weight_decay": DECAY, "nesterov": True, "steps": 5}
    together = Muon([Matrix("stack", stacked, splits)], **options)  # type: ignore[arg-type]
    apart = Muon(
        [Matrix(str(n), part, (rows,)) for n, (part, rows) in enumerate(zip(parts, splits, strict=True))],
        **options,  # type: ignore[arg-type]
    )
    whole = torch.nn.Parameter(stacked.detach().clone())
    whole.grad = stacked.grad.clone()
    Muon([Matrix("whole", whole, (40,))], **options).step(1.0, 0.9)  # type: ignore[arg-type]
    together.step(1.0, 0.9)
    apart.step(1.0, 0.9)
    torch.testing.assert_close(stacked, torch.cat(list(parts)), rtol=0, atol=BF16)
    assert float((whole - stacked).detach().abs().max()) > 4 * BF16


def test_a_matrix_without_gradient_keeps_its_momentum_and_decays() -> None:
    matrix = torch.nn.Parameter(drawn(0)[0])
    start = matrix.detach().clone()
    Muon([Matrix("m", matrix, (24,))], lr=LR, weight_decay=DECAY, nesterov=True, steps=5).step(1.0, 0.9)
    torch.testing.assert_close(matrix.detach(), start * (1 - LR * DECAY), rtol=0, atol=1e-7)
