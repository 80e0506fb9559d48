"""Prediction in a real training: what is applied, what is counted, what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.hybrid import advance, advance_until, hybrid
from torch import Tensor

from neat.model.outputs import Outputs
from neat.optim import schedule
from neat.train import checkpoint
from neat.train.phases import Phase
from neat.train.predict.jump import Jump
from neat.train.predict.snapshot import WEIGHTS, digest
from neat.train.predict.trajectory import norm
from neat.train.state import Trainer, capture, restore
from neat.train.storage import Storage


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.model.named_parameters()}


def weight_digest(trainer: Trainer) -> str:
    return digest({WEIGHTS + name: tensor for name, tensor in trainer.model.state_dict().items()})


def force(trainer: Trainer, share: float = 0.5) -> None:
    """Every try of a jump is accepted with this share, after the real probe."""
    predictor = trainer.predictor
    assert predictor is not None
    real = predictor.try_jump

    def try_jump(running: Trainer, longest: float) -> Jump:
        made = real(running, longest)
        assert predictor.path is not None
        predictor.path.move(made.delta, share - made.share)
        made.share, made.reason = share, "forced"
        return made

    predictor.try_jump = try_jump  # type: ignore[method-assign]


def test_a_run_passes_all_four_phases(corpus: Path) -> None:
    trainer = hybrid(corpus)
    force(trainer)
    told = advance(trainer, 60)
    moves = [(data["from"], data["to"]) for kind, data in told if kind == "phase" and data["accepted"]]
    assert moves[0] == ("WARMUP", "FULL")
    assert {("FULL", "PREDICT"), ("PREDICT", "CORRECT"), ("CORRECT", "FULL")} <= set(moves)
    assert all(data["reason"] for kind, data in told if kind in ("phase", "jump"))


def test_backward_passes_are_real_steps(corpus: Path) -> None:
    trainer = hybrid(corpus)
    force(trainer)
    jumps = [data for kind, data in advance(trainer, 50) if kind == "jump"]
    assert jumps and trainer.backward_passes == trainer.step == 50


@pytest.mark.parametrize(("positions", "passes"), [(64, 4), (128, 2)])
def test_each_micro_batch_is_a_backward_pass(corpus: Path, positions: int, passes: int) -> None:
    trainer = hybrid(corpus, train__micro_batch_bytes=positions)
    advance(trainer, 5)
    assert trainer.backward_passes == passes * 5


def test_micro_adds_the_predicted_delta_once_and_the_gradient_is_taken_there(corpus: Path) -> None:
    trainer = hybrid(corpus, predict__jumps="off")
    advance(trainer, 20)
    predictor = trainer.predictor
    assert predictor is not None and predictor.lookahead is not None
    before = weights(trainer)
    deltas = {name: d.clone() for name, _, _, d in predictor.lookahead.buffers()}
    seen: dict[str, Tensor] = {}
    forward = trainer.forward

    def watched(batch: Any) -> Outputs:
        seen.update(weights(trainer))
        return forward(batch)

    trainer.forward = watched
    advance(trainer)
    scale = schedule.lr_scale(trainer.config.optim, 20, trainer.horizon.total)
    for name, old in before.items():
        moved = deltas.get(name)
        expected = old if moved is None else old + trainer.config.predict.gain * scale * moved
        torch.testing.assert_close(seen[name], expected, rtol=0, atol=1e-7)
    assert any(float(d.abs().max()) > 0 for d in deltas.values())


def test_warm_up_and_correct_predict_nothing(corpus: Path) -> None:
    trainer = hybrid(corpus)
    force(trainer)
    predictor = trainer.predictor
    assert predictor is not None and predictor.lookahead is not None
    scales: list[tuple[Phase, set[float]]] = []
    real = predictor.lookahead.predict

    def predict(given: dict[str, float]) -> None:
        scales.append((predictor.phase, set(given.values())))
        real(given)

    predictor.lookahead.predict = predict  # type: ignore[method-assign, assignment]
    advance(trainer, 40)
    for phase, given in scales:
        assert (given == {0.0}) == (phase is not Phase.FULL)
    assert {phase for phase, _ in scales} == {Phase.WARMUP, Phase.FULL, Phase.CORRECT}


def test_a_jump_moves_exactly_its_delta_and_nothing_else(corpus: Path) -> None:
    trainer = hybrid(corpus)
    force(trainer)
    predictor = trainer.predictor
    assert predictor is not None and predictor.path is not None
    real, caught = predictor.try_jump, {}

    def try_jump(running: Trainer, longest: float) -> Jump:
        caught.update(before=weights(trainer), state={k: v.clone() for k, v in trainer.optimizers.state().items()})
        made = real(running, longest)
        caught.update(after=weights(trainer), jump=made)
        return made

    predictor.try_jump = try_jump  # type: ignore[method-assign]
    told = advance_until(trainer, "jump")
    made: Jump = caught["jump"]
    names = predictor.path.names
    dense = {name for name, p in trainer.model.named_parameters()} - {n for n, _ in trainer.optimizers.groups.sparse}
    assert set(names) == dense and told["keys"] == len(names)
    by_name = dict(zip(names, made.delta, strict=True))
    for name, before in caught["before"].items():
        expected = before + made.share * by_name[name] if name in by_name else before
        torch.testing.assert_close(caught["after"][name], expected, rtol=1e-5, atol=1e-7)
    assert told["delta_norm"] == pytest.approx(made.share * float(norm(made.delta)))
    assert float(told["delta_norm"]) > 0 and told["weights/before"] != told["weights/after"]  # type: ignore[arg-type]
    assert all(torch.equal(old, trainer.optimizers.state()[name]) for name, old in caught["state"].items())


@pytest.mark.parametrize("mode", ["macro", "literal"])
def test_a_refused_jump_leaves_every_bit(corpus: Path, mode: str) -> None:
    trainer = hybrid(corpus, predict__jumps=mode, predict__shares=[4.0], predict__predict_steps=4)
    told = advance_until(trainer, "phase", to="PREDICT", accepted=True) if mode == "macro" else None
    if mode == "literal":
        predictor = trainer.predictor
        assert predictor is not None

        def fail(running: Trainer, longest: float) -> Jump:
            from neat.train.predict import jump as jumps

            assert predictor.path is not None
            return jumps.literal(
                running, predictor.path, predictor.probe, max_steps=5, damping=1.0, scale=50.0, limit=0.0
            )

        predictor.try_jump = fail  # type: ignore[method-assign]
        found = advance_until(trainer, "jump")
        assert not found["accepted"] and found["weights/before"] == found["weights/after"]
        assert "above the limit" in str(found["reason"])
    else:
        assert told is not None
    assert trainer.predictor is not None and trainer.predictor.phase in (Phase.FULL, Phase.CORRECT)


def test_literal_steps_add_up_to_what_is_told(corpus: Path) -> None:
    trainer = hybrid(corpus, predict__jumps="literal", predict__predict_steps=3, predict__damping=0.5)
    advance(trainer, 12)
    predictor = trainer.predictor
    assert predictor is not None and predictor.path is not None
    from neat.train.predict import jump as jumps

    predictor.probe.prepare(trainer)
    before = weights(trainer)
    made = jumps.literal(
        trainer, predictor.path, predictor.probe, max_steps=3, damping=0.5, scale=0.8, limit=float("inf")
    )
    assert made.share == pytest.approx(0.8 * (1 + 0.5 + 0.25) / made.span)
    for name, delta in zip(predictor.path.names, made.delta, strict=True):
        torch.testing.assert_close(
            dict(trainer.model.named_parameters())[name].detach(),
            before[name] + made.share * delta,
            rtol=1e-4,
            atol=1e-6,
        )


def test_probes_are_at_the_averaged_weights_and_put_the_weights_back(corpus: Path) -> None:
    trainer = hybrid(corpus)
    advance(trainer, 12)
    predictor = trainer.predictor
    assert predictor is not None and predictor.path is not None
    before, seen = weight_digest(trainer), []
    real = predictor.probe.losses

    def losses(running: Trainer) -> list[float]:
        seen.append([weight.clone() for weight in predictor.path.weights])  # type: ignore[union-attr]
        return real(running)

    predictor.probe.losses = losses  # type: ignore[method-assign]
    from neat.train.predict import jump as jumps

    made = jumps.macro(trainer, predictor.path, predictor.probe, (1e-9,), 1e9)
    assert all(torch.equal(a, b) for a, b in zip(seen[0], predictor.path.point, strict=True))
    assert len(seen) == made.spent == 2
    if not made.accepted:
        assert weight_digest(trainer) == before


def test_the_displacement_stays_between_one_and_two_windows_old(corpus: Path) -> None:
    trainer = hybrid(corpus, predict__window=10, predict__min_confidence=1.0)
    predictor = trainer.predictor
    assert predictor is not None and predictor.path is not None
    ages = []
    for _ in range(70):
        advance(trainer)
        if predictor.phase is Phase.FULL:
            ages.append(trainer.step - predictor.path.anchor_step)
    assert max(ages) < 20 and ages.count(0) >= 3


def poison(trainer: Trainer) -> None:
    """Puts a number that is not finite into the weights themselves."""
    with torch.no_grad():
        trainer.optimizers.groups.hidden[0].parameter.view(-1)[0] = torch.nan


@pytest.mark.parametrize("where", [Phase.FULL, Phase.CORRECT])
def test_poisoned_weights_return_to_the_healthy_ones(corpus: Path, where: Phase) -> None:
    trainer = hybrid(corpus)
    force(trainer)
    predictor = trainer.predictor
    assert predictor is not None
    advance(trainer, 10)
    for _ in range(60):
        if predictor.phase is where:
            break
        advance(trainer)
    assert predictor.phase is where and predictor.snapshot.step > 0
    healthy = predictor.snapshot.digest
    poison(trainer)
    found = advance_until(trainer, "rollback", limit=5)
    assert found["signal"] == "nonfinite" and found["severity"] == "critical"
    assert found["weights"] == healthy == weight_digest(trainer)
    assert (found["lr_scale"], found["horizon_scale"], found["count"]) == (0.5, 0.5, 1)
    assert predictor.phase is Phase.FULL and predictor.correction is None
    step = trainer.step
    advance(trainer, 5)
    assert trainer.step == step + 5 == trainer.backward_passes
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_rollbacks_have_a_limit(corpus: Path) -> None:
    trainer = hybrid(corpus, predict__max_rollbacks=1, train__max_skipped_steps=50)
    advance(trainer, 12)
    poison(trainer)
    advance_until(trainer, "rollback", limit=5)
    poison(trainer)
    told = advance(trainer, 4)
    assert not [data for kind, data in told if kind == "rollback"]
    assert any(kind == "alert" and "limit" in str(data["message"]) for kind, data in told)


def test_a_spike_returns_to_the_healthy_weights(corpus: Path) -> None:
    trainer = hybrid(corpus, predict__jumps="off", train__max_steps=2000)
    advance(trainer, 80)
    predictor = trainer.predictor
    assert predictor is not None
    predictor.keep_healthy(trainer)
    healthy = predictor.snapshot.digest
    with torch.no_grad():
        for _, parameter in trainer.optimizers.groups.other:
            parameter.mul_(40).add_(5)
    found = advance_until(trainer, "rollback", limit=10)
    assert found["weights"] == healthy
    assert found["signal"] in ("loss", "gradient", "forecast") and found["reason"]
    told = advance(trainer, 30)
    assert not [data for kind, data in told if kind == "rollback"]


def test_a_jump_that_leads_astray_is_undone(corpus: Path) -> None:
    trainer = hybrid(corpus)
    advance(trainer, 20)
    predictor = trainer.predictor
    assert predictor is not None and predictor.path is not None
    path = predictor.path

    def astray(running: Trainer, longest: float) -> Jump:
        delta = [torch.randn_like(weight) for weight in path.weights]
        before = predictor.probe.losses(running)
        path.move(delta, 3.0)
        return Jump(delta, span=4, before=before, share=3.0, reason="astray")

    predictor.try_jump = astray  # type: ignore[method-assign]
    advance_until(trainer, "jump", accepted=True)
    healthy = predictor.snapshot.digest
    found = advance_until(trainer, "rollback", limit=6)
    assert found["weights"] == healthy == weight_digest(trainer)
    assert found["signal"] in ("forecast", "loss", "gradient")
    assert predictor.phase is Phase.FULL


def test_gradients_that_point_back_take_a_part_of_the_jump_back(corpus: Path) -> None:
    found = {}
    for pull_back in (True, False):
        trainer = hybrid(corpus, predict__pull_back=pull_back, predict__max_rollbacks=0)
        advance(trainer, 20)
        predictor = trainer.predictor
        assert predictor is not None and predictor.path is not None
        path = predictor.path

        def too_far(running: Trainer, longest: float, path: Any = path, probe: Any = predictor.probe) -> Jump:
            delta = path.displacement()
            before = probe.losses(running)
            path.move(delta, 60.0)
            return Jump(delta, span=4, before=before, share=60.0, gain=1e-6, reason="too far")

        predictor.try_jump = too_far  # type: ignore[method-assign]
        advance_until(trainer, "jump", accepted=True)
        found[pull_back] = advance_until(trainer, "correct", limit=6)
    assert float(found[True]["slope_t"]) < -2  # type: ignore[arg-type]
    assert float(found[True]["correction"]) > 0 and float(found[True]["correction_norm"]) > 0  # type: ignore[arg-type]
    assert found[False]["correction"] == 0


@pytest.mark.parametrize("mode", ["macro", "literal"])
@pytest.mark.parametrize("steps", [4, 11, 13, 14, 27])
def test_a_restored_run_goes_on_bit_for_bit(corpus: Path, tmp_path: Path, mode: str, steps: int) -> None:
    """In WARMUP, in FULL, right after a jump, inside CORRECT."""
    first = hybrid(corpus, predict__jumps=mode, predict__predict_steps=4)
    advance(first, steps)
    assert first.predictor is not None
    first.predictor.keep_healthy(first)
    folder = checkpoint.write(tmp_path, first.step, capture(first), Storage())
    expected = advance(first, 25)

    second = hybrid(corpus, predict__jumps=mode, predict__predict_steps=4)
    advance(second, 9)
    restore(second, folder)
    assert advance(second, 25) == expected
    one, other = capture(first), capture(second)
    for left, right in ((one.model, other.model), (one.optimizer, other.optimizer), (one.predict, other.predict)):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert one.dynamics == other.dynamics
    assert one.state["predict"] == other.state["predict"]
