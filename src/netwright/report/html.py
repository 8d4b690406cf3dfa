"""report.html: everything about a run on one self-contained page."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict

import numpy as np
from markupsafe import Markup

from netwright.errors import RunFolderError
from netwright.report import charts, figures, marks, pictures
from netwright.report.holdings import holdings
from netwright.report.layers import layer_tables
from netwright.report.letters import cut as _cut
from netwright.report.slices import slice_rows

if TYPE_CHECKING:
    import jinja2

# What keeps the page under 3 MB whatever the run was. Everything left out is counted on the page.
BYTES_AT_MOST = 3_000_000
CLASSES_AT_MOST = 100
ROWS_AT_FIRST = 20
PICTURES_AT_MOST = 24
SUSPECTS_AT_MOST, SUSPECTS_SIDE = 8, 64
EPOCHS_AT_MOST = 200
ENTRIES_AT_MOST = 100
FINDINGS_AT_MOST = 30
DIAGRAM_BYTES_AT_MOST = 200_000
PAIRS_AT_MOST = 12
# In a smaller bin of the reliability diagram the share that was right says little.
BIN_AT_LEAST = 10


class Report(TypedDict, total=False):
    """What the page is made of: plain values. What is absent or None has no place on the page."""

    title: Required[str]
    """What the run is called: `digits · mlp`."""
    task: Required[str]
    """`classification`, `regression` or `language`."""
    network: str
    """The structure of the network, many lines."""
    diagram: str
    """The network as a drawing: one `<svg>` element of our own making, taken as it is."""
    parameters: int
    history: Sequence[Mapping[str, Any]]
    """Epoch records as for `epoch_line`; `step` (optimizer steps done at its end) places them exactly, `layers` ({name: {`weights`, ...}}) says how
    each layer fared."""
    steps: Sequence[Mapping[str, Any]]
    """{`step`, `loss`, `lr`} of single steps."""
    test: Mapping[str, Any] | None
    """The scores of `netwright.metrics`, with `loss` if there is one; None: the run was not tested."""
    classes: Sequence[str] | None
    slices: Mapping[str, Any] | None
    """As in result.json: {`rows` (of `netwright.metrics.slices`), `left_out`}."""
    wrong: Sequence[Mapping[str, Any]]
    """The most wrong examples, worst first: {`image` ((H, W) or (H, W, 3) uint8, or None), `text`, `true`,
    `predicted` (names), `probability` (of the predicted class, 0 to 1), `name`}; at most 24 are shown."""
    calibration: Mapping[str, Any] | None
    """How sure the network was and how often right, on the test part: {`temperature`, `ece_before`, `ece_after`, `before`, `after`},
    the last two as `netwright.metrics.reliability` gives them."""
    guard: Mapping[str, Any] | None
    """As in result.json: {`share`, `flagged`, ...}, or {`reason`}."""
    scatter: Mapping[str, Any] | None
    """{`true`, `predicted`}, (N,) or (N, D) floats, of a regression."""
    suspects: Mapping[str, Any] | None
    """Labels that may be wrong: {`count`, `examples`}, these as in `wrong`, at most 8."""
    data: Mapping[str, Any] | None
    """As in result.json: {`parts`, `classes`, `range`, `gaps`, `copies`}."""
    notes: Sequence[str]
    """What was decided about the data, one sentence each."""
    findings: Sequence[Mapping[str, Any]] | None
    """As in the examiner's JSON; None: the run was not examined."""
    recipe: str
    """YAML."""
    environment: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    """{`name` (relative to the report), `bytes`, `about`} of the other files in the run's folder."""
    seconds: float
    """Of training with its validation."""
    cost: Mapping[str, Any]
    """As in result.json: `validating` (seconds of `seconds`), `examples_per_second`, `memory` (bytes), `energy`."""
    epochs: int
    """How many were planned."""
    interrupted: bool
    run: str
    """The run's folder as it is named on a command line."""


def write_report(path: str | os.PathLike[str], report: Report) -> Path:
    """Writes the page and returns its path; equal reports give equal bytes.

    The file appears whole or not at all. Raises RunFolderError where it cannot be written.
    """
    return write_page(path, render_report(report))


