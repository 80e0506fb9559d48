"""`neat tune`: the table, the file that it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import overrides

from neat.cli import main
from neat.config.change import base_of, changed, over_preset
from neat.config.compare import value_of
from neat.config.load import load
from neat.errors import ConfigError


def words(corpus: Path, **changes: object) -> list[str]:
    settings = {"train__max_steps": 200, "optim__lr": 0.002, "optim__adamw_lr": 0.001} | changes
    return [
        "tune",
        "--config",
        "tiny",
        *(word for text in overrides(corpus, **settings) for word in ("--set", text)),
    ]


def test_the_table_and_the_file(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chosen.toml"
    command = words(corpus)
    assert main([*command, "--share", "0.4", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0].split() == ["branch", "steps", "loss", "outcome", "settings"]
    assert "as configured" in said.out and "better" in said.out and "optim.lr = " in said.out
    assert f"neat-train --config {out}" in said.err
    text = out.read_text()
    assert text.startswith("# Chosen by: neat ") and 'base = "tiny"' in text
    # The file stands for the configuration with the choice, and nothing else.
    configured, chosen = load("tiny", command[4::2]).config, load(out).config
    assert chosen.name == "chosen"
    found = {line.split(" = ")[0]: line.split(" = ")[1] for line in said.out.splitlines() if " = " in line}
    assert found and all(value_of(chosen, key) == json.loads(value) for key, value in found.items())
    assert changed(chosen, {key: value_of(configured, key) for key in found} | {"name": configured.name}) == configured


@pytest.mark.slow
def test_json_and_a_budget_in_time(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(corpus), "--budget", "12s", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["choice"]["probes"] == len(table["probes"]) >= 1
    assert table["choice"]["seconds"] < 60


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--share", "0.05"], 2, "tuning may take 10 steps"),
        (["--share", "0"], 2, "not a share"),
        (["--share", "x"], 2, "invalid float"),
        (["--budget", "soon"], 2, "not a duration"),
        (["--budget", "1s", "--share", "0.1"], 2, "not allowed with"),
        (["--out", "chosen"], 2, "does not end in .toml"),
        (["--out", "/nowhere/chosen.toml"], 2, "there is no folder"),
        (["--set", "optim.rate=1"], 2, "optim.rate is not a setting"),
        (["--set", "data.sources=[]"], 2, "no text to train on"),
    ],
)
def test_what_is_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    assert main([*words(corpus), *options]) == code
    said = capsys.readouterr()
    assert message in said.err and "Traceback" not in said.err and said.out == ""


def test_a_file_over_a_preset_loads_back(tmp_path: Path) -> None:
    for base, settings in (
        ("tiny", ["train.max_steps=9", 'data.sources=["bundled:prose.train.jsonl.zst"]', "optim.lr=0.5"]),
        ("tiny", ["train.max_bytes=9", 'data.sources=["text.jsonl"]', "optim.name=adamw"]),
        ("100m", ['data.sources=["a", "b"]', "data.weights=[1.0, 2.5]"]),
        ("", ["network.heads=4", "network.kv_heads=2", "train.curriculum=[[0.5, 128]]"]),
    ):
        config = load(base or None, settings).config
        (tmp_path / "x.toml").write_text(over_preset(config, base, "made\nby hand"))
        found = load(tmp_path / "x.toml").config
        assert changed(found, {"name": config.name}) == config


def test_the_base_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "speed"\n')
    (tmp_path / "own.toml").write_text("seed = 3\n")
    assert [base_of(str(tmp_path / name)) for name in ("mine.toml", "own.toml")] == ["speed", ""]
    assert base_of("tiny") == "tiny" and base_of("100m.toml") == "100m"


def test_a_changed_configuration_is_validated() -> None:
    config = load("tiny").config
    assert changed(config, {"optim.lr": 0.5, "seed": 4}).optim.lr == 0.5
    with pytest.raises(ConfigError, match=r"train.batch_bytes 1000 is not a multiple"):
        changed(config, {"train.batch_bytes": 1000})
