"""Images as a terminal shows them: by the protocol that it understands, else as coloured half blocks.

Protocols: kitty graphics (https://sw.kovidgoyal.net/kitty/graphics-protocol), inline images of iTerm2
(https://iterm2.com/documentation-images.html), sixel (DEC STD 070). The kind is found from the environment alone:
asking the terminal would take its answer out of what a person types.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from neat.data.png import Pixels

Kind = Literal["kitty", "iterm", "sixel", "blocks", "none"]
KINDS: tuple[Kind, ...] = ("kitty", "iterm", "sixel", "blocks", "none")

MAX_COLUMNS = 64
"""Widest image of half blocks, and width of the others in columns."""
_KITTY_CHUNK = 4096
_LEVELS = 5
"""Steps of each colour above black in the 6 x 6 x 6 cube of 256-colour terminals."""


def detect(environment: Mapping[str, str], *, is_terminal: bool) -> Kind:
    """What the terminal around this process can show.

    Args:
        environment: Usually `os.environ`.
        is_terminal: Whether stdout is one; if not, nothing is shown.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if not is_terminal or term in ("", "dumb") or environment.get("NO_COLOR"):
        return "none"
    # A multiplexer stands between: it knows colours, but passes no image on.
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return "blocks"
    if environment.get("KITTY_WINDOW_ID") or "kitty" in term or "ghostty" in term or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    if "sixel" in term or term.startswith(("foot", "mlterm")):
        return "sixel"
    return "blocks"


def shown(pixels: Pixels, kind: Kind, environment: Mapping[str, str]) -> bytes:
    """What to write to the terminal for RGB pixels, uint8 [height, width, 3], to appear; ends with a line end.

    Args:
        pixels: The image.
        kind: From `detect`; nothing is written for `none`.
        environment: Says whether half blocks may have all colours (`COLORTERM`).
    """
    from neat.data.png import encode_png

    match kind:
        case "kitty":
            return _kitty(encode_png(pixels)) + b"\n"
        case "iterm":
            return _iterm(encode_png(pixels)) + b"\n"
        case "sixel":
            return _sixel(_enlarged(pixels)) + b"\n"
        case "blocks":
            return _blocks(pixels, all_colours=environment.get("COLORTERM") in ("truecolor", "24bit"))
    return b""


def _kitty(png: bytes) -> bytes:
    """A PNG file in chunks of base64, `m=1` saying that more follow, 16 columns wide."""
    data = base64.b64encode(png)
    chunks = [data[at : at + _KITTY_CHUNK] for at in range(0, len(data), _KITTY_CHUNK)]
    found = bytearray()
    for number, chunk in enumerate(chunks):
        keys = b"a=T,f=100,q=2,c=16," if number == 0 else b""
        found += b"\x1b_G%sm=%d;%s\x1b\\" % (keys, number < len(chunks) - 1, chunk)
    return bytes(found)


def _iterm(png: bytes) -> bytes:
    return b"\x1b]1337;File=inline=1;size=%d;width=16:%s\a" % (len(png), base64.b64encode(png))


def _enlarged(pixels: Pixels) -> Pixels:
    """Small images several times as large, since a sixel is one dot of the screen."""
    times = max(1, 128 // max(pixels.shape[:2]))
    return pixels.repeat(times, 0).repeat(times, 1)


def _cube(pixels: Pixels) -> Pixels:
    """Each colour as its nearest step of the cube: [height, width, 3] of 0 to 5."""
    steps: Pixels = ((pixels.astype("uint16") * _LEVELS + 127) // 255).astype("uint8")
    return steps


def _sixel(pixels: Pixels) -> bytes:
    """Bands of six lines; of each colour in a band one line of characters, whose bits are the rows."""
    steps = _cube(pixels)
    index = (steps[..., 0].astype(int) * 6 + steps[..., 1]) * 6 + steps[..., 2]
    height, width = index.shape
    found = bytearray(b'\x1bPq"1;1;%d;%d' % (width, height))
    for colour in sorted(set(index.flatten().tolist())):
        parts = (colour // 36, colour // 6 % 6, colour % 6)
        found += b"#%d;2;%d;%d;%d" % (colour, *(part * 100 // _LEVELS for part in parts))
    for top in range(0, height, 6):
        band = index[top : top + 6]
        for colour in sorted(set(band.flatten().tolist())):
            bits = sum((band[row] == colour).astype(int) << row for row in range(len(band)))
            found += b"#%d%s$" % (colour, bytes((bits + 63).astype("uint8").tolist()))
        found += b"-"
    return bytes(found) + b"\x1b\\"


def _blocks(pixels: Pixels, *, all_colours: bool) -> bytes:
    """Two pixels a character: the upper one is the colour of the half block, the lower one that behind it."""
    step = -(-pixels.shape[1] // MAX_COLUMNS)
    small = pixels[::step, ::step]
    if len(small) % 2:
        small = small[[*range(len(small)), len(small) - 1]]
    return b"".join(_block_lines(small, all_colours=all_colours))


def _block_lines(pixels: Pixels, *, all_colours: bool) -> Iterator[bytes]:
    codes = _true_colour if all_colours else _cube_colour
    for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = (f"\x1b[38;{codes(top)};48;{codes(bottom)}m▀" for top, bottom in zip(upper, lower, strict=True))
        yield ("".join(cells) + "\x1b[0m\n").encode()


def _true_colour(colour: list[int]) -> str:
    return "2;" + ";".join(map(str, colour))


def _cube_colour(colour: list[int]) -> str:
    red, green, blue = ((value * _LEVELS + 127) // 255 for value in colour)
    return f"5;{16 + 36 * red + 6 * green + blue}"