def write_page(path: str | os.PathLike[str], text: str) -> Path:
    """Writes a page, whole or not at all, and returns its path. Raises RunFolderError where it cannot be written."""
    page = text.encode("utf-8")
    assert len(page) <= BYTES_AT_MOST, f"the report has {len(page)} bytes"
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files that only their owner reads; a report is to be passed on.
            os.chmod(name, 0o644)
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise RunFolderError(f"cannot write the report {target}: {error.strerror or error}") from error
    return target


def render_report(report: Report) -> str:
    """Returns the page as HTML."""
    unknown = set(report) - set(Report.__annotations__)
    assert not unknown, f"a report has no {sorted(unknown)}"
    return (
        page_templates()
        .get_template("report.html.jinja")
        .render(
            title=_cut(report["title"], "name"),
            regression=report["task"] == "regression",
            interrupted=bool(report.get("interrupted")),
            run=_cut(shlex.quote(report.get("run") or "RUN"), "text"),
            headline=_headline(report),
            facts=_facts(report),
            charts=_learning(report),
            epochs=_epoch_table(report.get("history") or []),
            confusion=_confusion(report),
            per_class=_per_class((report.get("test") or {}).get("per_class")),
            two_classes=_two_classes((report.get("test") or {}).get("two_classes")),
            layers=layer_tables(report.get("history") or []),
            slices=slice_rows(report.get("slices")),
            doubt=_doubt(report),
            rows_at_first=ROWS_AT_FIRST,
            wrong=[_wrong(example) for example in (report.get("wrong") or [])[:PICTURES_AT_MOST]],
            predictions=_predictions(report.get("scatter")),
            ahead=_ahead(report.get("test") or {}),
            suspects=_suspects(report.get("suspects")),
            holdings=holdings(report.get("data")),
            notes=short_texts(report.get("notes") or []),
            findings=None if report.get("findings") is None else finding_rows(report["findings"] or []),
            network=_cut(report.get("network") or "", "file"),
            diagram=_diagram(report.get("diagram") or ""),
            recipe=_cut(report.get("recipe") or "", "file"),
            environment=_pairs_of(report.get("environment"))[:ENTRIES_AT_MOST],
            energy=_cut(((report.get("cost") or {}).get("energy") or {}).get("how") or "", "text"),
            files=[_file(file) for file in (report.get("files") or [])[:ENTRIES_AT_MOST]],
        )
    )


def page_templates() -> jinja2.Environment:
    """Returns the templates beside this file."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def short_texts(texts: Sequence[object]) -> list[str]:
    """Returns texts at a length that fits the page; what is left out is counted."""
    shown = [_cut(text, "text") for text in texts[:ENTRIES_AT_MOST]]
    if len(texts) > ENTRIES_AT_MOST:
        shown.append(f"… and {len(texts) - ENTRIES_AT_MOST:,} more, in the files of the run.")
    return shown


def _headline(report: Report) -> dict[str, str] | None:
    test = report.get("test")
    if not test:
        return None
    if "bits_per_character" in test:
        value = f"{test['bits_per_character']:.4f}"
        return {"name": "Bits per character on the test part", "value": value, "interval": ""}
    shares = "accuracy" in test
    between = figures.interval(test.get("interval"), shares=shares)
    return {
        "name": "Accuracy on the test part" if shares else "Root mean squared error on the test part",
        "value": figures.percent(test["accuracy"]) if shares else figures.loss(test["rmse"]),
        "interval": f"95 % interval {between}" if test.get("interval") else "",
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    """Returns the few numbers under the headline, as (name, value)."""
    test, history = report.get("test") or {}, report.get("history") or []
    facts = [
        (name, figures.loss(test[key]))
        for name, key in (
            ("Test loss", "loss"),
            ("Perplexity a token", "perplexity"),
            ("Mean absolute error", "mae"),
            ("R²", "r2"),
        )
        if test.get(key) is not None
    ]
    examples = _examples(report)
    if examples:
        facts.append(("Test examples", f"{examples:,}"))
    if report.get("parameters") is not None:
        facts.append(("Parameters", f"{report['parameters']:,}"))
    if history:
        done, planned = history[-1]["epoch"], report.get("epochs")
        facts.append(("Epochs", f"{done} of {planned}" if planned and planned != done else str(done)))
        best = [record["epoch"] for record in history if record.get("best")]
        if best:
            facts.append(("Best epoch", str(best[-1])))
    if report.get("seconds") is not None:
        facts.append(("Training time", figures.duration(report["seconds"])))
    facts += _cost(report.get("cost") or {})
    findings = report.get("findings")
    facts.append(
        ("Findings", "not examined" if findings is None else f"{len(findings)}" if findings else "none")
    )
    return facts


def _cost(cost: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what the run cost, as (name, value)."""
    memory, energy = cost.get("memory") or {}, cost.get("energy") or {}
    facts = []
    if cost.get("validating"):
        facts.append(("of it validating", figures.duration(cost["validating"])))
    if cost.get("examples_per_second"):
        facts.append(("Examples a second", f"{cost['examples_per_second']:,.0f}"))
    facts += [
        (name, _bytes(memory[key]))
        for name, key in (("Peak memory", "process"), ("Peak GPU memory", "device"), ("Weights", "weights"))
        if memory.get(key)
    ]
    if energy.get("kwh") is not None:
        facts.append(("Energy, estimated", f"{figures.loss(1000 * energy['kwh'])} Wh"))
    return facts


