"""`netwright predict RUN|ARTEFACT FILE...`: labels and probabilities for new inputs."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.arguments import AsJson, RunOrArtefact, opened, print_json
from netwright.errors import DataError


def register(app: typer.Typer) -> None:
    app.command("predict")(predict)


def predict(
    run: RunOrArtefact,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files or folders; - reads JSON rows from standard input."),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write .csv, or JSON lines for any other ending.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict labels with their probabilities, or values, for new raw inputs."""
    answering = opened(run)
    records: list[dict[str, Any]] = []
    files = [name for name in inputs if name != "-"]
    if files:
        records += answering.predict([Path(name) for name in files])
    if "-" in inputs:
        records += answering.predict(read_rows(_standard_input()))
    if out is not None:
        out.write_text(as_csv(records) if out.suffix == ".csv" else as_lines(records), encoding="utf-8")
    if as_json:
        print_json(records)
    elif out is None:
        for record in records:
            print(in_words(record))


def _standard_input() -> str:
    """Returns what is piped in; what cannot be text is named as such."""
    if sys.stdin is None:
        raise DataError("standard input is closed: pipe JSON rows into - (or give files)")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not text: {error}. Expected JSON rows.") from None


def read_rows(text: str) -> list[Any]:
    """Returns the examples in a JSON list of rows, or in JSON lines of one row each."""
    try:
        try:
            rows = json.loads(text)
        except json.JSONDecodeError:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"standard input is not JSON: {error}. Expected a list of rows, or one row a line."
        ) from None
    if not isinstance(rows, list) or not rows:
        raise DataError("standard input holds no rows: expected a JSON list of rows, or one row a line.")
    return rows


def as_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_csv(records: list[dict[str, Any]]) -> str:
    """Returns a table: input, label, and a column `p(class)` for each class; or input and value; or a forecast's rows."""
    if records and "columns" in records[0]:
        return _forecasts_as_csv(records)
    classes = list(records[0].get("probabilities", {})) if records else []
    header = ["input", "label", *(f"p({name})" for name in classes)] if classes else ["input", "value"]
    guarded = any(record.get("unlike_training") is not None for record in records)
    header += ["unlike_training"] if guarded else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for record in records:
        shares = [f"{p:.6g}" for p in record["probabilities"].values()] if classes else []
        answer = [record["label"], *shares] if classes else [record["value"]]
        writer.writerow([record["input"], *answer, *(_told(record) if guarded else [])])
    return text.getvalue()


def _forecasts_as_csv(records: list[dict[str, Any]]) -> str:
    """Returns a line for each row ahead: input, time (or the number of the row), and a value for each column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    guarded = records[0].get("unlike_training") is not None
    header = ["input", "time" if "times" in records[0] else "row", *records[0]["columns"]]
    writer.writerow([*header, *(["unlike_training"] if guarded else [])])
    for record in records:
        for time, values in _rows_ahead(record):
            numbers = [f"{value:.8g}" for value in values]
            writer.writerow([record["input"], time, *numbers, *(_told(record) if guarded else [])])
    return text.getvalue()


def _told(record: dict[str, Any]) -> list[str]:
    """Returns the cell of the column `unlike_training`."""
    return ["true" if record["unlike_training"] else "false"]


def _rows_ahead(record: dict[str, Any]) -> list[tuple[Any, list[float]]]:
    rows = [row if isinstance(row, list) else [row] for row in record["value"]]
    return list(zip(record.get("times", range(1, len(rows) + 1)), rows, strict=True))


def _forecast_in_words(record: dict[str, Any]) -> str:
    lines = [f"{record['input']}  {'  '.join(record['columns'])}{_remarks(record)}"]
    lines += [
        f"  {time}  {'  '.join(f'{value:.5g}' for value in values)}" for time, values in _rows_ahead(record)
    ]
    return "\n".join(lines)


def in_words(record: dict[str, Any]) -> str:
    """Returns one line: the input, the label and how probable it is, and the runner-up; of a forecast one for each row ahead."""
    if "columns" in record:
        return _forecast_in_words(record)
    if "value" in record:
        return f"{record['input']}  {record['value']}{_remarks(record)}"
    ranked = sorted(record["probabilities"].items(), key=lambda item: -item[1])[:2]
    shown = "  ".join(f"{name} {share:.1%}" for name, share in ranked)
    return f"{record['input']}  {record['label']}  ({shown}){_remarks(record)}"


def _remarks(record: dict[str, Any]) -> str:
    said = "".join(f"  {remark}" for remark in record.get("remarks", ()))
    return f"  unlike the training data{said}" if record.get("unlike_training") else said
