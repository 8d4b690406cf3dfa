"""The page as a person uses it, in headless Chromium: it suits the data, answers as one goes, and can be read by everyone."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright.shipping import Answering


def _module(name: str, path: str) -> ModuleType:
    """A module of another room's tests: pytest's importlib mode puts no test folder on the path."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


CHROMIUM = _module("netwright_browser", "report/conftest.py")
CHECKS = _module("netwright_page_checks", "report/test_browser.py")
KINDS = ("digits", "photos", "rows", "table", "text", "sound", "series")


class Visitor(CHROMIUM.Browser):  # type: ignore[misc,name-defined]
    """A browser that goes to an address, and does what a person does there."""

    def draw(self, points: list[tuple[float, float]]) -> None:
        """One stroke on the board, its points as shares of its sides."""
        left, top, side = self.evaluate(
            "(box => [box.x, box.y, box.width])(document.getElementById('board').getBoundingClientRect())"
        )
        places = [(left + x * side, top + y * side) for x, y in points]
        for number, (x, y) in enumerate([*places, places[-1]]):
            kind = "Pressed" if number == 0 else "Released" if number == len(places) else "Moved"
            buttons = 0 if kind == "Released" else 1
            self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left", buttons=buttons, clickCount=1)  # fmt: skip

    def press(self, *keys: str) -> None:
        codes = {
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
            " ": 32,
            "Escape": 27,
            "Tab": 9,
        }
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], code="Space" if key == " " else key)  # fmt: skip

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def choose(self, file: Path) -> None:
        """Gives a file to the page's file field."""
        self.send("DOM.enable")
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        field = self.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=field, files=[str(file)])

    def until(self, condition: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, (condition, self.evaluate("document.body.innerText"))
            time.sleep(0.02)

    def shares(self) -> list[str]:
        return self.evaluate("[...document.querySelectorAll('#bars .share')].map(share => share.textContent)")


@pytest.fixture(scope="session")
def visitor() -> Iterator[Visitor]:
    if not CHROMIUM.CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM.CHROMIUM} is not installed: nothing is rendered")
    with Visitor() as opened:
        yield opened


@pytest.fixture
def address(port: Callable[..., int]) -> Callable[[str], str]:
    return lambda kind: f"http://127.0.0.1:{port(kind)}/"


SEEN = "[...document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, at) => at % 4 === 0)"


def test_drawing_moves_the_probabilities(
    visitor: Visitor, address: Callable[[str], str], answerings: dict[str, Answering]
) -> None:
    visitor.visit(address("digits"))
    assert visitor.evaluate("SETTINGS.kind") == "draw"
    assert visitor.shares() == []
    visitor.draw([(0.5, 0.1), (0.5, 0.9)])
    visitor.until("document.querySelectorAll('#bars li').length === 10")
    one = visitor.shares()
    visitor.draw([(0.1, 0.5), (0.9, 0.5)])
    visitor.until(
        f"JSON.stringify([...document.querySelectorAll('#bars .share')].map(s => s.textContent)) !== JSON.stringify({one})"
    )
    # What is shown is what the network says of what is said to be seen.
    visitor.until("!busy")
    grey = np.array(visitor.evaluate(SEEN)).reshape(1, 1, 8, 8)
    pixels = np.rint(grey / 255 * 16).astype(np.uint8)
    raw = answerings["digits"].preparation.read(pixels[0])
    record = next(answerings["digits"].records([("0", raw)]))
    assert visitor.shares() == [f"{100 * share:.1f} %" for share in record["probabilities"].values()]
    assert visitor.evaluate("document.getElementById('said').textContent") == record["label"]
    assert visitor.evaluate("document.querySelector('.taken .name').textContent") == record["label"]
    visitor.evaluate("document.getElementById('clear').click()")
    assert visitor.shares() == []
    assert visitor.complaints == []


def test_a_drawing_is_brought_to_the_size_of_the_training_data(
    visitor: Visitor, address: Callable[[str], str]
) -> None:
    """Digits fill their 8 x 8 pixels from edge to edge, wherever on the board and however small one draws."""
    visitor.visit(address("digits"))
    for left, top, size in ((0.1, 0.1, 0.2), (0.5, 0.3, 0.45)):
        visitor.draw(
            [
                (left, top),
                (left + size / 2, top),
                (left + size / 2, top + size),
                (left, top + size),
                (left, top),
            ]
        )
        visitor.until("document.querySelectorAll('#bars li').length === 10")
        # Each of the 8 rows has a bright pixel, once the last stroke is seen.
        visitor.until(
            f"(seen => seen.every((_, at) => Math.max(...seen.slice(8 * (at >> 3), 8 * (at >> 3) + 8)) > 60))({SEEN})"
        )
        visitor.evaluate("document.getElementById('clear').click()")
        assert visitor.evaluate(f"Math.max(...{SEEN})") == 0


def test_drawing_with_the_keyboard(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("digits"))
    visitor.press("Tab")
    assert visitor.evaluate("document.activeElement.id") == "board"
    visitor.press("ArrowUp", "ArrowUp", "ArrowUp")
    assert visitor.shares() == []
    visitor.press(" ", *["ArrowDown"] * 8, " ")
    visitor.until("document.querySelectorAll('#bars li').length === 10")
    visitor.press("Escape")
    assert visitor.shares() == []


