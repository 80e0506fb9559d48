"""Images in and out of `neat generate`: files become codes, codes become files, and mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import GRID, vision
from support.networks import network, whole

from neat import _native
from neat.cli.pictures import MARK, Pictures, painter, with_images
from neat.data.png import decode_png, write_png
from neat.errors import DataError, UsageError
from neat.model.images.grammar import Image
from neat.model.images.parts import ImageParts
from neat.model.neat import NeatModel


def parts() -> ImageParts:
    found = NeatModel(whole(network(), vision=vision(image_size=16))).vision
    assert found is not None
    return found


def test_what_is_drawn_becomes_files_that_read_back_as_the_same_codes(tmp_path: Path) -> None:
    pictures = Pictures(parts(), tmp_path / "new" / "folder")
    images = [(0, 1, 2, 3), (4, 4, 0, 1)]
    pieces = [b"a ", Image(images[0]), b" b ", Image(images[1])]
    text = b"".join(pictures.marked(pieces)).decode()
    files = [tmp_path / "new" / "folder" / f"image-{number}.png" for number in (1, 2)]
    assert text == f"a [image 1: {files[0]}] b [image 2: {files[1]}]"
    assert pictures.drawn == [list(image) for image in images]
    assert decode_png(files[0].read_bytes(), "first").shape == (16, 16, 3)
    document = with_images(b"x " + MARK + b" and " + MARK, files, parts())
    assert isinstance(document, _native.Document)
    assert document.parts() == [b"x ", [*images[0]], b" and ", [*images[1]]]


def test_without_a_folder_there_are_marks_only() -> None:
    pictures = Pictures(parts(), None)
    assert b"".join(pictures.marked([Image((0,) * GRID**2), b"."])) == b"[image 1]."


def test_an_image_appears_after_its_mark_and_nowhere_without_a_terminal() -> None:
    order: list[object] = []
    pictures = Pictures(parts(), None, paint=lambda pixels: order.append(pixels.shape))
    for piece in pictures.marked([b"a ", Image((0,) * GRID**2), b" b"]):
        order += [piece]
    assert order == [b"a ", b"[image 1]", (16, 16, 3), b" b"]
    # Under pytest stdout is no terminal.
    assert painter("auto") is None and painter("blocks") is None


def test_a_prompt_without_images_stays_bytes() -> None:
    assert with_images(b"plain", [], parts()) == b"plain"


def test_mistakes_are_told(tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    write_png(small, parts().pixels([0] * GRID**2)[:8])
    with pytest.raises(UsageError, match="1 places for images, --image names 0"):
        with_images(MARK, [], parts())
    with pytest.raises(UsageError, match="0 places"):
        with_images(b"none", [small], parts())
    with pytest.raises(DataError, match="16 x 8 pixels") as caught:
        with_images(MARK, [small], parts())
    assert "16 x 16" in caught.value.hint
    with pytest.raises(DataError, match="cannot read the image"):
        with_images(MARK, [tmp_path / "missing.png"], parts())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write the image"):
        list(Pictures(parts(), tmp_path / "file").marked([Image((0,) * GRID**2)]))
