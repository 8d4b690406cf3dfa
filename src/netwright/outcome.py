"""What the report of a run shows, gathered from its folder and its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.columns import shown_cells
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.inventory import suspects
from netwright.report.html import Report
from netwright.run import Run
from netwright.run_files import ENVIRONMENT, FINDINGS, GUARD, MEANING, METRICS, RECIPE, SPLIT, WEIGHTS

if TYPE_CHECKING:
    from netwright.data import Data

WRONG_AT_MOST = 24


def report_of(
    run: Run,
    result: dict[str, Any],
    data: Data,
    module: nn.Module,
    *,
    answers: Tensor | None,
    targets: Tensor | None,
) -> Report:
    """Gathers what the report shows."""
    records = run.history
    report: Report = {
        "title": run.title,
        "task": data.task,
        "network": str(module),
        "parameters": result["parameters"],
        "history": [shown(record) for record in records if "train_loss" in record],
        "steps": [record for record in records if "train_loss" not in record],
        "test": result["test"],
        "slices": result["slices"],
        "data": result["data"],
        "classes": None if data.classes is None else list(data.classes),
        "wrong": [],
        "scatter": None,
        "notes": list(data.notes),
        "recipe": run.recipe.to_yaml(),
        "environment": run.environment,
        "files": _files(run.path),
        "seconds": result["seconds"],
        "cost": {key: result.get(key) for key in ("validating", "energy", "memory", "examples_per_second")},
        "epochs": run.recipe.train.epochs,
        "interrupted": False,
        "run": str(run.path),
    }
    if answers is not None and targets is not None:
        if data.classes is None:
            report["scatter"] = {
                "true": targets.reshape(-1).tolist(),
                "predicted": answers.reshape(-1).tolist(),
            }
        else:
            report["wrong"] = most_wrong(data, data.classes, answers, targets)
    return report


def most_wrong(
    data: Data, classes: tuple[str, ...], probabilities: Tensor, targets: Tensor
) -> list[dict[str, Any]]:
    """Returns the test examples that were misjudged with the greatest confidence, the worst first."""
    confidence, predicted = probabilities.max(dim=1)
    wrong = torch.nonzero(predicted != targets).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:WRONG_AT_MOST].tolist()
    return [
        {
            "image": picture(data, data.test, index),
            "text": text_of(data.test, index),
            "name": data.test.names[index] if data.test.names else f"test example {index}",
            "true": classes[int(targets[index])],
            "predicted": classes[int(predicted[index])],
            "probability": float(confidence[index]),
        }
        for index in worst
    ]


def suspicious(data: Data, answers: dict[str, tuple[Tensor, Tensor] | None]) -> dict[str, Any] | None:
    """Returns what the report shows of labels that may be wrong: {`count`, `examples`, the surest first}; None without classes.

    `answers`: {part: (probabilities (N, C), targets (N,))} of parts that were not trained on.
    """
    found = suspects(data, answers)
    if found is None or data.classes is None:
        return None
    shown = []
    for name, place, label, guess, _ in found[1]:
        part, given = getattr(data, name), answers[name]
        assert given is not None
        shown.append(
            {
                "image": picture(data, part, place),
                "text": text_of(part, place),
                "name": part.names[place] if part.names else f"{name} example {place}",
                "true": data.classes[label],
                "predicted": data.classes[guess],
                "probability": float(given[0][place, guess]),
            }
        )
    return {"count": found[0], "examples": shown}


def text_of(part: Any, index: int) -> str | None:
    """Returns a raw example in words, a text or the cells of a table's row; None for what has none."""
    texts = getattr(part, "texts", None)
    if texts is not None:
        return texts[index]
    if not isinstance(part.preparation, TablePreparation):
        return None
    raw = part.raw(torch.tensor([index]))[0].tolist()
    return " · ".join(f"{name} {cell}" for name, cell in shown_cells(raw, part.preparation.columns))


def picture(data: Data, part: Any, index: int) -> np.ndarray | None:
    """Returns an example as (H, W) or (H, W, 3) uint8: an image, or a recording's spectrogram; None where it is neither."""
    inputs = getattr(part, "inputs", None)
    if inputs is None and hasattr(part, "raw"):  # on disk
        inputs, index = part.raw(slice(index, index + 1)), 0
    if inputs is not None and isinstance(part.preparation, SoundPreparation):
        return part.preparation.picture(inputs[index])
    if inputs is None or inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
        return None
    pixels = inputs[index].float()
    highest = getattr(data.preparation, "highest", None)
    # Floats have no known white: the example's own range is stretched over it.
    low, high = (0.0, float(highest)) if highest else (float(pixels.min()), float(pixels.max()))
    shades = ((pixels - low) / max(high - low, 1e-12) * 255).round().clamp(0, 255).byte().cpu().numpy()
    return shades[0] if len(shades) == 1 else shades.transpose(1, 2, 0)


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """Returns an epoch's record under the names that the terminal and the report show."""
    return {
        key.removeprefix("validation_") if key != "validation_loss" else key: value
        for key, value in record.items()
    }


_ABOUT = {
    RECIPE: "everything that decided the run",
    METRICS: "one record every so many steps, and one an epoch",
    WEIGHTS: "the weights that test and predict use",
    GUARD: "what tells input unlike the training data",
    SPLIT: "which examples, as read, were trained on, validated and tested",
    MEANING: "what inputs and outputs mean, and what prepares them",
    ENVIRONMENT: "versions, threads, device",
    FINDINGS: "what the examiner said",
}


def _files(folder: Path) -> list[dict[str, Any]]:
    return [
        {"name": name, "bytes": (folder / name).stat().st_size, "about": about}
        for name, about in _ABOUT.items()
        if (folder / name).exists()
    ]
