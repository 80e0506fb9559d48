"""One training step: accumulation, clipping, and what happens to numbers that are not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.networks import scatter
from support.runs import configure
from torch import Tensor

from neat.errors import DivergedError, Exit
from neat.events.reader import read_events
from neat.model.outputs import Outputs
from neat.train import loop
from neat.train.build import build
from neat.train.guard import Guard
from neat.train.loop import gradient_norm, micro_batches, run, train_step
from neat.train.state import Trainer

ROWS = {"train__window": 16, "train__curriculum": [], "train__batch_bytes": 1024}


def trainer(corpus: Path, **changes: object) -> Trainer:
    """A fresh run of 64 rows of 16 bytes."""
    return build(configure(corpus, **(ROWS | changes)))


def gradients(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], Tensor]:
    """The gradients and the loss of one step as the optimizers get them."""
    caught: list[Tensor] = []

    def catch(scale: float, momentum: float) -> None:
        caught.extend(p.grad.to_dense().clone() for p in trainer.model.parameters() if p.grad is not None)

    monkeypatch.setattr(trainer.optimizers, "step", catch)
    # What starts at zero in a fresh model hides the gradient of everything before it.
    scatter(trainer.model)
    loss, *_ = train_step(trainer, *trainer.next_batch())
    return caught, loss


@pytest.mark.parametrize("positions", [256, 16, 512])
def test_micro_batches_give_the_gradient_of_the_batch(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, positions: int
) -> None:
    whole, loss = gradients(trainer(corpus), monkeypatch)
    parts, loss_of_parts = gradients(trainer(corpus, train__micro_batch_bytes=positions), monkeypatch)
    torch.testing.assert_close(loss_of_parts, loss)
    assert len(whole) == len(parts) > 10
    for left, right in zip(whole, parts, strict=True):
        assert float(left.abs().max()) > 0
        torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-7)


def test_micro_batches_cover_every_row_once(corpus: Path) -> None:
    batch, _ = trainer(corpus).next_batch()
    assert batch.num_rows == 64
    for positions, sizes in ((0, [64]), (256, [16] * 4), (1, [1] * 64), (400, [25, 25, 14])):
        parts = list(micro_batches(batch, positions))
        assert [part.num_rows for part in parts] == sizes
        assert torch.equal(torch.cat([part.ids for part in parts]), batch.ids)


def test_the_loss_is_the_mean_over_scored_bytes(corpus: Path) -> None:
    begun = trainer(corpus)
    batch, scored = begun.next_batch()
    assert scored == int((batch.targets >= 0).sum()) < batch.targets.numel()
    loss, *_ = train_step(begun, batch, scored)
    assert float(loss) == pytest.approx(torch.tensor(256.0).log().item(), rel=1e-5)
    assert (begun.step, begun.bytes_seen) == (1, scored)


@pytest.mark.parametrize(("limit", "factor"), [(0.0, 1.0), (0.01, None), (1e6, 1.0)])
def test_clipping_scales_all_gradients_to_the_limit(corpus: Path, limit: float, factor: float | None) -> None:
    begun = trainer(corpus)
    batch, _ = begun.next_batch()
    torch.nn.functional.cross_entropy(begun.model(batch).flatten(0, 1), batch.targets.flatten()).backward()
    before = [gradient.clone() for gradient in begun.optimizers.dense_gradients()]
    expected = float(torch.stack([g.square().sum() for g in before]).sum().sqrt())
    norm = gradient_norm(begun, limit)
    assert float(norm) == pytest.approx(expected, rel=1e-5)
    for old, new in zip(before, begun.optimizers.dense_gradients(), strict=True):
        torch.testing.assert_close(new, old * (factor or limit / expected), rtol=1e-4, atol=1e-9)


def poison_loss(logits: Tensor) -> Tensor:
    """A loss that is no number."""
    return logits * torch.nan


def poison_gradient(logits: Tensor) -> Tensor:
    """A finite loss with a gradient that is not."""
    logits.register_hook(lambda gradient: gradient * torch.inf)
    return logits


@pytest.mark.parametrize("poison", [poison_loss, poison_gradient])
def test_numbers_that_are_not_finite_touch_nothing(corpus: Path, poison: Any) -> None:
    begun = trainer(corpus)
    train_step(begun, *begun.next_batch())
    weights = [p.detach().clone() for p in begun.model.parameters()]
    state = {name: tensor.clone() for name, tensor in begun.optimizers.state().items()}
    begun.forward = lambda batch: Outputs(poison(begun.model(batch)))
    train_step(begun, *begun.next_batch())
    assert (begun.step, begun.guard.skipped, begun.guard.in_a_row) == (2, 1, 1)
    assert all(torch.equal(old, new) for old, new in zip(weights, begun.model.parameters(), strict=True))
    assert all(torch.equal(state[name], tensor) for name, tensor in begun.optimizers.state().items())
    assert all(p.grad is None for p in begun.model.parameters())
    begun.forward = begun.model.outputs
    train_step(begun, *begun.next_batch())
    assert (begun.guard.skipped, begun.guard.in_a_row) == (1, 0)
    assert not torch.equal(weights[0], next(begun.model.parameters()))
    assert all(torch.isfinite(p).all() for p in begun.model.parameters())


def test_the_guard_stops_after_too_many_in_a_row() -> None:
    guard = Guard(3)
    good, bad = torch.tensor(1.0), torch.tensor(torch.nan)
    for loss, norm in ((bad, good), (good, torch.tensor(torch.inf)), (good, good), (bad, bad), (bad, good)):
        assert guard.allows(loss, norm, 5) == bool(torch.isfinite(loss) and torch.isfinite(norm))
    with pytest.raises(DivergedError, match="3 updates in a row") as caught:
        guard.allows(bad, bad, 6)
    assert caught.value.exit_code == Exit.DIVERGED == 6
    assert guard.skipped == 5


def test_a_run_that_diverges_says_so_and_keeps_its_last_checkpoint(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = loop.objective

    def poisoned(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        total, parts = objective(*arguments)
        return total * torch.nan, {name: part * torch.nan for name, part in parts.items()}

    monkeypatch.setattr(loop, "objective", poisoned)
    with pytest.raises(DivergedError):
        run(configure(corpus, train__max_skipped_steps=4), tmp_path / "run")
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert events[-1].type == "end" and events[-1].data["exit_code"] == 6
    assert [event.step for event in events if event.type == "checkpoint"] == [1]
    assert "train/loss" in events[-2].data["nonfinite"] or events[-2].type != "step"  # type: ignore[operator]
