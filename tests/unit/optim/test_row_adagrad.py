"""Row-wise Adagrad against a dense table in float64, with rows that occur several times in a batch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from neat.optim.row_adagrad import RowAdagrad

LR = 0.1


def test_equals_a_dense_reference() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(11, 4))
    table = torch.nn.Parameter(torch.tensor(start))
    optimizer = RowAdagrad("table", table, lr=LR)
    weights, squares = start.copy(), np.zeros(11)
    for scale in (1.0, 0.5, 0.25):
        rows = rng.integers(0, 9, size=(20, 3))
        directions = rng.normal(size=(20, 4))
        bags = F.embedding_bag(torch.tensor(rows), table, mode="sum", sparse=True)
        table.grad = None
        (bags * torch.tensor(directions)).sum().backward()
        optimizer.step(scale)
        gradient = np.zeros_like(weights)
        for bag, direction in zip(rows, directions, strict=True):
            for row in bag:
                gradient[row] += direction
        squares += (gradient**2).mean(1)
        used = squares > 0
        weights[used] -= LR * scale * gradient[used] / (np.sqrt(squares[used]) + 1e-8)[:, None]
        np.testing.assert_allclose(table.detach().numpy(), weights, rtol=0, atol=1e-12)
    (accumulator,) = optimizer.state().values()
    np.testing.assert_allclose(accumulator.numpy(), squares, rtol=1e-12)
    assert (weights[9:] == start[9:]).all()


def test_a_row_with_a_zero_gradient_stays() -> None:
    table = torch.nn.Parameter(torch.ones(3, 2))
    index, values = torch.tensor([[1, 1]]), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    table.grad = torch.sparse_coo_tensor(index, values, (3, 2), check_invariants=True)
    RowAdagrad("table", table, lr=LR).step(1.0)
    assert torch.equal(table.detach(), torch.ones(3, 2))


def test_no_gradient_no_change() -> None:
    table = torch.nn.Parameter(torch.ones(3, 2))
    RowAdagrad("table", table, lr=LR).step(1.0)
    assert torch.equal(table.detach(), torch.ones(3, 2))
