"""An expert and a dispatcher trained on a tiny base: files, resuming, refusals, what changes and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.experts import LETTERS, expert_config, questions, settings
from support.networks import network, scattered
from support.text import prose, text_model

import neat
from neat.config.adopt import adopt
from neat.config.load import load
from neat.config.schema import Config, Network
from neat.data.questions import Question
from neat.errors import CheckpointError, ConfigError, DataError, Exit, UsageError
from neat.events.reader import read_events
from neat.model.experts import files as expert_files
from neat.model.experts.answers import Written, answer_log_probs, answer_rows, write_answers
from neat.model.experts.files import add_expert, weights_digest
from neat.train import adaptation, checkpoint
from neat.train.adaptation import base_config
from neat.train.device import place
from neat.train.expert import ExpertTask
from neat.train.loading import read_config
from neat.train.loop import run
from neat.train.signals import StopRequest


@pytest.mark.parametrize("method", ["reinforce", "cross_entropy"])
def test_a_run_leaves_a_file_that_the_base_can_use(folder: Path, tmp_path: Path, method: str) -> None:
    before = neat.load(folder / "base", device="cpu")
    config = expert_config(folder, expert__method=method, train__max_steps=20, expert__name=method, expert__kl=0.01)
    assert run(config, tmp_path / "run") == Exit.DONE
    path = tmp_path / "run" / f"expert-{method}.safetensors"
    file = expert_files.read(path, expert_files.EXPERT)
    assert file.names == (method,) and file.base == weights_digest(before.network)
    assert file.facts["method"] == method
    assert bool(file.tensors["offsets"].any())
    assert float(file.facts["base_accuracy"]) < float(file.facts["accuracy"]) == 1.0
    model = neat.load(folder / "base", device="cpu")
    assert method in model.installed
    assert add_expert(model.network, path) == method
    assert model.network.experts is not None
    assert torch.equal(model.network.experts.mixture({method: 1.0}), file.tensors["offsets"])
    # Nothing but the vector was trained.
    after = {n: t for n, t in model.network.state_dict().items() if not n.startswith("experts.")}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.network.state_dict().items())
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert [event.type for event in events if event.type != "heartbeat"][-2:] == ["eval", "end"]
    steps = [event for event in events if event.type == "step"]
    assert len(steps) == 20 and all("expert/kl" in event.data for event in steps)
    assert steps[0].data["expert/kl"] == pytest.approx(0, abs=1e-6)
    assert float(steps[-1].data["expert/kl"]) > 1e-6  # type: ignore[arg-type]


def test_training_on_answers_makes_them_likelier(folder: Path, tmp_path: Path) -> None:
    config = expert_config(folder, expert__method="cross_entropy", train__max_steps=25, expert__clip_norm=0.0)
    run(config, tmp_path / "run")
    losses = [
        event.data["train/loss"] for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "step"
    ]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])  # type: ignore[arg-type]


def vectors(root: Path) -> torch.Tensor:
    return safetensors.torch.load_file(checkpoint.find(root) / checkpoint.MODEL)["vector"]


def test_a_run_that_lost_its_last_steps_ends_as_if_nothing_had_happened(folder: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(expert_config(folder), whole)
    run(expert_config(folder), broken)
    shutil.rmtree(broken / "checkpoints" / "step-00000004")
    (broken / "expert-x.safetensors").unlink()
    assert run(expert_config(folder), broken) == Exit.DONE
    assert torch.equal(vectors(broken), vectors(whole)) and bool(vectors(whole).any())
    files = [expert_files.read(root / "expert-x.safetensors", expert_files.EXPERT) for root in (broken, whole)]
    assert torch.equal(files[0].tensors["offsets"], files[1].tensors["offsets"]) and files[0].facts == files[1].facts
    steps = [event.step for event in read_events(broken / "events.jsonl") if event.type == "step"]
    assert steps == [1, 2, 3, 4, 3, 4]


class AfterTwo(StopRequest):
    """A person who asks to stop during the second step."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__()

    @property
    def requested(self) -> bool:
        self.asked += 1
        return self.asked > 2

    @requested.setter
    def requested(self, value: bool) -> None:
        del value


