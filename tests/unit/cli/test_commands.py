"""Commands as a user meets them: streams, exit codes, messages. Each runs in its own process."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neat.cli import COMMANDS
from neat.config import load, load_text
from neat.errors import Exit


def neat(*words: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "neat", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | environment, timeout=120,
    )  # fmt: skip


def test_the_overview_lists_every_command() -> None:
    done = neat("--help")
    assert done.returncode == Exit.DONE
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert neat().stdout == done.stdout
    assert neat("--version").stdout.strip().count(".") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tran"], "did you mean neat train?"),
        (["train"], "--config"),
        (["train", "--conf", "tiny"], "--config"),
        (["train", "--config", "tiny", "--bogus"], "--bogus"),
        (["data"], "COMMAND"),
        (["data", "inspekt"], "inspekt"),
        (["train", "--config", "tinny"], "did you mean tiny?"),
        (["train", "--config", "tiny", "--set", "train.step=3"], "train.max_steps"),
        (["train", "--config", "100m", "--set", "train.max_steps=2"], "data.sources is empty"),
        (["config", "check", "--config", "tiny", "--set", "network.heads=5"], "does not divide"),
        (["generate", "run", "--top-p", "0"], "--top-p 0.0"),
        (["generate", "run", "--max-bytes", "0"], "--max-bytes 0"),
        (["generate", "run", "--temperature", "nan"], "--temperature nan"),
        (["generate", "run", "--seed", "-1"], "--seed -1"),
        (["eval", "run"], "nothing to evaluate on"),
        (["eval", "run", "--suite", "--limit", "0"], "--limit 0"),
        (["eval", "run", "--tasks", ","], "names none"),
        (["eval", "run", "--tasks", "neat:spilling"], "no task neat:spilling"),
    ],
)
def test_mistakes_leave_with_code_2_and_a_hint(words: list[str], message: str) -> None:
    done = neat(*words)
    assert done.returncode == Exit.USAGE, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_shape_of_an_error(tmp_path: Path) -> None:
    path = tmp_path / "100m.toml"
    path.write_text('base = "100m"\n\n[train]\nstep = 3\n')
    done = neat("config", "check", "--config", path)
    assert done.stderr == (
        f"config error: train.step is not a setting (in {path}, line 4, [train])\n\n"
        "hint: did you mean train.max_steps?\n"
    )


def test_config_show_prints_toml_that_loads_back(tmp_path: Path) -> None:
    done = neat("config", "show", "--config", "tiny", "--set", "seed=9")
    assert load_text(done.stdout, "shown").config == load("tiny", ["seed=9"]).config
    assert done.stderr == ""
    spoken = neat("config", "show", "--config", "100m.toml", "--set", "seed=9", "--origin", cwd=tmp_path)
    assert "seed = 9  # --set" in spoken.stdout
    assert "width = 768  # preset 100m" in spoken.stdout
    assert "beta1 = 0.9  # default" in spoken.stdout
    assert "using the packaged preset 100m" in spoken.stderr


def test_config_as_json(tmp_path: Path) -> None:
    shown = json.loads(neat("config", "show", "--config", "tiny", "--json", "--origin").stdout)
    assert shown["config"]["network"]["width"] == 192
    assert shown["origins"]["network.width"] == "preset tiny"
    assert json.loads(neat("config", "check", "--config", "tiny", "--json").stdout)["valid"] is True
    (tmp_path / "config.toml").write_text('base = "tiny"\nname = "tiny"\nseed = 4\n')
    diff = json.loads(neat("config", "diff", "tiny", tmp_path, "--json").stdout)
    assert diff == {"differences": [{"key": "seed", "left": 0, "right": 4}]}
    assert neat("config", "diff", "tiny", tmp_path).stdout == "seed: 0 -> 4\n"


def test_output_that_nobody_reads_ends_quietly() -> None:
    done = subprocess.run(
        f"{sys.executable} -m neat config show --config tiny | head -c 10; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == Exit.DONE
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("raise TypeError('odd \\x1b[31m')", Exit.INTERNAL, "internal error: TypeError: odd \\x1b[31m"),
        ("raise MemoryError", Exit.OUT_OF_MEMORY, "train.micro_batch_bytes"),
        ("raise KeyboardInterrupt", Exit.INTERRUPTED, "interrupted"),
        ("from neat.errors import DataError; raise DataError('gone', hint='look')", Exit.DATA, "data error: gone"),
    ],
)
def test_no_failure_shows_a_traceback_unless_asked(fault: str, code: int, message: str) -> None:
    program = f"import sys\nfrom neat import cli\ndef fail(*_): {fault}\ncli._dispatch = fail\nsys.exit(cli.main([]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    environment = os.environ | {"NEAT_TRACEBACK": "1"}
    loud = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert ("Traceback" in loud.stderr) == (code != Exit.INTERRUPTED)


def test_ctrl_c_shows_no_traceback() -> None:
    program = "import sys, time\nfrom neat import cli\ndef wait(*_):\n print('on', flush=True)\n time.sleep(60)\n"
    program += "cli._dispatch = wait\nsys.exit(cli.main([]))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED
    assert b"Traceback" not in errors


def test_inspect_reports_and_decides(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text('{"text": "one"}\n{"text": "two"}\n')
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "one"}\n{"text": \n')
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(good.read_bytes() * 1000)[:-20])
    done = neat("data", "inspect", good, "--json")
    assert done.returncode == Exit.DONE
    report = json.loads(done.stdout)
    assert (report["format"], report["rows"], report["bytes"], report["readable"]) == ("jsonl", 2, 6, True)
    for path in (bad, cut, tmp_path / "missing"):
        done = neat("data", "inspect", path, "--json")
        assert done.returncode == Exit.DATA
        assert json.loads(done.stdout)["readable"] is False
    both = neat("data", "inspect", good, bad)
    assert both.returncode == Exit.DATA
    assert "line 2" in both.stdout


def test_an_entropy_model_is_made_and_text_is_described(tmp_path: Path) -> None:
    out = tmp_path / "model.bin"
    options = ["--order", "3", "--max-bytes", "100000", "--json"]
    done = neat("data", "entropy-model", "--data", "bundled:prose.valid.jsonl.zst", "--out", out, *options)
    assert done.returncode == Exit.DONE, done.stderr
    made = json.loads(done.stdout)
    assert made["trained_bytes"] == 74_708
    assert made["mean_length"] == pytest.approx(4.25, abs=0.1)
    assert out.stat().st_size > 1000
    done = neat("data", "stats", "bundled:prose.valid.jsonl.zst", *options)
    stats = json.loads(done.stdout)
    assert (stats["documents"], stats["bytes"], stats["valid_utf8_share"]) == (5, 74_708, 1.0)
    assert stats["length_bytes"]["100%"] == 15_999
    assert stats["ngram"]["patch_length"]["max"] <= 16


def test_unknown_bundled_text_names_what_there_is() -> None:
    done = neat("data", "stats", "bundled:../../secrets")
    assert done.returncode == Exit.DATA
    assert "prose.train.jsonl.zst" in done.stderr


def test_doctor_looks_around(tmp_path: Path) -> None:
    done = neat("doctor", "--json", "--path", tmp_path)
    found = json.loads(done.stdout)
    assert found["cores"] >= 1
    assert found["compute"]["choices"]
    assert found["disk"]["write_bytes_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["eval", "generate"])
def test_a_run_that_is_not_there(tmp_path: Path, command: str) -> None:
    data = ["--data", "bundled:prose.valid.jsonl.zst"] if command == "eval" else []
    done = neat(command, tmp_path / "nowhere", *data)
    assert done.returncode == Exit.CHECKPOINT, done.stderr
    assert "Traceback" not in done.stderr