def test_a_picture_is_chosen(visitor: Visitor, address: Callable[[str], str], tmp_path: Path) -> None:
    visitor.visit(address("photos"))
    file = tmp_path / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    visitor.choose(file)
    visitor.until("document.querySelectorAll('#bars li').length === 2")
    names = visitor.evaluate("[...document.querySelectorAll('#bars .name')].map(name => name.textContent)")
    assert names == ["cat", "<script>alert(1)</script>"]
    assert visitor.evaluate("document.getElementById('shown').naturalWidth") == 40
    (tmp_path / "no.png").write_bytes(b"nothing")
    visitor.choose(tmp_path / "no.png")
    visitor.until("document.getElementById('said').className.includes('refused')")
    assert "no.png: expected a picture" in visitor.evaluate("document.getElementById('said').textContent")
    assert visitor.shares() == []


def test_a_text_is_typed(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("text"))
    visitor.evaluate("document.getElementById('text').focus()")
    visitor.type("fine")
    visitor.until("document.querySelectorAll('#bars li').length === 2")
    before = visitor.shares()
    visitor.type(" zzzzzzzzzzz")
    visitor.until(f"document.querySelector('#bars .share').textContent !== {before[0]!r}")


def test_a_row_is_filled_in(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("table"))
    visitor.until("document.querySelectorAll('#bars li').length === 2")
    fields = visitor.evaluate(
        "[...document.querySelectorAll('[data-name]')].map(f => [f.dataset.name, f.tagName, f.type])"
    )
    assert fields == [
        ["age", "INPUT", "number"],
        ["fare", "INPUT", "number"],
        ["trips", "INPUT", "number"],
        ["port", "SELECT", "select-one"],
        ["day", "INPUT", "text"],
    ]
    before = visitor.shares()
    visitor.evaluate("document.querySelector('[data-name=port]').focus()")
    visitor.press("ArrowDown")
    visitor.until(f"document.querySelector('#bars .share').textContent !== {before[0]!r}")
    # An age that training never lacked: what is done about the gap is said.
    visitor.evaluate(
        "(f => { f.value = ''; f.dispatchEvent(new Event('input', {bubbles: true})) })(document.querySelector('[data-name=age]'))"
    )
    visitor.until("document.getElementById('remarks').textContent.includes('age: a gap')")


def test_a_series_is_pasted(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("series"))
    visitor.until("document.querySelectorAll('#forecast tr').length === 4")
    visitor.evaluate(
        "(f => { f.value = 'load,degrees\\n1,2\\n3,4\\n5,6\\n7,8.5'; f.dispatchEvent(new Event('input')) })(document.getElementById('rows'))"
    )
    visitor.until("document.getElementById('forecast').textContent.includes('8.5')")
    cells = visitor.evaluate(
        "[...document.querySelectorAll('#forecast tr:last-child td')].map(cell => cell.textContent)"
    )
    assert cells == ["3", "7", "8.5"]


def test_numbers_are_typed(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("rows"))
    visitor.until("/\\d/.test(document.getElementById('said').textContent)")
    visitor.evaluate(
        "(f => { f.value = '1, 2, x, 4'; f.dispatchEvent(new Event('input')) })(document.getElementById('numbers'))"
    )
    visitor.until("document.getElementById('said').textContent === 'no number: x'")


def test_what_is_unlike_training_is_said(visitor: Visitor, address: Callable[[str], str]) -> None:
    visitor.visit(address("digits"))
    assert visitor.evaluate("document.getElementById('strange').checkVisibility()") is False
    visitor.evaluate("show({input: '0', label: '1', probabilities: {1: 1}, unlike_training: true})")
    assert visitor.evaluate("document.getElementById('strange').checkVisibility()") is True
    visitor.evaluate("show({input: '0', label: '1', probabilities: {1: 1}, unlike_training: false})")
    assert visitor.evaluate("document.getElementById('strange').checkVisibility()") is False


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_fits_and_can_be_read(kind: str, visitor: Visitor, address: Callable[[str], str]) -> None:
    here = address(kind)
    for page in (here, f"{here}docs"):
        for width, dark in ((390, False), (390, True), (1280, False), (1280, True)):
            visitor.visit(page, width=width, dark=dark)
            if page == here and kind in ("table", "series"):
                visitor.until("document.querySelectorAll('#bars li, #forecast tr').length > 0")
            visitor.evaluate("document.getElementById('strange')?.removeAttribute('hidden')")
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width
            assert visitor.evaluate(CHECKS.OVERFLOWING) == []
            assert visitor.evaluate(CHECKS.FAINT) == []
            loaded = [one for one in visitor.requests if not one.startswith("data:")]
            assert all(one.startswith(here) for one in loaded)
            assert visitor.complaints == []


@pytest.mark.parametrize("kind", KINDS)
def test_everything_has_a_name_and_can_be_reached(
    kind: str, visitor: Visitor, address: Callable[[str], str]
) -> None:
    visitor.visit(address(kind), width=390)
    nameless = visitor.evaluate(
        "[...document.querySelectorAll('input, select, textarea, button, canvas, a')]"
        ".filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert visitor.evaluate("document.getElementById('said').getAttribute('aria-live')") == "polite"
    small = visitor.evaluate(
        "[...document.querySelectorAll('button, select, textarea, input:not([type=file]), .drop')]"
        ".filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"
    )
    assert small == []
    assert visitor.evaluate("document.documentElement.lang") == "en"


def test_names_from_the_data_are_texts_and_no_markup(client: Callable[..., Any]) -> None:
    page = client("photos").get("/").text
    assert "<script>alert" not in page
    assert len(re.findall("<script>", page)) == 1
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
