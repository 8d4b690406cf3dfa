"""Explanations as text, golden, and the colours of maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netwright.report.explanation import AGAINST, FOR, explanation_fragment, explanation_text, heat


@pytest.mark.parametrize("name", ["image", "text", "table", "series"])
def test_as_text(name: str, explanations: dict[str, object], golden: Callable[[str, str], None]) -> None:
    golden(f"explanation-{name}.txt", explanation_text(explanations[name]) + "\n")


def test_in_a_notebook_nothing_can_run(explanations: dict[str, object]) -> None:
    shown = explanation_fragment(explanations["text"])
    assert "<script" not in shown and "&lt;script&gt;" in shown and "<html" not in shown


def test_colours_of_a_map() -> None:
    grid = np.array([[4.0, 0.0], [0.0, -4.0]])
    shades = heat(grid)
    assert shades[0, 0].tolist() == list(FOR) and shades[1, 1].tolist() == list(AGAINST)
    assert shades[0, 1].tolist() == [255, 255, 255]
    under = np.zeros((2, 2), np.uint8)
    assert 200 < heat(grid, under=under)[0, 1, 0] < 255
    assert heat(np.zeros((3, 3))).min() == 255


def test_one_bright_spot_does_not_hide_the_others() -> None:
    grid = np.full((30, 30), 0.5)
    grid[3, 3] = 1000.0
    assert heat(grid)[0, 0].tolist() == list(FOR)
