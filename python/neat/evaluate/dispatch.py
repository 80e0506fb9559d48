"""Two passes over a prompt: the base reads it and a mixture of experts is chosen, then the mixture answers.

Transformer² (arXiv 2501.06252, section 3.3). K experts. What the first pass has put into caches or memory belongs to
the base weights and is dropped; the second pass runs in a network of its own that shares the weights, so the base is
never changed. A choice is remembered by the prompt's hash.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import xxhash
from torch import Tensor

from neat.data.questions import Question
from neat.errors import UsageError
from neat.evaluate.cem import ROUNDS, maximise
from neat.model.experts.answers import answer_log_probs, answer_rows, require_room, write_answers
from neat.model.experts.files import load_dispatcher
from neat.model.experts.prompts import prompt_vectors
from neat.model.experts.vectors import mixed
from neat.model.text.model import TextModel

TEMPLATE = b"\nWhat kind of task is this? It is: "
OTHER = "other"
"""The answer that stands for none of the experts: the base alone."""
ROWS_PER_PASS = 512
"""Rows in one forward pass of a search for a mixture."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a first pass decided.

    Attributes:
        weights: Weight of each expert by name; the base has what is left to 1.
        entropy: Of the distribution behind the decision, in nats; 0 for a search, which has none.
        seconds: Time of the first pass.
        remembered: Whether it was read from the cache.
    """

    weights: dict[str, float]
    entropy: float
    seconds: float = 0.0
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What two passes took.

    Attributes:
        choice: Of the first pass.
        passes: Passes over the prompt: 2, or 1 when the choice was remembered.
        first_share: Share of the first pass in the time of both.
    """

    choice: Choice
    passes: int
    first_share: float


class TwoPass:
    """Generation with a mixture chosen for each prompt.

    Args:
        model: The base with its experts.
        choose: The first pass: prompt -> choice.
        capacity: Choices remembered, the oldest forgotten first.

    Attributes:
        hits: Prompts whose choice was remembered.
        report: Of the last finished generation.
    """

    def __init__(self, model: TextModel, choose: Callable[[bytes], Choice], capacity: int = 64) -> None:
        self.model, self._choose, self._capacity = model, choose, capacity
        self._choices: OrderedDict[bytes, Choice] = OrderedDict()
        self.hits = 0
        self.report: Report | None = None

    def first(self, prompt: bytes) -> Choice:
        """Reads the prompt with the base weights and chooses a mixture, or remembers the choice."""
        start, key = time.perf_counter(), xxhash.xxh3_128_digest(prompt)
        if key in self._choices:
            self.hits += 1
            self._choices.move_to_end(key)
            return replace(self._choices[key], seconds=time.perf_counter() - start, remembered=True)
        choice = self._choose(prompt)
        self._choices[key] = choice
        if len(self._choices) > self._capacity:
            self._choices.popitem(last=False)
        return replace(choice, seconds=time.perf_counter() - start)

    def second(self, choice: Choice) -> TextModel:
        """The model that answers: a network of its own, with empty caches and memory."""
        return self.model.with_experts(choice.weights)

    def generate(
        self,
        prompt: bytes = b"",
        *,
        max_bytes: int = 400,
        seed: int = 0,
        temperature: float = 0.8,
        top_p: float = 0.95,
        stop: Sequence[bytes] = (),
    ) -> Iterator[bytes]:
        """Like `TextModel.generate`, in two passes; `report` tells about them afterwards."""
        choice = self.first(prompt)
        start = time.perf_counter()
        pieces = self.second(choice).generate(
            prompt, max_bytes=max_bytes, seed=seed, temperature=temperature, top_p=top_p, stop=stop
        )
        yield from pieces
        self.report = report(choice, time.perf_counter() - start)


def report(choice: Choice, second_s: float) -> Report:
    """What both passes took together."""
    total = choice.seconds + second_s
    return Report(choice, 1 if choice.remembered else 2, choice.seconds / total if total else 0.0)


def by_prompt(model: TextModel, names: Sequence[str]) -> Callable[[bytes], Choice]:
    """The model classifies its own input: the likeliest name after a question, or none of them.

    Each name, and `other`, is scored by the log-likelihood of the name and a line end after the prompt and `TEMPLATE`;
    the likeliest takes the whole weight. It works as far as the base has read such texts.
    """
    _require_names(names)
    candidates = [*names, OTHER]

    def choose(prompt: bytes) -> Choice:
        endings = [name.encode() + b"\n" for name in candidates]
        room = max(0, model.window - len(TEMPLATE) - max(map(len, endings)))
        asked = prompt[len(prompt) - min(room, len(prompt)) :] + TEMPLATE
        tables = model.log_probs([asked + ending for ending in endings])
        scores = torch.stack(
            [_log_prob(table[len(asked) :], ending) for table, ending in zip(tables, endings, strict=True)]
        )
        name = candidates[int(scores.argmax())]
        return Choice({} if name == OTHER else {name: 1.0}, entropy(torch.softmax(scores, 0)))

    return choose


