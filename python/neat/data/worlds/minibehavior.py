"""An office: where is the printer in the end, on the table, carried, or on the floor?

After the task "installing a printer" of Mini-BEHAVIOR (arXiv 2310.01824) as MVoT uses it. The agent walks over the
printer but not over the table. `pick` takes the printer from under the agent; `put` sets it on the table when the
agent stands beside it, and otherwise on the floor under the agent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from random import Random

from neat.data.worlds.problem import Problem, Step, Tiles, cells_of, spoken
from neat.data.worlds.tiles import MOVES, Cell, Tile, moved

ANSWERS = ("table", "carried", "floor")


@dataclass(frozen=True, slots=True)
class Office:
    """Where everything is; the printer is at the agent's cell while it is carried."""

    size: int
    agent: Cell
    printer: Cell
    table: Cell
    carried: bool = False

    def after(self, action: str) -> Office:
        """The office after one action."""
        if action == "pick":
            return replace(self, carried=self.carried or self.agent == self.printer)
        if action == "put":
            place = self.table if self.beside_table() else self.agent
            return replace(self, carried=False, printer=place) if self.carried else self
        agent = moved(self.agent, action, self.size)
        agent = self.agent if agent == self.table else agent
        return replace(self, agent=agent, printer=agent if self.carried else self.printer)

    def beside_table(self) -> bool:
        """Whether one move leads to the table."""
        return any(moved(self.agent, move, self.size) == self.table for move in MOVES)

    def outcome(self) -> str:
        """Where the printer is."""
        if self.carried:
            return "carried"
        return "table" if self.printer == self.table else "floor"

    def tiles(self) -> Tiles:
        """The board."""
        agent = Tile.AGENT_WITH_PRINTER if self.carried else Tile.AGENT
        if self.agent == self.printer and not self.carried:
            agent = Tile.AGENT_OVER_PRINTER
        table = Tile.TABLE_WITH_PRINTER if self.printer == self.table else Tile.TABLE
        return {self.printer: Tile.PRINTER} | {self.table: table, self.agent: agent}


def minibehavior(chooser: Random, size: int, max_steps: int) -> Problem:
    """An office of size x size and at most `max_steps` actions; the three answers are equally likely."""
    answer = chooser.choice(ANSWERS)
    while True:
        agent, printer, table = chooser.sample(cells_of(size), 3)
        office = Office(size, agent, printer, table)
        actions = _plan(chooser, office, answer)
        problem = play(office, actions) if 0 < len(actions) <= max_steps else None
        if problem is not None and problem.answer == answer:
            return problem


def play(office: Office, actions: list[str]) -> Problem:
    """The problem that these actions in this office pose."""
    before, steps = office.tiles(), []
    for action in actions:
        office = office.after(action)
        steps.append(Step(action, f"{spoken(office.agent)} printer {office.outcome()}", office.tiles()))
    return Problem(f"office {office.size}", office.size, before, tuple(steps), office.outcome())


def _plan(chooser: Random, office: Office, answer: str) -> list[str]:
    """Actions that are likely to end as wanted: the errand done, left unfinished, or done wrong."""
    actions = _route(chooser, office, {office.printer})
    beside = {cell for cell in cells_of(office.size) if replace(office, agent=cell).beside_table()} - {office.table}
    wrong = chooser.choice(("no pick", "put too early")) if answer == "floor" else ""
    if wrong != "no pick":
        actions.append("pick")
    office = _after(office, actions)
    onward = _route(chooser, office, beside)
    if wrong == "put too early" or (answer == "carried" and chooser.random() < 0.5):
        onward = onward[: chooser.randint(0, max(0, len(onward) - 1))]
    return actions + onward + ([] if answer == "carried" else ["put"])


def _after(office: Office, actions: list[str]) -> Office:
    for action in actions:
        office = office.after(action)
    return office


def _route(chooser: Random, office: Office, ends: set[Cell]) -> list[str]:
    """A shortest way of the agent to one of `ends`, chosen at random among those; empty when there is none."""
    came: dict[Cell, tuple[Cell, str]] = {}
    queue = deque([office.agent])
    while queue and queue[0] not in ends:
        cell = queue.popleft()
        for move in chooser.sample(list(MOVES), len(MOVES)):
            ahead = moved(cell, move, office.size)
            if ahead not in (office.agent, office.table) and ahead not in came:
                came[ahead] = (cell, move)
                queue.append(ahead)
    route: list[str] = []
    cell = queue[0] if queue else office.agent
    while cell != office.agent:
        cell, move = came[cell]
        route.append(move)
    return route[::-1]
