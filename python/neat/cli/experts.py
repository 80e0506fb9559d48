"""The options of `neat generate` that choose expert vectors."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from neat.errors import UsageError

if TYPE_CHECKING:
    from neat.evaluate.dispatch import Choice
    from neat.model.text.model import TextModel

WAYS = ("prompt", "classifier", "fewshot")


def add_expert_options(parser: argparse.ArgumentParser) -> None:
    """`--expert`, `--dispatch` and `--examples`."""
    parser.add_argument(
        "--expert",
        metavar="NAME|FILE[=WEIGHT],…",
        default="",
        help="write with this expert or mixture; with --dispatch, choose among these only",
    )
    parser.add_argument(
        "--dispatch",
        choices=WAYS,
        help="read the prompt first and choose: by the model's own judgement, the trained classifier or examples",
    )
    parser.add_argument(
        "--examples", metavar="FILE", help="questions with answers (.jsonl) that --dispatch fewshot chooses by"
    )


def check_expert_options(arguments: argparse.Namespace) -> None:
    """Raises `UsageError` for options that do not go together."""
    if (arguments.dispatch == "fewshot") != (arguments.examples is not None):
        raise UsageError(
            "--examples and --dispatch fewshot go together", hint="--dispatch fewshot --examples FILE.jsonl"
        )
    for item in _items(arguments.expert):
        _, weight = _parse(item)
        if arguments.dispatch and weight is not None:
            raise UsageError(f"--expert {item} gives a weight, and --dispatch chooses the weights")


def adapted(model: TextModel, arguments: argparse.Namespace, prompt: bytes) -> tuple[TextModel, Choice | None]:
    """The model that answers, and what the first pass over the prompt chose; None without one."""
    named = _named(model, arguments.expert)
    if arguments.dispatch is None:
        return model.with_experts({name: 1.0 if weight is None else weight for name, weight in named.items()}), None
    from neat.evaluate.dispatch import TwoPass, by_classifier, by_prompt

    names = list(named) or model.expert_names
    if arguments.dispatch == "fewshot":
        choice = _by_examples(model, arguments, names)
        return model.with_experts(choice.weights), choice
    two = TwoPass(model, by_prompt(model, names) if arguments.dispatch == "prompt" else by_classifier(model))
    choice = two.first(prompt)
    return two.second(choice), choice


def figures(choice: Choice | None, second_s: float) -> dict[str, object]:
    """What is told about the passes after the text was written."""
    if choice is None:
        return {}
    from neat.evaluate.dispatch import report

    told = report(choice, second_s)
    return {
        "experts": ", ".join(f"{name}={weight:.4g}" for name, weight in choice.weights.items()) or "none",
        "svf/dispatch_entropy": round(choice.entropy, 6),
        "passes": told.passes,
        "first_pass_share": round(told.first_share, 4),
    }


def _by_examples(model: TextModel, arguments: argparse.Namespace, names: list[str]) -> Choice:
    from neat.data.questions import read_questions
    from neat.evaluate.dispatch import by_examples
    from neat.train.checkpoint import find
    from neat.train.loading import read_config

    config = read_config(find(arguments.path))
    stop = os.fsencode(arguments.stop[0]) if arguments.stop else config.expert.stop.encode()
    examples = read_questions([arguments.examples], config)
    longest = max(len(example.answer) for example in examples) + len(stop)
    return by_examples(model, names, examples, stop=stop, max_answer_bytes=longest, seed=arguments.seed or 0)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parse(item: str) -> tuple[str, float | None]:
    """Name or path, and the weight where one is given."""
    name, equals, text = item.rpartition("=")
    if not equals:
        return item, None
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not name or not math.isfinite(weight):
        raise UsageError(f"--expert {item} is not NAME or NAME=WEIGHT", hint="--expert math=0.7,code=0.3")
    return name, weight


def _named(model: TextModel, text: str) -> dict[str, float | None]:
    """The experts of the option by name, those of files added to the model."""
    found: dict[str, float | None] = {}
    for item in _items(text):
        name, weight = _parse(item)
        if name.endswith(".safetensors") or Path(name).is_file():
            name = model.add_expert(name)
        model.require_expert(name)
        found[name] = weight
    return found
