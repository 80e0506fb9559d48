"""The credit test: pairs, errors, the verdict, what it refuses, and that the run is not touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import configure

from neat.cli import main
from neat.errors import CheckpointError, ConfigError, NeatError, UsageError
from neat.events.lock import RunLock
from neat.events.reader import read_events
from neat.train import checkpoint
from neat.train.credit import credit, summed
from neat.train.loop import run


@pytest.fixture(scope="module")
def half(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 steps with its checkpoints."""
    root = tmp_path_factory.mktemp("credit") / "run"
    config = configure(
        corpus, train__max_steps=60, checkpoint__keep=9, checkpoint__every_steps=40, predict__warmup_steps=20
    )
    assert run(config, root) == 0
    return root


def middle(root: Path) -> Path:
    """The checkpoint of step 40, in which the learning rate has begun to fall."""
    return root / "checkpoints" / "step-00000040"


def content(root: Path) -> dict[Path, bytes]:
    names = {"run.lock", "events.jsonl"}
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name not in names}


def test_a_harmful_change_is_worse_and_a_repeat_is_exact(half: Path) -> None:
    before = content(half)
    lines: list[str] = []
    found = credit(middle(half), ["optim.lr=1e-5", "optim.adamw_lr=1e-5"], repeats=2, tell=lines.append)
    assert (found.verdict, found.step, found.steps, found.decay_steps) == ("worse", 40, 10, 10)
    assert found.changes == {"optim.lr": 1e-5, "optim.adamw_lr": 1e-5}
    assert found.difference > 2 * found.error and "worse with the change" in found.sentence()
    assert len(lines) == len(found.repeats) == 2 and found.repeats[0] != found.repeats[1]
    assert credit(middle(half), ["optim.lr=1e-5", "optim.adamw_lr=1e-5"], repeats=2) == found
    assert content(half) == before, "weights, configuration and record of the run are as they were"


def test_a_change_without_effect_is_noise(half: Path) -> None:
    """The rate of hash tables, changed by a millionth."""
    found = credit(middle(half), ["optim.eps=1.0000001e-8"], repeats=1)
    assert found.verdict == "noise" and found.error_repeats is None
    assert "within noise" in found.sentence() and "one repeat says nothing of other continuations" in found.sentence()


@pytest.mark.parametrize(
    "change", ["optim.momentum=0.5", "train.batch_bytes=512", "network.rope_theta=50.0", "predict.micro=false"]
)
def test_any_setting_that_keeps_the_shapes_can_be_asked(half: Path, change: str) -> None:
    found = credit(middle(half), [change], repeats=1)
    assert found.repeats[0][0] != found.repeats[0][1]


def test_every_pair_is_an_event(half: Path) -> None:
    def probes() -> list[dict[str, Any]]:
        return [dict(event.data) for event in read_events(half / "events.jsonl") if event.type == "probe"]

    told = len(probes())
    found = credit(middle(half), ["optim.momentum=0.6"], repeats=2)
    new = probes()[told:]
    assert [event["name"] for event in new] == ["repeat 1", "repeat 2", "credit"]
    assert all(event["purpose"] == "credit" and event["changes"] == {"optim.momentum": 0.6} for event in new)
    assert [(event["baseline"], event["loss"]) for event in new[:2]] == found.repeats
    assert new[-1]["outcome"] == found.verdict and new[-1]["reason"] == found.sentence()
    # A run that somebody else is writing gets no events, and is not waited for.
    lock = RunLock(half / "run.lock")
    try:
        assert credit(middle(half), ["optim.momentum=0.6"], repeats=2) == found
    finally:
        lock.release()
    assert len(probes()) == told + 3


def test_the_errors_are_those_of_batches_and_of_repeats() -> None:
    ours = [2.0, 2.1, 1.9, 2.0]
    pairs = [(ours, [loss + gain for loss in ours]) for gain in (-0.10, -0.12, -0.11)]
    found = summed(pairs, {}, 10, 5, 5)
    assert found.difference == pytest.approx(-0.11) and found.error_batches == pytest.approx(0.0, abs=1e-12)
    assert found.error_repeats == pytest.approx(0.01 / 3**0.5) and found.verdict == "better"
    # Repeats that disagree outweigh batches that agree.
    pairs = [(ours, [loss + gain for loss in ours]) for gain in (-0.10, 0.08, -0.05)]
    assert summed(pairs, {}, 10, 5, 5).verdict == "noise"
    pairs = [(ours, [loss + gain for loss, gain in zip(ours, (0.3, -0.2, 0.1, -0.1), strict=True)])]
    found = summed(pairs, {}, 10, 5, 5)
    assert found.verdict == "noise" and found.error == pytest.approx((0.1475 / 3 / 4) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        (["optim.lrr=1"], {}, ConfigError, "optim.lrr is not a setting"),
        (["optim.lr=0.01"], {}, UsageError, "nothing is changed"),
        (["network.width=32"], {}, ConfigError, "shape of the model"),
        (["data.lanes=2"], {}, ConfigError, "how the text is read"),
        (["train.log_every=7"], {}, ConfigError, "does not change the course"),
        (["train.max_steps=70"], {}, ConfigError, "not the length of a branch"),
        (["optim.lr=0.1"], {"decay_share": 0.1}, UsageError, "credits what a longer one erases"),
        (["optim.lr=0.1"], {"steps": 5}, UsageError, "too short"),
        (["optim.lr=0.1"], {"steps": 200}, NeatError, "come round"),
        (["optim.name=adamw"], {}, ConfigError, "optimizer state differs"),
    ],
)
def test_what_cannot_be_asked(
    half: Path, changes: list[str], options: dict[str, Any], error: type[NeatError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        credit(middle(half), changes, repeats=1, **options)
    assert caught.value.hint or "not a setting" in message


def test_where_nothing_can_be_asked(half: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no"):
        credit(tmp_path / "missing", ["optim.lr=0.1"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        credit(tmp_path / "empty", ["optim.lr=0.1"])
    with pytest.raises(CheckpointError, match="of its peak") as caught:
        credit(half, ["optim.lr=0.1"])  # Finished: decayed to nothing.
    assert "before the decay" in str(caught.value.hint)
    first = half / "checkpoints" / "step-00000001"
    assert checkpoint.verify(first) is None
    with pytest.raises(UsageError, match="too short"):
        credit(first, ["optim.lr=0.1"])


def test_the_command(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["credit", str(middle(half)), "--set", "optim.momentum=0.5", "--seeds", "2", "--steps", "12"]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    table = json.loads(said.out)
    assert table["verdict"] in ("better", "worse", "noise") and len(table["repeats"]) == 2
    assert table["steps"] == 12 and "repeat 2 of 2" in said.err
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "optim.momentum = 0.5" in text and table["sentence"] in text and "over repeats" in text
    assert main([*words[:4], "--seeds", "0"]) == 2
