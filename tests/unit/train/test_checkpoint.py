"""Checkpoints: what is believed, what is refused, and what survives a disk that fails in the middle."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from neat.errors import CheckpointError
from neat.train import checkpoint
from neat.train.checkpoint import MANIFEST, Contents, find, newest, retain, steps, sweep, verify, write
from neat.train.storage import Storage


def contents(value: float = 0.0, **changes: Any) -> Contents:
    """A checkpoint with every file, small enough to try every way of damaging it."""
    base: dict[str, Any] = {
        "model": {"a.weight": torch.full((3, 4), value), "b": torch.tensor(value)},
        "average": {"a.weight": torch.full((3, 4), value + 1), "b": torch.tensor(value)},
        "optimizer": {"rng.torch_cpu": torch.arange(9, dtype=torch.uint8)},
        "state": {"step": 5, "stream": "{}", "nested": {"x": [1, 2.5, None]}},
        "config": "seed = 3\n",
        "entropy_model": bytes(range(200)),
    }
    return Contents(**(base | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One published checkpoint of step 5."""
    return write(tmp_path, 5, contents(2.0), Storage())


FILES = ["average.safetensors", "config.toml", "entropy_model.bin", "model.safetensors", "optimizer.safetensors",
         "state.json"]  # fmt: skip


def test_what_is_written_is_read_back(folder: Path) -> None:
    assert verify(folder) is None
    assert folder.name == "step-00000005"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, MANIFEST])
    for name, expected in ((checkpoint.MODEL, contents(2.0).model), (checkpoint.OPTIMIZER, contents().optimizer)):
        tensors = checkpoint.read_tensors(folder, name)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[key], expected[key]) for key in expected)
    assert checkpoint.read_state(folder) == contents().state
    assert (folder / "entropy_model.bin").read_bytes() == bytes(range(200))


