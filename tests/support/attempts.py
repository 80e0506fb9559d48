"""Attempts of a run in processes of their own, made to be killed."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess


def command(config: str, out: str) -> None:
    """The body of the process: `neat train --config CONFIG --out OUT`."""
    from neat.cli import main

    sys.exit(main(["train", "--config", config, "--out", out]))


def fork_server() -> ForkServerContext:
    """Makes processes that have torch loaded and nothing else, in a fraction of the time of a fresh interpreter."""
    context = multiprocessing.get_context("forkserver")
    # torch imports the second one at the first use of an optimizer, which takes as long as torch itself.
    context.set_forkserver_preload(["neat.train.loop", "torch._dynamo"])
    return context


def start(context: ForkServerContext, config: str, out: str) -> ForkServerProcess:
    """Begins an attempt."""
    process = context.Process(target=command, args=(config, out))
    process.start()
    return process
