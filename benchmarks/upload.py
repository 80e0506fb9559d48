"""What an upload beside training costs a step: the tiny preset, blocks with and without an upload by turns, one run.

Usage: ``python benchmarks/upload.py [--blocks 8] [--block-s 6] [--json PATH]``. The uploading process is the real one
with the real client; the hub is that of the tests, in a third process on the same machine, so its work counts too. In a
block with upload one follows the other without a pause, which no run does: `ratio` is that worst case, and
`ratio_at_one_per_500_steps` is what it comes to with a checkpoint every 500 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import describe

from neat.config.load import load
from neat.events.rundir import open_run
from neat.events.spool import Order, Spool
from neat.train import checkpoint
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.state import Trainer, capture
from neat.train.storage import Storage
from neat.train.uploads import Worker

BASE = ("train.max_steps=100000", "train.curriculum=[]", "optim.schedule=constant", "optim.warmup_share=0.0")
TESTS = Path(__file__).resolve().parents[1] / "tests"
SERVER = """
import sys
from pathlib import Path
from fakehub.server import FakeHub
with FakeHub(Path(sys.argv[1])) as hub:
    print(hub.url, flush=True)
    sys.stdin.read()
"""


def timed_steps(trainer: Trainer, seconds: float) -> list[float]:
    """Time of each step until `seconds` are over."""
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        train_step(trainer, *trainer.next_batch())
        found.append(time.perf_counter() - start)
    return found


class Uploading:
    """Uploads of one checkpoint after the other, each as if it were of a later step."""

    def __init__(self, run: Path, trainer: Trainer) -> None:
        self._spool = Spool(run)
        self._source = checkpoint.write(run / "checkpoints", max(1, trainer.step), capture(trainer), Storage())
        self._worker = Worker(self._spool)
        self._step = 0
        self.done = 0
        self.seconds: list[float] = []
        self._begun = 0.0

    def keep_busy(self) -> None:
        """Queues the next one when the last is done."""
        if self._spool.waiting():
            self._worker.ensure()
            return
        if self._step:
            self.seconds.append(time.monotonic() - self._begun)
            self.done += 1
        self._step += 1
        self._begun = time.monotonic()
        self._spool.add(self._source, Order(self._step, "ann/tiny"))
        self._worker.ensure()

    def drain(self) -> None:
        """Lets the one in hand finish."""
        while self._spool.waiting():
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends the uploading process."""
        self._worker.stop()


def measure(folder: Path, blocks: int, block_s: float) -> dict[str, object]:
    """Medians of steps in blocks with and without uploads."""
    config = load("tiny", list(BASE)).config
    with open_run(folder / "run", config):
        trainer = build(config)
        timed_steps(trainer, block_s)
        uploading = Uploading(folder / "run", trainer)
        uploading.keep_busy()
        uploading.drain()  # the first one also starts the process and loads its libraries
        times: dict[bool, list[float]] = {False: [], True: []}
        for block in range(2 * blocks):
            with_upload = block % 2 == 1
            end = time.perf_counter() + block_s
            while time.perf_counter() < end:
                if with_upload:
                    uploading.keep_busy()
                times[with_upload] += timed_steps(trainer, 0.2)
            uploading.drain()
        uploading.stop()
    alone, beside = (statistics.median(times[key]) for key in (False, True))
    upload_s = statistics.median(uploading.seconds)
    return {
        "steps": {"alone": len(times[False]), "beside": len(times[True])},
        "step_s": {"alone": alone, "beside": beside},
        "ratio": beside / alone,
        "uploads": uploading.done,
        "upload_s": upload_s,
        "ratio_at_one_per_500_steps": 1 + (beside / alone - 1) * min(1.0, upload_s / (500 * alone)),
    }


def main() -> None:
    """Prints the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of each kind (%(default)s)")
    parser.add_argument("--block-s", type=float, default=6.0, help="seconds of a block (%(default)s)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
        words = [sys.executable, "-c", SERVER, name]
        server = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdin is not None
        url = server.stdout.readline().strip()
        os.environ |= {"HF_ENDPOINT": url, "HF_TOKEN": "hf_testtokenofann", "HF_HOME": f"{name}/hf"}
        try:
            found = measure(Path(name), arguments.blocks, arguments.block_s)
        finally:
            server.stdin.close()
            server.wait()
    found["machine"] = describe("torch", "huggingface_hub", "hf-xet")
    print(json.dumps(found, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
