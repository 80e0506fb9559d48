"""What may come next while text with images is written: bytes, or an image, code by code.

    text -> byte -> text
    text -> BEGIN -> code 0 -> ... -> code n - 1 -> END -> text

Whether an image begins is the network's choice: BEGIN is one more class beside the 256 bytes. How long it is and that
it ends is not. BEGIN may be chosen while fewer than `max_images` images were written and, after the first one, once
`min_gap` bytes stand since the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from neat.config.schema import Vision
from neat.model.vocabulary import IMAGE_BEGINS


@dataclass(frozen=True, slots=True)
class Image:
    """A written image: its codes, row by row from the top left."""

    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What the limits of a text count.

    Attributes:
        images: Images that were written; those of prompts do not count.
        gap: Bytes since the last of them; None before the first.
    """

    images: int = 0
    gap: int | None = None

    def followed_by(self, num_bytes: int) -> Written:
        """The same after so many bytes of a prompt."""
        return self if self.gap is None else replace(self, gap=self.gap + num_bytes)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A place in a text with images. Immutable: each symbol leads to another place.

    Attributes:
        image_codes: Codes of one image.
        max_images: Most images of the text.
        min_gap: Fewest bytes between two images.
        images: Images that have ended.
        gap: Bytes since the last image; None before the first.
        codes: Codes of the image that is being written; None between images.
    """

    image_codes: int
    max_images: int
    min_gap: int
    images: int = 0
    gap: int | None = None
    codes: tuple[int, ...] | None = None

    @classmethod
    def start(cls, vision: Vision, written: Written = Written(), codes: tuple[int, ...] | None = None) -> Grammar:
        """A place under the limits of `vision`: behind what was written, or within an image of which `codes` are."""
        limits = vision.image_codes, vision.max_images, vision.min_gap
        return cls(*limits, written.images, written.gap, codes)

    @property
    def written(self) -> Written:
        """What the limits count."""
        return Written(self.images, self.gap)

    @property
    def expects(self) -> Literal["text", "code", "end"]:
        """The kind of the next symbol."""
        if self.codes is None:
            return "text"
        return "code" if len(self.codes) < self.image_codes else "end"

    @property
    def may_begin(self) -> bool:
        """Whether an image may begin here."""
        apart = self.gap is None or self.gap >= self.min_gap
        return self.codes is None and self.images < self.max_images and apart

    def allowed(self, logits: Tensor) -> Tensor:
        """Byte logits [..., 257] with the class of a beginning image ruled out where none may begin."""
        if self.may_begin:
            return logits
        ruled_out = torch.full_like(logits[..., IMAGE_BEGINS:], -torch.inf)
        return torch.cat((logits[..., :IMAGE_BEGINS], ruled_out), dim=-1)

    def after(self, symbol: int) -> Grammar:
        """The place after a symbol of the expected kind: a byte or `IMAGE_BEGINS` in text, a code in an image."""
        if self.codes is not None:
            assert self.expects == "code", "the image is complete: it must end"
            return replace(self, codes=(*self.codes, symbol))
        if symbol != IMAGE_BEGINS:
            return self if self.gap is None else replace(self, gap=self.gap + 1)
        assert self.may_begin, "no image may begin here"
        return replace(self, codes=())

    def end(self) -> tuple[Image, Grammar]:
        """The image that is complete, and the place after it."""
        assert self.codes is not None and self.expects == "end", "there is no complete image"
        return Image(self.codes), replace(self, images=self.images + 1, gap=0, codes=None)