def test_tensors_that_are_views_are_written_whole(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    folder = write(tmp_path, 1, contents(model={"turned": base.T, "column": base[:, 1]}), Storage())
    tensors = checkpoint.read_tensors(folder, checkpoint.MODEL)
    assert torch.equal(tensors["turned"], base.T) and torch.equal(tensors["column"], base[:, 1])


def test_without_an_average_there_is_no_such_file(tmp_path: Path) -> None:
    folder = write(tmp_path, 5, contents(average={}), Storage())
    assert verify(folder) is None
    assert checkpoint.read_tensors(folder, checkpoint.AVERAGE) == {}


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for place in random.Random(0).sample(range(len(whole) * 8), min(200, len(whole) * 8)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert verify(folder) == f"`{name}` is not what was written"
    path.write_bytes(whole)
    assert verify(folder) is None


@pytest.mark.parametrize("name", FILES)
def test_every_cut_and_every_addition_is_found(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for damaged in (*(whole[:size] for size in {0, 1, len(whole) // 2, len(whole) - 1}), whole + b"\0"):
        path.write_bytes(damaged)
        assert verify(folder) == f"`{name}` is not what was written"


def test_a_damaged_manifest_is_refused_or_says_the_same(folder: Path) -> None:
    path = folder / MANIFEST
    whole = path.read_bytes()
    said = json.loads(whole)
    for place in random.Random(0).sample(range(len(whole) * 8), 400):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        if verify(folder) is None:
            assert json.loads(damaged)["files"] == said["files"]
    for size in range(0, len(whole), 9):
        path.write_bytes(whole[:size])
        assert verify(folder) is not None


NONSENSE = [
    *("", "null", "[]", "3", '"x"', "{}", "[" * 100_000, '{"format": 1}', '{"format": 1, "files": []}'),
    *('{"format": 1, "files": {}}', '{"format": 1, "files": {"a": 1}}', '{"format": 1, "files": {"a\\u0000": {}}}'),
]


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:40])
def test_a_manifest_of_nonsense_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    assert verify(folder) is not None


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert verify(folder) == f"`{name}` is missing"


@pytest.mark.parametrize("name", [name for name in FILES if name != "average.safetensors"])
def test_a_manifest_that_leaves_a_file_out_is_refused(folder: Path, name: str) -> None:
    """Whether the file is there or not: nobody vouches for its content."""
    _edit_manifest(folder, lambda files: files.pop(name))
    assert verify(folder) == f"its manifest does not name `{name}`"
    (folder / name).unlink()
    assert verify(folder) is not None


def test_weights_that_the_manifest_does_not_name_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 5, contents(average={}), Storage())
    shutil.copy(folder / "model.safetensors", folder / "average.safetensors")
    assert verify(folder) == "its manifest does not name `average.safetensors`"


def _edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest["files"])
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", ".", "", "x/../../secret", "sub/file"])
def test_a_manifest_cannot_point_outside(folder: Path, name: str) -> None:
    outside = folder.parent / "secret"
    outside.write_bytes(b"outside")
    entry = {"bytes": 7, "xxh3_128": checkpoint.file_digest(outside)}
    _edit_manifest(folder, lambda files: files.update({name: entry}))
    assert verify(folder) is not None


def test_a_link_is_no_file_of_a_checkpoint(folder: Path) -> None:
    path = folder / "model.safetensors"
    elsewhere = folder.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert verify(folder) == "its manifest names `model.safetensors`, which is not a plain file in it"


def test_the_newest_that_can_be_believed_is_found(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        write(tmp_path, step, contents(step), Storage())
    (tmp_path / ".tmp-step-00000500-1").mkdir()
    (tmp_path / "step-99999999.txt").write_text("")
    (tmp_path / "step-000000200").mkdir()
    assert steps(tmp_path) == [9, 20, 100]
    assert newest(tmp_path) == (tmp_path / "step-00000100", {})
    (tmp_path / "step-00000100" / "state.json").write_text("{}")
    found, refused = newest(tmp_path)
    assert found == tmp_path / "step-00000020"
    assert refused == {"step-00000100": "step-00000100 is not used: `state.json` is not what was written"}
    for step in (9, 20):
        (tmp_path / f"step-{step:08}" / MANIFEST).unlink()
    found, refused = newest(tmp_path)
    assert found is None and len(refused) == 3


def test_nothing_there_is_nothing_found(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == (None, {})
    assert steps(tmp_path / "none") == []
    sweep(tmp_path / "none")


def test_retain_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 30, 4):
        write(tmp_path, step, contents(), Storage())
    assert retain(tmp_path, 2, Storage()) == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000030"]


def test_sweep_removes_what_a_killed_process_left_and_nothing_else(folder: Path) -> None:
    root = folder.parent
    for name in (".tmp-step-00000006-77", ".old-step-00000004-77"):
        (root / name).mkdir()
        (root / name / "model.safetensors").write_bytes(b"half")
    (root / "notes.txt").write_text("mine")
    sweep(root)
    assert sorted(path.name for path in root.iterdir()) == ["notes.txt", "step-00000005"]
    assert verify(folder) is None


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(folder: Path) -> None:
    (folder / "state.json").write_text("{}")
    assert write(folder.parent, 5, contents(8.0), Storage()) == folder
    assert verify(folder) is None
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


class FailingStorage(Storage):
    """Refuses its n-th operation as a full disk does, with half a file on it."""

    def __init__(self, after: int) -> None:
        self.left = after

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Half the file, then no more."""
        try:
            self._count()
        except OSError:
            fill(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise
        super().write(path, fill)

    def publish(self, staged: Path, final: Path) -> None:
        """Fails before the rename."""
        self._count()
        super().publish(staged, final)

    def remove(self, folder: Path) -> None:
        """Fails before anything is gone."""
        self._count()
        super().remove(folder)


@pytest.mark.parametrize("after", range(len(FILES) + 2))
def test_a_full_disk_leaves_the_checkpoint_before_it_intact(folder: Path, after: int) -> None:
    root = folder.parent
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match="step 6 could not be written: No space left") as caught:
        write(root, 6, contents(9.0), FailingStorage(after))
    assert caught.value.hint is not None and "intact" in caught.value.hint
    assert newest(root) == (folder, {})
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in root.iterdir()] == [folder.name]
    write(root, 6, contents(9.0), FailingStorage(len(FILES) + 2))
    assert newest(root)[0] == root / "step-00000006"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow further."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_refusal_by_the_system_inside_the_tensor_writer_is_reported_like_any_other(folder: Path) -> None:
    big = contents(model={"a": torch.zeros(100_000)})
    with files_of_at_most(50_000), pytest.raises(CheckpointError, match="step 6 could not be written"):
        write(folder.parent, 6, big, Storage())
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_find_takes_what_people_name(tmp_path: Path) -> None:
    root = tmp_path / "run" / "checkpoints"
    last = write(root, 7, contents(), Storage())
    first = write(root, 6, contents(), Storage())
    assert find(tmp_path / "run") == find(root) == find(last) == last
    assert find(first) == first
    shutil.copytree(first, tmp_path / "anywhere")
    assert find(tmp_path / "anywhere") == tmp_path / "anywhere"
    (last / "state.json").write_text("{}")
    assert find(tmp_path / "run") == first
    with pytest.raises(CheckpointError, match=r"is damaged: `state\.json` is not what was written"):
        find(last)
    (first / "state.json").unlink()
    with pytest.raises(CheckpointError, match="holds no checkpoint; step-00000007 is not used"):
        find(tmp_path / "run")
    with pytest.raises(CheckpointError, match="there is no"):
        find(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        find(first / "config.toml")
