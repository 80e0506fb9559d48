"""The real hub, once, when somebody asks for it: NEAT_HUB_LIVE=1 and a token in HF_TOKEN that may write."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from support.exports import trained_run
from support.hub import states

import neat
from neat.errors import Exit
from neat.events.spool import Order, Spool
from neat.hub.worker import work

pytestmark = [
    pytest.mark.hub_live,
    pytest.mark.skipif(
        os.environ.get("NEAT_HUB_LIVE") != "1" or not os.environ.get("HF_TOKEN"),
        reason="uploads to the real hub: set NEAT_HUB_LIVE=1 and HF_TOKEN",
    ),
]


def test_the_real_hub_takes_what_ours_takes(tmp_path: Path) -> None:
    """A private repository is made, filled, read, changed by hand, defended and deleted."""
    from huggingface_hub import HfApi
    from support.exports import copied_run

    api = HfApi()
    repo = f"{api.whoami()['name']}/neat-test-{uuid.uuid4().hex[:8]}"
    spool = Spool(copied_run(tmp_path))
    try:
        spool.add(spool.run / "checkpoints" / "step-00000020", Order(20, repo))
        assert work(spool, 5) == Exit.DONE
        assert states(spool)[-1] == "done"
        assert api.model_info(repo).private
        api.upload_file(path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id=repo)
        spool.add(spool.run / "checkpoints" / "step-00000030", Order(30, repo))
        work(spool, 5)
        assert states(spool)[-1] == "conflict"
        text = [b"She walked to the harbour."]
        pinned = neat.from_pretrained(repo, "step-00000020")
        assert pinned.score(text) == neat.load(trained_run() / "checkpoints" / "step-00000020").score(text)
    finally:
        api.delete_repo(repo, missing_ok=True)
