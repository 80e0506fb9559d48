"""The model card: what an export is, in the form that the Hub reads.

Every figure is one of `Facts`, and so comes from the checkpoint or from events; one that was not measured says so.
The head is YAML as in https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from neat.config.schema import Config
from neat.errors import HubError
from neat.hub.facts import Evaluation, Facts
from neat.hub.public import command_line, dataset_ids, source_name

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

NOT_MEASURED = "not measured"
METRIC, YARDSTICK = "bits_per_byte", "bits_per_byte_ngram"


def write_card(facts: Facts, config: Config, *, license: str = "", repo: str = "", has_plot: bool = False) -> str:  # noqa: A002
    """The text of README.md, checked.

    Args:
        facts: The figures.
        config: The configuration the model was trained with.
        license: Identifier of the licence; empty where none was chosen, and the card says so.
        repo: OWNER/NAME, where it is known.
        has_plot: Whether `loss.svg` lies beside the card.

    Raises:
        HubError: The Hub's own reader does not get the same figures out of it.
    """
    from huggingface_hub import ModelCardData

    evaluation = facts.evaluation
    head = ModelCardData(
        license=license or None,
        library_name="neat",
        pipeline_tag="text-generation",
        tags=["neat", "byte-level", "safetensors"],
        datasets=dataset_ids(config.data.sources) or None,
        model_name=facts.name,
        eval_results=_results(evaluation, config) if evaluation is not None else None,
    )
    text = f"---\n{head.to_yaml()}\n---\n\n" + "\n".join(_body(facts, config, license, repo, has_plot)) + "\n"
    check_card(text, evaluation)
    return text


def check_card(text: str, evaluation: Evaluation | None) -> None:
    """Reads the card back with the Hub's own reader and compares its figures.

    Raises:
        HubError: They differ, or the head cannot be read.
    """
    from huggingface_hub import ModelCard, ModelCardData

    try:
        data = ModelCard(text).data
        results = (data.eval_results or []) if isinstance(data, ModelCardData) else []
    except (ValueError, KeyError, TypeError) as error:
        raise HubError(f"the model card cannot be read back: {error}") from error
    found = {result.metric_type: result.metric_value for result in results}
    expected = {} if evaluation is None else {METRIC: evaluation.bpb, YARDSTICK: evaluation.ngram_bpb}
    if found != expected:
        raise HubError(f"the model card says {found}, the events say {expected}")


def _results(evaluation: Evaluation, config: Config) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    held_out = list(map(source_name, config.data.validation))
    dataset = next(iter(dataset_ids(config.data.validation)), "held-out")
    name = ", ".join(held_out) or "held-out share of the training text"
    ngram = f"bits per byte of an n-gram model, order {config.ngram.order}"
    rows = ((METRIC, "bits per byte", evaluation.bpb), (YARDSTICK, ngram, evaluation.ngram_bpb))
    return [
        EvalResult("text-generation", dataset, name, metric_type=kind, metric_name=words, metric_value=value)
        for kind, words, value in rows
    ]


def _body(facts: Facts, config: Config, license_id: str, repo: str, has_plot: bool) -> Iterator[str]:
    yield from (f"# {facts.name}", "")
    yield f"A byte-level language model of {facts.parameters:,} parameters, trained with NEAT. It reads and writes"
    yield "bytes, without a tokenizer; the n-gram model in `entropy_model.bin` places its patches and is part of it."
    yield from ("", "## Results", "", *_table(_result_rows(facts)), "")
    if has_plot:
        yield from ("![bits per byte while training](loss.svg)", "")
    yield from ("## Use", "", *_usage(facts, repo), "")
    yield from ("## Data", "", *_data(config), "")
    yield from ("## Training", "", *_table(_training_rows(facts, config)), "")
    yield "Command, with the names of files in place of their paths; `train_config.toml` has every setting:"
    yield from ("", "```text", command_line(facts.command) or NOT_MEASURED, "```", "")
    yield from ("## Limits", "", *_limits(facts, config), "")
    yield from ("## Licence", "", license_id or "No licence was chosen: ask the author before you use the weights.")


def _result_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    evaluation = facts.evaluation
    measured = f" (step {evaluation.step:,})" if evaluation is not None and evaluation.step != facts.step else ""
    yield "figure", "value"
    yield f"bits per byte, held-out text{measured}", _fixed(None if evaluation is None else evaluation.bpb)
    yield (
        "bits per byte of the n-gram model on the same text",
        _fixed(None if evaluation is None else evaluation.ngram_bpb),
    )
    size = None if evaluation is None else f"{evaluation.num_bytes:,} bytes in {evaluation.num_documents:,} documents"
    yield "size of that text", size or NOT_MEASURED
    yield "bits per byte, last reported step of training", _fixed(facts.train_bpb)


def _training_rows(facts: Facts, config: Config) -> Iterator[tuple[str, str]]:
    yield "figure", "value"
    yield "steps", f"{facts.step:,} of {facts.total_steps:,}"
    yield "bytes trained on", f"{facts.bytes_seen:,}"
    yield "window", f"{config.train.window:,} bytes"
    yield "backward passes", _count(facts.backward_passes)
    yield "time", NOT_MEASURED if facts.training_s is None else _duration(facts.training_s)
    yield "device", ", ".join(facts.gpus) or facts.device or NOT_MEASURED
    yield "CPU cores of the machine", _count(facts.cores)
    yield "energy of the GPUs", NOT_MEASURED if facts.energy_kwh is None else f"{facts.energy_kwh:.4g} kWh"
    yield "versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items()) or NOT_MEASURED
    yield "configuration", f"`{facts.config_hash[:16]}`"
    yield "run", f"`{facts.run_id}`"


def _usage(facts: Facts, repo: str) -> Iterator[str]:
    where = repo or "PATH_OR_REPOSITORY"
    yield from ("```python", "import neat", "", f'model = neat.from_pretrained("{where}")')
    yield from ('for piece in model.generate(b"The "):', '    print(piece.decode(errors="replace"), end="")', "```", "")
    yield from ("```bash", f"neat-generate {'hf:' + repo if repo else where} --prompt 'The '", "```", "")
    yield f"The revision `step-{facts.step:08d}` names these weights, where the repository has that tag."


def _data(config: Config) -> Iterator[str]:
    weights = config.data.weights or (None,) * len(config.data.sources)
    for source, weight in zip(config.data.sources, weights, strict=True):
        yield f"- `{source_name(source)}`" + ("" if weight is None else f", weight {weight:g}")
    held_out = ", ".join(f"`{source_name(source)}`" for source in config.data.validation)
    share = f"{config.data.validation_share:.2%} of the documents" if config.data.validation_share else "none"
    yield f"- held out: {held_out or share}"


def _limits(facts: Facts, config: Config) -> Iterator[str]:
    yield "- It continues text. It was not trained to follow instructions, and nothing filters what it writes."
    yield "- What it knows comes from the text above; other languages and subjects were " + NOT_MEASURED + "."
    evaluation = facts.evaluation
    if evaluation is not None and evaluation.bpb >= evaluation.ngram_bpb:
        yield "- On the held-out text it is no better than the n-gram model that places its patches."
    if facts.step < facts.total_steps:
        yield f"- Training had not ended: these are the weights of step {facts.step:,} of {facts.total_steps:,}."
    if not config.network.window:
        yield f"- Attention spans {config.train.window:,} bytes; longer texts are read in overlapping windows."


def _table(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    head, *others = rows
    yield "| {} | {} |".format(*head)
    yield "|---|---|"
    yield from ("| {} | {} |".format(*row) for row in others)


def _fixed(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,}"


def _duration(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours:.0f} h {minutes:.0f} min" if hours else f"{minutes:.0f} min {last:.0f} s"
