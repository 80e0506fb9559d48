"""Two passes: what is chosen, what the second pass computes, and that the base stays what it is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.networks import network, scattered
from support.text import forward, prose, rows, text_model
from torch import Tensor

from neat.data.questions import Question
from neat.errors import CheckpointError, UsageError
from neat.evaluate.cem import maximise
from neat.evaluate.dispatch import Choice, ExampleScore, TwoPass, by_classifier, by_examples, by_prompt, entropy
from neat.model.batch import Batch
from neat.model.experts import files as expert_files
from neat.model.experts.answers import write_answers
from neat.model.experts.files import ExpertFile, equip, weights_digest
from neat.model.experts.prompts import prompt_vectors
from neat.model.experts.vectors import mixed
from neat.model.text.model import TextModel

SHAPE = network(window=8)
PROMPT = b"the river said "


def vector(model: TextModel, seed: int, size: float = 0.6) -> Tensor:
    experts = equip(model.network)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(experts.size, generator=generator, dtype=torch.float64) * size


@pytest.fixture
def model() -> TextModel:
    """A base with three experts."""
    text = text_model(scattered(SHAPE), SHAPE, window=96)
    for seed, name in enumerate(("one", "two", "three")):
        equip(text.network).add(name, vector(text, seed))
    return text


def expert_file(model: TextModel, folder: Path, name: str, seed: int) -> Path:
    path = folder / f"{name}.safetensors"
    tensors = {"offsets": vector(model, seed)}
    expert_files.write(path, ExpertFile(expert_files.EXPERT, (name,), weights_digest(model.network), tensors, {}))
    return path


def test_experts_are_added_to_a_network_that_was_made_without_room(tmp_path: Path) -> None:
    plain = text_model(scattered(SHAPE), SHAPE, window=96)
    assert plain.network.experts is None and plain.expert_names == []
    batch = rows(SHAPE, [prose(3)[:80]], 96)
    base = forward(plain.network, batch)
    other = text_model(scattered(SHAPE), SHAPE, window=96)
    path = expert_file(other, tmp_path, "math", 5)
    assert plain.add_expert(path) == "math" and plain.expert_names == ["math"]
    assert torch.equal(forward(plain.network, batch), base)
    with_expert = plain.with_experts({"math": 1.0})
    expected = forward(mixed(other.network, vector(other, 5)), batch)
    assert torch.equal(forward(with_expert.network, batch), expected)
    assert torch.equal(forward(plain.network, batch), base)
    assert torch.equal(
        forward(with_expert.with_experts({"math": 1e-12}).network, batch),
        forward(mixed(plain.network, vector(other, 5) * 1e-12), batch),
    )


def test_installed_experts_are_read_when_they_are_used(model: TextModel, tmp_path: Path) -> None:
    model.installed = {"late": expert_file(model, tmp_path, "late", 9), "stale": tmp_path / "stale.safetensors"}
    other = text_model(scattered(SHAPE, 3), SHAPE, window=96)
    expert_file(other, tmp_path, "stale", 1)
    assert model.expert_names == ["late", "one", "stale", "three", "two"]
    assert torch.equal(
        forward(model.with_experts({"late": 1.0}).network, rows(SHAPE, [PROMPT], 32)),
        forward(mixed(model.network, vector(model, 9)), rows(SHAPE, [PROMPT], 32)),
    )
    with pytest.raises(CheckpointError, match=weights_digest(other.network)):
        model.with_experts({"stale": 1.0})
    with pytest.raises(UsageError, match="no expert lats") as caught:
        model.with_experts({"lats": 1.0})
    assert "did you mean late?" in str(caught.value.hint)


def test_the_second_pass_is_a_fresh_model_with_the_mixture(model: TextModel) -> None:
    choice = Choice({"one": 0.7, "three": 0.4}, 0.0)
    two = TwoPass(model, lambda _: choice)
    base, before = model.log_probs([PROMPT])[0], weights_digest(model.network)
    written = b"".join(two.generate(PROMPT, max_bytes=12, seed=3))
    fresh = text_model(scattered(SHAPE), SHAPE, window=96)
    offsets = 0.7 * vector(fresh, 0) + 0.4 * vector(fresh, 2)
    fresh.network = mixed(fresh.network, offsets)
    assert written == b"".join(fresh.generate(PROMPT, max_bytes=12, seed=3))
    torch.testing.assert_close(two.second(choice).log_probs([PROMPT])[0], fresh.log_probs([PROMPT])[0])
    assert not torch.allclose(base, fresh.log_probs([PROMPT])[0])
    assert torch.equal(model.log_probs([PROMPT])[0], base) and weights_digest(model.network) == before
    assert two.report is not None and two.report.passes == 2 and 0 < two.report.first_share < 1


def test_a_failure_in_either_pass_leaves_the_base(model: TextModel) -> None:
    base = model.log_probs([PROMPT])[0]

    def fail(_: bytes) -> Choice:
        raise RuntimeError("first pass")

    with pytest.raises(RuntimeError, match="first pass"):
        b"".join(TwoPass(model, fail).generate(PROMPT))
    pieces = TwoPass(model, lambda _: Choice({"one": 1.0}, 0.0)).generate(PROMPT, max_bytes=50)
    next(pieces)
    # The base is read while the second pass is under way, and the second pass is then abandoned.
    assert torch.equal(model.log_probs([PROMPT])[0], base)
    pieces.close()  # type: ignore[attr-defined]
    assert torch.equal(model.log_probs([PROMPT])[0], base)


def test_states_belong_to_the_mixture_that_has_read(model: TextModel, tmp_path: Path) -> None:
    adapted, again = model.with_experts({"one": 1.0}), model.with_experts({"one": 1.0})
    state = adapted.new_state()
    first = b"".join(adapted.generate(PROMPT, max_bytes=6, temperature=0.0, state=state))
    state.save(tmp_path / "state")
    whole = b"".join(adapted.generate(PROMPT, max_bytes=9, temperature=0.0))
    loaded = again.load_state(tmp_path / "state")
    assert first + b"".join(again.generate(max_bytes=3, temperature=0.0, state=loaded)) == whole
    for other in (model, model.with_experts({"one": 0.9}), model.with_experts({"two": 1.0})):
        with pytest.raises(CheckpointError, match="belongs to another model"):
            other.load_state(tmp_path / "state")
        with pytest.raises(UsageError, match="belongs to another model"):
            other.generate(max_bytes=3, state=state)
        with pytest.raises(UsageError, match="belongs to another model"):
            other.generate_batch([b""], max_bytes=3, state=state)


def test_no_expert_is_the_base_itself(model: TextModel) -> None:
    assert model.with_experts({}) is model


def test_a_prompt_is_dispatched_once(model: TextModel) -> None:
    calls = []

    def choose(prompt: bytes) -> Choice:
        calls.append(prompt)
        return Choice({"two": 1.0}, 0.5)

    two = TwoPass(model, choose, capacity=2)
    first, again = two.first(PROMPT), two.first(PROMPT)
    assert (two.hits, len(calls)) == (1, 1)
    assert (first.remembered, again.remembered) == (False, True) and first.weights == again.weights
    left, right = (two.second(choice).log_probs([PROMPT])[0] for choice in (first, again))
    assert torch.equal(left, right)
    for other in (b"a", b"b"):
        two.first(other)
    two.first(PROMPT)
    assert (two.hits, len(calls)) == (1, 4)


def test_the_model_judges_its_own_prompt() -> None:
    """The likelihood of each name is that of the whole text less that of what stands before the name."""
    chosen = set()
    for seed in range(5):
        model = text_model(scattered(SHAPE, seed), SHAPE, window=96)
        choice = by_prompt(model, ["one", "two"])(PROMPT)
        asked = PROMPT + b"\nWhat kind of task is this? It is: "
        names = ("one", "two", "other")
        bits = [model.score([asked + name.encode() + b"\n"]).bits - model.score([asked]).bits for name in names]
        shares = torch.softmax(-torch.tensor(bits, dtype=torch.float64) * math.log(2), 0)
        best = names[int(shares.argmax())]
        assert choice.weights == ({} if best == "other" else {best: 1.0})
        assert choice.entropy == pytest.approx(entropy(shares), abs=1e-4)
        chosen.add(best)
    assert len(chosen) > 1


def test_long_prompts_are_judged_by_their_end(model: TextModel) -> None:
    choose = by_prompt(model, ["one", "two"])
    assert choose(b"x" * 500 + prose(1, 40)) == choose(prose(2, 100) + prose(1, 40))
    with pytest.raises(UsageError, match="no experts"):
        by_prompt(model, [])
    with pytest.raises(UsageError, match="stands for the base"):
        by_prompt(model, ["other"])


def test_prompt_vectors_are_means_of_the_base(model: TextModel) -> None:
    prompts = [PROMPT, prose(2, 60), b""]
    found = prompt_vectors(model, prompts)
    alone = torch.cat([prompt_vectors(model, [prompt]) for prompt in prompts])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)
    seen: list[Tensor] = []
    handle = model.network.latent.register_forward_hook(lambda *call: seen.append(call[2].vectors))
    arrays = model.preparer.windows([PROMPT], [(0, 0, len(PROMPT) + 1, 0)], 96, 97)
    batch = Batch.from_arrays(arrays)
    forward(model.network, batch)
    handle.remove()
    used = batch.patch_document[0][: seen[0].shape[1]] >= 0
    torch.testing.assert_close(found[0], seen[0][0][used].mean(0), rtol=0, atol=1e-12)


def test_a_classifier_mixes_by_probability(model: TextModel, tmp_path: Path) -> None:
    hidden, choice = torch.randn(4, 16), torch.randn(2, 4)
    path = tmp_path / "dispatcher.safetensors"
    content = ExpertFile(
        expert_files.DISPATCHER, ("two", "one"), weights_digest(model.network), {"hidden": hidden, "choice": choice}, {}
    )
    expert_files.write(path, content)
    with pytest.raises(UsageError, match="no dispatcher"):
        by_classifier(model)
    model.dispatcher = path
    choose = by_classifier(model)
    found = choose(PROMPT)
    x = torch.nn.functional.layer_norm(prompt_vectors(model, [PROMPT])[0].float(), (16,))
    shares = torch.softmax((torch.nn.functional.silu(x @ hidden.T) @ choice.T).double(), 0)
    assert list(found.weights) == ["two", "one"] and sum(found.weights.values()) == pytest.approx(1)
    assert list(found.weights.values()) == pytest.approx(shares.tolist(), abs=1e-5)
    assert found.entropy == pytest.approx(entropy(shares), abs=1e-5)
    assert choose(prose(9)).weights != found.weights


def test_entropy() -> None:
    assert entropy(torch.tensor([1.0, 0.0])) == 0
    assert entropy(torch.full((4,), 0.25)) == pytest.approx(math.log(4))


def test_the_search_finds_a_planted_mixture() -> None:
    target = torch.tensor([0.8, 0.0, 0.35])

    def score(candidates: Tensor) -> tuple[Tensor, Tensor]:
        # What is maximised sees coarse steps only; the tie leads to the exact place.
        distance = (candidates - target).norm(dim=1)
        return -(distance * 4).floor(), -distance

    found = maximise(score, 3)
    assert float((found.weights - target).norm()) < 0.02 and found.rounds <= 50
    assert maximise(score, 3).weights.equal(found.weights)


def test_the_search_is_never_worse_than_a_single_expert() -> None:
    needle = torch.tensor([0.0, 1.0, 0.0, 0.0])
    found = maximise(lambda c: ((c == needle).all(1).float(), torch.zeros(len(c))), 4, rounds=3)
    assert found.weights.equal(needle) and found.score == 1


def test_a_mixture_is_found_from_examples(model: TextModel) -> None:
    """Examples are what a planted mixture answers; the search must answer them as well as it does."""
    planted = model.with_experts({"one": 1.0, "three": 0.5})
    prompts = [prose(seed, 6) for seed in range(6)]
    written = write_answers(planted, planted.network, prompts, max_bytes=3, stop=b"\0", temperature=0.0)
    # Nothing ends by itself here: the last byte of each answer is taken as the ending of all.
    ends = [one.text[2:] for one in written]
    stop = max(set(ends), key=ends.count)
    examples = [
        Question(prompt, one.text[:2], "")
        for prompt, one, end in zip(prompts, written, ends, strict=True)
        if end == stop and stop not in one.text[:2]
    ]
    assert examples
    score = ExampleScore(model, ["one", "two", "three"], examples, stop=stop, max_answer_bytes=3)
    right, likely = score(torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert float(right[0]) == 1.0
    base = write_answers(model, model.network, [e.prompt for e in examples], max_bytes=3, stop=stop, temperature=0.0)
    assert float(right[1]) == pytest.approx(
        sum(one.answer == example.answer for one, example in zip(base, examples, strict=True)) / len(examples)
    )
    documents = [example.prompt + example.answer + stop for example in examples]
    tables = model.log_probs(documents)
    expected = sum(
        float(table[len(e.prompt) + i, document[len(e.prompt) + i]])
        for table, document, e in zip(tables, documents, examples, strict=True)
        for i in range(3)
    )
    assert float(likely[1]) == pytest.approx(expected / len(examples), abs=1e-4)
    found = by_examples(model, ["one", "two", "three"], examples, stop=stop, max_answer_bytes=3, rounds=8)
    mixture = torch.tensor([list(found.weights.values())])
    assert float(score(mixture)[0]) == 1.0 and float(score(mixture)[1]) >= float(likely.max())
