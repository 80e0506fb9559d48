"""Write text with a trained model; it appears as it is written."""

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
from neat.cli.pictures import Pictures, add_picture_options, with_images
from neat.errors import UsageError

if TYPE_CHECKING:
    from neat.model.text.model import TextModel
    from neat.model.text.state import State


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat generate`."""
    parser.add_argument("path", type=Path, metavar="RUN", help="run directory or one checkpoint of it")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="text to go on from (default: none)")
    parser.add_argument("--max-bytes", type=int, default=400, metavar="N", help="most bytes to write (%(default)s)")
    parser.add_argument("--seed", type=int, metavar="S", help="seed of the choices (0; of a loaded state: its own)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0: likeliest byte (%(default)s)")
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="share of the probability chosen from (%(default)s)"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be repeated"
    )
    parser.add_argument("--load-state", type=Path, metavar="FILE", help="go on where --save-state ended")
    parser.add_argument("--save-state", type=Path, metavar="FILE", help="keep what was read and written, images too")
    add_expert_options(parser)
    add_picture_options(parser)
    add_device_option(parser)
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Streams to stdout, then says how repetitive the text is on stderr."""
    if arguments.seed is None and arguments.load_state is None:
        arguments.seed = 0
    _check(arguments)
    from neat.evaluate.load import load  # torch
    from neat.train.quality import degeneracy

    prompt = os.fsencode(arguments.prompt)
    model, choice = adapted(load(arguments.path, device=arguments.device), arguments, prompt)
    loads = arguments.load_state is not None
    state = model.load_state(arguments.load_state, rows=1) if loads else model.new_state()
    start = time.perf_counter()
    pictures = _pictures(model, arguments, state)
    pieces = _pieces(model, prompt, arguments, pictures, state)
    text = b"".join(pieces) if arguments.json else _stream(pieces)
    if arguments.save_state is not None:
        state.save(arguments.save_state)
    told: dict[str, object] = {"bytes": len(text)} | degeneracy(text) | figures(choice, time.perf_counter() - start)
    if arguments.json:
        spoken = {"prompt": prompt.decode(errors="replace"), "text": text.decode(errors="replace")}
        drawn = {} if pictures is None else {"images": pictures.drawn}
        print_json(spoken | {"seed": arguments.seed} | drawn | told)
    else:
        say(", ".join(f"{name} {readable(value)}" for name, value in told.items()))
    return 0


def _pictures(model: TextModel, arguments: argparse.Namespace, state: State) -> Pictures | None:
    """What becomes of images; None for a model that has none."""
    vision = model.network.vision
    if vision is not None:
        return Pictures(vision, arguments.images, state.written[0].images)
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
        "stop": [os.fsencode(text) for text in arguments.stop],
    }
    if pictures is None:
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
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise UsageError(f"--seed {arguments.seed} is not between 0 and 2^63 - 1")
    if not all(arguments.stop):
        raise UsageError("--stop is empty")
    check_expert_options(arguments)


def _stream(pieces: Iterable[bytes]) -> bytes:
    """Writes each piece to stdout as it comes; returns all of them."""
    text = bytearray()
    for piece in pieces:
        text += piece
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    if sys.stdout.isatty():
        print()
    return bytes(text)
