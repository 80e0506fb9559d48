"""The documentation agrees with the program: tables, commands, examples, links, lists of events and exit codes."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neat import _native
from neat.cli import _MODULES, COMMANDS
from neat.cli.arguments import Parser
from neat.config.load import PRESETS, load
from neat.errors import Exit
from neat.events.schema import TYPES
from neat.model.neat import NeatModel
from neat.profiling.plan import components

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(<!-- run(?: with (\w+))? -->\n)?^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SCRIPTS = {f"neat-{name}": name for name in ("train", "eval", "generate", "data", "profile", "upload", "monitor")}
PRELUDE = "\n".join(
    ["set -euo pipefail", 'neat() { "$PYTHON" -m neat "$@"; }']
    + [f'{script}() {{ neat {name} "$@"; }}' for script, name in SCRIPTS.items()]
)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks() -> Iterator[tuple[str, str]]:
    """(page and number, text) of every bash block."""
    for path in PAGES:
        for number, match in enumerate(BLOCK.finditer(path.read_text(encoding="utf-8"))):
            yield f"{path.name}-{number}", match[3]


def runnable() -> Iterator[Any]:
    """(page, marked block) of all pages; one that needs a module that is not there is skipped."""
    for path in PAGES:
        marked = [match for match in BLOCK.finditer(path.read_text(encoding="utf-8")) if match[1]]
        for number, match in enumerate(marked):
            missing = match[2] is not None and importlib.util.find_spec(match[2]) is None
            marks = [pytest.mark.skip(reason=f"{match[2]} is not installed")] if missing else []
            yield pytest.param(
                path, marked[0][3] if number else None, match[3], id=f"{path.name}-{number}", marks=marks
            )


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a script without control flow."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&<>()"):
                yield words
                words = []
            else:
                words.append(word)


def check_command(words: list[str]) -> None:
    """Parses a command of ours with its own parser, and loads the settings that it names."""
    name, rest = (SCRIPTS[words[0]], words[1:]) if words[0] in SCRIPTS else (words[1], words[2:])
    assert name in COMMANDS
    parser = Parser(prog=f"neat {name}")
    import_module(f"neat.cli.{_MODULES.get(name, name)}").configure(parser)
    arguments = parser.parse_args(rest)
    config = getattr(arguments, "config", None)
    if getattr(arguments, "overrides", None) or config in PRESETS:
        load(config if config in PRESETS else "tiny", arguments.overrides)


@pytest.mark.parametrize(("script"), [pytest.param(text, id=name) for name, text in blocks()])
def test_commands_are_understood(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    for words in commands(script):
        if words and (words[0] in SCRIPTS or (words[0] == "neat" and not words[1].startswith("-"))):
            check_command(words)


@pytest.fixture(scope="module")
def folders() -> dict[Path, Path]:
    """Where the blocks of a page are run, once its first one was."""
    return {}


@pytest.mark.parametrize(("path", "first", "script"), list(runnable()))
def test_marked_commands_run(
    path: Path, first: str | None, script: str, folders: dict[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first block of a page stands before each of the others, which do not need each other."""
    if path not in folders:
        folder = tmp_path_factory.mktemp(path.stem)
        if first is not None:
            execute(first, folder)
        folders[path] = folder
    execute(script, folders[path])


def execute(script: str, folder: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "python"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        ["bash", "-c", f"{PRELUDE}\n{script}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",  # a model of a few steps writes any byte
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_settings_are_documented_as_declared() -> None:
    spec = importlib.util.spec_from_file_location("make_config_docs", ROOT / "scripts" / "make_config_docs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = page("docs/configuration.md")
    assert text == script.filled(text), "run `python scripts/make_config_docs.py`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_file_tree_of_the_readme_exists() -> None:
    (tree,) = re.findall(r"<!-- tree -->\n```text\n(.*?)^```$", page("README.md"), re.DOTALL | re.MULTILINE)
    paths = [line.split()[0] for line in tree.splitlines() if line.strip()]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_budget_of_the_presets_is_that_of_their_models() -> None:
    table = page("docs/architecture.md").split("<!-- budget -->\n")[1].split("\n\n")[0].splitlines()
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if "---" not in line]
    assert [row[0] for row in rows] == list(PRESETS)
    for name, *cells in rows:
        config = load(name).config
        with torch.device("meta"):
            counts = components(config, NeatModel(config))
        assert cells == [f"{counts[component] / 1e6:.2f}" for component in header[1:]], name


def test_the_100m_class_is_divided_as_planned() -> None:
    """39 % core, 20 % matrices that experts scale, 20 % memory, 11 % patching, 10 % images, in 102.3 million."""
    config = load("100m").config
    with torch.device("meta"):
        counts = components(config, NeatModel(config))
    planned = {"core": 40.13, "experts": 20.25, "memory": 20.43, "patching": 10.83, "vision": 10.68, "total": 102.3}
    for name, millions in planned.items():
        assert counts[name] / 1e6 == pytest.approx(millions, rel=0.02), name


EVERYTHING = (
    *("network.xsa=true", "network.attention_gate=true", "network.unet_skips=true", "network.kv_conv=3"),
    *("network.qk_gain=2.0", "network.activation=leaky_relu2"),
)


@pytest.mark.parametrize("changes", [EVERYTHING, ("memory.variant=mac", "network.decoder_mixer=attention")])
def test_every_tensor_of_a_checkpoint_is_listed(changes: tuple[str, ...]) -> None:
    """Names in the page may leave out the beginning that they share with the one before, and count layers as i."""
    cells = re.findall(r"^\| (`.+?) \|", page("docs/checkpoint-format.md"), re.MULTILINE)
    listed = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    with torch.device("meta"):
        model = NeatModel(load("tiny-full", list(changes)).config)
    for name, _ in [*model.named_parameters(), *model.named_buffers()]:
        plain = re.sub(r"\.\d+\.", ".i.", name)
        ends = (entry.rstrip("…").removeprefix("….") for entry in listed)
        assert any(plain.startswith(end) or plain.endswith("." + end) or name == end for end in ends if end), name


def test_every_exit_code_is_listed() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page("README.md"), re.MULTILINE)}
    assert listed == {int(code) for code in Exit}


def test_every_event_type_and_metric_is_described() -> None:
    text = page("docs/run-directory.md")
    missing = [name for name in TYPES if f"### `{name}`" not in text]
    source = page("python/neat/train/report.py")
    metrics = re.findall(r'"([a-z]+/[a-z_]+)"', source)
    assert metrics
    assert missing + [metric for metric in metrics if f"`{metric}`" not in text] == []


def test_every_setting_that_may_change_is_listed() -> None:
    from neat.events.rundir import HARMLESS_KEYS

    text = page("docs/configuration.md").split("## What may change")[1].split("## ")[0]
    assert {key for key in HARMLESS_KEYS if f"`{key}`" not in text} == set()


def test_the_alignment_example_is_what_the_preparer_makes() -> None:
    (table,) = re.findall(r"<!-- alignment -->\n```text\n(.*?)^```$", page("docs/design.md"), re.DOTALL | re.MULTILINE)
    rows = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in table.splitlines()}
    document = b"the cat sat."
    preparer = _native.Preparer(None, _native.Patcher("space"), [], 0, features=False)
    arrays = preparer.windows([document], [(0, 0, 12, 0)], 12, 8)
    assert rows.pop("starts") == preparer.starts(document).astype(int).tolist()
    for name, values in rows.items():
        used = slice(None, np.count_nonzero(arrays["patch_length"])) if name.startswith("patch_") else slice(None)
        assert values == arrays[name][0][used].tolist(), name
