"""One attempt to bring an export into a repository.

The invariant: before anything is written the repository is looked at, and each commit names the one it stands on. So an
attempt may be repeated after any error, also after one that hid a success: what is there is found by its hashes and not
committed again. What this run did not write is never overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from neat.errors import HubError
from neat.events.spool import Order
from neat.hub.load import ALLOWED, git_oid
from neat.hub.problems import ConflictError, no_token

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

MAIN, TRAINING_STATE = "main", "training-state"
UNTOUCHED = frozenset({".gitattributes"})
"""Files that a new repository has before anybody wrote to it."""

_TITLE = re.compile(r"neat ([0-9a-f]{12}) step ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export on this machine.

    Attributes:
        folder: Where it lies.
        sums: SHA-256 by file name.
        run_id: Names its run in commits.
        step: Its step.
    """

    folder: Path
    sums: Mapping[str, str]
    run_id: str
    step: int

    @property
    def title(self) -> str:
        """First line of its commit: the same for every attempt, so that a commit is recognised."""
        return f"neat {self.run_id} step {self.step}"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit of a branch, and the run and step that its title names, if any."""

    commit: str
    title: str
    author: str
    run_id: str | None
    step: int


def require_repository(api: HfApi, order: Order, known: Mapping[str, str]) -> None:
    """Makes the repository where there is none.

    Args:
        api: The client.
        order: Which one, and whether it may be public.
        known: Commit that this run made last, by `OWNER/NAME@BRANCH`.

    Raises:
        HubError: There is no token, the repository is gone, or it is public without having been asked for.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not get_token():
        raise no_token()
    try:
        info = api.model_info(order.repo)
    except RepositoryNotFoundError:
        if f"{order.repo}@{MAIN}" in known:
            raise HubError(
                f"the repository {order.repo} is gone: it was deleted or renamed",
                hint="name another one with --repo, or remove uploads/remote.json from the run to make it again",
            ) from None
        api.create_repo(order.repo, private=not order.public, exist_ok=True)
        return
    if not info.private and not order.public:
        raise HubError(f"the repository {order.repo} is public", hint="say --public (hub.public=true) to publish there")


def upload(api: HfApi, export: Export, order: Order, known: Mapping[str, str]) -> tuple[str, str]:
    """Brings an export into its repository; returns the branch and the commit that holds it.

    Args:
        api: The client.
        export: What to upload.
        order: Where to, and how.
        known: Commit that this run made last, by `OWNER/NAME@BRANCH`.

    Raises:
        ConflictError: Somebody else wrote there.
    """
    branch = MAIN
    head = _head(api, order.repo, MAIN)
    if head.run_id == export.run_id and head.step > export.step:
        # `main` is always the newest; an earlier step has a branch of its own.
        branch = f"step-{export.step:08d}"
        api.create_branch(order.repo, branch=branch, exist_ok=True)
        head = _head(api, order.repo, branch)
    commit = _commit(api, export, order, branch, head, known)
    if order.tag and branch == MAIN:
        api.create_tag(order.repo, tag=f"step-{export.step:08d}", revision=commit, exist_ok=True)
    return branch, commit


def upload_training_state(api: HfApi, checkpoint: Path, order: Order, run_id: str) -> None:
    """Brings weights, optimizer and state of a checkpoint to the branch `training-state`, as they are."""
    from huggingface_hub import CommitOperationAdd

    api.create_branch(order.repo, branch=TRAINING_STATE, exist_ok=True)
    head = _head(api, order.repo, TRAINING_STATE)
    files = [path for path in sorted(checkpoint.iterdir()) if path.name not in ("config.toml", "manifest.json")]
    api.create_commit(
        order.repo,
        [CommitOperationAdd(f"training-state/{path.name}", str(path)) for path in files],
        commit_message=f"neat {run_id} step {order.step}",
        revision=TRAINING_STATE,
        parent_commit=head.commit,
    )


def _head(api: HfApi, repo: str, branch: str) -> Head:
    newest = api.list_repo_commits(repo, revision=branch)[0]
    match = _TITLE.match(newest.title)
    run_id, step = (match[1], int(match[2])) if match else (None, -1)
    return Head(newest.commit_id, newest.title, ", ".join(newest.authors), run_id, step)


def _commit(
    api: HfApi, export: Export, order: Order, branch: str, head: Head, known: Mapping[str, str]
) -> str:  # fmt: skip
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    there = {entry.path: entry for entry in _files(api, order.repo, head.commit)}
    if _holds(there, export):
        return head.commit
    _require_ours(there, export, order, branch, head, known)
    stale = [name for name in there if _is_ours(name) and name not in export.sums]
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        *(CommitOperationAdd(name, str(export.folder / name)) for name in sorted(export.sums)),
        *(CommitOperationDelete(name) for name in sorted(stale)),
    ]
    made = api.create_commit(
        order.repo, operations, commit_message=export.title, revision=branch, parent_commit=head.commit
    )
    return str(made.oid)


def _files(api: HfApi, repo: str, commit: str) -> Iterator[RepoFile]:
    from huggingface_hub import RepoFile

    for entry in api.list_repo_tree(repo, recursive=True, revision=commit):
        if isinstance(entry, RepoFile):
            yield entry


def _holds(there: Mapping[str, RepoFile], export: Export) -> bool:
    """Whether the files in the repository are those of the export, by hash."""
    for name, digest in export.sums.items():
        entry = there.get(name)
        if entry is None:
            return False
        if entry.lfs is not None:
            if entry.lfs.sha256 != digest:
                return False
        elif entry.blob_id != git_oid((export.folder / name).read_bytes()):
            return False
    return not any(_is_ours(name) and name not in export.sums for name in there)


def _require_ours(
    there: Mapping[str, RepoFile], export: Export, order: Order, branch: str, head: Head, known: Mapping[str, str]
) -> None:
    """Refuses to write over what this run did not write."""
    last = known.get(f"{order.repo}@{branch}")
    by_us = head.run_id == export.run_id
    if by_us or head.commit == last or (order.onto and head.commit.startswith(order.onto)):
        return
    if last is None and there.keys() <= UNTOUCHED:
        return
    what = "holds something else" if last is None else "was changed by somebody else"
    raise ConflictError(
        f"{order.repo} {what}: its newest commit is {head.commit[:12]} by {head.author}, {head.title[:80]!r}",
        hint=f"look at it; then take another --repo, or go on top of it with --onto {head.commit[:12]}",
    )


def _is_ours(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in ALLOWED)