def _examples(report: Report) -> int:
    per_class = (report.get("test") or {}).get("per_class")
    if per_class:
        return sum(row["support"] for row in per_class)
    return len((report.get("scatter") or {}).get("true", ()))


# ---- learning ----


def _learning(report: Report) -> list[dict[str, Any]]:
    """Returns the charts of training: loss, score, and the learning rate if it changed."""
    history = list(report.get("history") or [])
    steps = list(report.get("steps") or [])
    per_epoch = _steps_per_epoch(report, history, steps)
    across = "epoch" if per_epoch else "step"
    at = np.array([step["step"] for step in steps], dtype=float) / (per_epoch or 1)
    epochs = [float(record["epoch"]) for record in history]
    made = [_loss_chart(report, history, epochs, steps, at, per_epoch)]
    for key, name in (
        ("accuracy", "Validation accuracy"),
        ("rmse", "Validation RMSE"),
        ("bits_per_character", "Validation bits per character"),
    ):
        if any(record.get(key) is not None for record in history):
            made.append(_score_chart(history, epochs, key=key, name=name))
    made.append(_rate_chart(history, epochs, steps, at, across))
    drawn = [chart for chart in made if chart is not None]
    if len(drawn) % 2 == 0:
        # Two and two fill the page; otherwise the first has a line to itself.
        for chart in drawn:
            chart["wide"] = None
    return drawn


def _steps_per_epoch(report: Report, history: list[Any], steps: list[Any]) -> float | None:
    """Returns how many steps an epoch has, or None if nothing says it."""
    if not history:
        return None
    if history[-1].get("step"):
        return float(history[-1]["step"]) / float(history[-1]["epoch"])
    if steps and not report.get("interrupted"):
        return float(steps[-1]["step"]) / float(history[-1]["epoch"])
    return 1.0 if not steps else None


