"""Settings of publishing: which checkpoints go to a model hub, and how patient the upload is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Section

REPO = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
"""OWNER/NAME."""


class Hub(Section):
    """Publishing checkpoints on a model hub, by a process of its own. Training waits for it at the end only."""

    repo: str = Field(default="", pattern=rf"\A({REPO})?\z")
    """Repository, OWNER/NAME; it is made when it is not there (empty: nothing is uploaded)."""
    upload: Literal["off", "final", "best", "every"] = "off"
    """Checkpoints uploaded while training: none; the last one; each that is the best so far on held-out text; every
    one. `neat-upload RUN` uploads by hand whatever this says."""
    public: bool = False
    """Make a new repository public. Nothing is uploaded to a public one without this."""
    tag: bool = True
    """Tag each upload with its step, as step-00012000, so that it can be asked for by name."""
    license: str = Field(default="", pattern=r"\A([a-z0-9][a-z0-9.-]{0,63})?\z")
    """Licence of the weights for the model card, by its identifier, such as mit or apache-2.0. Empty: none was chosen,
    and the card says so."""
    include_optimizer: bool = False
    """Also upload weights, optimizer and state as they are in the checkpoint, to a branch named training-state."""
    final_wait_s: float = Field(default=120.0, ge=0.0, le=86_400.0)
    """Longest wait for unfinished uploads at the end of training, in seconds (0 to 86400). What is left stays
    queued."""
    connect_s: float = Field(default=10.0, gt=0.0, le=600.0)
    """Longest wait for a connection, in seconds (up to 600)."""
    read_s: float = Field(default=60.0, gt=0.0, le=3600.0)
    """Longest silence of the server, in seconds (up to 3600)."""
    attempt_s: float = Field(default=3600.0, gt=0.0, le=604_800.0)
    """Longest time for one attempt at an upload, in seconds (up to 604800)."""
    max_retry_wait_s: float = Field(default=300.0, gt=0.0, le=86_400.0)
    """Longest wait between two attempts, unless the server asks for more, in seconds (up to 86400)."""
    max_queued: int = Field(default=4, ge=1, le=1000)
    """Checkpoints that may wait for their upload, those that failed included (1 to 1000). When there are more, the
    oldest are given up: each keeps its files on the disk."""

    def breaches(self) -> Iterator[Breach]:
        """Uploading needs a place to go."""
        if self.upload != "off" and not self.repo:
            yield Breach("repo", f'is empty; upload="{self.upload}" needs a repository', "set hub.repo=OWNER/NAME")
