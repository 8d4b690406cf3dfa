"""The page as a person meets it: telephone and desktop, light and dark, in a real browser."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

KINDS = [
    "fashion",
    "two",
    "forty",
    "hundred",
    "regression",
    "interrupted",
    "text",
    "hostile",
    "minimal",
    "tour",
]
EXPLAINED = ["explained-image", "explained-text", "explained-table", "explained-series"]

# What sticks out to the right, unless a box around it scrolls or cuts.
OVERFLOWING = """
[...document.querySelectorAll("body *")].filter(element => {
  if (element.closest("svg") !== null && element.tagName !== "svg") return false;
  if (element.getBoundingClientRect().right <= innerWidth + 0.5) return false;
  for (let box = element.parentElement; box !== document.body; box = box.parentElement)
    if (getComputedStyle(box).overflowX !== "visible") return false;
  return element.getBoundingClientRect().width > 0;
}).map(element => element.outerHTML.slice(0, 120))
"""

# Every text whose contrast with what lies behind it is below 4.5 (WCAG 2.2, 1.4.3).
FAINT = """
(() => {
  const parts = text => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const unit = text.startsWith("color(srgb") ? 255 : 1;
    return [...numbers.slice(0, 3).map(number => number * unit), numbers.length > 3 ? numbers[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = element => {
    if (element === null) return [255, 255, 255, 1];
    const own = parts(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(value => {
      value /= 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const written = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!written || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const ink = over(parts(element.closest("svg") ? style.fill : style.color), ground);
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push([contrast.toFixed(2), element.outerHTML.slice(0, 90)]);
  }
  return faint;
})()
"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", [*KINDS, *EXPLAINED])
def test_nothing_sticks_out_and_nothing_is_loaded(
    name: str, width: int, pages: dict[str, Path], browser: Any
) -> None:
    browser.open(pages[name], width=width)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    browser.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    loaded = [address for address in browser.requests if not address.startswith("data:")]
    assert loaded == [pages[name].resolve().as_uri()]
    assert browser.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "name", ["fashion", "hundred", "regression", "interrupted", "hostile", "tour", *EXPLAINED]
)
def test_every_text_can_be_read(name: str, dark: bool, pages: dict[str, Path], browser: Any) -> None:
    browser.open(pages[name], width=1280, dark=dark)
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.evaluate(FAINT) == []


def test_dark_is_dark(pages: dict[str, Path], browser: Any) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(pages["fashion"], width=1280, dark=dark)
        grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(251, 251, 249)", "rgb(19, 21, 24)"]


def test_the_test_would_notice(tmp_path: Path, browser: Any) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<meta name="viewport" content="width=device-width"><body style="background:#fff"><p style="width:700px">wide</p>'
        '<p style="color:#aaa">faint</p><img src="http://127.0.0.1:9/x.png">'
    )
    browser.open(page, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") > 390
    assert len(browser.evaluate(FAINT)) == 1
    assert "http://127.0.0.1:9/x.png" in browser.requests


def test_pictures_are_there_and_small_ones_keep_their_pixels(pages: dict[str, Path], browser: Any) -> None:
    browser.open(pages["fashion"], width=1280)
    seen = browser.evaluate(
        "[...document.images].map(image => [image.naturalWidth, getComputedStyle(image).imageRendering, image.alt])"
    )
    assert len(seen) == 24
    assert seen[0] == [8, "pixelated", "photos/T-shirt/top/IMG_0.jpg: T-shirt/top, taken for Trouser"]
    browser.open(pages["two"], width=1280)
    assert browser.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]") == [
        112,
        75,
    ]


def test_headings_go_down_one_by_one_and_charts_have_texts(pages: dict[str, Path], browser: Any) -> None:
    for name in ("fashion", "regression", "tour", "explained-image", "explained-text"):
        browser.open(pages[name], width=1280)
        levels = browser.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].map(heading => +heading.tagName[1])"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        labels = browser.evaluate(
            "[...document.querySelectorAll('svg')].map(svg => svg.getAttribute('aria-label') ?? svg.querySelector('title').textContent)"
        )
        assert all(len(label) > 20 for label in labels)
        targets = browser.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].filter(link => !document.querySelector(link.hash)).length"
        )
        assert targets == 0
