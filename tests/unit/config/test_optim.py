"""Settings of the optimizer that contradict each other are refused with a way out."""

from __future__ import annotations

import re

import pytest

from neat.config import load
from neat.errors import ConfigError

ALONE = ("predict.micro=false", "predict.jumps=off")
FREE = ("optim.name=schedule_free", "optim.schedule=constant", "optim.ema_decay=0", *ALONE)
GPA = ("optim.name=gpa", "optim.ema_decay=0", *ALONE)


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("optim.name=mugrokfast",), r"optim.grokfast_lambda is 0.*\n.*set optim.grokfast_lambda=0.02"),
        (("optim.grokfast_lambda=0.1",), r"makes Muon MuGrokfast\n.*set optim.name=mugrokfast"),
        ((*FREE, "optim.schedule=wsd"), r'optim.schedule is "wsd".*\n.*set optim.schedule="constant"'),
        (("optim.name=gpa", *ALONE), r"optim.ema_decay is set.*\n.*set optim.ema_decay=0"),
        ((*FREE, "optim.beta1=0"), r"optim.beta1 is 0.*\n.*set optim.beta1=0.9"),
        ((*FREE, "optim.outer=snoo"), r'optim.outer is "snoo".*\n.*set optim.outer="off"'),
        ((*GPA, "predict.micro=true"), r"predict.micro does not fit.*averages.*\n.*set predict.micro=false"),
        ((*GPA, "predict.jumps=literal"), r"predict.jumps is .literal. and does not fit.*\n.*set predict.jumps=off"),
        ((*GPA, "optim.grokfast_lambda=0.1"), r"does not go with optim.name=.gpa.*\n.*set optim.grokfast_lambda=0"),
        (('optim.lr_scale=[["memori", 1.0]]',), r"names memori, .*\n.*did you mean memory\?"),
        (('optim.lr_scale=[["xyz", 1.0]]',), r"names xyz, .*\n.*parts: embedding, local"),
        (('optim.lr_scale=[["head", -1.0]]',), r"has -1 for head"),
        (('optim.lr_scale=[["head", 1.0], ["head", 2.0]]',), "says twice what head"),
        (('optim.lr_scale=[["latent", 1.0], ["attention", 2.0]]',), "says twice what attention"),
    ],
)  # fmt: skip
def test_contradictions(overrides: tuple[str, ...], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("tiny", overrides)
    problems = "\n".join(f"{problem.message}\n{problem.hint}" for problem in caught.value.problems)
    assert re.search(what, problems), problems


@pytest.mark.parametrize("overrides", [FREE, GPA, ("optim.name=mugrokfast", "optim.grokfast_lambda=0.02")])
def test_what_fits(overrides: tuple[str, ...]) -> None:
    assert load("tiny", overrides).config.optim.name in overrides[0]


def test_a_name_for_several_kinds() -> None:
    optim = load("tiny", ['optim.lr_scale=[["latent", 0.5], ["memory", 2]]']).config.optim
    assert [optim.lr_factor(kind) for kind in ("attention", "vectors", "memory", "head")] == [0.5, 0.5, 2.0, 1.0]
