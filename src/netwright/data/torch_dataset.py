"""Any map-style Dataset: into memory where its items are fixed and fit, else read as it goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from netwright.data.arrays import read_inputs
from netwright.data.generators import kept_generators
from netwright.data.labels import read_targets
from netwright.data.memory import free_memory
from netwright.data.source import AnyPart, DatasetPart, Part
from netwright.errors import DataError

STATISTICS_ITEMS = 2_000  # read once for mean and std, where the items are not in memory


def read_dataset(
    dataset: Any, *, where: str
) -> tuple[AnyPart, np.ndarray, bool, tuple[str, ...] | None, list[str]]:
    """Returns (part without targets, targets, are they images, classes the dataset names, notes).

    A few items are read four times over: where they come out equal, and all fit in half of the free
    memory, every item is read once, now, and held. Raises DataError naming the item.
    """
    where = f"{where} ({type(dataset).__name__})"
    if isinstance(dataset, IterableDataset):
        raise DataError(
            f"{where}: expected a Dataset with a length and items by index, came an IterableDataset.\n"
            "Collect its items, load(torch.stack(inputs), targets), or give a map-style Dataset over the same files."
        )
    count = _length(dataset, where)
    classes = _classes(dataset)
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        inputs, image, _, notes = read_inputs(dataset.tensors[0], where=f"{where} inputs")
        targets = read_targets(dataset.tensors[1], where=f"{where} targets")
        return Part(inputs, torch.zeros(count)), targets, image, classes, notes
    with kept_generators():
        first = RawItems(dataset, where)[0]
        fixed = _same_each_time(dataset, where, count)
        free = free_memory()
        if fixed and (free is None or count * first.numel() * first.element_size() < free / 2):
            inputs, targets = _hold(dataset, where, count)
            held: AnyPart = Part(inputs, torch.zeros(count), owned=True)
            return (
                held,
                targets,
                _is_image(first),
                classes,
                [f"the {count:,} items were read once and are held in memory"],
            )
        targets = _targets(dataset, where, count)
    why = "its items do not fit in memory" if fixed else "an item read twice comes out different"
    notes = [f"the items are read anew in every epoch, because {why}"]
    return (
        DatasetPart(RawItems(dataset, where), torch.zeros(count)),
        targets,
        _is_image(first),
        classes,
        notes,
    )


class RawItems(Dataset[Tensor]):
    """The inputs of a Dataset as raw tensors of one shape; an error names the item."""

    def __init__(self, dataset: Any, where: str, channels: int | None = None) -> None:
        self.dataset, self.where, self.channels = dataset, where, channels
        self.shape: torch.Size | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor:
        return self.convert(read_item(self.dataset, index, self.where)[0], index)

    def convert(self, value: Any, index: int) -> Tensor:
        """Returns the raw uint8 or float32 tensor of one item's input."""
        if hasattr(value, "getbands"):
            value = self._pixels(value)
        raw = torch.as_tensor(np.asarray(value)) if not isinstance(value, Tensor) else value.detach().cpu()
        if raw.dim() == 2:
            raw = raw[None]  # a grey image
        if raw.dim() not in (1, 3) or raw.is_complex():
            raise DataError(
                f"{self.where}: expected inputs of shape (D,), (H, W) or (C, H, W), came {tuple(raw.shape)} in item {index}"
            )
        if raw.dtype != torch.uint8 or raw.dim() == 1:
            raw = raw.float()
            if not bool(raw.isfinite().all()):
                raise DataError(
                    f"{self.where}: expected finite numbers, came NaN or infinite ones in item {index}"
                )
        self.shape = raw.shape if self.shape is None else self.shape
        if raw.shape != self.shape:
            raise DataError(
                f"{self.where}: expected inputs of one shape, {tuple(self.shape)}, came {tuple(raw.shape)} in item {index}.\n"
                "Resize the items in the Dataset's transform."
            )
        return raw

    def _pixels(self, image: Any) -> np.ndarray:
        from netwright.data.images import decode_image

        if self.channels is None:
            self.channels = 1 if image.mode in ("1", "L", "LA", "I", "I;16") else 3
        return decode_image(image, self.channels, image.height, image.width)


