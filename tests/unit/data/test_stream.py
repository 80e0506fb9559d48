"""A stream whose patches change: the text goes on where it was, the patches follow the stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import configure

from neat.config.schema import Config
from neat.data.pipeline import Text, open_text
from neat.errors import ConfigError
from neat.train.build import build

CURRICULUM = [[0.3, 6.0], [0.3, 5.0]]
ROWS, WINDOW = 4, 64


@pytest.fixture(scope="module")
def config(corpus: Path) -> Config:
    return configure(corpus, train__patch_curriculum=CURRICULUM, train__curriculum=[])


@pytest.fixture(scope="module")
def text(config: Config) -> Text:
    return open_text(config)


def batches(text: Text, config: Config, lengths: list[float | None]) -> list[dict[str, Any]]:
    stream = text.stream(config)
    return [stream.next(ROWS, WINDOW, config.patch_slots(WINDOW, length), length) for length in lengths]


def mean_length(batch: dict[str, Any]) -> float:
    used = batch["patch_length"][batch["patch_document"] >= 0]
    return float(used.mean())


def test_no_byte_is_lost_or_repeated_at_a_change(text: Text, config: Config) -> None:
    """Rows end at patches, so they are cut elsewhere; the text of a lane is the same."""

    def lanes(lengths: list[float | None]) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(config.data.lanes)]
        rows = (row for batch in batches(text, config, lengths) for row in batch["targets"])
        for number, row in enumerate(rows):
            found[number % len(found)] += [int(target) for target in row if target >= 0]
        return found

    for plain, staged in zip(lanes([None] * 3), lanes([6.0, 5.0, None]), strict=True):
        shared = min(len(plain), len(staged))
        assert shared > 150 and plain[:shared] == staged[:shared]


def test_patches_have_the_length_of_their_stage(text: Text, config: Config) -> None:
    found = {
        length: float(np.mean([mean_length(batch) for batch in batches(text, config, [length] * 20)]))
        for length in (6.0, 5.0, None)
    }
    assert found[6.0] > found[5.0] > found[None]
    assert found[6.0] == pytest.approx(6.0, rel=0.2)
    assert config.patch_slots(WINDOW, 6.0) < config.patch_slots(WINDOW, 5.0) < config.patch_slots(WINDOW)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_saved_state_goes_on_bit_for_bit(text: Text, config: Config, at: int) -> None:
    """Before, at and after a change; the new stream begins with the patches of the finished model."""
    lengths = [6.0, 6.0, 5.0, 5.0, None]
    expected = batches(text, config, lengths)
    first = text.stream(config)
    for length in lengths[:at]:
        first.next(ROWS, WINDOW, config.patch_slots(WINDOW, length), length)
    second = text.stream(config, first.state())
    for length, batch in zip(lengths[at:], expected[at:], strict=True):
        arrays = second.next(ROWS, WINDOW, config.patch_slots(WINDOW, length), length)
        assert arrays.keys() == batch.keys()
        assert all(np.array_equal(arrays[name], batch[name]) for name in batch)
    assert second.statistics()["positions"] == len(lengths) * ROWS * WINDOW


def test_waiting_is_counted_over_a_change(text: Text, config: Config) -> None:
    stream = text.stream(config)
    stream.next(ROWS, WINDOW, config.patch_slots(WINDOW, 6.0), 6.0)
    before = stream.statistics()["wait_s"]
    stream.next(ROWS, WINDOW, config.patch_slots(WINDOW))
    assert stream.statistics()["wait_s"] >= before > 0
    stream.close()


def test_a_run_changes_at_its_shares_and_evaluates_with_the_last_patches(config: Config) -> None:
    trainer = build(config)
    seen = []
    for step in range(30):
        trainer.step = step
        batch, _ = trainer.next_batch()
        seen.append((batch.patch_length.shape[1], trainer.horizon.present(config.train).patch_length))
    slots = {length: config.patch_slots(WINDOW, length) for length in (6.0, 5.0, None)}
    assert seen == [(slots[length], length) for length in [6.0] * 9 + [5.0] * 9 + [None] * 12]
    assert trainer.text.patcher.mean_length == pytest.approx(3.5, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"patcher__rule": "space"}, 'needs patches by the rule "global"; patcher.rule is "space"'),
        ({"patcher__rule": "both"}, 'patcher.rule is "both"'),
        ({"network__patches": False}, r"network\.patches is false"),
        ({"train__patch_curriculum": [[0.3, 12.0]]}, r"12, more than patcher\.max_length \(8\)"),
        ({"train__patch_curriculum": [[0.0, 6.0]]}, "has a share of 0"),
        ({"train__patch_curriculum": [[0.6, 6.0], [0.6, 5.0]]}, "add up to more than 1"),
        ({"train__patch_curriculum": [[0.3, 0.5]]}, r"has a patch length of 0\.5"),
    ],
)  # fmt: skip
def test_curricula_that_cannot_be(corpus: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        configure(corpus, **({"train__patch_curriculum": CURRICULUM} | changes))