def _log_prob(table: Tensor, text: bytes) -> Tensor:
    return table[torch.arange(len(text)), torch.tensor(list(text))].double().sum()


def by_classifier(model: TextModel) -> Callable[[bytes], Choice]:
    """The trained dispatcher mixes the experts by their probabilities, which add up to one.

    Raises:
        UsageError: No dispatcher was trained for this model, or an expert it chooses among is missing.
    """
    if model.dispatcher is None:
        raise UsageError("the model has no dispatcher", hint='train one: --set train.mode=dispatcher, or use "prompt"')
    names = load_dispatcher(model.network, model.dispatcher)
    for name in names:
        model.require_expert(name)

    def choose(prompt: bytes) -> Choice:
        experts = model.network.experts
        assert experts is not None
        with torch.no_grad():
            scores = experts.dispatcher(prompt_vectors(model, [prompt])[0])
        shares = torch.softmax(scores.double().cpu(), 0)
        return Choice(dict(zip(names, shares.tolist(), strict=True)), entropy(shares))

    return choose


def by_examples(
    model: TextModel,
    names: Sequence[str],
    examples: Sequence[Question],
    *,
    stop: bytes,
    max_answer_bytes: int,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Choice:
    """The mixture that answers the most examples, found by the cross-entropy method; equals by log-likelihood.

    Args:
        model: The base with its experts.
        names: Experts to mix.
        examples: Questions with answers.
        stop: What ends an answer.
        max_answer_bytes: Longest answer, the ending included.
        rounds: Most rounds of the search.
        seed: Of the search.
    """
    _require_names(names)
    if not examples:
        raise UsageError("there are no examples to choose by")
    start = time.perf_counter()
    score = ExampleScore(model, names, examples, stop=stop, max_answer_bytes=max_answer_bytes)
    found = maximise(score, len(names), rounds=rounds, seed=seed)
    weights = dict(zip(names, found.weights.tolist(), strict=True))
    return Choice(weights, 0.0, time.perf_counter() - start)


class ExampleScore:
    """Accuracy of mixtures on examples, and log-likelihood of the right answers, all mixtures in one batch."""

    def __init__(
        self,
        model: TextModel,
        names: Sequence[str],
        examples: Sequence[Question],
        *,
        stop: bytes,
        max_answer_bytes: int,
    ) -> None:
        require_room(model, [example.prompt for example in examples], max_answer_bytes)
        for name in names:
            model.require_expert(name)
        experts = model.network.experts
        assert experts is not None
        self._model, self._examples, self._stop, self._max = model, list(examples), stop, max_answer_bytes
        self._vectors = torch.stack([experts.mixture({name: 1.0}) for name in names])

    def __call__(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Accuracy and mean log-likelihood in nats of each candidate: [P, K] -> [P], [P]."""
        per_pass = max(1, ROWS_PER_PASS // len(self._examples))
        parts = [self._score(some) for some in torch.split(candidates, per_pass)]
        return torch.cat([right for right, _ in parts]), torch.cat([likely for _, likely in parts])

    @torch.no_grad()
    def _score(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        num, examples = len(candidates), self._examples * len(candidates)
        offsets = (candidates.to(self._vectors) @ self._vectors).repeat_interleave(len(self._examples), 0)
        network = mixed(self._model.network, offsets)
        prompts = [example.prompt for example in examples]
        written = write_answers(self._model, network, prompts, max_bytes=self._max, stop=self._stop, temperature=0.0)
        right = [one.answer == example.answer for one, example in zip(written, examples, strict=True)]
        documents = [example.prompt + example.answer + self._stop for example in examples]
        batch = answer_rows(self._model, documents, [len(prompt) for prompt in prompts])
        likely = answer_log_probs(network(batch), batch.targets).cpu()
        return torch.tensor(right).float().view(num, -1).mean(1), likely.view(num, -1).mean(1)


def entropy(shares: Tensor) -> float:
    """Entropy of a distribution in nats, the metric `svf/dispatch_entropy`."""
    return float(torch.special.entr(shares.double()).sum())


def _require_names(names: Sequence[str]) -> None:
    if not names:
        raise UsageError(
            "the model has no experts to choose among", hint="train one: --set train.mode=expert, or name files"
        )
    if OTHER in names:
        raise UsageError(f"an expert is called {OTHER}, which stands for the base", hint="train it under another name")