def test_a_stop_request_is_met_after_the_step(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = expert_config(folder, checkpoint__every_steps=100)
    run(changed, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(adaptation, "StopRequest", AfterTwo)
        assert run(changed, tmp_path / "run") == Exit.STOPPED
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert (events[-1].type, events[-1].step, events[-1].data["exit_code"]) == ("end", 2, 75)
    assert run(changed, tmp_path / "run") == Exit.DONE
    assert torch.equal(vectors(tmp_path / "run"), vectors(tmp_path / "whole"))


def test_a_base_with_room_for_experts_takes_them_too(folder: Path, tmp_path: Path) -> None:
    base = read_config(checkpoint.find(folder / "base"))
    values = base.model_dump()
    values["expert"]["count"], values["train"]["max_steps"] = 2, 3
    assert run(Config.model_validate(values), tmp_path / "base") == Exit.DONE
    model = neat.load(tmp_path / "base", device="cpu")
    assert model.network.experts is not None and model.network.experts.vectors.shape == (2, 32)
    changes: dict[str, object] = {"expert__base": str(tmp_path / "base"), "expert__method": "cross_entropy"}
    config = load(tmp_path / "base", settings(folder, **changes)).config
    assert run(config, tmp_path / "run") == Exit.DONE
    assert model.add_expert(tmp_path / "run" / "expert-x.safetensors") == "x"
    assert model.network.experts.vectors.shape == (2, 32) and bool(model.network.experts.vectors[0].any())
    assert not model.network.experts.vectors[1].any()


def test_an_expert_of_other_weights_is_refused_with_both_digests(folder: Path, tmp_path: Path) -> None:
    run(expert_config(folder, train__max_steps=1), tmp_path / "run")
    path = tmp_path / "run" / "expert-x.safetensors"
    other = neat.load(folder / "base", device="cpu", average=False)
    with pytest.raises(CheckpointError) as caught:
        add_expert(other.network, path)
    assert weights_digest(other.network) in str(caught.value)
    assert weights_digest(neat.load(folder / "base", device="cpu").network) in str(caught.value)


def test_damaged_and_foreign_files_are_refused(folder: Path, tmp_path: Path) -> None:
    network = neat.load(folder / "base", device="cpu").network
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    plain = tmp_path / "plain.safetensors"
    safetensors.torch.save_file({"offsets": torch.zeros(3)}, plain)
    nan = tmp_path / "nan.safetensors"
    content = expert_files.ExpertFile(
        expert_files.EXPERT, ("x",), weights_digest(network), {"offsets": torch.full((32,), float("nan"))}, {}
    )
    expert_files.write(nan, content)
    short = tmp_path / "short.safetensors"
    expert_files.write(
        short, expert_files.ExpertFile(expert_files.EXPERT, ("x",), content.base, {"offsets": torch.zeros(3)}, {})
    )
    cases = [(tmp_path / "none", "no file"), (bad, "damaged"), (plain, "no file of neat"), (nan, "finite")]
    for path, message in [*cases, (short, "no vector of 32")]:
        with pytest.raises(CheckpointError, match=message):
            add_expert(network, path)


def test_the_shape_of_the_model_is_the_bases(folder: Path) -> None:
    base = base_config(str(folder / "base"))
    loaded = load(None, settings(folder))
    assert loaded.config.network != base.network
    adopted = adopt(loaded.config, base, loaded.origins)
    assert adopted.network == base.network and adopted.train.window == base.train.window
    assert adopted.expert == loaded.config.expert and adopted.data == loaded.config.data
    contrary = load(None, [*settings(folder), "network.width=48", "network.layers=2"])
    with pytest.raises(ConfigError, match=r"network.width is 48 here and 16 in the base"):
        adopt(contrary.config, base, contrary.origins)
    repeated = load(folder / "base", [*settings(folder), "network.width=16"])
    assert adopt(repeated.config, base, repeated.origins) == adopt(repeated.config, base)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert__max_answer_bytes": 1}, "more than expert.max_answer_bytes"),
        ({"expert__max_answer_bytes": 64}, "do not fit into the window"),
        ({"expert__prompt_field": "question"}, "no text in 'question'"),
        ({"data__sources": ["nowhere.jsonl"]}, "no file nowhere.jsonl"),
        ({"data__validation": ["nowhere.jsonl"]}, "no file nowhere.jsonl"),
    ],
)
def test_mistakes_are_told(folder: Path, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        run(expert_config(folder, **changes), tmp_path / "run")


def test_bad_rows_stop_or_are_skipped(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text((folder / "x.jsonl").read_text() + '{"prompt": "x"}\n[]\n{\n')
    with pytest.raises(DataError, match="no text in 'answer'") as caught:
        run(expert_config(folder, data__sources=[str(path)]), tmp_path / "stop")
    assert caught.value.where == f"{path}, line 13"
    done = run(expert_config(folder, data__sources=[str(path)], data__on_bad_row="skip"), tmp_path / "skip")
    assert done == Exit.DONE


def test_a_run_of_an_expert_is_no_model(folder: Path, tmp_path: Path) -> None:
    run(expert_config(folder, train__max_steps=1), tmp_path / "run")
    with pytest.raises(CheckpointError, match="training of x on another model"):
        neat.load(tmp_path / "run")


@pytest.mark.parametrize("shape", [network(), network(pool="cross_attention", window=3), network(patches=False)])
def test_written_answers_have_the_probability_that_they_are_read_with(shape: Network) -> None:
    """Greedy bytes are the likeliest ones of the rows in which the answers are scored afterwards."""
    model = text_model(scattered(shape), shape, window=96)
    prompts = [prose(seed, 8) for seed in range(4)] + [b"x", b""]
    endless = write_answers(model, model.network, prompts, max_bytes=12, stop=b"no such text", temperature=0.0)
    assert {(len(one.text), one.answer) for one in endless} == {(12, None)}
    stop = endless[0].text[3:4]
    written = write_answers(model, model.network, prompts, max_bytes=12, stop=stop, temperature=0.0)
    assert len({len(one.text) for one in written}) > 1
    documents = [prompt + one.text for prompt, one in zip(prompts, written, strict=True)]
    batch = answer_rows(model, documents, [len(prompt) for prompt in prompts])
    with torch.no_grad():
        logits = model.network(batch)
    scored = batch.targets >= 0
    assert torch.equal(logits.argmax(-1)[scored], batch.targets[scored])
    assert scored.sum(1).tolist() == [len(one.text) for one in written]
    totals = answer_log_probs(logits, batch.targets)
    for prompt, document, total, reference in zip(prompts, documents, totals, model.log_probs(documents), strict=True):
        expected = sum(float(reference[i, document[i]]) for i in range(len(prompt), len(document)))
        assert float(total) == pytest.approx(expected, abs=1e-4)
    for one in written:
        assert one.answer == (one.text[:-1] if one.text.endswith(stop) else None)


def test_sampled_answers_follow_the_seed() -> None:
    shape = network()
    model = text_model(scattered(shape), shape, window=96)

    def sampled(seed: int) -> list[bytes]:
        generator = torch.Generator().manual_seed(seed)
        prompts = [b"the river"] * 3
        options = {"max_bytes": 5, "stop": b"e", "temperature": 1.0, "generator": generator}
        return [one.text for one in write_answers(model, model.network, prompts, **options)]  # type: ignore[arg-type]

    assert sampled(1) == sampled(1) != sampled(2) and len(set(sampled(1))) > 1


def test_a_question_order_visits_everything(folder: Path) -> None:
    model = neat.load(folder / "base", device="cpu")
    changed = expert_config(folder, expert__questions=5, data__validation_share=0.0)
    config = adopt(changed, base_config(str(folder / "base")))
    task = ExpertTask(config, model, place(config.runtime))
    drawn = [question.prompt for step in range(12) for question in task._drawn(step)]
    for epoch in range(5):
        assert len(set(drawn[12 * epoch : 12 * epoch + 12])) == 12
    assert drawn[:12] != drawn[12:24]


def test_reward_contains(folder: Path) -> None:
    model = neat.load(folder / "base", device="cpu")
    base = base_config(str(folder / "base"))
    right = {}
    for reward in ("exact_match", "contains"):
        task = ExpertTask(adopt(expert_config(folder, expert__reward=reward), base), model, place(base.runtime))
        question = Question(b"p", b"42", "")
        answers = [Written(b"42\n", b"42"), Written(b"is 42!\n", b"is 42!"), Written(b"42", None)]
        right[reward] = [task.right(one, question) for one in answers]
    assert right == {"exact_match": [True, False, False], "contains": [True, True, False]}


def test_a_reward_that_never_comes_is_told(folder: Path, tmp_path: Path) -> None:
    rows = "".join(json.dumps(row | {"answer": "%%"}) + "\n" for row in questions("x"))
    (tmp_path / "rows.jsonl").write_text(rows)
    config = expert_config(folder, data__sources=[str(tmp_path / "rows.jsonl")], train__max_steps=22)
    run(config, tmp_path / "run")
    alerts = [event for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "alert"]
    assert [event.step for event in alerts] == [20]
    assert "cross_entropy" in str(alerts[0].data["message"])
    assert not vectors(tmp_path / "run").any()


def test_a_dispatcher_learns_whose_prompts_are_whose(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(
            json.dumps({"prompt": f"{verb} {letter}{letter}", "expert": name}) + "\n"
            for letter in LETTERS
            for verb, name in (("please", "x"), ("now:", "y"))
        )
    )
    changes: dict[str, object] = {
        "train__mode": "dispatcher",
        "expert__answer_field": "expert",
        "data__sources": [str(tmp_path / "rows.jsonl")],
        "train__max_steps": 60,
        "expert__lr": 0.02,
        "expert__clip_norm": 0.0,
    }
    assert run(expert_config(folder, **changes), tmp_path / "run") == Exit.DONE
    file = expert_files.read(tmp_path / "run" / "dispatcher.safetensors", expert_files.DISPATCHER)
    assert file.names == ("x", "y") and float(file.facts["accuracy"]) == 1.0
    steps = [event.data for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "step"]
    assert float(steps[0]["svf/dispatch_entropy"]) > float(steps[-1]["svf/dispatch_entropy"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="nothing to tell apart"):
        changes["data__sources"] = [str(folder / "x.jsonl")]
        run(expert_config(folder, **changes), tmp_path / "one")
