"""Findings on the loss chart: where each was first seen, and how the line is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from netwright.report import render_report
from netwright.report.charts import Event, curves
from netwright.report.charts import Series as Curve
from netwright.report.marks import marks_of, rows, told

FOUND: list[dict[str, Any]] = [
    {"code": "NW104", "level": "error", "step": 0, "title": "A ReLU stands behind the last layer"},
    {"code": "NW501", "level": "error", "step": 250, "title": "The learning rate is too high"},
    {"code": "NW504", "level": "warning", "step": 250, "title": "The gradient explodes"},
    {"code": "NW999", "level": "warning", "title": "Without a step"},
]
HISTORY = [{"epoch": epoch, "step": 100 * epoch, "train_loss": 1 / epoch} for epoch in range(1, 6)]


def test_findings_of_one_step_share_a_mark() -> None:
    marks = marks_of(FOUND, 100)
    assert [(mark.event.at, mark.event.label, mark.event.colour) for mark in marks] == [
        (0.0, "NW104", "wrong"),
        (2.5, "NW501 +1", "wrong"),
    ]
    assert told(marks) == " Findings first seen: NW104 at step 0; NW501, NW504 at step 250."
    assert [row["text"] for row in rows(marks)] == [
        "from the beginning: A ReLU stands behind the last layer",
        "step 250: The learning rate is too high",
        "step 250: The gradient explodes",
    ]
    assert marks_of([], 100) == [] and told([]) == ""


def test_the_page_leads_from_the_mark_to_the_finding() -> None:
    page = render_report({"title": "t", "task": "classification", "history": HISTORY, "findings": FOUND})
    addresses = re.findall(r'class="marks".*?</ul>', page, re.DOTALL)[0]
    assert re.findall(r'href="#(finding-\d)"', addresses) == ["finding-1", "finding-2", "finding-3"]
    titles = re.findall(r'id="(finding-\d)">\s*<h3>.*?</span> (.*?)</h3>', page)
    assert titles == [(f"finding-{place}", one["title"]) for place, one in enumerate(FOUND, start=1)]
    assert page.count(">NW501 +1</text>") == 2  # on the chart for the wide page and on the narrow one
    assert "Findings first seen: NW104 at step 0" in page


@pytest.mark.parametrize("places", [[0.0, 0.05, 0.1, 0.15, 0.2], [9.7, 9.8, 9.9, 10.0], [3.0] * 40])
def test_labels_do_not_cover_each_other(places: list[float], tmp_path: Path, browser: Any) -> None:
    events = [Event(at, f"NW{100 + number}", "ink") for number, at in enumerate(places)]
    chart = curves(
        [Curve([1, 10], [1, 2], "first")], name="c", label="a chart", across="epoch", events=events
    )
    page = tmp_path / "chart.html"
    page.write_text(
        f'<meta name="viewport" content="width=device-width"><div style="width:346px">{chart}</div>'
    )
    browser.open(page, width=390)
    boxes = browser.evaluate(
        "[...document.querySelectorAll('text')].filter(text => text.textContent.startsWith('NW'))"
        ".map(text => text.getBoundingClientRect()).map(box => [box.left, box.right, box.top, box.bottom])"
    )
    assert 1 <= len(boxes) <= len(places)
    for number, (left, right, top, bottom) in enumerate(boxes):
        assert right <= 390 and top >= 0
        for other in boxes[:number]:
            assert left >= other[1] or right <= other[0] or top >= other[3] or bottom <= other[2]
