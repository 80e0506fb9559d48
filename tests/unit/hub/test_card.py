"""The model card: every figure comes from events, the Hub's own reader understands it, absent is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from support.exports import copied_run, trained_run

from neat.config.load import load
from neat.config.schema import settings
from neat.config.show import dump_toml
from neat.errors import ConfigError, HubError
from neat.hub.card import NOT_MEASURED, check_card
from neat.hub.export import export
from neat.hub.facts import Evaluation
from neat.hub.public import base_name, command_line, dataset_ids, redacted, without_paths


def events(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def card(run: Path, folder: Path, **choices: str) -> str:
    return (export(run, folder / "export", **choices).folder / "README.md").read_text()


def test_the_figures_are_those_of_the_events(tmp_path: Path) -> None:
    text = card(trained_run(), tmp_path)
    (evaluation,) = [event for event in events(trained_run()) if event["type"] == "eval"]
    data = ModelCard(text).data
    found = {result.metric_type: result.metric_value for result in data.eval_results or []}
    assert found == {"bits_per_byte": evaluation["eval/bpb"], "bits_per_byte_ngram": evaluation["eval/ngram_bpb"]}
    assert f"| bits per byte, held-out text | {evaluation['eval/bpb']:.4f} |" in text
    assert f"{evaluation['eval/bytes']:,} bytes in {evaluation['eval/documents']:,} documents" in text


def test_the_head_survives_the_hubs_own_tools(tmp_path: Path) -> None:
    text = card(trained_run(), tmp_path, license="mit")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "mit"
    assert head["library_name"] == "neat"
    assert head["pipeline_tag"] == "text-generation"
    assert head["datasets"] == ["train"]
    name, results = model_index_to_eval_results(head["model-index"])
    assert eval_results_to_model_index(name, results) == head["model-index"]


def test_without_a_licence_the_card_says_so(tmp_path: Path) -> None:
    text = card(trained_run(), tmp_path)
    assert "license:" not in text
    assert "No licence was chosen" in text


def test_a_figure_that_no_event_holds_is_not_measured(tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    kept = [event for event in events(run) if event["type"] not in ("eval", "step")]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in kept))
    text = card(run, tmp_path)
    assert "model-index" not in text
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
    for figure in ("bits per byte, held-out text", "size of that text", "backward passes", "energy of the GPUs"):
        assert rows[figure] == NOT_MEASURED, figure


def test_energy_is_power_times_time(tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    told = events(run)
    begun = next(event for event in told if event["type"] == "run")
    power = [
        {"v": 1, "seq": 1000 + i, "time": 0.0, "mono": begun["mono"] + 10 * i, "type": "system", "step": 5}
        | {"gpu/0/power_w": watts, "gpu/1/power_w": 100.0, "gpu/0/name": "Test GPU"}
        for i, watts in enumerate([300.0, 500.0, 300.0])
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [*told, *power]))
    text = card(run, tmp_path)
    assert f"| energy of the GPUs | {20 * 500 / 3.6e6:.4g} kWh |" in text
    assert "| device | Test GPU |" in text


def test_an_earlier_step_has_the_figures_of_its_time(tmp_path: Path) -> None:
    text = card(trained_run() / "checkpoints" / "step-00000020", tmp_path)
    assert "model-index" not in text
    assert "| steps | 20 of 30 |" in text
    assert "Training had not ended" in text


def test_a_card_that_says_something_else_is_refused() -> None:
    with pytest.raises(HubError, match="the events say"):
        check_card("---\nlicense: mit\n---\n", Evaluation(1, 2.0, 3.0, 4, 5))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/home/ann/corpus/train.jsonl", "train.jsonl"),
        ("--config=/data/my.toml", "--config=my.toml"),
        ('data.sources=["/a/b/x.jsonl", "../c/*.txt"]', 'data.sources=["x.jsonl", "*.txt"]'),
        ("~/secret/run", "run"),
        ("s3://bucket/key/file.parquet", "file.parquet"),
        ("https://user:password@host/x/y.jsonl", "y.jsonl"),
        ("hf_abcdefghijklmnop", "[removed]"),
        ("api_key=12345", "[removed]"),
        ("optim.lr=3e-4", "optim.lr=3e-4"),
        ("bundled:prose.train.jsonl.zst", "bundled:prose.train.jsonl.zst"),
        ("relative/folder/file.txt", "file.txt"),
    ],
)
def test_commands_lose_paths_and_secrets(word: str, expected: str) -> None:
    assert redacted(word) == expected


def test_a_command_can_be_typed_again() -> None:
    words = ["/usr/bin/neat-train", "--config", "tiny", "--set", 'data.sources=["/a/b c.jsonl"]']
    assert command_line(words) == """neat-train --config tiny --set 'data.sources=["b c.jsonl"]'"""


def test_names_of_data_sets_are_clean() -> None:
    assert dataset_ids(["bundled:prose.train.jsonl.zst", "/x/y z/*.txt", "/a/My Corpus!.parquet", "/q/*"]) == [
        "prose.train",
        "My-Corpus",
    ]
    assert base_name("https://h/p/file.gz?token=1") == "file.gz"


def test_every_setting_that_may_hold_a_path_was_thought_of() -> None:
    """A new setting of free text fails here until somebody says whether it may be shown to others."""
    harmless = {
        "name", "data.text_field", "expert.name", "expert.prompt_field", "expert.answer_field", "expert.stop",
        "train.budget", "hub.repo", "hub.license", "activation.components",
    }  # fmt: skip
    without = {"data.sources", "data.validation", "ngram.model", "expert.base", "vision.codec", "init.from"}
    kinds = {key: str(declared.annotation) for key, declared in settings().items()}
    text = {key for key, kind in kinds.items() if kind == str(str) or kind.startswith("tuple[str")}
    assert text == harmless | without
    paths = [f"data.{key}=/secret/{key}.jsonl" for key in ("sources", "validation")]
    paths += [
        "ngram.model=/secret/n.bin",
        "expert.base=/secret/base",
        "vision.codec=/secret/c.safetensors",
        "init.from=/secret/run",
    ]
    shown = dump_toml(without_paths(load(None, paths).config))
    assert "secret" not in shown
    assert 'model = "n.bin"' in shown


def test_an_expert_is_not_uploaded_by_its_training() -> None:
    changes = ["train.mode=expert", "expert.base=x", "expert.name=y", "train.max_steps=1"]
    with pytest.raises(ConfigError, match="does not go with"):
        load(None, [*changes, "hub.repo=you/x", "hub.upload=final"])
    with pytest.raises(ConfigError, match="needs a repository"):
        load(None, ["hub.upload=final"])
