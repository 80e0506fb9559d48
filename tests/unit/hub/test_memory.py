"""Exporting and loading a model takes little more memory than its weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import configure, write_corpus

from neat.train import loop

PROGRAM = """
import re, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import neat.hub.export
import neat.train.exported as exported
if Path(sys.argv[2]).exists():
    with torch.device("meta"):  # what torch loads for this is not the model's
        exported.NeatModel(exported.describe(Path(sys.argv[2])).config)
exec(sys.argv[1])
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""
LOAD = """
loaded = exported.load_export(Path(sys.argv[2]), device="cpu")
print(sum(float(weights.sum()) for weights in loaded.model.network.state_dict().values()), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step of a network of 64 MiB, nearly all of it one table."""
    folder = tmp_path_factory.mktemp("large")
    write_corpus(folder)
    config = configure(folder, network__hash_rows=524_288, network__local_width=16, train__max_steps=1)
    loop.run(config, folder / "run")
    return folder


def most_mebibytes(program: str, folder: Path) -> float:
    """Largest resident size of a program, mapped files included."""
    words = [sys.executable, "-c", PROGRAM, program, str(folder)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures of a process")
def test_memory_is_that_of_the_weights(large: Path) -> None:
    source, target = large / "run", large / "export"
    idle = most_mebibytes("pass", target)
    exporting = most_mebibytes(f"neat.hub.export.export(Path({str(source)!r}), Path(sys.argv[2]))", target)
    weights = (target / "model.safetensors").stat().st_size / 2**20
    assert weights > 60
    assert exporting - idle < 0.5 * weights
    assert most_mebibytes(LOAD, target) - most_mebibytes("pass", target) < 1.4 * weights
