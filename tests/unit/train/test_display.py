"""Text on the terminal as it is written."""

from __future__ import annotations

import pytest

from neat.train.display import Display


def shown(pieces: list[bytes], capfd: pytest.CaptureFixture[str]) -> str:
    """What a person sees of a sample."""
    assert Display().sample("…x".encode(), pieces) == b"".join(pieces)
    out, err = capfd.readouterr()
    assert out == ""
    return err.split("\n", 1)[1].removesuffix("\n---\n")


def test_characters_that_come_byte_by_byte_are_put_together(capfd: pytest.CaptureFixture[str]) -> None:
    text = "naïve 日本 \U0001f600"
    assert shown([bytes([byte]) for byte in text.encode()], capfd) == text


def test_bytes_that_are_no_text_are_marked(capfd: pytest.CaptureFixture[str]) -> None:
    assert shown([b"a\xff", b"b\xc3", b"(", b"\xe2\x82"], capfd) == "a\ufffdb\ufffd(\ufffd"


def test_a_model_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert shown([b"\x1b[2J\r\x07\tok\n"], capfd) == "\ufffd[2J\ufffd\ufffd\tok\n"
