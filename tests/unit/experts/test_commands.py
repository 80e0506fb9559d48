"""Experts as a user meets them: trained, named, mixed and dispatched on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.experts import LETTERS, questions, settings

from neat.cli import main
from neat.errors import Exit

PROMPT = "please ask c now: "


def train(folder: Path, out: Path, **changes: object) -> int:
    words = [word for text in settings(folder, **changes) for word in ("--set", text)]
    return main(["train", "--config", str(folder / "base"), "--out", str(out), *words])


def answer(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> dict[str, object]:
    capsys.readouterr()
    options = ["--prompt", PROMPT, "--max-bytes", "3", "--temperature", "0", "--json", "--device", "cpu"]
    assert main(["generate", str(folder / "base"), *options, *words]) == Exit.DONE
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    capsys.readouterr()
    assert main(["generate", str(folder / "base"), *words]) == Exit.USAGE
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts x and y and a dispatcher, published beside the base; their runs are in the folder returned."""
    root = tmp_path_factory.mktemp("trained")
    for kind in ("x", "y"):
        changes: dict[str, object] = {"data__sources": [str(folder / f"{kind}.jsonl")], "expert__name": kind}
        changes |= {"expert__method": "cross_entropy", "train__max_steps": 30, "expert__clip_norm": 0.0}
        assert train(folder, root / kind, **changes) == Exit.DONE
    rows = [row | {"expert": "x" if letter < "g" else "y"} for letter, row in zip(LETTERS, questions("x"), strict=True)]
    (root / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {"data__sources": [str(root / "labels.jsonl")], "train__mode": "dispatcher"}
    changes |= {"expert__answer_field": "expert", "data__validation_share": 0.0}
    assert train(folder, root / "dispatcher", **changes) == Exit.DONE
    return root


def test_experts_by_name_by_file_and_mixed(folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        answer(capsys, folder, "--expert", "x")["text"]
        == "x\n" + str(answer(capsys, folder, "--expert", "x")["text"])[2:]
    )
    assert str(answer(capsys, folder, "--expert", "y")["text"])[0] == "y"
    by_file = answer(capsys, folder, "--expert", str(trained / "y" / "expert-y.safetensors"))
    assert by_file["text"] == answer(capsys, folder, "--expert", "y")["text"]
    base = answer(capsys, folder)["text"]
    assert answer(capsys, folder, "--expert", "x=0,y=0")["text"] == base
    assert str(answer(capsys, folder, "--expert", "x=0.1,y=1")["text"])[0] == "y"


def test_two_passes(folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for way in ("prompt", "classifier"):
        found = answer(capsys, folder, "--dispatch", way)
        assert found["passes"] == 2 and 0 < float(str(found["first_pass_share"])) < 1
        assert float(str(found["svf/dispatch_entropy"])) >= 0
    assert "x=" in str(answer(capsys, folder, "--dispatch", "classifier")["experts"])
    # Every single expert is tried first, so the right one is found whatever the sampled mixtures are.
    examples = ["--dispatch", "fewshot", "--examples"]
    found = answer(capsys, folder, *examples, str(folder / "y.jsonl"))
    assert str(found["text"])[0] == "y" and found["passes"] == 2
    only = answer(capsys, folder, *examples, str(folder / "y.jsonl"), "--expert", "x")
    assert "y" not in str(only["experts"])


def test_spoken_figures(folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["generate", str(folder / "base"), "--max-bytes", "2", "--dispatch", "prompt", "--device", "cpu"]
    assert main(words) == Exit.DONE
    told = capsys.readouterr().err
    assert "passes 2" in told and "svf/dispatch_entropy" in told


def test_mistakes(folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, folder, "--expert", "z")
    assert "no expert z" in told and "experts: x, y" in told
    assert "not NAME" in refused(capsys, folder, "--expert", "x=much")
    assert "--dispatch fewshot" in refused(capsys, folder, "--dispatch", "fewshot")
    assert "--dispatch fewshot" in refused(capsys, folder, "--examples", "x.jsonl")
    assert "chooses the weights" in refused(capsys, folder, "--expert", "x=1", "--dispatch", "prompt")
    assert main(["generate", str(folder / "base"), "--expert", "gone.safetensors"]) == Exit.CHECKPOINT
    words = [word for text in settings(folder, network__width=48) for word in ("--set", text)]
    assert main(["train", "--config", "tiny", "--out", str(trained / "other"), *words]) == Exit.USAGE
    assert "in the base" in capsys.readouterr().err
    assert train(folder, trained / "log", train__max_steps=1) == Exit.DONE
    words = [word for text in settings(folder) for word in ("--set", text)]
    assert main(["train", "--config", str(folder / "base"), "--log", "memory=info", *words]) == Exit.USAGE
