"""The page of an inspection: whole, small, and safe whatever the network's names are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import nn

from netwright.errors import RunFolderError
from netwright.inspecting import inspect


def test_names_are_text_wherever_they_stand(pages: dict[str, Path]) -> None:
    page = pages["tour"].read_text(encoding="utf-8")
    assert "<script" not in page and page.count("&lt;script&gt;alert(1)") >= 5
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_every_element_is_closed(pages: dict[str, Path]) -> None:
    class Nesting(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "link", "img", "br"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Nesting()
    parser.feed(pages["tour"].read_text(encoding="utf-8"))
    assert parser.open == []


def test_an_activation_is_shown_before_and_after_and_equal_blocks_once(pages: dict[str, Path]) -> None:
    page = pages["tour"].read_text(encoding="utf-8")
    first = page[page.index("<h3>1.1 Sigmoid") : page.index("<h3>2.0 Conv2d")]
    assert first.count('class="bars"') == 2 and "received" in first and "saturated" in first
    assert "3 examples, 3×8×8×8" in first
    assert "Sequential × 12" in page and "… this 11 times more, each with 584 parameters of its own" in page
    assert "The other 5 layers" in page


def test_a_large_network_stays_under_three_megabytes(tmp_path: Path) -> None:
    layers = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(250)]
    page = inspect(nn.Sequential(*layers), torch.randn(1, 8, 64, 64)).html(tmp_path / "large.html")
    text = page.read_text(encoding="utf-8")
    assert len(text) < 3_000_000 and "50 more layers are in the JSON" in text


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot write the report"):
        inspect(nn.Linear(2, 2), torch.zeros(1, 2)).html(tmp_path / "no" / "page.html")
