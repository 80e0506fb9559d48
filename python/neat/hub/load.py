"""Models from a folder or a hub: `neat.from_pretrained`, and addresses such as `hf:OWNER/NAME@REVISION`.

The invariant: what is downloaded is compared with the hashes of the revision and with those of the export before it is
used; nothing but the files of an export is downloaded, and no code comes with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path

from neat.errors import CheckpointError, HubError
from neat.hub.problems import judge
from neat.train.assembly import Loaded
from neat.train.exported import SUMS, load_export, read_sums

SCHEME = "hf:"
ALLOWED = [
    "config.json", "model*.safetensors", "model.safetensors.index.json", "entropy_model.bin", "entropy_model.json",
    "dynamics.bin", "train_config.toml", "README.md", "metrics.jsonl", "loss.svg", SUMS,
]  # fmt: skip
"""What is downloaded of a repository."""
CONNECT_S, READ_S = 10.0, 60.0

_ADDRESS = re.compile(r"(?:hf:)?([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)(?:@(.+))?")


def fetch(address: str, revision: str | None = None, *, local_files_only: bool = False) -> Path:
    """The folder of an export: the one named, or what is downloaded.

    Args:
        address: A folder, OWNER/NAME, or hf:OWNER/NAME, the last two with @REVISION or without.
        revision: Branch, tag or commit; None: the one in the address, or the newest.
        local_files_only: Take what an earlier call left in the cache, and ask nobody.

    Raises:
        HubError: There is no such export, it cannot be downloaded, or it is not what the hub has.
    """
    folder = Path(address)
    if not address.startswith(SCHEME) and folder.is_dir():
        return folder
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise HubError(
            f"`{address[:200]}` is neither a folder nor a repository",
            hint="write hf:OWNER/NAME or hf:OWNER/NAME@REVISION",
        )
    return _download(match[1], revision or match[2], local_files_only=local_files_only)


def load_pretrained(
    address: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    local_files_only: bool = False,
) -> tuple[Loaded, Path]:
    """The model of an export on this machine or on a hub, and the folder it was read from.

    Raises:
        HubError: See `fetch`; or the export is damaged or was tampered with.
    """
    folder = fetch(address, revision, local_files_only=local_files_only)
    try:
        return load_export(folder, device=device, dtype=dtype), folder
    except CheckpointError as error:
        raise HubError.of(error.problems) from error


def _download(repo: str, revision: str | None, *, local_files_only: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import is_offline_mode

    cached_only = local_files_only or is_offline_mode()
    try:
        with _bounded():
            if not cached_only:
                HfApi().model_info(repo, revision=revision)  # says at once what the download would say after many tries
            folder = Path(
                snapshot_download(repo, revision=revision, allow_patterns=ALLOWED, local_files_only=cached_only)
            )
            if not cached_only:
                _compare(folder, repo)
            return folder
    except HubError:
        raise
    except Exception as error:
        verdict = judge(error, repo)
        hint = (
            "set HF_HUB_OFFLINE=1 to take what an earlier download left here" if verdict.again else verdict.error.hint
        )
        raise HubError(verdict.error.message, hint, verdict.error.where) from error


def _compare(folder: Path, repo: str) -> None:
    """Compares a snapshot with the hashes of its commit: every file is there and is the one the hub names."""
    from huggingface_hub import HfApi, RepoFile

    if not (folder / SUMS).is_file():
        return  # `read_sums` says what is wrong
    sums = read_sums(folder)
    for entry in HfApi().list_repo_tree(repo, recursive=True, revision=folder.name):
        if not isinstance(entry, RepoFile) or not (folder / entry.path).is_file():
            continue
        if entry.lfs is not None:
            same = entry.path not in sums or sums[entry.path] == entry.lfs.sha256
        else:
            same = git_oid((folder / entry.path).read_bytes()) == entry.blob_id
        if not same:
            raise HubError(
                f"{entry.path} of {repo} is not the file that commit {folder.name[:12]} names",
                hint="it was damaged on the way or tampered with; remove it from the cache and download it again",
                where=f"in {folder}",
            )


def git_oid(data: bytes) -> str:
    """The name that git gives to a file: SHA-1 of its length and content."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def _bounded() -> Iterator[None]:
    """Inside, the client does not wait for ever; a time-out that somebody set is left as it is."""
    from huggingface_hub import get_session

    from neat.hub.client import bound

    hooks, limit = get_session().event_hooks["request"], bound(CONNECT_S, READ_S)
    hooks.append(limit)
    try:
        yield
    finally:
        hooks.remove(limit)
