"""States of texts: going on, forking, picking, resetting, saving and loading change nothing in what is predicted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.networks import network, scattered, whole
from support.text import noise, prose, text_model

from neat.config.schema import Memory, Network, Recursion
from neat.errors import CheckpointError, UsageError
from neat.model.cache import leaves
from neat.model.text.model import TextModel
from neat.model.text.state import State

WINDOWED: dict[str, Any] = {"window": 4, "local_window": 6, "decoder_mixer": "attention"}
SHAPES = {"in windows": network(read="cross_attention"), "on and on": network(**WINDOWED)}
SECTIONS = {"memory": Memory(variant="mag", heads=2, hidden=8, chunk=4), "recursion": Recursion(depth=2)}


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> TextModel:
    """A float64 model of each way of reading, with memory and recursion."""
    shape: Network = SHAPES[request.param]
    return text_model(scattered(shape, **SECTIONS), shape, window=32, slots=12)


TEXTS = [prose(1, 30), noise(5, 70), b"", "naïve ".encode() * 20]


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Logits are kept in float32."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def expected_logits(model: TextModel, text: bytes) -> torch.Tensor:
    """Log-probabilities after a text, read whole; a probe byte asks for them."""
    return model.log_probs([text + b"?"])[0][-1]


def predicted(state: State) -> torch.Tensor:
    """Log-probabilities of the next bytes."""
    return torch.log_softmax(state.logits.double(), dim=-1).float()


@pytest.mark.parametrize("step", [1, 7, 200])
def test_reading_in_steps_equals_reading_whole(model: TextModel, step: int) -> None:
    state = model.new_state(len(TEXTS))
    for start in range(0, max(map(len, TEXTS)), step):
        state.read([text[start : start + step] for text in TEXTS])
    for row, text in enumerate(TEXTS):
        assert_close(predicted(state)[row], expected_logits(model, text))


def test_rows_end_their_windows_at_different_times(model: TextModel) -> None:
    state = model.new_state(3)
    texts = [b"", b"", b""]
    for step in range(30):
        new = [prose(step, 1)[:3], noise(step, step % 3), b"x" if step % 2 else b""]
        texts = [text + more for text, more in zip(texts, new, strict=True)]
        state.read(new)
    for row, text in enumerate(texts):
        assert_close(predicted(state)[row], expected_logits(model, text))


def test_a_fork_goes_on_by_itself(model: TextModel) -> None:
    state = model.new_state(2)
    state.read([b"the river", b"of"])
    before = {name: leaf.clone() for name, leaf in leaves(state.cache)}
    fork = state.fork(times=2)
    fork.read([b" and", b" stone", b"", b" the"])
    assert all(torch.equal(leaf, before[name]) for name, leaf in leaves(state.cache))
    for row, text in enumerate([b"the river and", b"the river stone", b"of", b"of the"]):
        assert_close(predicted(fork)[row], expected_logits(model, text))
    state.read([b" stone", b""])
    assert_close(predicted(state)[0], predicted(fork)[1])


def test_rows_can_be_selected_and_reset(model: TextModel) -> None:
    state = model.new_state(3)
    state.read([prose(3, 12), b"tide", b"harbour"])
    some = state.select([2, 0])
    state.reset([0, 2])
    state.read([b"a", b"", b""])
    for row, text in enumerate([b"a", b"tide", b""]):
        assert_close(predicted(state)[row], expected_logits(model, text))
    some.read([b"!", b"!"])
    for row, text in enumerate([b"harbour!", prose(3, 12) + b"!"]):
        assert_close(predicted(some)[row], expected_logits(model, text))


def test_a_saved_state_goes_on_exactly(model: TextModel, tmp_path: Path) -> None:
    state = model.new_state(2)
    state.seed(5)
    state.read([prose(4, 20), b""])
    state.save(tmp_path / "state")
    loaded = model.load_state(tmp_path / "state", rows=2)
    assert torch.equal(loaded.logits, state.logits)
    for each in (state, loaded):
        each.read([prose(5, 20), b"lantern"])
    assert torch.equal(loaded.logits, state.logits)
    one, other = (
        model.generate_batch([b"", b""], max_bytes=40, state=each, temperature=1.0) for each in (state, loaded)
    )
    assert one == other and len(one[0]) == 40


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_interrupted_goes_on_as_if_it_had_not_been(model: TextModel, tmp_path: Path, temperature: float) -> None:
    options: dict[str, Any] = {"temperature": temperature, "top_p": 1.0}
    straight = b"".join(model.generate(b"the ", max_bytes=70, seed=3, **options))
    state = model.new_state()
    first = b"".join(model.generate(b"the ", max_bytes=25, seed=3, state=state, **options))
    state.save(tmp_path / "state")
    rest = b"".join(model.generate(max_bytes=45, state=model.load_state(tmp_path / "state"), **options))
    assert first + rest == straight


def test_texts_in_a_batch_are_those_written_alone(model: TextModel) -> None:
    prompts = [b"", b"the river", prose(6, 15), noise(8, 40)]
    options: dict[str, Any] = {"max_bytes": 40, "temperature": 1.0, "stop": [bytes([byte]) for byte in range(128, 136)]}
    together = model.generate_batch(prompts, seed=11, **options)
    alone = [b"".join(model.generate(prompt, seed=11 + row, **options)) for row, prompt in enumerate(prompts)]
    assert together == alone and len({len(text) for text in alone}) > 1


def test_what_a_state_holds_does_not_grow(model: TextModel) -> None:
    state = model.new_state()
    sizes = set()
    for turn in range(12):
        state.read([noise(turn, 100)])
        held = sum(leaf.nbytes for _, leaf in leaves(state.cache))
        sizes.add(held)
        assert len(state.texts[0].text) <= 32
    assert len(sizes) == 1


def test_no_look_ahead_across_pieces() -> None:
    """Networks with windows read long documents piece by piece; later bytes change nothing before them."""
    shape = SHAPES["on and on"]
    model = text_model(scattered(shape, **SECTIONS), shape, window=16)
    text = prose(2, 40)
    (before,) = model.log_probs([text])
    for cut in (1, 15, 16, 17, 100):
        (after,) = model.log_probs([text[:cut] + noise(cut, 30)])
        torch.testing.assert_close(after[: cut + 1], before[: cut + 1], rtol=0, atol=1e-6)
        assert not torch.allclose(after[cut + 1 : cut + 5], before[cut + 1 : cut + 5])


def test_streams_do_not_depend_on_the_size_of_the_pieces() -> None:
    shape = SHAPES["on and on"]
    network_ = scattered(shape, **SECTIONS)
    texts = [prose(2, 40), noise(1, 33), b"", b"x"]
    pieces, whole_ = (text_model(network_, shape, window=size).log_probs(texts) for size in (16, 512))
    for one, other in zip(pieces, whole_, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    score = text_model(network_, shape, window=16).score(texts)
    nats = -sum(
        float(result[i, byte]) for text, result in zip(texts, whole_, strict=True) for i, byte in enumerate(text)
    )
    assert score.bits == pytest.approx(nats / 0.6931471805599453, rel=1e-6)


def saved(model: TextModel, folder: Path) -> Path:
    """A state on disk."""
    state = model.new_state(1)
    state.read([b"the river"])
    state.save(folder / "state")
    return folder / "state"


def rewrite(path: Path, **changes: Any) -> None:
    """Changes tensors and metadata (by a name that ends in an underscore)."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, value in changes.items():
        target = metadata if name.endswith("_") else tensors
        target[name.rstrip("_")] = value
    safetensors.torch.save_file({name: t for name, t in tensors.items() if t is not None}, path, metadata)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"logits": None}, "lacks logits"),
        ({"logits": torch.zeros(2, 256)}, r"logits in .* is torch.float32 \[2, 256\], this model needs .*\[1, 256\]"),
        ({"logits": torch.full((1, 256), torch.inf)}, "logits in .* not finite"),
        (
            {"cache.patching.latest": torch.full((1, 1, 16), torch.nan, dtype=torch.float64)},
            "patching.latest .* not fin",
        ),
        ({"cache.other": torch.zeros(1)}, "no place for"),
        ({"format_": "x"}, "not a state"),
        ({"weights_": "abc"}, "belongs to another model: its weights are abc"),
        ({"texts_": "[]"}, "damaged"),
        ({"texts_": "{"}, "damaged"),
        ({"texts_": json.dumps([{"reader": "x", "anchor": None, "text": "", "first": True}])}, "state of a reader"),
        ({"choices": torch.zeros(1, 7, dtype=torch.uint8)}, "not the states of 1 generators"),
    ],
)
def test_damaged_states_are_refused(model: TextModel, tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    path = saved(model, tmp_path)
    model.load_state(path)
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=what):
        model.load_state(path)


