"""The page in a real browser: nothing complains, nothing overflows, everything is drawn, and it prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser, find_browser

from neat.report.build import compose, read_runs, target, write

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no browser of the Chromium family on the path")

OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)
"""
CUT_OFF = """
[...document.querySelectorAll('svg text')].filter(e => e.getClientRects().length).filter(e => {
  const own = e.getBoundingClientRect(), box = e.ownerSVGElement.getBoundingClientRect();
  return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1 || own.top < box.top - 1;
}).map(e => e.textContent)
"""
SMALLEST_TEXT = """
Math.min(...[...document.querySelectorAll('svg text')].filter(e => e.getClientRects().length)
  .map(e => e.getBoundingClientRect().height))
"""
COLOURS = "[document.body, document.querySelector('.plot .rule')].map(e => getComputedStyle(e))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(full: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of one run, and of two compared, with all plots as files beside them."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, roots in (("one", [full]), ("two", [trained, full])):
        where = target(folder / name, full, ["html"])
        found[name] = write(compose(read_runs(roots)), where, ["svg"])[0]
    return found


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_sound(browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool) -> None:
    browser.complaints.clear()
    browser.open(pages[name], width, dark=dark)
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.value(OVERFLOWING) == []
    assert browser.value(CUT_OFF) == []
    assert browser.value(SMALLEST_TEXT) > (10 if width > 1000 else 8)
    names = browser.value("[...document.querySelectorAll('section')].map(e => e.id)")
    links = browser.value("[...document.querySelectorAll('nav a')].map(e => e.getAttribute('href').slice(1))")
    assert names == links
    assert len(names) == 14
    drawn = browser.value("[...document.querySelectorAll('figure')].filter(f => ![...f.querySelectorAll('svg')]"
                          ".some(e => e.getBoundingClientRect().height > 40)).length")  # fmt: skip
    assert drawn == 0
    light = browser.value(f"{COLOURS}[0].backgroundColor")
    assert light == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    rule = browser.value(f"{COLOURS}[1].stroke")
    assert rule == ("rgb(45, 51, 59)" if dark else "rgb(227, 230, 234)")


def test_hostile_text_does_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"], 1280)
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert "<script>alert(1)</script>" in browser.value("document.querySelector('#samples pre').textContent")
    assert browser.value("document.title") == "run"


def test_a_picture_shows_many_colours(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"], 1280)
    assert len(browser.picture()) > 100_000


def test_it_prints(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"], 1280, dark=True)
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type/Page\n") + pdf.count(b"/Type /Page ") >= 4


def test_the_plots_are_images(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """As an `img`, a picture may load nothing and run nothing; each still has a size and is drawn."""
    plots = sorted((pages["one"].parent / "plots").glob("*.svg"))
    assert len(plots) > 20
    page = tmp_path / "gallery.html"
    page.write_text("<!doctype html>" + "".join(f'<img src="{plot.as_uri()}">' for plot in plots))
    browser.complaints.clear()
    browser.open(page, 1280)
    sizes = browser.value("Promise.all([...document.images].map(e => e.decode().then(() => e.naturalWidth)))")
    assert sizes == [720] * len(plots)
    assert browser.complaints == []
