"""A run as an exported file with its proof: what `netwright export` and `Run.export` do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netwright.data.series import SeriesSplit
from netwright.errors import ExportError, NetwrightError
from netwright.run import Run
from netwright.run_files import FROM_PYTHON
from netwright.shipping.artefacts import is_artefact, open_artefact, write_artefact, write_sidecar
from netwright.shipping.certificate import EXACT, INT8, Examples, certify
from netwright.shipping.formats import Format, Work, formats
from netwright.shipping.inputs import dtype_of
from netwright.shipping.sidecar import BATCH_AT_MOST

FOLDER = "export"
# Training examples from which the ranges of int8 are taken, and those that a graph is traced with.
CALIBRATION, TRACED = 256, 4


def export(
    run: Run,
    to: str,
    *,
    out: Path | None = None,
    int8: bool = False,
    batch: int | None = None,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Writes a run's network in the format `to`, proves it, and returns {"artefact", "format", "certificate", "notes"}.

    `out`: the file (default: export/model.<suffix> in the run's folder). `int8`: with weights and products in int8, in ONNX.
    `batch`: the artefact takes so many examples at a time (default: any number, where the format can). `tolerance`: the share of test
    decisions that may differ. Where the certificate fails, `certificate["passed"]` is False: the artefact is kept, and
    `open_artefact` refuses it.

    Raises:
        ExportError: an unfinished run, a format that cannot hold its network, a package that is not installed.
    """
    chosen = formats[to]
    _check_possible(run, to, int8=int8, batch=batch)
    path = _place(run, chosen, out, int8=int8)
    batch = chosen.batch if batch is None else batch
    allowed = INT8 if int8 else EXACT
    if tolerance is not None:
        allowed = replace(allowed, decisions=tolerance)
    work = _work(run, chosen, batch=batch, int8=int8)
    score_before = _score(run)
    sidecar = write_artefact(to, work, path)
    sidecar["certificate"] = certificate = certify(
        run.answering,
        open_artefact(path, unproven=True),
        raw_examples(run.data.test, classes=run.classes),
        tolerance=allowed,
        score_before=score_before,
        size=sidecar["bytes"],
        runtime=chosen.runs,
    )
    write_sidecar(path, sidecar)
    return {"artefact": str(path), "format": to, "certificate": certificate, "notes": sidecar["notes"]}


def raw_examples(part: Any, *, classes: tuple[str, ...] | None) -> Iterator[Examples]:
    """Yields a part of the data in batches, raw, with targets in the unit of the data."""
    dtype = getattr(torch, dtype_of(part.preparation))
    for rows in torch.arange(len(part)).split(part.evaluation_batch):
        known = part.known_targets(rows) if getattr(part, "horizon", None) else None
        # All targets of a series at once take `horizon` times the memory of its rows.
        targets = part.prepared(rows)[1] if isinstance(part, SeriesSplit) else part.targets[rows]
        if classes is None:
            targets = part.preparation.in_units(targets)
        yield Examples(part.raw(rows).to(dtype), targets, known)


def _check_possible(run: Run, to: str, *, int8: bool, batch: int | None) -> None:
    if not run.finished:
        raise ExportError(
            f"{run.path} is not finished: what is exported is what was tested.\nGo on with: netwright resume {run.path}"
        )
    if run.meaning["task"] == "language":
        raise ExportError(
            f"{run.path} is a language model, which answers token by token: the formats here hold one answer for one example.\n"
            f"Write with it: netwright write {run.path}"
        )
    if to == "tensorflow":
        from netwright.shipping.formats.tensorflow import HOW

        raise ExportError(HOW)
    if batch is not None and batch > BATCH_AT_MOST:
        raise ExportError(f"--batch is at most {BATCH_AT_MOST:,} examples at a time, not {batch:,}")
    if int8 and to != "onnx":
        raise ExportError(
            f"--int8 goes with --to onnx, whose runtime computes in int8; {to} is written in float32"
        )


def _place(run: Run, chosen: Format, out: Path | None, *, int8: bool) -> Path:
    """Returns where the artefact goes; raises ExportError where that is not possible."""
    if out is None:
        path = run.path / FOLDER / f"model{'.int8' if int8 else ''}{chosen.suffix}"
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"{path.parent}: cannot be made: {error.strerror}\nName another place: --out FILE"
            ) from None
        return path
    if out.is_dir():
        raise ExportError(
            f"{out} is a folder: --out is the file to write, such as {out / f'model{chosen.suffix}'}"
        )
    if not out.parent.is_dir():
        raise ExportError(f"{out}: there is no folder {out.parent}")
    if out.exists() and not is_artefact(out):
        raise ExportError(f"{out} is there already and no artefact of netwright: it is not written over")
    return out


def _work(run: Run, chosen: Format, *, batch: int | None, int8: bool) -> Work:
    part: Any = run.data.test if len(run.data.test) >= 2 else run.data.train
    if not len(run.data.test):
        raise ExportError(
            f"{run.path} was trained without a test part, so nothing can be proven.\nSet one aside: --set data.test_share=0.2"
        )
    dtype = getattr(torch, dtype_of(run.preparation))
    calibration = _spread(run.data.train, CALIBRATION).to(dtype) if int8 else None
    source, file = (None, None) if chosen.traced else _plain(run)
    example = _spread(part, TRACED).to(dtype)
    return Work(run.shipped.eval(), run.card(), example, batch, calibration, source, file)


def _spread(part: Any, count: int) -> Tensor:
    """Returns raw examples from all over a part."""
    rows = torch.linspace(0, len(part) - 1, min(count, len(part))).round().long()
    return part.raw(rows)


def _score(run: Run) -> float | None:
    """Returns the accuracy, or the RMSE, that `netwright test` prints."""
    scores = run.test()
    return scores["rmse" if run.classes is None else "accuracy"]


def _plain(run: Run) -> tuple[str | None, Path | None]:
    """Returns the network as plain PyTorch, or the person's file that defines it; (None, None) where there is neither."""
    from netwright.eject import plain_network

    name = run.recipe.network.name
    if name == FROM_PYTHON:
        raise ExportError(
            "safetensors ships a network by its class, and this one was a Python object: use --to onnx or --to pt2"
        )
    if ".py:" in name:
        return None, Path(name.rpartition(":")[0])
    try:
        return plain_network(run), None
    except NetwrightError:
        return None, None