def test_states_of_other_models_and_sizes_are_refused(model: TextModel, tmp_path: Path) -> None:
    path = saved(model, tmp_path)
    shape = SHAPES["in windows"]
    with pytest.raises(CheckpointError, match="belongs to another model"):
        text_model(scattered(shape, seed=9), shape).load_state(path)
    with pytest.raises(CheckpointError, match="holds 1 texts, not 2"):
        model.load_state(path, rows=2)
    with pytest.raises(CheckpointError, match="there is no state"):
        model.load_state(tmp_path / "missing")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        model.load_state(path)


def test_what_cannot_be_done_with_a_state_is_said(model: TextModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not begun"):
        model.new_state().save(tmp_path / "state")
    with pytest.raises(UsageError, match="1 texts for a state of 2 rows"):
        model.new_state(2).read([b"x"])
    with pytest.raises(UsageError, match="2 rows cannot go on as one text"):
        model.generate(state=model.new_state(2))
    state = model.new_state()
    state.read([b""])
    with pytest.raises(CheckpointError, match="cannot be written"):
        state.save(tmp_path / "missing" / "state")


def test_a_whole_configuration_is_not_needed() -> None:
    """The reach of attention over whole rows follows the text model, not the training window."""
    shape = SHAPES["in windows"]
    assert whole(shape).train.window != 32
    model = text_model(scattered(shape), shape, window=32)
    sizes = {leaf.shape[1] for name, leaf in leaves(model.new_state().cache) if name.endswith("position")}
    assert sizes == {32}
