"""The lm-evaluation-harness on bytes: its numbers are those of the model, on a task made of local files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.text import ngram, prose
from support.written import KINDS, small_model

from neat.config.schema import Config
from neat.errors import DataError, Exit, UsageError
from neat.train.loading import Loaded

needs_extra = pytest.mark.usefixtures("_extra")


@pytest.fixture
def _extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="the extra eval is not installed: pip install 'neat[eval]'")
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def asked(*arguments: Any) -> list[Any]:
    return [SimpleNamespace(args=one) for one in arguments]


@needs_extra
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_model(kind: str) -> None:
    from neat.evaluate.harness import NeatLM

    model = small_model(kind)
    lm = NeatLM(model)
    context, text = "the näive river ", "stone and tide"
    (table,) = model.log_probs([(context + text).encode()])
    rows, targets = table[len(context.encode()) :], list(text.encode())
    nats = sum(float(row[byte]) for row, byte in zip(rows, targets, strict=True))
    greedy = b"".join(model.generate(context.encode(), max_bytes=3, temperature=0.0)).decode("latin-1")
    found = lm.loglikelihood(asked((context, text), ("", "tide")))
    assert found[0][0] == pytest.approx(nats, abs=1e-4) and not found[0][1]
    if greedy.isascii():
        assert lm.loglikelihood(asked((context, greedy)))[0][1]
    documents = [prose(0).decode(), "", "short"]
    rolling = lm.loglikelihood_rolling(asked(*((document,) for document in documents)))
    bits = [model.score([document.encode()]).bits if document else 0.0 for document in documents]
    assert rolling == pytest.approx([-one * math.log(2) for one in bits], rel=1e-5)
    settings = {"until": ["e"], "max_gen_toks": 5, "do_sample": False, "temperature": 1.0}
    requests = asked((context, settings), ("a", {"until": "x", "max_gen_toks": 2}), (context * 3, settings))
    written = lm.generate_until(requests)
    for number, prompt in ((0, context), (2, context * 3)):
        alone = b"".join(model.generate(prompt.encode(), max_bytes=20, temperature=0.0, stop=[b"e"]))
        assert written[number] == alone.decode(errors="replace")


@needs_extra
def test_sampling_is_what_the_task_says() -> None:
    from neat.evaluate.harness import _generation

    assert dict(_generation({}))["temperature"] == 0.0 and dict(_generation({}))["max_bytes"] == 1024
    assert dict(_generation({"do_sample": True}))["temperature"] == 1.0
    assert dict(_generation({"temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_new_tokens": 2})) == {
        "max_bytes": 8, "seed": 0, "stop": (), "temperature": 0.5, "top_k": 3, "top_p": 0.9
    }  # fmt: skip


TASK = """task: rivers
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 2.0
"""
ROWS = [
    {"question": "the river", "choices": ["stone", "tide", "said"], "answer": 1},
    {"question": "the keeper walked", "choices": ["down", "über"], "answer": 0},
    {"question": "the harbour", "choices": ["of", "lantern"], "answer": 1},
]


@needs_extra
def test_a_task_of_local_files(tmp_path: Path) -> None:
    from neat.evaluate.harness import run_harness

    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "rivers.yaml").write_text(TASK.format(data=data))
    loaded = Loaded(small_model("windows"), ngram(), Config(), 3)
    found: dict[str, Any] = run_harness(loaded, ["rivers"], include=str(tmp_path))
    scores = json.loads(json.dumps(found, allow_nan=False))["tasks"]["rivers"]
    right, bits, num_bytes = 0, 0.0, 0
    for row in ROWS:
        texts = [f"{row['question']} {choice}".encode() for choice in row["choices"]]  # type: ignore[attr-defined]
        start = len(str(row["question"]))
        nats = [
            sum(float(line[byte]) for line, byte in zip(table[start:], text[start:], strict=True))
            for table, text in zip(loaded.model.log_probs(texts), texts, strict=True)
        ]
        place = int(str(row["answer"]))
        right += nats.index(max(nats)) == place
        bits -= nats[place] / math.log(2)
        num_bytes += len(texts[place]) - start
    assert scores["acc"] == pytest.approx(right / 3)
    assert scores["bits_per_byte"] == pytest.approx(bits / num_bytes, rel=1e-5)
    assert (scores["items"], scores["shots"], scores["version"]) == (3, 0, 2.0)
    assert found["versions"]["lm_eval"] and found["step"] == 3


@needs_extra
@pytest.mark.slow
def test_an_unknown_task_is_named() -> None:
    from neat.evaluate.harness import run_harness

    with pytest.raises(UsageError, match="has no task hellaswaq"):
        run_harness(Loaded(small_model("windows"), ngram(), Config(), 3), ["hellaswaq"])


@needs_extra
def test_missing_data_is_told(tmp_path: Path) -> None:
    from neat.evaluate.harness import run_harness

    loaded = Loaded(small_model("windows"), ngram(), Config(), 3)
    (tmp_path / "rivers.yaml").write_text(TASK.format(data=tmp_path / "missing.jsonl"))
    with pytest.raises(DataError, match="data of rivers cannot be had"):
        run_harness(loaded, ["rivers"], include=str(tmp_path))


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['lm_eval'] = None\nfrom neat.cli import main\n"
        "sys.exit(main(['eval', 'nowhere', '--tasks', 'hellaswag']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == Exit.USAGE
    assert "pip install 'neat[eval]'" in done.stderr and "Traceback" not in done.stderr