def _numbers(records: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array(
        [np.nan if record.get(key) is None else float(record[key]) for record in records], dtype=float
    )


def _loss_chart(
    report: Report,
    history: list[Any],
    epochs: list[float],
    steps: list[Any],
    at: np.ndarray,
    per_epoch: float | None,
) -> dict[str, Any] | None:
    across = "epoch" if per_epoch else "step"
    series, legend, told = [], [], []
    step_losses = _numbers(steps, "loss")
    if np.isfinite(step_losses).any():
        series.append(charts.Series(at.tolist(), step_losses.tolist(), "first", faint=True))
        legend.append(("first faint", "training, single steps"))
    for key, name, colour in (
        ("train_loss", "training", "first"),
        ("validation_loss", "validation", "second"),
    ):
        losses = _numbers(history, key)
        finite = losses[np.isfinite(losses)]
        # Beside an axis of steps an epoch has no place.
        if len(finite) and across == "epoch":
            series.append(charts.Series(epochs, losses.tolist(), colour, dashed=colour == "second"))
            legend.append((colour, f"{name}, mean of the epoch" if key == "train_loss" else name))
            told.append(f"{name} from {figures.loss(finite[0])} to {figures.loss(finite[-1])}")
    if not series:
        return None
    note = []
    if len(steps) > charts.POINTS_AT_MOST:
        note.append(
            f"Of {len(steps):,} steps, the lowest and the highest of every {-(-2 * len(steps) // charts.POINTS_AT_MOST)} are drawn."
        )
    lost = int((~np.isfinite(step_losses)).sum()) + int((~np.isfinite(_numbers(history, "train_loss"))).sum())
    if lost:
        note.append(f"{lost:,} losses were not finite numbers and are missing here.")
    marked = marks.marks_of(in_order(report.get("findings") or []), per_epoch or 1.0)
    label = f"Loss over {across}s: {', '.join(told) or 'of single training steps'}.{marks.told(marked)}"
    wide, narrow = (
        charts.curves(
            series,
            name=name,
            label=label,
            across=across,
            logarithmic=True,
            events=[one.event for one in marked],
            inches=inches,
        )
        for name, inches in (("loss-wide", charts.WIDE), ("loss", charts.NARROW))
    )
    return {
        "name": "Loss",
        "svg": narrow,
        "wide": wide,
        "legend": legend,
        "note": " ".join(note),
        "marks": marks.rows(marked),
    }


def _score_chart(history: list[Any], epochs: list[float], *, key: str, name: str) -> dict[str, Any]:
    values = _numbers(history, key)
    best = [
        (float(record["epoch"]), float(record[key]))
        for record in history
        if record.get("best") and record.get(key)
    ]
    shown = figures.percent if key == "accuracy" else figures.loss
    finite = values[np.isfinite(values)]
    label = f"{name} over epochs: from {shown(finite[0])} to {shown(finite[-1])}." if len(finite) else name
    legend = [("second plain", "validation")]
    if best:
        legend.append(("ring", f"best epoch, {best[-1][0]:.0f}: {shown(best[-1][1])}"))
    svg = charts.curves(
        [charts.Series(epochs, values.tolist(), "second")],
        name=key,
        label=label,
        across="epoch",
        shares=key == "accuracy",
        mark=best[-1] if best else None,
    )
    return {"name": name, "svg": svg, "wide": None, "legend": legend, "note": "", "marks": []}


def _rate_chart(
    history: list[Any], epochs: list[float], steps: list[Any], at: np.ndarray, across: str
) -> dict[str, Any] | None:
    rates, x = _numbers(steps, "lr"), at.tolist()
    if not np.isfinite(rates).any():
        rates, x, across = _numbers(history, "lr"), epochs, "epoch"
    finite = rates[np.isfinite(rates)]
    if not len(finite) or np.ptp(finite) == 0:
        return None
    label = (
        f"Learning rate over {across}s: from {finite[0]:.3g} to {finite[-1]:.3g}, at most {finite.max():.3g}."
    )
    svg = charts.curves(
        [charts.Series(x, rates.tolist(), "first", steps=True)], name="rate", label=label, across=across
    )
    return {"name": "Learning rate", "svg": svg, "wide": None, "legend": [], "note": "", "marks": []}


def _epoch_table(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    every = -(-len(history) // EPOCHS_AT_MOST) if history else 1
    kept = [
        record
        for index, record in enumerate(history)
        if index % every == 0 or record.get("best") or index + 1 == len(history)
    ][-2 * EPOCHS_AT_MOST :]
    columns = [
        ("train_loss", "training loss", figures.loss),
        ("validation_loss", "validation loss", figures.loss),
        ("accuracy", "accuracy", figures.percent),
        ("rmse", "RMSE", figures.loss),
        ("perplexity", "perplexity", figures.loss),
        ("bits_per_character", "bits per character", figures.loss),
        ("lr", "learning rate", lambda value: f"{value:.3g}"),
        ("seconds", "time", figures.duration),
    ]
    present = [column for column in columns if any(record.get(column[0]) is not None for record in kept)]
    return {
        "columns": [name for _, name, _ in present],
        "rows": [
            {
                "epoch": record["epoch"],
                "best": bool(record.get("best")),
                "cells": [
                    "–" if record.get(key) is None else shown(record[key]) for key, _, shown in present
                ],
            }
            for record in kept
        ],
        "note": f"{len(kept)} of {len(history)} epochs: every {every}th, the best and the last."
        if every > 1
        else "",
    }


# ---- classes ----


def _confusion(report: Report) -> dict[str, Any] | None:
    """Returns the matrix ready to print: for each cell its text and the class of its shade."""
    test = report.get("test") or {}
    if not test.get("confusion"):
        return None
    counts = np.asarray(test["confusion"], dtype=np.int64)
    names = [_cut(name, "name") for name in (report.get("classes") or range(len(counts)))]
    small = len(counts) <= 12
    rows = []
    if len(counts) <= CLASSES_AT_MOST:
        # The root makes single mistakes visible beside hundreds of right answers.
        levels = np.ceil(10 * np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))).astype(int)
        for row, name in enumerate(names):
            cells = [
                {
                    "text": f"{count:,}" if count or small else "",
                    "shade": f"{'r' if column == row else 'w'}{level}",
                }
                for column, (count, level) in enumerate(zip(counts[row].tolist(), levels[row].tolist()))
            ]
            rows.append({"name": name, "cells": cells})
    return {
        "names": names,
        "rows": rows,
        "upright": all(len(name) <= 3 for name in names),
        "dense": len(counts) > 25,
        "pairs": _pairs(counts, names),
    }


def _pairs(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the mistakes made most often, at most 10."""
    if len(counts) < 3:
        return []
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [(*divmod(int(flat), len(counts)), int(wrong.flat[flat])) for flat in order]
    return [
        {
            "true": names[true],
            "predicted": names[predicted],
            "count": f"{count:,}",
            "share": figures.percent(count / max(int(counts[true].sum()), 1)),
        }
        for true, predicted, count in pairs
        if count
    ]


def _two_classes(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns how well the class that is looked for is ranked, and what its thresholds come to, in words."""
    if not scores or scores.get("roc_auc") is None:
        return None
    facts = [
        ("ROC AUC", f"{scores['roc_auc']:.4f}"),
        ("PR AUC", f"{scores['average_precision']:.4f}"),
        *(
            (
                f"Sensitivity at specificity {at['specificity'] * 100:.0f} %",
                figures.percent(at["sensitivity"]),
            )
            for at in scores.get("at_specificity", ())
        ),
    ]
    at = scores.get("at_threshold") or {}
    words = (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"), ("specificity", "Specificity"))
    return {
        "name": figures.printable(scores["class"]),
        "share": figures.percent(scores["share"]),
        "facts": facts,
        "threshold": f"{at['threshold']:.3g}" if at else "",
        "at": [(title, figures.percent(at[key])) for key, title in words if at and at.get(key) is not None],
    }


def _doubt(report: Report) -> dict[str, Any] | None:
    """Returns how sure the network was beside how often right, and what its guard flags, in words; None where neither is known."""
    found, guard = report.get("calibration"), report.get("guard")
    flags = ""
    if guard and guard.get("flagged") is not None:
        flags = (
            f"Of {guard['tested']:,} test examples {figures.percent(guard['flagged'])} are flagged as unlike the training data; "
            f"of validation examples at most {figures.percent(guard['share'])} were to be."
        )
    elif guard and guard.get("reason"):
        flags = f"Nothing tells input that is unlike the training data: {guard['reason']}."
    if not found and not flags:
        return None
    return {"chart": _reliability(found) if found else None, "words": _calibrated(found), "guard": flags}


def _calibrated(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    if found.get("reason"):
        error = figures.percent(found["ece_before"])
        return f"The probabilities are off by {error} on average and were not calibrated: {found['reason']}."
    return (
        f"The probabilities are off by {figures.percent(found['ece_after'])} on average, and were by "
        f"{figures.percent(found['ece_before'])} before they were calibrated by the temperature {found['temperature']:.3g}, "
        f"fitted on {found['examples']:,} validation examples."
    )


def _reliability(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the reliability diagram of the test part: how often the network was right over how sure it was."""
    calibrated = not found.get("reason")
    legend, series = [], []
    for key, colour, name in (("before", "second", "before"), ("after", "first", "calibrated")):
        rows = [row for row in found[key] if row["examples"] >= BIN_AT_LEAST]
        if not rows or (key == "before" and not calibrated):
            continue
        sure, right = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
        series.append(charts.Series(sure, right, colour, dashed=colour == "second"))
        legend.append((colour, name if calibrated else "as it is"))
    if not series:
        return None
    label = f"Share that was right over the probability that was given, for bins of test examples. {_calibrated(found)}"
    wide, narrow = (
        charts.shares(series, name=name, label=label, across="said", up="right", inches=inches)
        for name, inches in (("reliability-wide", charts.WIDE), ("reliability", charts.NARROW))
    )
    note = f"Bins of equal width; those with fewer than {BIN_AT_LEAST} examples are left out. On the line both are equal."
    return {
        "name": "How often right, over how sure",
        "svg": narrow,
        "wide": wide,
        "legend": legend,
        "note": note,
        "marks": [],
    }


def _per_class(per_class: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    if not per_class:
        return None
    rows = list(per_class)
    worst_first = len(rows) > ROWS_AT_FIRST
    if worst_first:
        rows.sort(key=lambda row: (row["f1"] is None, row["f1"] or 0.0))
    shown = [
        {
            "name": _cut(row["class"], "name"),
            "scores": [figures.percent(row[key]) for key in ("precision", "recall", "f1")],
            "bar": None if row["f1"] is None else f"{100 * row['f1']:.1f}",
            "support": f"{row['support']:,}",
        }
        for row in rows[:CLASSES_AT_MOST]
    ]
    note = f"The {len(shown)} of {len(rows)} classes with the lowest F1." if len(rows) > len(shown) else ""
    return {"rows": shown, "worst_first": worst_first, "note": note}


def _wrong(example: Mapping[str, Any], side: int = pictures.SIDE_AT_MOST) -> dict[str, Any]:
    image, probability = example.get("image"), example.get("probability")
    return {
        "picture": None if image is None else pictures.data_uri(image, side=side),
        "small": image is not None and max(np.asarray(image).shape[:2]) <= 64,
        "text": _cut(example.get("text") or "", "text"),
        "name": _cut(example.get("name") or "", "name"),
        "true": _cut(example["true"], "name"),
        "predicted": _cut(example["predicted"], "name"),
        "probability": "" if probability is None else figures.percent(probability),
    }


def _suspects(suspects: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the labels that may be wrong; None where nobody looked."""
    if suspects is None:
        return None
    shown = [_wrong(example, SUSPECTS_SIDE) for example in suspects["examples"][:SUSPECTS_AT_MOST]]
    return {"count": suspects["count"], "examples": shown}


# ---- regression ----


def _ahead(test: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns how a forecast's error grows with the rows ahead, beside the plain forecasts; None for what is no forecast."""
    steps = (test.get("steps") or {}).get("scaled_mse")
    if not steps:
        return None
    beside = test.get("beside") or {}
    rows = {"this network": {**test, "steps": steps}, **beside}
    colours = {
        "this network": ("first", False, "first"),
        "linear": ("second", True, "second"),
        "last value": ("ink", False, "ink"),
    }
    series: list[charts.Series] = []
    legend: list[tuple[str, str]] = []
    for name, row in reversed(rows.items()):
        colour, dashed, shape = colours.get(name, ("muted", False, "muted"))
        heights = [math.nan if value is None else value for value in row["steps"]]
        series.append(charts.Series(list(range(1, len(heights) + 1)), heights, colour, dashed=dashed))
        legend.insert(0, (shape, name))
    wide, narrow = (
        charts.curves(
            series,
            name=name,
            label=f"Scaled squared error over {len(steps):,} rows ahead, of the network and of plain forecasts.",
            across="row ahead",
            inches=inches,
        )
        for name, inches in (("ahead-wide", charts.WIDE), ("ahead", charts.NARROW))
    )
    return {
        "chart": {
            "name": "Scaled squared error",
            "svg": narrow,
            "wide": wide,
            "legend": legend,
            "note": "",
            "marks": [],
        },
        "rows": [
            (name, [figures.loss(row[key]) for key in ("rmse", "mae", "scaled_mse", "scaled_mae")])
            for name, row in rows.items()
        ],
        "columns": [
            (
                row["column"],
                [
                    "–" if row[key] is None else figures.loss(row[key])
                    for key in ("rmse", "mae", "scaled_mse", "scaled_mae")
                ],
            )
            for row in (test.get("per_column") or [])[:CLASSES_AT_MOST]
        ],
        "left_out": max(0, len(test.get("per_column") or []) - CLASSES_AT_MOST),
    }


def _predictions(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not values or not len(values["true"]):
        return None
    true, predicted = (np.asarray(values[key], dtype=float).reshape(-1) for key in ("true", "predicted"))
    finite = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[finite], predicted[finite]
    if not len(true):
        return None
    errors = predicted - true
    low, middle, high = np.quantile(errors, [0.05, 0.5, 0.95])
    span = (
        f"The median error is {figures.loss(middle)}; nine in ten lie between "
        f"{figures.loss(low)} and {figures.loss(high)}."
    ).replace("-", "\N{MINUS SIGN}")
    note = ""
    if len(true) > charts.DOTS_AT_MOST:
        note = (
            f"Of {len(true):,} examples, the 50 with the largest errors and evenly spaced others are drawn."
        )
    return {
        "scatter": charts.scatter(
            true,
            predicted,
            name="scatter",
            label=f"Predicted over true values of {len(true):,} test examples. {span}",
        ),
        "residuals": charts.histogram(
            errors,
            name="residuals",
            label=f"Histogram of predicted minus true. {span}",
            across="predicted − true",
        ),
        "span": span,
        "note": note,
    }


# ---- the rest ----


def finding_rows(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what `findings` in parts.html.jinja shows: findings of the examiner's JSON, the most serious first."""
    more = len(findings) - FINDINGS_AT_MOST
    rows = in_order(findings)
    return {
        "rows": [{**_finding(row), "id": f"finding-{place}"} for place, row in enumerate(rows, start=1)],
        "more": f"{more:,} more findings are in findings.json." if more > 0 else "",
    }


def in_order(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the findings that the page shows, in its order: the most serious first, at most 30."""
    rank = {"error": 0, "warning": 1}
    return sorted(findings, key=lambda finding: rank.get(str(finding.get("level")), 2))[:FINDINGS_AT_MOST]


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    where = []
    if finding.get("file"):
        where.append(
            f"{finding['file']}:{finding['line']}" if finding.get("line") is not None else finding["file"]
        )
    if finding.get("layer"):
        where.append(f"layer {finding['layer']}")
    if finding.get("step") is not None:
        where.append(f"since step {finding['step']}")
    level = str(finding.get("level") or "note")
    return {
        "code": _cut(finding.get("code") or "", "name"),
        "level": _cut(level, "name"),
        "tone": level if level in ("error", "warning", "advice") else "other",
        "title": _cut(finding.get("title") or finding.get("slug") or "", "text"),
        "where": _cut(" · ".join(where), "text"),
        "seen": _pairs_of(finding.get("seen"))[:PAIRS_AT_MOST],
        "expected": _pairs_of(finding.get("expected"))[:PAIRS_AT_MOST],
        "why": _cut(finding.get("why") or "", "text"),
        "fix": _cut(finding.get("fix") or "", "text"),
        "diff": _cut(finding.get("diff") or "", "text"),
        "sure": ", ".join(f"{key} {value}" for key, value in _pairs_of(finding.get("sure"))[:PAIRS_AT_MOST]),
        "consequences": _cut(", ".join(map(str, finding.get("consequences") or [])), "text"),
        "source": _cut(finding.get("source") or "", "value"),
        "silence": _cut(finding.get("silence") or "", "value"),
    }


def _pairs_of(values: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Returns (name, value) pairs as text; a dictionary inside is laid out as `outer.inner`."""
    rows: list[tuple[str, str]] = []
    for key, value in (values or {}).items():
        if isinstance(value, Mapping):
            rows += [(_cut(f"{key}.{name}", "name"), text) for name, text in _pairs_of(value)]
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            rows.append((_cut(key, "name"), _cut(text, "value")))
    return rows


def _file(file: Mapping[str, Any]) -> dict[str, str]:
    from urllib.parse import quote

    name, size = str(file["name"]), file.get("bytes")
    return {
        "name": _cut(name, "name"),
        # "./": a file called "javascript:x" is a file, not an address. No file system knows longer names.
        "address": "./" + quote(name) if len(name) <= 255 else "",
        "size": "" if size is None else _bytes(int(size)),
        "about": _cut(file.get("about") or "", "value"),
    }


def _diagram(svg: str) -> Markup:
    """Returns the drawing where it is small enough for the page."""
    return Markup(svg) if len(svg.encode("utf-8")) <= DIAGRAM_BYTES_AT_MOST else Markup("")


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
