"""What a run was made with: configuration, machine, versions, data, optimizers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from neat.config.compare import difference, value_of
from neat.config.show import dump_toml, toml_value
from neat.report.document import Absent, Block, Listing, Section, Table
from neat.report.gather import Row
from neat.report.record import Record
from neat.report.sections.shared import cell, moment, per_run, rows_table
from neat.report.series import is_number


def configuration(runs: Sequence[Record]) -> Section:
    """Differences between the runs, then of each to its preset, then everything, folded away."""
    blocks: list[Block] = list(_between(runs))
    blocks += per_run(runs, _configuration)
    return Section("configuration", "Configuration", blocks)


def _between(runs: Sequence[Record]) -> Iterator[Block]:
    configs = [run.config for run in runs]
    first, *others = configs
    if not others or first is None:
        return
    known = [config for config in others if config is not None]
    keys = dict.fromkeys(key for config in known for key, _, _ in difference(first, config))
    if not keys:
        return
    rows = [
        [key, *(toml_value(value_of(config, key)) if config else "not readable" for config in configs)] for key in keys
    ]
    yield Table(("setting", *(run.label for run in runs)), rows, caption="Where the runs differ")


def _configuration(run: Record, _: str) -> Iterator[Block]:
    if run.config is None:
        yield Absent("configuration", f"config.toml cannot be read: {run.config_problem}")
        return
    base = f"preset {run.preset}" if run.preset else "the defaults"
    rows = [[key, toml_value(old), toml_value(new)] for key, old, new in run.changes]
    yield Table(("setting", base, "this run"), rows, caption=f"Differences to {base}: {len(rows)}")
    yield Listing("All settings", dump_toml(run.config, comments=False).strip())


def environment(runs: Sequence[Record]) -> Section:
    """Machine, versions, data and optimizers of each run."""
    return Section("environment", "Environment", list(per_run(runs, _environment)))


def _environment(run: Record, _: str) -> Iterator[Block]:
    facts, begun = run.facts, run.last_row("run")
    if not facts:
        yield Absent("versions and machine", "run.json is missing or damaged")
    found = [*_facts(facts, begun), ("last writer", _writer(run.holder))]
    rows = [(name, cell(value)) for name, value in found if value not in (None, "", [], {})]
    yield Table(("", ""), rows)
    yield from _optimizers(begun)
    yield from _growth(run)
    attempts = [("begun", "time"), ("at step", "step"), ("neat", "neat"), ("torch", "torch"), ("device", "device")]
    yield rows_table(run.rows["run"], attempts, "Attempts")
    if run.rows["end"]:
        ends = [
            ("ended", "time"),
            ("at step", "step"),
            ("reason", "reason"),
            ("exit code", "exit_code"),
            ("message", "message"),
        ]
        yield rows_table(run.rows["end"], ends, "Ends of attempts")


def _facts(facts: Row, begun: Row) -> Iterator[tuple[str, object]]:
    for key in ("versions", "machine"):
        table = facts.get(key)
        if isinstance(table, dict):
            for name, value in table.items():
                yield f"{key.removesuffix('s')}: {name}", value if value is not None else "not installed"
    command = facts.get("command")
    yield "command", " ".join(str(word) for word in command) if isinstance(command, list) else None
    created = facts.get("created")
    yield "created", moment(created) if is_number(created) else None
    yield "hash of the configuration", facts.get("config_hash")
    for key, value in facts.items():
        if key not in ("v", "name", "versions", "machine", "command", "created", "config_hash", "growth"):
            yield key, value
    reasons = begun.get("reasons")
    yield "choices", "; ".join(str(reason) for reason in reasons) if isinstance(reasons, list) else None
    for key, name in (
        ("data/documents", "documents"),
        ("data/bytes", "bytes of text"),
        ("data/digest", "digest of the text"),
    ):
        yield name, begun.get(key)
    yield "patcher", _json(begun.get("patcher"))


def _writer(holder: Row) -> str | None:
    """Who held the lock last."""
    if not holder:
        return None
    start = holder.get("start")
    since = f", from {moment(start)}" if is_number(start) else ""
    return f"process {cell(holder.get('pid'))} on {cell(holder.get('host'))[:100]}{since}"


def _json(value: object) -> object:
    """A table that is written as text, read."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _growth(run: Record) -> Iterator[Block]:
    """Where the first weights came from, when they were another run's."""
    row = run.last_row("growth")
    if row:
        rows = [(key, cell(value)) for key, value in row.items() if key not in ("time", "step")]
        yield Table(("", ""), rows, caption="The first weights were taken over from another run")


def _optimizers(begun: Row) -> Iterator[Block]:
    found = begun.get("optimizers")
    rows = [[cell(item) for item in row] for row in found if isinstance(row, list)] if isinstance(found, list) else []
    width = min(len(_OPTIMIZER_COLUMNS), max((len(row) for row in rows), default=0))
    if width:
        cells = [[*row, *[""] * width][:width] for row in rows]
        yield Table(_OPTIMIZER_COLUMNS[:width], cells, frozenset({2, 3, 4}), "Optimizers")


_OPTIMIZER_COLUMNS = ("parameters", "optimizer", "count", "learning rate", "weight decay", "settings")
