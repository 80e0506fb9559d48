"""A model of ours under the lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

There is no tokenizer: a request's text is its UTF-8 bytes. Where the harness counts tokens, which is the length of an
answer only, a token stands for `BYTES_PER_TOKEN` bytes. Importing this module needs the extra `eval`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import neat
from neat.errors import DataError, UsageError
from neat.evaluate.likelihood import continuations
from neat.evaluate.load import Loaded
from neat.model.text.model import TextModel

try:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager
except ModuleNotFoundError as missing:
    raise UsageError(
        f"tasks of the lm-evaluation-harness need the extra eval: {missing.name} is not installed",
        hint="pip install 'neat[eval]'",
    ) from missing

BYTES_PER_TOKEN = 4
"""About the length of a token of English text; limits of tasks on answers are multiplied by it."""
MAX_ANSWER_TOKENS = 256
"""Where a task sets no limit."""
ROWS = 32
"""Answers written at once."""


class NeatLM(LM):  # type: ignore[misc]
    """What the harness asks: likelihoods of continuations and of whole texts, and answers.

    Args:
        model: What is asked.
    """

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self.model = model

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """(natural logarithm of the probability, whether greedy) of each continuation after its context."""
        found = continuations(self.model, [(_bytes(context), _bytes(text)) for context, text in _arguments(requests)])
        return [(one.nats, one.greedy) for one in found]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Natural logarithm of the probability of each text as a document of its own; no text is cut."""
        texts = [_bytes(text) for (text,) in _arguments(requests)]
        scored = iter(continuations(self.model, [(b"", text) for text in texts if text]))
        return [next(scored).nats if text else 0.0 for text in texts]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers, in the order of the requests. Each ends before the first of its stop texts."""
        asked = [(_bytes(context), _generation(settings)) for context, settings in _arguments(requests)]
        answers: dict[int, str] = {}
        for group in _alike([settings for _, settings in asked]):
            # Prompts of similar lengths are read together.
            group.sort(key=lambda number: len(asked[number][0]))
            for first in range(0, len(group), ROWS):
                some = group[first : first + ROWS]
                settings = dict(asked[some[0]][1])
                written = self.model.generate_batch([asked[number][0] for number in some], **settings)
                answers |= {number: text.decode(errors="replace") for number, text in zip(some, written, strict=True)}
        return [answers[number] for number in range(len(asked))]


Settings = tuple[tuple[str, Any], ...]


def _arguments(requests: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [request.args for request in requests]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _generation(asked: Mapping[str, Any]) -> Settings:
    """The harness' settings of an answer as those of `TextModel.generate_batch`: greedy unless `do_sample` is set."""
    until = asked.get("until") or []
    stop = tuple(_bytes(text) for text in ([until] if isinstance(until, str) else until) if text)
    lengths = (asked.get(name) for name in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"))
    tokens = next((length for length in lengths if length is not None), MAX_ANSWER_TOKENS)
    temperature = float(asked.get("temperature") or 0.0)
    if asked.get("do_sample") is False:
        temperature = 0.0
    elif asked.get("do_sample") and "temperature" not in asked:
        temperature = 1.0
    return (
        ("max_bytes", int(tokens) * BYTES_PER_TOKEN),
        ("seed", 0),
        ("stop", stop),
        ("temperature", temperature),
        ("top_k", int(asked.get("top_k") or 0)),
        ("top_p", float(asked.get("top_p") or 1.0)),
    )


def _alike(settings: Sequence[Settings]) -> list[list[int]]:
    """Numbers of requests with equal settings."""
    groups: dict[Settings, list[int]] = {}
    for number, one in enumerate(settings):
        groups.setdefault(one, []).append(number)
    return list(groups.values())


def run_harness(
    loaded: Loaded,
    names: Sequence[str],
    *,
    limit: int | None = None,
    shots: int | None = None,
    include: str | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Runs tasks of the harness.

    Args:
        loaded: What is asked.
        names: Tasks, groups or tags of the harness, or of YAML files in `include`.
        limit: Most documents of a task.
        shots: Examples before a question; None takes what the task says.
        include: Folder of YAML tasks of one's own.
        seed: Of the examples.
        tell: Is told what begins.

    Returns:
        `tasks` by name with the metrics of the harness, `items`, `shots`, `version` and `bits_per_byte` of the right
        answers; and `seed`, `limit`, `step`, `versions`.

    Raises:
        UsageError: There is no such task.
        DataError: The data of a task cannot be had.
    """
    manager = _manager(names, include)
    tell(f"lm-evaluation-harness {version('lm_eval')}: {', '.join(names)}")
    try:
        found = simple_evaluate(
            model=NeatLM(loaded.model),
            tasks=list(names),
            num_fewshot=shots,
            limit=limit,
            task_manager=manager,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except OSError as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"the data of {', '.join(names)} cannot be had: {reason}",
            hint="the first run fetches it from the network, later ones find it in the cache of `datasets`",
        ) from error
    versions = {"neat": neat.__version__, "lm_eval": version("lm_eval"), "datasets": version("datasets")}
    tasks = {name: _told(name, metrics, found) for name, metrics in found["results"].items()}
    return {"tasks": tasks, "seed": seed, "limit": limit, "step": loaded.step, "versions": versions}


def _manager(names: Sequence[str], include: str | None) -> Any:
    """What knows the tasks. The harness' own thousands of files are read only where a name is not in `include`."""
    if include is not None:
        manager = TaskManager(include_path=include, include_defaults=False)
        if set(names) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=include)
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown:
        raise UsageError(
            f"the lm-evaluation-harness has no task {unknown[0]}",
            hint="`lm-eval ls tasks` lists them; --include DIR adds YAML tasks; ours begin with neat:",
        )
    return manager


def _told(name: str, metrics: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, object]:
    """What stands in our report about one task."""
    told: dict[str, object] = {"items": found.get("n-samples", {}).get(name, {}).get("effective")}
    told["shots"] = found.get("n-shot", {}).get(name)
    told["version"] = found.get("versions", {}).get(name)
    for key, value in metrics.items():
        if "," in key:
            plain = isinstance(value, int | float) and math.isfinite(value)
            told[key.removesuffix(",none")] = value if plain else None
    cost = bits_per_byte(found.get("samples", {}).get(name, ()))
    if cost is not None:
        told.setdefault("bits_per_byte", cost)
    return told


def bits_per_byte(samples: Iterable[Mapping[str, Any]]) -> float | None:
    """Code length of the right answers over their bytes; None where no sample has a continuation that is known right.

    Args:
        samples: As the harness logs them, with `arguments` (context, continuation), `target` and `resps`.
    """
    bits, num_bytes = 0.0, 0
    for sample in samples:
        place = _right(sample)
        if place is None:
            continue
        (nats, _greedy), text = sample["resps"][place][0], sample["arguments"][place][1]
        bits -= nats / math.log(2)
        num_bytes += len(_bytes(text))
    return bits / num_bytes if num_bytes else None


def _right(sample: Mapping[str, Any]) -> int | None:
    """Which of the requests of a sample has the right answer as its continuation."""
    arguments, target = sample["arguments"], sample["target"]
    if not all(len(one) == 2 and isinstance(one[1], str) for one in arguments):
        return None
    if len(arguments) == 1:
        return 0
    if isinstance(target, int) and not isinstance(target, bool):
        return target if 0 <= target < len(arguments) else None
    texts = [continuation.strip() for _, continuation in arguments]
    return texts.index(str(target).strip()) if str(target).strip() in texts else None
