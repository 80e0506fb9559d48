"""The phase machine: legal moves only, each with a reason, lengths kept, refusals told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neat.train.phases import LEGAL, Lengths, Move, Observation, Phase, State, decide
from neat.train.predict.veto import Situation, vetoes

LENGTHS = Lengths(warmup=5, full=3, correct=2)

happenings = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["too early", "too dear"]), max_size=2).map(tuple),  # vetoes
        st.booleans(),  # whether a jump would be accepted
        st.sampled_from(["", "", "", "spike"]),  # recovery
    ),
    max_size=60,
)


def walk(course: list[tuple[tuple[str, ...], bool, str]], lengths: Lengths = LENGTHS) -> list[Move]:
    """All moves of a run with one observation a step, PREDICT resolved at once, as the predictor does."""
    state, moves = State(), []
    for step, (against, accepted, recovery) in enumerate(course, start=1):
        seen = Observation(step, against, recovery=recovery)
        while (move := decide(state, seen, lengths)) is not None:
            moves.append(move)
            state = move.state
            if state.phase is not Phase.PREDICT:
                break
            seen = Observation(step, outcome=(accepted, "measured"))
    return moves


@given(happenings)
def test_moves_are_legal_and_have_reasons(course: list[tuple[tuple[str, ...], bool, str]]) -> None:
    phase = Phase.WARMUP
    for move in walk(course):
        assert move.reason and move.origin is phase
        if move.accepted:
            recovered = move.reason == "spike" and move.target is Phase.FULL
            assert (move.origin, move.target) in LEGAL or recovered
            phase = move.target
        else:
            assert (move.origin, move.target) == (Phase.FULL, Phase.PREDICT)
        assert move.state.phase is phase


@given(happenings)
def test_phases_last_as_long_as_they_must(course: list[tuple[tuple[str, ...], bool, str]]) -> None:
    tried = 0
    for move in walk(course):
        step = move.state.since if move.accepted else move.state.tried
        if move.reason != "spike":
            match move.origin, move.target:
                case Phase.WARMUP, _:
                    assert move.length == LENGTHS.warmup
                case Phase.FULL, Phase.PREDICT:
                    assert move.length >= LENGTHS.full and step - tried >= LENGTHS.full
                case Phase.PREDICT, _:
                    assert move.length == 0
                case Phase.CORRECT, _:
                    assert move.length == LENGTHS.correct
        tried = step


def test_a_whole_cycle() -> None:
    moves = walk([((), True, "")] * 13)
    assert [(m.origin, m.target, m.state.since) for m in moves] == [
        (Phase.WARMUP, Phase.FULL, 5),
        (Phase.FULL, Phase.PREDICT, 8),
        (Phase.PREDICT, Phase.CORRECT, 8),
        (Phase.CORRECT, Phase.FULL, 10),
        (Phase.FULL, Phase.PREDICT, 13),
        (Phase.PREDICT, Phase.CORRECT, 13),
    ]


def test_a_refused_move_waits_for_another_full_phase() -> None:
    moves = walk([(("too early", "too dear"), True, "")] * 14)
    assert [(m.accepted, m.reason) for m in moves[1:]] == [(False, "too early")] * 3
    assert [m.state.tried for m in moves[1:]] == [8, 11, 14]
    assert {m.state.since for m in moves[1:]} == {5}


def test_warm_up_is_not_left_by_a_recovery() -> None:
    assert decide(State(), Observation(2, recovery="spike"), LENGTHS) is None


def test_predict_without_an_outcome_is_a_fault() -> None:
    with pytest.raises(ValueError, match="outcome"):
        decide(State(Phase.PREDICT, 3, 3), Observation(3), LENGTHS)


GOOD = Situation(
    off="", lr=1.0, covered=100, window=90, since_alarm=None, left=500, correct=15, watched=True, confidence=0.9,
    min_confidence=0.6, max_steps=80.0, spent=1.0, expected=4.0, allowed=10.0,
)  # fmt: skip


def test_a_good_situation_has_no_veto() -> None:
    assert vetoes(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"off": "3 jumps brought nothing"}, "brought nothing"),
        ({"watched": False}, "dynamics.on"),
        ({"lr": 0.5}, "0.50 of its peak"),
        ({"left": 15}, "15 steps are left"),
        ({"covered": 89}, "89 of 90"),
        ({"since_alarm": 10}, "10 steps ago"),
        ({"confidence": None}, "no forecast"),
        ({"confidence": 0.5}, "0.50 that the loss falls"),
        ({"max_steps": 0.4}, "0.4 predicted steps"),
        ({"expected": 9.5}, "the cap allows"),
    ],
)
def test_each_veto_alone(change: dict[str, object], words: str) -> None:
    (reason,) = vetoes(replace(GOOD, **change))  # type: ignore[arg-type]
    assert words in reason
