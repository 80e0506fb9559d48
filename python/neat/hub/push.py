"""`neat.push_to_hub`: a run, a checkpoint or an export to a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neat.config.hub import Hub
from neat.events.spool import Order, Spool
from neat.hub.export import find_checkpoint
from neat.hub.upload import queue, upload
from neat.train import checkpoint
from neat.train.exported import describe, is_export
from neat.train.loading import read_config, run_of

Say = Callable[[str], None]


def push_to_hub(path: str | Path, repo: str, *, step: int | None = None, public: bool = False) -> str:
    """Uploads a model and returns the commit that holds it.

    Args:
        path: Run directory (its newest checkpoint is taken), checkpoint folder or export.
        repo: OWNER/NAME; it is made when it is not there.
        step: Another checkpoint of the run.
        public: Make it public, or publish in one that is.

    Raises:
        CheckpointError: There is no such checkpoint.
        HubError: The upload failed; that of a run stays queued.
    """
    source, order = order_for(Path(path), step, repo=repo, public=public)
    return str(push(source, order)[-1]["commit"])


def order_for(path: Path, step: int | None = None, **changes: Any) -> tuple[Path, Order]:
    """The checkpoint or export to upload, and what to do with it: the settings of its run, with some changes.

    Raises:
        CheckpointError: There is none.
    """
    if is_export(path):
        return path, Order.of(Hub(), describe(path).step, **changes)
    folder = find_checkpoint(path, step)
    return folder, Order.of(read_config(folder).hub, checkpoint.read_state(folder)["step"], **changes)


def push(source: Path, order: Order, say: Say = lambda _: None) -> list[dict[str, Any]]:
    """Uploads through the spool of the run, or through one beside the folder that lasts as long as the call.

    Returns:
        The status of all uploads that ended, this one last or among them.

    Raises:
        HubError: The upload failed.
    """
    run = None if is_export(source) else run_of(source)
    if run is not None:
        return _through(Spool(run), source, order, say)
    with TemporaryDirectory(prefix=".neat-upload-", dir=source.resolve().parent) as folder:
        return _through(Spool(Path(folder)), source, order, say)


def _through(spool: Spool, source: Path, order: Order, say: Say) -> list[dict[str, Any]]:
    queue(spool, source, order)
    return upload(spool, say)
