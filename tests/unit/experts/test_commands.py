"""Experts as a user meets them: trained, named, mixed and dispatched on the command line."""

from __future__ import annotations

import json
import shutil
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
    """A copy of the base with experts x and y and a dispatcher, and their runs beside it."""
    root = tmp_path_factory.mktemp("trained") / "folder"
    shutil.copytree(folder, root, ignore=shutil.ignore_patterns("experts", "dispatcher.safetensors"))
    for kind in ("x", "y"):
        changes: dict[str, object] = {"data__sources": [str(root / f"{kind}.jsonl")], "expert__name": kind}
        changes |= {"expert__method": "cross_entropy", "train__max_steps": 30, "expert__clip_norm": 0.0}
        assert train(root, root / kind, **changes) == Exit.DONE
    rows = [row | {"expert": "x" if letter < "g" else "y"} for letter, row in zip(LETTERS, questions("x"), strict=True)]
    (root / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {"data__sources": [str(root / "labels.jsonl")], "train__mode": "dispatcher"}
    changes |= {"expert__answer_field": "expert", "data__validation_share": 0.0}
    assert train(root, root / "dispatcher", **changes) == Exit.DONE
    return root


def test_experts_by_name_by_file_and_mixed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(answer(capsys, trained, "--expert", "x")["text"])[0] == "x"
    assert str(answer(capsys, trained, "--expert", "y")["text"])[0] == "y"
    by_file = answer(capsys, trained, "--expert", str(trained / "y" / "expert-y.safetensors"))
    assert by_file["text"] == answer(capsys, trained, "--expert", "y")["text"]
    base = answer(capsys, trained)["text"]
    assert answer(capsys, trained, "--expert", "x=0,y=0")["text"] == base
    assert str(answer(capsys, trained, "--expert", "x=0.1,y=1")["text"])[0] == "y"


def test_two_passes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for way in ("prompt", "classifier"):
        found = answer(capsys, trained, "--dispatch", way)
        assert found["passes"] == 2 and 0 < float(str(found["first_pass_share"])) < 1
        assert float(str(found["svf/dispatch_entropy"])) >= 0
    assert "x=" in str(answer(capsys, trained, "--dispatch", "classifier")["experts"])
    # Every single expert is tried first, so the right one is found whatever the sampled mixtures are.
    examples = ["--dispatch", "fewshot", "--examples"]
    found = answer(capsys, trained, *examples, str(trained / "y.jsonl"))
    assert str(found["text"])[0] == "y" and found["passes"] == 2
    only = answer(capsys, trained, *examples, str(trained / "y.jsonl"), "--expert", "x")
    assert "y" not in str(only["experts"])


def test_spoken_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["generate", str(trained / "base"), "--max-bytes", "2", "--dispatch", "prompt", "--device", "cpu"]
    assert main(words) == Exit.DONE
    told = capsys.readouterr().err
    assert "passes 2" in told and "svf/dispatch_entropy" in told


def test_mistakes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, trained, "--expert", "z")
    assert "no expert z" in told and "experts: x, y" in told
    assert "not NAME" in refused(capsys, trained, "--expert", "x=much")
    assert "--dispatch fewshot" in refused(capsys, trained, "--dispatch", "fewshot")
    assert "--dispatch fewshot" in refused(capsys, trained, "--examples", "x.jsonl")
    assert "chooses the weights" in refused(capsys, trained, "--expert", "x=1", "--dispatch", "prompt")
    assert main(["generate", str(trained / "base"), "--expert", "gone.safetensors"]) == Exit.CHECKPOINT
    words = [word for text in settings(trained, network__width=48) for word in ("--set", text)]
    assert main(["train", "--config", "tiny", "--out", str(trained / "other"), *words]) == Exit.USAGE
    assert "in the base" in capsys.readouterr().err
    assert train(trained, trained / "log", train__max_steps=1) == Exit.DONE
    words = [word for text in settings(trained) for word in ("--set", text)]
    assert main(["train", "--config", str(trained / "base"), "--log", "memory=info", *words]) == Exit.USAGE
