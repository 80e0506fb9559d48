"""`neat generate` interrupted and gone on with, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import configure, write_corpus

from neat.cli import main
from neat.train.loop import run


@pytest.fixture(scope="module", params=[0, 8], ids=["in windows", "on and on"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of each way of reading."""
    folder = tmp_path_factory.mktemp("state")
    write_corpus(folder)
    root = folder / "run"
    assert run(configure(folder, train__max_steps=3, train__sample_bytes=0, network__window=request.param), root) == 0
    return root


def generate(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text that the command writes."""
    assert main(["generate", *words, "--json"]) == 0
    text: str = json.loads(capsys.readouterr().out)["text"]
    return text


@pytest.mark.parametrize("temperature", ["0", "0.7"])
def test_two_calls_write_what_one_does(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], temperature: str
) -> None:
    options = [str(trained), "--temperature", temperature]
    straight = generate(capsys, *options, "--prompt", "the ", "--seed", "4", "--max-bytes", "90")
    file = str(tmp_path / "state")
    first = generate(capsys, *options, "--prompt", "the ", "--seed", "4", "--max-bytes", "50", "--save-state", file)
    second = generate(capsys, *options, "--max-bytes", "30", "--load-state", file, "--save-state", file)
    third = generate(capsys, *options, "--max-bytes", "10", "--load-state", file)
    assert (first + second + third).encode() == straight.encode()


def test_a_state_that_is_none_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(trained), "--load-state", str(tmp_path / "missing")]) == 4
    assert "there is no state" in capsys.readouterr().err
