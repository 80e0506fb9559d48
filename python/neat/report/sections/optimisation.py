"""The optimizer's side: learning rate, gradient norms, curriculum, components turned off and on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Section
from neat.report.record import Record
from neat.report.sections.shared import figure, per_run, rows_table


def optimisation(runs: Sequence[Record]) -> Section:
    """Curves over all runs, then the events of each."""
    blocks: list[Block] = []
    for key, name, title, unit, log in (
        ("optim/lr", "learning-rate", "Learning rate", "optim.lr × schedule", False),
        ("optim/grad_norm", "gradient-norm", "Gradient norm, before clipping", "norm", True),
        ("train/window", "window", "Positions per row", "positions", False),
    ):
        found = list(figure(runs, "step", [(key, "")], name, title, unit, log=log, zero=not log))
        blocks += found or [Absent(title.lower(), f"no `step` event holds {key}")]
    micro = [("predict/delta_norm", "")]
    blocks += figure(runs, "step", micro, "delta-norm", "Norm of the predicted delta of each step", "norm", zero=True)
    blocks += per_run(runs, _changes)
    return Section("optimisation", "Optimisation", blocks)


def _changes(run: Record, _: str) -> Iterator[Block]:
    if run.rows["stage"]:
        columns = [("step", "step"), ("stage", "stage"), ("positions per row", "train/window"), ("reason", "reason")]
        yield rows_table(run.rows["stage"], columns, "Curriculum")
    if run.rows["budget"]:
        columns = [("step", "step"), ("total steps", "total_steps"), ("seconds so far", "spent_s"), ("stage", "stage")]
        yield rows_table(run.rows["budget"], columns, "A budget in time was turned into steps")
    if run.rows["activation"]:
        columns = [("step", "step"), ("component", "component"), ("on", "on"), ("reason", "reason")]
        yield rows_table(run.rows["activation"], columns, "Components turned off or on")
