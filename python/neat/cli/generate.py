"""Write text with a trained model: one text, a dialogue, or an answer to every row of a file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli.arguments import add_device_option, add_json_option, print_json, readable, say
from neat.cli.experts import adapted, add_expert_options, check_expert_options, figures
from neat.cli.pictures import Pictures, add_picture_options, painter, with_images
from neat.cli.screen import Screen
from neat.errors import UsageError

if TYPE_CHECKING:
    from neat.model.text.model import TextModel
    from neat.model.text.state import State


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat generate`."""
    parser.add_argument("path", type=Path, metavar="RUN", help="run directory or one checkpoint of it")
    parser.add_argument("--prompt", metavar="TEXT", help="text to go on from (default: none)")
    _add_sampling_options(parser)
    parser.add_argument("--load-state", type=Path, metavar="FILE", help="go on where --save-state ended")
    parser.add_argument("--save-state", type=Path, metavar="FILE", help="keep what was read and written, images too")
    parser.add_argument(
        "--trace", action="store_true", help="show what each byte cost: coloured on a terminal, else as JSON lines"
    )
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="answer line after line, with commands (/help); also taken on a terminal where no --prompt is given",
    )
    parser.add_argument(
        "--chat", action="store_true", help='frame lines as "User:" and "Assistant:", for models trained on such text'
    )
    _add_batch_options(parser)
    add_expert_options(parser)
    add_picture_options(parser)
    add_device_option(parser)
    add_json_option(parser)


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-bytes", type=int, default=400, metavar="N", help="most bytes to write (%(default)s)")
    parser.add_argument("--seed", type=int, metavar="S", help="seed of the choices (0; of a loaded state: its own)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0: likeliest byte (%(default)s)")
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="share of the probability chosen from (%(default)s)"
    )
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="most bytes chosen from; 0: no limit (%(default)s)"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be repeated"
    )


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many prompts at once")
    group.add_argument("--input", type=Path, metavar="FILE", help="JSON lines with a prompt each; needs --output")
    group.add_argument(
        "--output", type=Path, metavar="FILE", help="where the rows go with their answers; the same command goes on"
    )
    group.add_argument("--prompt-field", default="prompt", metavar="NAME", help="field of the prompt (%(default)s)")
    group.add_argument(
        "--id-field", default="id", metavar="NAME", help="field that tells rows apart; else the line (%(default)s)"
    )
    group.add_argument("--answer-field", default="answer", metavar="NAME", help="field of the answer (%(default)s)")
    group.add_argument(
        "--on-bad-row", choices=("stop", "skip"), default="stop", help="what a damaged row does (%(default)s)"
    )
    group.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="rows at once; changes no answer (%(default)s)"
    )
    group.add_argument(
        "--precision",
        choices=("float64", "float32"),
        default="float64",
        help="float32 is faster; its rounding may tip a choice when other rows stand beside it (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes one text, answers a file, or answers a person."""
    if arguments.seed is None and arguments.load_state is None:
        arguments.seed = 0
    _check(arguments)
    if arguments.input is not None:
        return _batch(arguments)
    nothing_asked = arguments.prompt is None and not arguments.json and not arguments.trace
    if arguments.interactive or arguments.chat or (nothing_asked and sys.stdin.isatty() and sys.stdout.isatty()):
        return _interactive(arguments)
    return _one(arguments)


def _one(arguments: argparse.Namespace) -> int:
    """Streams to stdout, then says how repetitive the text is on stderr."""
    from neat.evaluate.load import load  # torch
    from neat.train.quality import degeneracy

    prompt = os.fsencode(arguments.prompt or "")
    model, choice = adapted(load(arguments.path, device=arguments.device), arguments, prompt)
    state = _state(model, arguments) or model.new_state()
    start = time.perf_counter()
    pictures = _pictures(model, arguments, state)
    pieces = _pieces(model, prompt, arguments, pictures, state)
    quiet = arguments.json or arguments.trace
    text = b"".join(pieces) if quiet else Screen().stream(pieces)
    if sys.stdout.isatty() and not quiet:
        print()
    if arguments.save_state is not None:
        state.save(arguments.save_state)
    told: dict[str, object] = {"bytes": len(text)} | degeneracy(text) | figures(choice, time.perf_counter() - start)
    if arguments.trace:
        from neat.cli.trace import print_trace, trace

        print_trace(trace(model, prompt, text), colours=sys.stdout.isatty() and not arguments.json)
    elif arguments.json:
        spoken = {"prompt": prompt.decode(errors="replace"), "text": text.decode(errors="replace")}
        drawn = {} if pictures is None else {"images": pictures.drawn}
        print_json(spoken | {"seed": arguments.seed} | drawn | told)
        return 0
    say(", ".join(f"{name} {readable(value)}" for name, value in told.items()))
    return 0


def _interactive(arguments: argparse.Namespace) -> int:
    """Answers lines until the input ends."""
    from neat.cli.conversation import Conversation, Settings
    from neat.cli.repl import Repl
    from neat.evaluate.load import load  # torch

    model, _ = adapted(load(arguments.path, device=arguments.device), arguments, b"")
    state = _state(model, arguments)
    if state is not None and arguments.seed is not None:
        state.seed(arguments.seed)
    settings = Settings(
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k,
        max_bytes=arguments.max_bytes,
        stop=tuple(map(os.fsencode, arguments.stop)),
        seed=arguments.seed or 0,
    )
    pictures = _pictures(model, arguments, state)
    conversation = Conversation(model, settings, chat=arguments.chat, pictures=pictures, state=state)
    Repl(conversation).run(None if arguments.prompt is None else os.fsencode(arguments.prompt))
    if arguments.save_state is not None:
        conversation.state.save(arguments.save_state)
    return 0


def _batch(arguments: argparse.Namespace) -> int:
    """Answers the rows of a file."""
    from neat.cli.batch import run_batch
    from neat.evaluate.load import load  # torch

    model, _ = adapted(load(arguments.path, device=arguments.device), arguments, b"")
    start = time.perf_counter()
    told = run_batch(model, arguments)
    told["seconds"] = round(time.perf_counter() - start, 2)
    if arguments.json:
        print_json(told)
    else:
        say(", ".join(f"{name} {readable(value)}" for name, value in told.items()))
    return 0


def _state(model: TextModel, arguments: argparse.Namespace) -> State | None:
    """The text of `--load-state`."""
    return None if arguments.load_state is None else model.load_state(arguments.load_state, rows=1)


def _pictures(model: TextModel, arguments: argparse.Namespace, state: State | None) -> Pictures | None:
    """What becomes of images; None for a model that has none."""
    vision = model.network.vision
    if vision is not None:
        before = 0 if state is None else state.written[0].images
        paint = None if arguments.json else painter(arguments.show)
        return Pictures(vision, arguments.images, before, paint)
    if arguments.image or arguments.images:
        raise UsageError("this model reads and writes no images", hint="train one with vision.on=true")
    return None


def _pieces(
    model: TextModel, prompt: bytes, arguments: argparse.Namespace, pictures: Pictures | None, state: State
) -> Iterable[bytes]:
    """The text piece by piece, with a mark for each image."""
    from neat.model.images.interleaved import write_interleaved

    choice = {
        "max_bytes": arguments.max_bytes,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "top_p": arguments.top_p,
        "top_k": arguments.top_k,
        "stop": [os.fsencode(text) for text in arguments.stop],
    }
    if pictures is None or arguments.trace:
        return model.generate(prompt, state=state, **choice)
    document = with_images(prompt, arguments.image, pictures.vision)
    return pictures.marked(write_interleaved(model, document, state=state, **choice))


def _check(arguments: argparse.Namespace) -> None:
    if arguments.max_bytes < 1:
        raise UsageError(f"--max-bytes {arguments.max_bytes} is not a positive number")
    if not 0.0 <= arguments.temperature < float("inf"):
        raise UsageError(f"--temperature {arguments.temperature} is not 0 or more")
    if not 0.0 < arguments.top_p <= 1.0:
        raise UsageError(f"--top-p {arguments.top_p} is not between 0 and 1")
    if arguments.top_k < 0:
        raise UsageError(f"--top-k {arguments.top_k} is not 0 or more")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise UsageError(f"--seed {arguments.seed} is not between 0 and 2^63 - 1")
    if not all(arguments.stop):
        raise UsageError("--stop is empty")
    if arguments.batch_size < 1:
        raise UsageError(f"--batch-size {arguments.batch_size} is not a positive number")
    check_expert_options(arguments)
    _check_ways(arguments)


def _check_ways(arguments: argparse.Namespace) -> None:
    """Refuses options that belong to different ways of use."""
    if (arguments.input is None) != (arguments.output is None):
        raise UsageError("--input and --output go together", hint="--input prompts.jsonl --output answers.jsonl")
    given = {
        "--input": arguments.input is not None,
        "--interactive": arguments.interactive,
        "--trace": arguments.trace,
        "--prompt": arguments.prompt is not None,
        "--image": bool(arguments.image),
        "--images": arguments.images is not None,
        "--load-state": arguments.load_state is not None,
        "--save-state": arguments.save_state is not None,
        "--json": arguments.json,
        # What a prompt's first pass chooses holds for that prompt only.
        f"--dispatch {arguments.dispatch}": arguments.dispatch in ("prompt", "classifier"),
    }
    apart = {
        "--input": set(given) - {"--input", "--json"},
        "--interactive": {"--trace", "--json", "--image", f"--dispatch {arguments.dispatch}"},
        "--trace": {"--load-state", "--image", "--images"},
    }
    for name, others in apart.items():
        clash = next((other for other in others if given[name] and given[other]), None)
        if clash is not None:
            raise UsageError(f"{name} and {clash} do not go together")
    if arguments.chat and not arguments.interactive and (arguments.prompt is not None or arguments.input is not None):
        raise UsageError("--chat is for --interactive", hint='write "User: ...\\nAssistant:" into the prompt')
