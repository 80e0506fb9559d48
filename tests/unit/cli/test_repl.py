"""The dialogue as a person has it, at a terminal of its own, and as a pipe has it."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.written import small_model, small_run

from neat.cli.conversation import Conversation, Settings
from neat.cli.repl import Repl
from neat.errors import Exit


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(corpus, tmp_path_factory.mktemp("repl"))


def piped(*words: object, lines: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "neat", "generate", *map(str, words)],
        input=lines.encode(errors="surrogateescape"), capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_pipe_is_answered_line_by_line(model: Path, tmp_path: Path) -> None:
    text, state = tmp_path / "told.txt", tmp_path / "told.safetensors"
    lines = [
        "the river", "/stats", "/set temperature 0", "/set", "stone", "/undo", f"/save {text}", f"/save {state}",
        "/nonsense", "/set top_p 7", "/set colour 3", "/seed x", "/undo", "/undo", "/help",
        '/save "half', "/system none", "\udcff broken utf-8",
    ]  # fmt: skip
    done = piped(model, "--interactive", "--max-bytes", 20, "--seed", 4, lines="\n".join(lines) + "\n")
    assert done.returncode == Exit.DONE, done.stderr
    told, errors = done.stdout, done.stderr.decode()
    first = piped(model, "--prompt", "the river", "--max-bytes", 20, "--seed", 4).stdout
    assert told.startswith(first + b"\n")
    assert b"> " not in told
    assert text.read_bytes() == b"the river" + first
    assert re.search(rb"temperature  0\n", told) and re.search(rb"bits per byte +\d", told)
    for message in (
        "/nonsense is not a command", "7 is not a top_p", "colour is not a setting", "x is not a seed",
        "no turn to take back", "/save needs the name",
    ):  # fmt: skip
        assert message in errors
    assert errors.count("usage error") == 6 and "Traceback" not in errors
    for command in ("/help", "/set", "/seed", "/reset", "/undo", "/save", "/stats", "/system"):
        assert command.encode() in told
    # What was saved goes on as the dialogue would have.
    more = piped(model, "--load-state", state, "--prompt", "\nstone", "--temperature", 0, "--max-bytes", 20)
    assert more.returncode == Exit.DONE and more.stdout in told


def test_lines_go_on_behind_a_backslash(monkeypatch: pytest.MonkeyPatch, capsysbinary: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\\\ntwo\nthree\\"))
    talk = Conversation(small_model("stream"), Settings(max_bytes=1))
    Repl(talk).run()
    assert talk.text.startswith(b"one\ntwo") and b"\nthree" in talk.text
    assert talk.turns == 2


class Terminal:
    """A command at a terminal, and what a person does there."""

    def __init__(self, home: Path, *words: object) -> None:
        self._own, other = pty.openpty()
        environment = os.environ | {"XDG_STATE_HOME": str(home), "TERM": "xterm"}
        command = [sys.executable, "-m", "neat", "generate", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True
        )
        os.close(other)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def wait_for(self, pattern: str, seconds: float = 60.0) -> str:
        """What appears up to the end of the pattern, taken off."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen, re.DOTALL)):
            ready, _, _ = select.select([self._own], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{pattern!r} did not appear in {self.seen!r}"
            try:
                self.seen += os.read(self._own, 65_536).decode(errors="replace")
            except OSError:  # the other side is closed
                assert re.search(pattern, self.seen, re.DOTALL), self.seen
        seen, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return seen

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture
def terminal(model: Path, tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path, model, "--max-bytes", 100_000)
    yield found
    found.close()


def test_a_person_talks_stops_and_quits(terminal: Terminal, tmp_path: Path) -> None:
    """Without --prompt a terminal opens the dialogue. Ctrl-C ends the answer, then only the line; Ctrl-D all."""
    assert "/help" in terminal.wait_for("> ")
    terminal.type("the river\n")
    terminal.wait_for("the river.{20}")
    terminal.interrupt()
    terminal.wait_for(r"\[stopped\].*> ")
    terminal.type("half a li")
    terminal.wait_for("half a li")
    terminal.interrupt()
    terminal.wait_for(r"Ctrl-D quits.*> ")
    terminal.type("/set max_bytes 12\n")
    terminal.wait_for("> ")
    terminal.type("\n")
    terminal.wait_for("> ")
    terminal.type("/stats\n")
    stats = terminal.wait_for(r"bytes per patch.*> ")
    assert re.search(r"turns +2\b", stats)
    terminal.type("\x04")
    assert terminal.process.wait(timeout=30) == Exit.DONE
    history = tmp_path / "neat" / "history"
    pytest.importorskip("readline")
    assert "the river" in history.read_text() and history.stat().st_mode & 0o077 == 0


def test_control_characters_do_not_reach_the_terminal(model: Path, tmp_path: Path) -> None:
    """An untrained model writes any byte; at temperature 50 they are equally likely."""
    shown = Terminal(tmp_path, model, "--prompt", "a", "--max-bytes", 300, "--temperature", 50, "--top-p", 1)
    text = shown.wait_for("distinct_4")
    shown.close()
    assert "\\x1b" in text or "\\x00" in text or "\\x07" in text
    assert not set(text) & {chr(code) for code in range(32)} - {"\n", "\r", "\t"}


def test_options_that_do_not_go_together(model: Path, tmp_path: Path) -> None:
    for words, message in [
        (["--input", "a.jsonl"], "--input and --output go together"),
        (["--input", "a", "--output", "b", "--prompt", "x"], "--input and --prompt do not go together"),
        (["--interactive", "--trace"], "--interactive and --trace do not go together"),
        (["--interactive", "--dispatch", "prompt"], "--dispatch prompt do not go together"),
        (["--trace", "--load-state", "x"], "--trace and --load-state do not go together"),
        (["--chat", "--prompt", "x"], "--chat is for --interactive"),
        (["--top-k", "-1"], "--top-k -1"),
        (["--batch-size", "0"], "--batch-size 0"),
    ]:
        done = piped(model, *words)
        assert done.returncode == Exit.USAGE and message in done.stderr.decode(), words


def test_files_and_traces_from_the_command_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "the river"}\n{"prompt": "stone"}\n')
    words = ["--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--max-bytes", 10, "--json"]
    done = piped(model, *words)
    assert done.returncode == Exit.DONE, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["resumed"], told["bytes"]) == (2, 0, 20)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2]
    traced = piped(model, "--trace", "--prompt", "the river", "--max-bytes", 10).stdout.decode()
    lines = [json.loads(line) for line in traced.splitlines()]
    assert len(lines) == 19 and bytes(line["byte"] for line in lines).startswith(b"the river")
