"""Branches from one moment: equal starts, equal rows, held-back rows that nobody trains on, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import configure

from neat.config.change import changed
from neat.config.schema import Config
from neat.errors import ConfigError, DataError
from neat.optim import schedule
from neat.train.build import build
from neat.train.ending import decay_start, ending, miniature, rates, shortened, value
from neat.train.fork import Fork
from neat.train.loop import train_step
from neat.train.state import Trainer, capture

PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no average": {"optim__ema_decay": 0.0},
    "adamw": {"optim__name": "adamw"},
    "halting": {"recursion__depth": 2, "recursion__halting": True},
    "prediction": {
        "predict__warmup_steps": 2,
        "predict__full_steps": 2,
        "predict__window": 2,
        "predict__min_confidence": 0.0,
        "predict__cost_cap": 1.0,
        "predict__correct_steps": 1,
        "dynamics__every_steps": 1,
        "optim__warmup_share": 0.0,
    },
    "policy": {"memory__variant": "mag", "memory__heads": 2, "memory__hidden": 8, "activation__easy_patch_length": 2.0},
}


def hashes(trainer: Trainer) -> dict[str, object]:
    """Everything that decides how a trainer goes on, by name."""
    contents = capture(trainer)
    tensors = (
        contents.predict
        | contents.model
        | {f"average.{k}": v for k, v in contents.average.items()}
        | contents.optimizer
    )
    plain = {name: tensor.detach().clone().numpy().tobytes() for name, tensor in tensors.items()}
    own = {"last_saved": trainer.last_saved, "training": trainer.model.training, "config": contents.config}
    return plain | contents.state | own


def trained(config: Config, steps: int) -> Trainer:
    """A trainer after some steps."""
    trainer = build(config)
    advance(trainer, steps)
    return trainer


def advance(trainer: Trainer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(train_step(trainer, *trainer.next_batch()).loss))
        if trainer.predictor is not None:
            trainer.predictor.advance(trainer)
    return losses


def course(fork: Fork, config: Config, steps: int) -> list[float]:
    """Losses of a branch, and on the held-back rows behind them."""
    with fork.branch(config, steps) as trainer:
        losses = [float(progress.loss) for progress in fork.steps(trainer, steps)]
    return losses + fork.score()


@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("part", PARTS)
def test_the_way_back_is_exact(corpus: Path, part: str, steps: int) -> None:
    config = configure(corpus, **PARTS[part])
    trainer, other = trained(config, steps), trained(config, steps)
    before, parameters = hashes(trainer), list(trainer.model.parameters())
    values: dict[str, object] = {"optim.lr": 0.3, "optim.beta1": 0.5, "train.batch_bytes": 128}
    with Fork(trainer, train_step) as fork:
        fork.hold_back(2)
        course(fork, changed(config, values), 5)
        course(fork, config, 3)
    assert hashes(trainer) == before
    assert all(mine is same for mine, same in zip(trainer.model.parameters(), parameters, strict=True))
    # And what follows is what would have followed, random numbers included.
    assert advance(trainer, 4) == advance(other, 4)
    assert hashes(trainer) == hashes(other)


def test_a_branch_that_raises_leaves_nothing_behind(corpus: Path) -> None:
    config = configure(corpus, recursion__depth=2, recursion__halting=True)
    trainer = trained(config, 3)
    before = hashes(trainer)

    def fails(trainer: Trainer, batch: Any, scored: int) -> Any:
        trainer.model.latent.halting.observe(trainer.forward(batch), batch)  # type: ignore[union-attr]
        trainer.model.head.weight.grad = torch.ones_like(trainer.model.head.weight)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Fork(trainer, fails) as fork:
        course(fork, config, 3)
    assert hashes(trainer) == before
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert trainer.model.latent.halting is not None and trainer.model.latent.halting._sums is None


def test_branches_with_equal_settings_are_equal(corpus: Path) -> None:
    config = configure(corpus)
    with Fork(trained(config, 5), train_step) as fork:
        fork.hold_back(2)
        first = course(fork, config, 6)
        other = course(fork, changed(config, {"optim.lr": 0.1}), 6)
        assert course(fork, config, 6) == first
    assert other[0] == first[0] and other[-1] != first[-1]


def test_branches_of_other_batches_read_the_same_rows(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(corpus, train__curriculum=[])
    read: list[torch.Tensor] = []

    def noted(trainer: Trainer, batch: Any, scored: int) -> Any:
        read.append(batch.ids)
        return train_step(trainer, batch, scored)

    with Fork(build(config), noted) as fork:
        fork.hold_back(1)
        course(fork, config, 4)
        rows = torch.cat(read)
        read.clear()
        course(fork, changed(config, {"train.batch_bytes": 512}), 2)
    assert len(read) == 2 and torch.equal(torch.cat(read), rows)


def test_held_back_rows_are_not_trained_on(corpus: Path) -> None:
    config = configure(corpus, train__curriculum=[])
    read: list[bytes] = []

    def noted(trainer: Trainer, batch: Any, scored: int) -> Any:
        read.extend(row.numpy().tobytes() for row in batch.ids)
        return train_step(trainer, batch, scored)

    with Fork(trained(config, 3), noted) as fork:
        fork.hold_back(3)
        held = {row.tobytes() for arrays in fork._rows for row in arrays["ids"]}
        course(fork, config, 12)
        assert len(held) == 12 and not held & set(read)
        # Another repeat goes on behind everything that was read.
        fork.go_on()
        fork.hold_back(3)
        again = {row.tobytes() for arrays in fork._rows for row in arrays["ids"]}
        assert not again & held and not again & set(read)


def test_what_was_spent_is_counted(corpus: Path) -> None:
    config = configure(corpus)
    with Fork(build(config), train_step) as fork:
        fork.hold_back(3)
        course(fork, config, 5)
    assert fork.spent == pytest.approx(5 * 256 + 3 * 256 / 3)


def test_the_loss_of_a_branch_is_that_of_the_averaged_weights(corpus: Path) -> None:
    with_average, without = configure(corpus), configure(corpus, optim__ema_decay=0.0)
    scores = []
    for config in (with_average, without):
        with Fork(build(config), train_step) as fork:
            fork.hold_back(2)
            scores.append(course(fork, config, 8))
    assert scores[0][:8] == scores[1][:8]
    assert scores[0][8:] != scores[1][8:]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network.width": 32}, "shape of the model"),
        ({"network.layers": 2}, "shape of the model"),
        ({"patcher.max_length": 5}, "how the text is read"),
        ({"seed": 8}, "how the text is read"),
        ({"data.lanes": 2}, "how the text is read"),
        ({"runtime.threads": 2}, "cannot differ between branches"),
        ({"train.log_every": 3}, "does not change the course"),
        ({"optim.name": "adamw"}, "optimizer state differs"),
    ],
)
def test_what_no_branch_can_change_is_refused(corpus: Path, values: dict[str, object], message: str) -> None:
    config = configure(corpus)
    trainer = trained(config, 2)
    before = hashes(trainer)
    with Fork(trainer, train_step) as fork, pytest.raises(ConfigError, match=message) as caught:
        course(fork, changed(config, values), 2)
    assert caught.value.hint
    assert hashes(trainer) == before


@pytest.mark.parametrize(
    "values",
    [
        {"network.rope_theta": 10.0},
        {"network.window": 4},
        {"recursion.depth": 1, "train.window": 32, "train.curriculum": ()},
        {"optim.ema_decay": 0.0},
        {"optim.weight_decay": 1.0},
        {"activation.easy_patch_length": 2.0},
        {"predict.micro": False},
        {"predict.micro": False, "predict.jumps": "off"},
        {"predict.gain": 1.0, "predict.decay": 0.5},
        {"dynamics.on": False, "predict.gain": 0.0},
    ],
)
def test_other_settings_of_a_branch_take_effect_and_go(corpus: Path, values: dict[str, object]) -> None:
    config = configure(corpus, memory__variant="mag", memory__heads=2, memory__hidden=8, **PARTS["prediction"])
    trainer = trained(config, 4)
    before = hashes(trainer)
    with Fork(trainer, train_step) as fork:
        fork.hold_back(2)
        plain = course(fork, config, 6)
        assert course(fork, changed(config, values), 6) != plain
        assert course(fork, config, 6) == plain
    assert hashes(trainer) == before


@pytest.mark.parametrize("off", ["predict.micro", "predict.jumps"])
def test_prediction_can_be_tried_in_a_run_without_it(corpus: Path, off: str) -> None:
    settings = PARTS["prediction"] | {"predict__micro": off != "predict.micro"}
    if off == "predict.jumps":
        settings |= {"predict__jumps": "off"}
    config = configure(corpus, **settings)
    value = True if off == "predict.micro" else "macro"
    with Fork(trained(config, 4), train_step) as fork:
        fork.hold_back(2)
        plain = course(fork, config, 6)
        other = course(fork, changed(config, {off: value}), 6)
        assert fork.trainer.predictor is not None
        assert course(fork, config, 6) == plain
    if off == "predict.micro":
        assert other != plain


def test_a_text_that_is_too_short_is_refused(corpus: Path) -> None:
    with Fork(build(configure(corpus)), train_step) as fork:
        fork.hold_back(2)
        fork.require_text(10_000)
        with pytest.raises(DataError, match="come round"):
            fork.require_text(100_000)


@pytest.mark.parametrize("name", ["wsd", "cosine", "constant"])
def test_a_miniature_decays_to_the_end(corpus: Path, name: str) -> None:
    config = miniature(configure(corpus, optim__schedule=name))
    scales = [schedule.lr_scale(config.optim, step, 40) for step in range(40)]
    assert scales[-1] < 0.1 < scales[round(40 * decay_start(config)) + 3] and max(scales) == pytest.approx(
        1.0, abs=0.05
    )


@pytest.mark.parametrize(("step", "name"), [(3, "wsd"), (30, "wsd"), (80, "wsd"), (50, "cosine"), (30, "constant")])
def test_an_ending_goes_on_from_the_present_rate_and_falls(corpus: Path, step: int, name: str) -> None:
    config = configure(corpus, optim__schedule=name)
    branch = ending(config, step, 100, 20, 10)

    def rate(of: Config, at: int, total: int) -> float:
        return of.optim.lr * schedule.lr_scale(of.optim, at, total)

    course = [rate(branch, at, step + 20) for at in range(step, step + 20)]
    assert course[0] == pytest.approx(rate(config, step, 100))
    assert course[9] >= course[0] and course[-1] < 0.15 * course[9]
    assert course[9:] == sorted(course[9:], reverse=True)
    now = schedule.momentum(config.optim, step, 100)
    assert schedule.momentum(branch.optim, step, step + 20) == pytest.approx(now, abs=1e-9)


def test_shorter_runs_take_higher_rates(corpus: Path) -> None:
    config = configure(corpus)
    short = shortened(config, 0.01)
    assert all(value(short, key) == pytest.approx(value(config, key) * 100**0.51) for key in rates(config))
    assert shortened(config, 1.0) == config
    assert max(value(shortened(config, 1e-9), key) for key in rates(config)) <= 10.0
