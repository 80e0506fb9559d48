"""`neat generate` interrupted and gone on with, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import configure, write_corpus

import neat
from neat.cli import main
from neat.data.png import write_png
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


def test_a_state_with_images_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An image in the prompt of the first call is seen by the second."""
    write_corpus(tmp_path)
    vision = {"vision__on": True, "vision__codec": "palette:8", "vision__codes": 8, "vision__grid": 3}
    sizes = {"vision__image_size": 24, "vision__head_ffn_width": 8, "network__window": 8}
    root, file, board = tmp_path / "run", str(tmp_path / "state"), tmp_path / "board.png"
    assert run(configure(tmp_path, train__max_steps=3, train__sample_bytes=0, **vision, **sizes), root) == 0
    images = neat.load(root).network.vision
    assert images is not None
    write_png(board, images.pixels([0, 1, 2, 3, 4, 5, 6, 7, 0]))
    prompt = ["--prompt", "lake \ufffc moves ", "--image", str(board), "--seed", "4"]
    straight = generate(capsys, str(root), *prompt, "--max-bytes", "40")
    first = generate(capsys, str(root), *prompt, "--max-bytes", "25", "--save-state", file)
    assert first + generate(capsys, str(root), "--max-bytes", "15", "--load-state", file) == straight


def test_a_state_that_is_none_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(trained), "--load-state", str(tmp_path / "missing")]) == 4
    assert "there is no state" in capsys.readouterr().err
