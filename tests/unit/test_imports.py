"""Who imports whom, and what a command may load before it works."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "neat._native", "rich", "textual", "huggingface_hub")
COMMANDS = [
    [], ["train"], ["eval"], ["generate"], ["plan"], ["data"], ["data", "inspect"], ["data", "stats"],
    ["data", "entropy-model"], ["data", "world"], ["data", "codec"], ["data", "encode"], ["profile"],
    ["config"], ["config", "show"], ["config", "check"], ["config", "diff"], ["doctor"], ["tune"], ["credit"],
    ["report"], ["upload"], ["monitor"],
]  # fmt: skip

PROBE = """
import sys
from neat.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
assert not code, code
loaded = sorted(set(sys.modules) & {heavy!r})
assert not loaded, loaded
"""


def loaded_by(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = code.replace("{heavy!r}", repr(set(HEAVY)))
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_light(command: list[str]) -> None:
    done = loaded_by(PROBE, *command, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["config", "show"], ["config", "check", "--config", "tiny"], ["--version"]])
def test_what_needs_no_network_loads_none(words: list[str]) -> None:
    done = loaded_by(PROBE, *words)
    assert done.returncode == 0, done.stderr


def test_the_monitor_loads_no_network() -> None:
    """Neither the screens nor the terminal program need torch, numpy or the native part."""
    code = """
import sys
import neat.cli.monitor, neat.monitor.app, neat.monitor.places, neat.monitor.printing
loaded = sorted(set(sys.modules) & {"torch", "numpy", "neat._native", "huggingface_hub"})
assert not loaded, loaded
"""
    done = loaded_by(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        *("neat", "neat.errors", "neat.config", "neat.events.reader", "neat.events.rundir", "neat.events.spool"),
        "neat.report.build",
    ],
)
def test_light_modules_stay_light(module: str) -> None:
    done = loaded_by(
        f"import sys, {module}\nloaded = sorted(set(sys.modules) & {{heavy!r}})\nassert not loaded, loaded"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.timed
@pytest.mark.parametrize("command", [["train"], ["config", "show"]], ids=" ".join)
def test_help_is_quick(command: list[str]) -> None:
    """Seconds of computing, which a busy machine hardly changes, not of waiting for a turn."""
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "neat", *command, "--help"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < 1.0


def test_imports_go_one_way() -> None:
    root = Path(__file__).parents[2]
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
