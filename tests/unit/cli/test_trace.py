"""What is said of each byte: costs add up to the score, patches are the preparer's, and the text is all there."""

from __future__ import annotations

import json
import re

import pytest
from support.text import prose
from support.written import KINDS, small_model

from neat.cli.trace import Traced, coloured, json_lines, trace

PROMPT = b"na\xc3\xafve "


@pytest.mark.parametrize("kind", KINDS)
def test_the_costs_add_up_to_the_score(kind: str) -> None:
    model, answer = small_model(kind), prose(3)[:90]
    traced = trace(model, PROMPT, answer)
    assert bytes(one.byte for one in traced) == PROMPT + answer
    assert sum(one.bits for one in traced) == pytest.approx(model.score([PROMPT + answer]).bits, rel=1e-5)
    assert [one.starts_patch for one in traced] == model.preparer.starts(PROMPT + answer)[:-1].tolist()
    assert [one.at for one in traced if not one.written] == list(range(len(PROMPT)))
    assert trace(model, b"", b"") == []


def test_lines_are_json() -> None:
    traced = trace(small_model("stream"), PROMPT, b"\xff\n")
    rows = [json.loads(line) for line in json_lines(traced)]
    assert [row["byte"] for row in rows] == list(PROMPT + b"\xff\n")
    assert rows[0] == {
        "at": 0, "byte": PROMPT[0], "bits": round(traced[0].bits, 4), "patch": traced[0].starts_patch, "from": "prompt"
    }  # fmt: skip
    assert rows[-1]["from"] == "answer"


def test_colours_grade_characters_and_keep_the_text() -> None:
    text = "aï\x1b\n".encode() + b"\xff"
    bits = [0.5, 3.0, 3.5, 1.5, 9.0, 20.0]
    traced = [Traced(at, byte, bits[at], at == 0, at > 2) for at, byte in enumerate(text)]
    shown = coloured(traced)
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == "│aï\\x1b\n\ufffd"
    # Both bytes of a character count: 6.5 bits. What was read is dim.
    assert re.search(r"\x1b\[2;48;5;130[0-9;]*mï\x1b\[0m", shown)
    assert re.search(r"\x1b\[48;5;22[0-9;]*m\\x1b\x1b\[0m", shown)
    assert re.search(r"\x1b\[48;5;160[0-9;]*m\ufffd\x1b\[0m", shown)
