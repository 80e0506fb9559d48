"""The images of `neat generate`: PNG files named in the prompt, and files for what is drawn.

In a prompt U+FFFC (OBJECT REPLACEMENT CHARACTER) stands for an image, as in the rows of training text.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli.terminal import KINDS, detect, shown
from neat.errors import DataError, UsageError

if TYPE_CHECKING:
    from neat.data.png import Pixels
    from neat.model.images.grammar import Image
    from neat.model.images.parts import ImageParts
    from neat.model.text.document import Document

MARK = "\ufffc".encode()


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """`--image`, `--images` and `--show`."""
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        type=Path,
        metavar="PNG",
        help="an image of the prompt, where U+FFFC stands in it; may be repeated",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="write the images that are drawn to DIR, as PNG")
    parser.add_argument(
        "--show",
        choices=("auto", *KINDS),
        default="auto",
        help="how images appear in the terminal; auto: as the terminal can, and not where stdout is none (%(default)s)",
    )


def painter(choice: str) -> Callable[[Pixels], None] | None:
    """What puts pixels on the terminal; None where stdout is none, or nothing is to be shown.

    Args:
        choice: Value of `--show`.
    """
    found = detect(os.environ, is_terminal=sys.stdout.isatty())
    kind = found if choice == "auto" else next(kind for kind in KINDS if kind == choice)
    if kind == "none" or not sys.stdout.isatty():
        return None

    def paint(pixels: Pixels) -> None:
        sys.stdout.buffer.write(b"\n" + shown(pixels, kind, os.environ))
        sys.stdout.buffer.flush()

    return paint


def with_images(prompt: bytes, paths: Sequence[Path], vision: ImageParts) -> Document:
    """The prompt with the images of `paths` in their places.

    Raises:
        UsageError: The prompt has another number of places.
        DataError: A file is no image of the right size.
    """
    from neat import _native

    texts = prompt.split(MARK)
    if len(texts) - 1 != len(paths):
        raise UsageError(
            f"the prompt has {len(texts) - 1} places for images, --image names {len(paths)}",
            hint="each U+FFFC in --prompt stands for one --image, in their order",
        )
    if not paths:
        return prompt
    parts: list[bytes | list[int]] = [texts[0]]
    for path, text in zip(paths, texts[1:], strict=True):
        parts += [_codes(path, vision), text]
    return _native.Document(parts)


def _codes(path: Path, vision: ImageParts) -> list[int]:
    from neat.data.png import decode_png

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from error
    pixels = decode_png(data, str(path))
    size = vision.codec.image_size
    if pixels.shape[:2] != (size, size):
        height, width = pixels.shape[:2]
        raise DataError(f"{path} has {width} x {height} pixels", hint=f"this model reads {size} x {size}")
    return vision.codes(pixels)


class Pictures:
    """Turns drawn images into files and marks in the text.

    Args:
        vision: Holds the codec.
        folder: Where files go; None writes none.
        before: Images that the text had before; numbers go on from there.
        paint: Shows an image, after its mark; None shows none.
    """

    def __init__(
        self,
        vision: ImageParts,
        folder: Path | None,
        before: int = 0,
        paint: Callable[[Pixels], None] | None = None,
    ) -> None:
        self.vision, self._folder, self._before, self._paint = vision, folder, before, paint
        self.drawn: list[list[int]] = []
        """Codes of the images so far."""

    def marked(self, pieces: Iterable[bytes | Image]) -> Iterator[bytes]:
        """The pieces with a mark for each image, whose file is then written."""
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            pixels = self.vision.pixels(piece.codes)
            yield self._keep(piece, pixels)
            if self._paint is not None:
                self._paint(pixels)

    def _keep(self, image: Image, pixels: Pixels) -> bytes:
        from neat.data.png import write_png

        self.drawn.append(list(image.codes))
        number = self._before + len(self.drawn)
        if self._folder is None:
            return b"[image %d]" % number
        path = self._folder / f"image-{number}.png"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)
        except OSError as error:
            raise DataError(f"cannot write the image {path}: {error.strerror}") from error
        return b"[image %d: %s]" % (number, os.fsencode(path))
