"""What a watched step tells, and that watching changes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import configure

from neat.events.reader import read_events
from neat.profiling.profile import profile
from neat.train.build import build
from neat.train.diagnostics import entropy_histogram, gradient_norms, patch_histogram
from neat.train.loop import run
from neat.train.report import patch_starts
from neat.train.timer import PartTimer


def events(root: Path, kind: str) -> list[dict[str, Any]]:
    return [{"step": e.step, **e.data} for e in read_events(root / "events.jsonl") if e.type == kind]


def weights(root: Path) -> bytes:
    return (max((root / "checkpoints").iterdir()) / "model.safetensors").read_bytes()


def test_watched_steps_tell_and_the_result_stays(corpus: Path, tmp_path: Path) -> None:
    run(configure(corpus, train__max_steps=5), tmp_path / "plain")
    run(configure(corpus, train__max_steps=5, train__diagnose_every=2), tmp_path / "watched")
    assert weights(tmp_path / "plain") == weights(tmp_path / "watched")
    assert not events(tmp_path / "plain", "components")
    told = events(tmp_path / "watched", "components")
    assert [event["step"] for event in told] == [1, 2, 4]
    for event in told:
        assert sum(event["time/share"].values()) == pytest.approx(1, abs=0.01)
        assert event["parameters"]["core"] > 0 and event["parameters"]["vision"] == 0
        assert set(event["grad_norm/component"]) == {"core", "patching"}
        assert event["grad_norm/component"]["patching"] > 0


def test_component_norms_add_up_to_the_norm_of_all_gradients(corpus: Path) -> None:
    trainer = build(configure(corpus))
    batch, _ = trainer.next_batch()
    trainer.model(batch).square().sum().backward()
    norms = gradient_norms(trainer.model, lambda name: "core" if name.startswith("latent") else "patching")
    whole = torch.cat([p.grad.to_dense().flatten() for p in trainer.model.parameters() if p.grad is not None]).norm()
    torch.testing.assert_close(torch.stack(list(norms["component"].values())).norm(), whole)
    assert set(norms["layer"]) >= {"latent.layers.0"}


def test_the_patch_histogram_counts_every_position_once(corpus: Path) -> None:
    batch, _ = build(configure(corpus)).next_batch()
    counted = sum(int(length) * count for length, count in patch_histogram(batch).items())
    assert counted == int((batch.document >= 0).sum())


def test_the_entropies_count_every_byte_once(corpus: Path) -> None:
    batch, _ = build(configure(corpus)).next_batch()
    assert batch.features is not None
    counted = entropy_histogram(batch.features, batch.document)
    assert sum(counted.values()) == int((batch.document >= 0).sum())
    flat = torch.full((1, 2, 256), 1 / 16, dtype=torch.float16)
    sure = torch.zeros(1, 2, 256, dtype=torch.float16)
    sure[..., 65] = 1.0
    document = torch.tensor([[0, -1]], dtype=torch.int32)
    assert entropy_histogram(flat, document) == {"8": 1}
    assert entropy_histogram(sure, document) == {"0": 1}


def test_the_patches_of_a_sample_are_those_of_its_bytes(corpus: Path) -> None:
    """Places in the printed text: a character of several bytes, or a byte that is none, counts as one."""
    trainer = build(configure(corpus))
    plain = b"The keeper walked to the harbour at night."
    opens = trainer.text.preparer.starts(plain)[: len(plain)]
    assert patch_starts(trainer, plain) == [place for place, begins in enumerate(opens) if begins]
    mixed = "\u00e9\u65e5".encode() + b"\xff" + plain
    text = mixed.decode("utf-8", errors="replace")
    starts = patch_starts(trainer, mixed)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] < len(text)
    later = [place for place in starts if text[place:].isascii() and place > 3]
    opens = trainer.text.preparer.starts(mixed)[: len(mixed)]
    assert later == [byte - 3 for byte, begins in enumerate(opens) if begins and byte > 6]


def test_a_profile_covers_the_step(corpus: Path) -> None:
    figures = profile(configure(corpus), 2)
    assert 0.95 <= figures["covered"] <= 1.0
    labels = set(figures["parts"])
    assert {"waiting for data", "optimizer", "gradient norm", "averaged weights"} <= labels
    assert {"latent transformer, forward", "latent transformer, backward", "local decoder, backward"} <= labels


def test_the_backward_pass_of_each_part_is_its_own(corpus: Path) -> None:
    """A part that sleeps while its gradient is computed is the one that the time goes to."""
    trainer = build(configure(corpus, network__layers=2))
    batch, _ = trainer.next_batch()
    first = trainer.model.latent.layers[0]
    first.register_forward_hook(lambda module, arguments, output: Sleep.apply(output))
    with PartTimer(trainer.model, trainer.placement.device) as timer:
        trainer.model(batch).square().sum().backward()
    assert timer.seconds["latent transformer, backward"] > 0.2
    assert sum(timer.seconds.values()) - timer.seconds["latent transformer, backward"] < 0.2


class Sleep(torch.autograd.Function):
    """Nothing, and a pause on the way back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        time.sleep(0.25)
        return gradient
