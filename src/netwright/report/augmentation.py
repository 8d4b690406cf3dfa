"""A picture of what augmentation makes of training examples: as they are, and as they come in each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from netwright.data import Data

EXAMPLES, EPOCHS = 6, 7


def draw_augmentation(data: Data, path: Path, *, seed: int) -> int:
    """Writes a PNG with a row for each of a few training examples and a column for each of the first epochs.

    `data` with its augmentation (`Data.with_augmentation`). What is drawn is what the network gets, as pictures again:
    images less their preparation, recordings as spectrograms. Where examples are mixed, they are here among those
    shown. Returns the number of examples.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _chosen(data.train.targets, classes=data.classes is not None)
    columns = [
        data.train.prepared(rows)[0],
        *(_in_epoch(data, rows, seed=seed, epoch=epoch) for epoch in range(EPOCHS)),
    ]
    height, width = columns[0].shape[2:]
    shape = (1.3 * (EPOCHS + 1.6), 1.3 * len(rows) * min(2.0, max(0.5, height / width)) + 0.4)
    figure = Figure(figsize=shape, dpi=120, layout="compressed")
    FigureCanvasAgg(figure)
    places = figure.subplots(len(rows), EPOCHS + 1, squeeze=False)
    for number, prepared in enumerate(columns):
        for place, example in zip(places[:, number], prepared, strict=True):
            pixels, grey = _as_pixels(example, data)
            place.imshow(pixels, cmap=grey, vmin=0, vmax=1, origin="upper" if grey != "viridis" else "lower")
            place.set(xticks=[], yticks=[])
        places[0, number].set_title(f"epoch {number}" if number else "as it is", fontsize=9)
    for place, target in zip(places[:, 0], data.train.targets[rows], strict=True):
        name = (
            data.classes[int(target)] if data.classes is not None else f"{float(target.reshape(-1)[0]):.3g}"
        )
        place.set_ylabel(name[:16], fontsize=9)
    figure.savefig(path, format="png")
    return len(rows)


def _chosen(targets: Tensor, *, classes: bool) -> Tensor:
    """Returns the first example of each class, and then the next ones, EXAMPLES in all, in their order."""
    targets = targets.cpu()
    firsts = np.unique(targets.numpy(), return_index=True)[1] if classes else np.arange(0)
    rest = np.setdiff1d(np.arange(len(targets)), firsts)
    return torch.from_numpy(np.sort(np.concatenate([np.sort(firsts), rest])[:EXAMPLES]))


def _in_epoch(data: Data, rows: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Returns these training examples, prepared, as `epoch` changes and mixes them."""
    train = data.train
    draws = train.draws(seed=seed, epoch=epoch)
    x, targets = next(train.batches(len(rows), rows, 0, draws))
    return train.mixing(x, targets, (seed, epoch, 0))[0] if train.mixing else x


def _as_pixels(example: Tensor, data: Data) -> tuple[np.ndarray, str]:
    """Returns (H, W) or (H, W, 3) from 0 to 1, and the colour map of the former."""
    preparation = data.preparation
    if preparation.kind != "image":
        low, high = example.min(), example.max()
        return ((example[0] - low) / (high - low).clamp(min=1e-12)).numpy(), "viridis"
    raw = (example * preparation.std + preparation.mean) * preparation.scale
    highest = getattr(preparation, "highest", None)
    black, white = (0.0, float(highest)) if highest else (float(raw.min()), float(raw.max()))
    pixels = ((raw - black) / max(white - black, 1e-12)).clamp(0, 1)
    return (pixels.permute(1, 2, 0) if len(pixels) == 3 else pixels[0]).numpy(), "gray"