def read_item(dataset: Any, index: int, where: str) -> tuple[Any, Any]:
    """Returns (input, target) of one item; raises DataError for an item that is no such pair."""
    item = dataset[index]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        count = f" of {len(item)}" if isinstance(item, (tuple, list, dict)) else ""
        raise DataError(
            f"{where}: expected items (input, target), came {type(item).__name__}{count} in item {index}"
        )
    return item[0], item[1]


def sample(dataset: Dataset[Tensor], count: int) -> Tensor:
    """Returns evenly spaced items, at most STATISTICS_ITEMS, the generators left as they were."""
    with kept_generators():
        places = np.unique(np.linspace(0, count - 1, min(count, STATISTICS_ITEMS)).astype(int))
        return torch.stack([dataset[int(place)] for place in places])


def _length(dataset: Any, where: str) -> int:
    try:
        count = len(dataset)
    except TypeError:
        raise DataError(f"{where}: expected a Dataset with a length, came one without __len__") from None
    if not count:
        raise DataError(f"{where}: expected items, came an empty Dataset")
    return count


def _is_image(raw: Tensor) -> bool:
    return raw.dim() == 3


def _classes(dataset: Any) -> tuple[str, ...] | None:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _same_each_time(dataset: Any, where: str, count: int) -> bool:
    """A random flip leaves an item as it was half of the time: 4 items, 4 readings find it in 4,095 of 4,096 cases."""
    for place in sorted({0, count // 3, 2 * count // 3, count - 1}):
        items = RawItems(dataset, where)
        seen = read_item(dataset, place, where)
        raw = items.convert(seen[0], place)
        for _ in range(3):
            value = read_item(dataset, place, where)[0]
            again = RawItems(dataset, where, items.channels).convert(value, place)
            if again.shape != raw.shape or not torch.equal(again, raw):
                return False
    return True


def _hold(dataset: Any, where: str, count: int) -> tuple[Tensor, np.ndarray]:
    channels = None
    while True:
        items = RawItems(dataset, where, channels)
        inputs, targets = None, []
        for index in range(count):
            value, target = read_item(dataset, index, where)
            if items.channels == 1 and getattr(value, "mode", "L") not in ("1", "L", "LA", "I", "I;16"):
                channels = 3  # a colour image among grey ones: begin again, in colour
                break
            raw = items.convert(value, index)
            inputs = torch.empty((count, *raw.shape), dtype=raw.dtype) if inputs is None else inputs
            inputs[index] = raw
            targets.append(target)
        else:
            assert inputs is not None
            return inputs, _column(targets, where)


def _targets(dataset: Any, where: str, count: int) -> np.ndarray:
    """Returns the targets, from `.targets` where they agree with a few items, else from every item."""
    known = _listed_targets(dataset)
    if known is not None and len(known) == count:
        places = sorted({0, count // 2, count - 1})
        if all(_plain(known[place]) == _plain(read_item(dataset, place, where)[1]) for place in places):
            return _column(list(known), where)
    return _column([read_item(dataset, index, where)[1] for index in range(count)], where)


def _listed_targets(dataset: Any) -> Any:
    if isinstance(dataset, Subset):
        inner = _listed_targets(dataset.dataset)
        return None if inner is None else [inner[index] for index in dataset.indices]
    targets = getattr(dataset, "targets", None)
    return targets if isinstance(targets, (list, tuple, Tensor, np.ndarray)) else None


def _plain(target: Any) -> Any:
    return target.tolist() if isinstance(target, (Tensor, np.ndarray, np.generic)) else target


def _column(targets: list[Any], where: str) -> np.ndarray:
    try:
        return read_targets(np.asarray([_plain(target) for target in targets]), where=f"{where} targets")
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where} targets: expected targets of one shape, came different ones") from None
