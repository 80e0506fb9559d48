"""Two hundred cycles of jump and correction need no more memory than twenty."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from support.hybrid import advance, hybrid
torch.set_num_threads(1)
trainer = hybrid(Path(sys.argv[1]), train__max_steps=100_000, predict__max_rollbacks=0)
predictor = trainer.predictor
real = predictor.try_jump

def try_jump(running, longest):
    made = real(running, longest)
    predictor.path.move(made.delta, 0.125 - made.share)
    made.share, made.reason = 0.125, "every jump is accepted"
    return made

predictor.try_jump = try_jump
peaks, cycles = {}, 0
while cycles < 200:
    predictor.ledger.off = ""
    for kind, data in advance(trainer):
        cycles += kind == "correct"
    if cycles in (20, 200):
        peaks[cycles] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trainer.stream.close()
print(json.dumps({"few": peaks[20], "many": peaks[200], "residuals": predictor.watch.model.residuals()}))
"""


@pytest.mark.slow
def test_cycles_do_not_accumulate(corpus: Path) -> None:
    tests = Path(__file__).parents[3]
    words = [sys.executable, "-c", PROGRAM, str(corpus), str(tests)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["many"] <= 1.02 * found["few"], found
    assert found["residuals"] == 200
