"""A text written in turns: what is kept between them equals reading all of it at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.images import CODES, GRID, vision
from support.networks import network, scattered
from support.text import close, ngram, patcher
from support.written import KINDS, small_model

from neat import _native
from neat.cli.conversation import Conversation, Settings
from neat.cli.pictures import MARK, Pictures
from neat.errors import UsageError
from neat.model.text.model import TextModel
from neat.model.vocabulary import IMAGE_BEGINS


def begin(kind: str = "stream", **settings: Any) -> Conversation:
    chat = settings.pop("chat", False)
    return Conversation(small_model(kind), Settings(**{"max_bytes": 12, "seed": 3} | settings), chat=chat)


def say(talk: Conversation, line: bytes) -> bytes:
    return b"".join(talk.turn(line))


def reads_all(talk: Conversation) -> bool:
    """Whether the state predicts what a fresh reading of the whole text predicts."""
    return close(talk.model.new_state().read([talk.text]), talk.state.logits, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_turns_read_nothing_twice_and_forget_nothing(kind: str) -> None:
    talk = begin(kind)
    first = say(talk, b"the river")
    assert talk.text == b"the river" + first
    assert first == b"".join(talk.model.generate(b"the river", max_bytes=12, seed=3))
    more = say(talk, b"")
    assert talk.text == b"the river" + first + more
    third = say(talk, b"and the stone")
    assert talk.text == b"the river" + first + more + b"\nand the stone" + third
    assert reads_all(talk)


def test_a_turn_can_be_taken_back_with_its_choices() -> None:
    talk = begin()
    say(talk, b"one")
    before = talk.text
    second = say(talk, b"two")
    talk.undo()
    assert talk.text == before and talk.turns == 1
    assert reads_all(talk)
    assert say(talk, b"two") == second
    talk.undo()
    talk.undo()
    assert talk.text == b""
    with pytest.raises(UsageError, match="no turn"):
        talk.undo()


def test_a_new_text_begins_like_the_first_and_a_new_seed_otherwise() -> None:
    talk = begin()
    first = say(talk, b"one")
    talk.reset()
    assert talk.text == b"" and talk.turns == 0
    assert say(talk, b"one") == first
    talk.undo()
    talk.set(seed=4)
    assert say(talk, b"one") != first


@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_that_is_ended_early_leaves_text_and_state_at_one_place(chat: bool) -> None:
    talk = begin(chat=chat, max_bytes=40)
    pieces = talk.turn(b"the river")
    some = b"".join(next(pieces) for _ in range(3))
    pieces.close()  # type: ignore[attr-defined]
    # In a chat the beginning of a stop text may be held back, but it was read.
    assert some in talk.text
    assert reads_all(talk)
    assert len(say(talk, b"more")) == 40
    assert reads_all(talk)


def test_a_chat_frames_turns_and_its_stop_text_opens_the_next() -> None:
    talk = begin(chat=True)
    say(talk, b"hello")
    assert talk.text.startswith(b"User: hello\nAssistant:")
    said = talk.text
    say(talk, b"again")
    assert talk.text.startswith(said + b"\nUser: again\nAssistant:")
    # A model that asks by itself has written the beginning of the next question.
    talk.reset()
    talk._add(b"User: a\nAssistant: b\nUser:")
    assert talk._framed(b"c") == b" c\nAssistant:"


def test_the_system_text_stands_at_the_beginning_of_every_text() -> None:
    talk = begin()
    talk.reset(b"Once.")
    say(talk, b"upon")
    assert talk.text.startswith(b"Once.\nupon")
    talk.reset()
    say(talk, b"a time")
    assert talk.text.startswith(b"Once.\na time") and reads_all(talk)
    talk.reset(b"")
    say(talk, b"a time")
    assert talk.text.startswith(b"a time")


def test_figures_are_those_of_the_text() -> None:
    talk = begin(temperature=1.3, top_p=1.0)
    prompt = b"the river"
    answer = say(talk, prompt)
    (table,) = talk.model.log_probs([talk.text])
    bits = -sum(float(table[len(prompt) + place, byte]) for place, byte in enumerate(answer)) / math.log(2)
    stats: dict[str, Any] = talk.stats()
    assert stats["last answer"]["bits per byte"] == pytest.approx(bits / 12, abs=1e-3)
    assert stats["last answer"]["bytes"] == stats["all answers"]["bytes"] == 12
    assert stats["text"]["patches"] == int(talk.model.preparer.starts(talk.text)[:-1].sum())
    assert stats["text"]["bytes"] == len(prompt) + 12
    assert begin().stats()["turns"] == 0


def test_what_is_kept_is_bounded() -> None:
    talk = begin(max_bytes=1)
    for _ in range(40):
        say(talk, b"a")
    assert talk.turns == 32


def test_a_loaded_text_goes_on(tmp_path: Any) -> None:
    talk = begin()
    say(talk, b"the river")
    talk.state.save(tmp_path / "state.safetensors")
    then = say(talk, b"next")
    state = talk.model.load_state(tmp_path / "state.safetensors", rows=1)
    again = Conversation(talk.model, Settings(max_bytes=12), state=state)
    assert say(again, b"next") == then
    stats: dict[str, Any] = again.stats()
    assert stats["text"]["patches"] is None


def test_images_are_parts_of_the_text() -> None:
    shape = network(window=5)
    tables = (list(shape.hash_orders), shape.hash_rows, shape.ngram_features)
    preparer = _native.Preparer(_native.CrossFit.single(ngram()), patcher("global"), *tables, GRID * GRID, CODES)
    model = scattered(shape, vision=vision(image_size=16, min_gap=2))
    with torch.no_grad():
        model.head.weight[IMAGE_BEGINS] *= 30  # so that images begin often
    text = TextModel(model, preparer, window=64, patch_slots=65)
    assert model.vision is not None
    shown: list[Any] = []
    pictures = Pictures(model.vision, None, paint=shown.append)
    talk = Conversation(text, Settings(max_bytes=60, temperature=2.0, top_p=1.0), pictures=pictures)
    written = say(talk, b"a ")
    stats: dict[str, Any] = talk.stats()
    assert len(pictures.drawn) == len(shown) == stats["text"]["images"] == talk.text.count(MARK) > 0
    assert written.count(b"[image ") == len(shown)
    parts = [part if isinstance(part, bytes) else list(part) for part in talk._parts]
    assert [part for part in parts if isinstance(part, list)] == pictures.drawn
    assert close(text.new_state().read([_native.Document(parts)]), talk.state.logits, 1e-6)
