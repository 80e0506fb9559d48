"""Lines about the first batches: what they say, when they stop, and that nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.networks import network, scattered
from support.runs import configure
from support.text import prose, rows

from neat.errors import UsageError
from neat.train.loop import run
from neat.train.tracing import Tracer, Watch, parse_watch, patched_text

TEXT = prose(3, 12)[:60]


def test_words_name_components_by_either_name() -> None:
    assert parse_watch(["blt=debug", "core=info"], 2) == Watch({"patching": "debug", "core": "info"}, 2)


@pytest.mark.parametrize(
    ("words", "batches", "what"),
    [
        (["bert=debug"], 1, "not a component"),
        (["blt"], 1, "the level is missing"),
        (["blt=loud"], 1, "is loud"),
        (["=debug"], 1, "nothing is not"),
        (["blt=debug"], 0, "not a positive number"),
    ],
)
def test_other_words_are_refused(words: list[str], batches: int, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse_watch(words, batches)


def test_each_level_tells_its_share_and_leaves_no_hook() -> None:
    model, batch = scattered(network()), rows(network(), [TEXT], 64)
    told: dict[str, list[str]] = {"info": [], "debug": []}
    for level, lines in told.items():
        tracer = Tracer(model, Watch({"patching": level}, 1), experts=False, say=lines.append)
        for _ in range(3):
            with tracer.tracing(batch):
                model(batch)
        assert not any(module._forward_hooks for module in model.modules())
    assert 0 < len(told["info"]) < len(told["debug"])
    assert all(line.startswith("patching batch 1: ") for line in told["debug"])
    assert any("patching.pool [1, 65, 16] float64 mean" in line for line in told["debug"])


def test_the_text_is_shown_with_its_patches() -> None:
    shown = patched_text(rows(network(), [TEXT], 64), 0, 64)
    assert shown.replace("|", "").encode() == TEXT[:-1]
    assert shown.count("|") > 5


def test_a_run_tells_of_its_first_batches_only(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(configure(corpus, train__max_steps=4), tmp_path / "run", Watch({"core": "info"}, 2))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("core batch ")]
    assert {line.split(":")[0] for line in lines} == {"core batch 1", "core batch 2"}
