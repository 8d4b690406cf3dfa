"""`inspect`: a network, layer by layer, on a real example."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.errors import DataError, NetworkError, RecipeError, RunFolderError

if TYPE_CHECKING:
    import numpy as np

    from netwright.explain.diagram import Diagram
    from netwright.explain.structure import Parameter, Structure
    from netwright.explain.tour import Tour
    from netwright.report.tour import Seen
    from netwright.run import Run

TOGETHER = 3
# Sides of images that are tried where nothing says the size, and lengths of sequences.
SIDES, LENGTH = (32, 28, 64, 224), 16


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a network is, and what it did with an example. Printed it is the tree and the tour; a notebook shows the page."""

    title: str
    source: str
    structure: Structure
    tour: Tour
    parameters: Sequence[Parameter]
    diagram: Diagram
    together: Tour | None = None
    picture: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        from netwright.report.tour import as_text

        return as_text(self._seen())

    def _repr_html_(self) -> str:
        from netwright.report.tour import render_cell

        return render_cell(self._seen())

    def html(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, one self-contained file, and returns its path; raises RunFolderError where it cannot be written."""
        from netwright.report.tour import write_tour

        return write_tour(path, self._seen())

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but pictures in JSON's types."""
        return {
            "title": self.title,
            "source": self.source,
            **self.extra,
            **self.structure.to_dict(),
            "tour": self.tour.to_dict(),
            "together": None if self.together is None else self.together.to_dict()["stops"],
            "named_parameters": [parameter.to_dict() for parameter in self.parameters],
            "notes": list(self.notes),
        }

    def _seen(self) -> Seen:
        from netwright.explain.terms import words_for
        from netwright.report.tour import Seen

        return Seen(
            self.title,
            self.source,
            self.structure,
            self.tour,
            self.parameters,
            self.diagram,
            words_for(self.structure, self.tour, self.parameters),
            together=self.together,
            picture=self.picture,
            notes=self.notes,
        )


def inspect(module: nn.Module, batch: Any, *, loss: Callable[[Any], Tensor] | None = None) -> Inspection:
    """Returns what `module` is and what it does with `batch`, from one forward pass: print it, or call `.html(path)`.

    `batch`: a tensor, a tuple (positional arguments) or a dictionary (keyword arguments) of what `forward` takes. `loss` makes a number
    of the outputs, whose gradient is followed back; None takes the sum of each example's largest output. The network runs in
    evaluation mode and is left as it was: weights, buffers, gradients, hooks, modes and random generators. Raises NetworkError
    for what is no module, and where a layer refuses its input.

    >>> found = inspect(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.zeros(2, 4))
    >>> found.structure.parameters, found.structure.products, [stop.kind for stop in found.tour.stops]
    (67, 112, ['Linear', 'ReLU', 'Linear'])
    """
    if not isinstance(module, nn.Module):
        if isinstance(module, type) and issubclass(module, nn.Module):
            raise NetworkError(
                f"inspect takes a network, and {module.__name__} is its class: make one first, {module.__name__}(...)"
            )
        raise NetworkError(f"inspect takes a network (an nn.Module), not a {type(module).__name__}")
    return _inspection(module, batch, title=type(module).__name__, loss=loss)


def _inspection(
    module: nn.Module,
    batch: Any,
    *,
    title: str,
    source: str = "",
    loss: Callable[[Any], Tensor] | None = None,
    together: Any = None,
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> Inspection:
    from netwright.explain.diagram import diagram_of_trace
    from netwright.explain.structure import parameters_of, structure_of
    from netwright.explain.tour import tour_of
    from netwright.explain.trace import trace
    from netwright.explain.values import picture_of

    watched = trace(module, batch, loss=loss)
    followed, refused = _together(module, together)
    shapes = ", ".join(f"{spec.size} {spec.dtype}" for spec in watched.inputs)
    first = batch if isinstance(batch, Tensor) else None
    return Inspection(
        title,
        source or f"The input: {shapes}.",
        structure_of(watched),
        tour_of(watched),
        parameters_of(watched),
        diagram_of_trace(watched),
        together=followed,
        picture=None if first is None or first.shape[1:2] not in ((1,), (3,)) else picture_of(first),
        notes=(*notes, *watched.notes, *refused),
        extra=extra or {},
    )


def _together(module: nn.Module, batch: Any) -> tuple[Tour | None, list[str]]:
    """Returns the tour of a mini-batch, or what the network said to it: one that takes a single example may refuse several."""
    from netwright.explain.tour import tour_of
    from netwright.explain.trace import trace

    if batch is None:
        return None, []
    try:
        return tour_of(trace(module, batch)), []
    except NetworkError as error:
        return None, [f"It takes one example, but not {TOGETHER} at once: {' '.join(str(error).split())}"]


def inspect_source(
    source: str,
    *,
    example: Path | None = None,
    shape: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Inspection:
    """Returns the inspection of a run's folder, or of the network in `file.py:Name`.

    `example`: a file with one example; of a run, as its preparation reads it. `shape`: the shapes of a file's inputs without N, such as
    "1x28x28" or, for two inputs with whole numbers in the second, "3x32x32,16:int"; values are then random. Without either, a run's
    example is the first of its test part, and a file's shape is guessed from the first layer. `options`: arguments of the class.
    Raises NetwrightError.
    """
    from netwright.architectures.user_file import is_file_reference

    if is_file_reference(source):
        return _of_file(source, example, shape, options or {})
    from netwright.run import Run

    if shape is not None or options:
        raise RecipeError(
            "--input and --set network.* go with file.py:Name: a run knows its network and what it takes"
        )
    if Path(source).is_file():
        raise RunFolderError(f"{source} is a file: inspect takes a run's folder, or file.py:Name")
    if not Path(source).exists():
        raise RunFolderError(
            f"{source} is not a run: it does not exist.\n"
            "Expected a run's folder, or a network as file.py:Name. Of data, inspect draws the augmentation: give --augment."
        )
    return _of_run(Run(source), example)


def _of_run(run: Run, example: Path | None) -> Inspection:
    from netwright.training.losses import match_targets

    network = run.network
    if example is not None:
        x, together, said = _read_for(run, example)
        extra = {"run": str(run.path)}
        return _inspection(network, x, title=run.title, source=said, together=together, extra=extra)
    try:
        part = run.data.test if len(run.data.test) else run.data.validation
        x, targets = part.prepared(slice(0, TOGETHER))
    except DataError as error:
        raise DataError(f"{error}\nTo inspect without the data, give an example: --example FILE") from None
    loss = run.loss()

    def of_first(outputs: Any) -> Tensor:
        return loss(outputs, match_targets(targets[:1], loss, outputs))

    said = f"The example: the first of the test part{_label(run, part, targets)}, prepared as in training; the gradient is that of its loss."
    return _inspection(
        network,
        x[:1],
        title=run.title,
        source=said,
        loss=of_first,
        together=x if len(x) > 1 else None,
        extra={"run": str(run.path)},
    )


def _label(run: Run, part: Any, targets: Tensor) -> str:
    names = getattr(part, "names", None)
    name = f" ({names[0]})" if names else ""
    if run.classes is not None and targets.dim() == 1:
        return f"{name}, {run.classes[int(targets[0])]}"
    return f"{name}, {float(targets[0].reshape(-1)[0]):.4g}" if targets[0].numel() == 1 else name


def _read_for(run: Run, example: Path) -> tuple[Tensor, Tensor | None, str]:
    """Returns the first example in a file or folder, prepared, the first three where there are several, and a sentence on them."""
    read = list(islice(run.preparation.read_files([example]), TOGETHER))
    if not read:
        raise DataError(f"{example}: no example in it")
    prepare = run.preparation
    with torch.no_grad():
        x = prepare(prepare.together([read[0][1]]))
        several = prepare(prepare.together([raw for _, raw in read])) if len(read) > 1 else None
    return x, several, f"The example: {read[0][0]}, prepared as in training."


def _of_file(
    reference: str, example: Path | None, shape: str | None, options: Mapping[str, Any]
) -> Inspection:
    from netwright.architectures import network

    if example is not None and shape is not None:
        raise RecipeError(
            "--input gives the shape of random values and --example a file of real ones: leave one out"
        )
    shapes = None if shape is None else _shapes(shape)
    given: dict[str, Any] = {"input_shape": shapes[0][0]} if shapes else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = network(reference, **given, **options)
    title = reference.rpartition("/")[2]
    weights = "the network's weights are those it is made with"
    if example is not None:
        batch = _read_tensor(example)
        return _inspection(module, batch, title=title, source=f"The example: {example}; {weights}.")
    if shapes is not None:
        several = tuple(_random(module, one, whole) for one, whole in shapes)
        first = tuple(values[:1] for values in several)
        said = f"The input: random values; {weights}."
        return _inspection(module, first, title=title, source=said, together=several)
    return _guessed(module, title, weights)


def _shapes(text: str) -> list[tuple[tuple[int, ...], bool]]:
    """Returns shapes, and whether each is of whole numbers.

    >>> _shapes("1x28x28,16:int")
    [((1, 28, 28), False), ((16,), True)]
    """
    found = []
    for part in text.split(","):
        sides, _, kind = part.strip().lower().partition(":")
        numbers = sides.replace("×", "x").split("x")
        if kind not in ("", "int", "float") or not all(
            number.isdecimal() and int(number) for number in numbers
        ):
            raise RecipeError(
                f"--input is a shape without N, such as 1x28x28, not {part!r}.\n"
                "Several inputs are separated by commas; whole numbers such as tokens are 16:int."
            )
        found.append((tuple(map(int, numbers)), kind == "int"))
    return found


def _random(module: nn.Module, shape: Sequence[int], whole: bool) -> Tensor:
    """Returns a mini-batch (3, *shape) of normally distributed numbers, or of whole ones that every embedding has a row for."""
    draws = torch.Generator().manual_seed(0)
    if math.prod(shape) > 10**9:
        raise RecipeError(f"an input of {math.prod(shape):,} numbers is too large")
    if whole:
        rows = [
            part.num_embeddings
            for part in module.modules()
            if isinstance(part, (nn.Embedding, nn.EmbeddingBag))
        ]
        return torch.randint(0, min(rows, default=2), (TOGETHER, *shape), generator=draws)
    kinds = [parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()]
    return torch.randn((TOGETHER, *shape), generator=draws).to(kinds[0] if kinds else torch.float32)


def _guessed(module: nn.Module, title: str, weights: str) -> Inspection:
    refusal: NetworkError | None = None
    for shape, whole in _guesses(module):
        said = f"{'×'.join(map(str, shape))} {'whole numbers' if whole else 'random values'}"
        several = _random(module, shape, whole)
        try:
            return _inspection(
                module,
                several[:1],
                title=title,
                source=f"The input: {said}; {weights}.",
                notes=[
                    f"The shape {'×'.join(map(str, shape))} is guessed from the first layer: --input or --example says it."
                ],
                together=several,
            )
        except NetworkError as error:
            refusal = refusal or error
    tried = (
        f"what its first layer suggests was refused: {refusal}"
        if refusal
        else "its first layer does not tell"
    )
    raise NetworkError(
        f"what {title} takes is not known; {tried}\nGive --input SHAPE, such as 1x28x28, or --example FILE."
    )


def _guesses(module: nn.Module) -> list[tuple[tuple[int, ...], bool]]:
    """Returns shapes that the first layer with weights would take, and whether of whole numbers."""
    for part in module.modules():
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
            return [((LENGTH,), True)]
        if isinstance(part, nn.LazyLinear):
            return [((LENGTH,), False)]
        if isinstance(part, nn.Linear):
            return [
                ((part.in_features,), False),
                ((LENGTH, part.in_features), False),
                *_images(part.in_features),
            ]
        if isinstance(part, nn.Conv2d):
            return [((part.in_channels, side, side), False) for side in SIDES]
        if isinstance(part, nn.Conv1d):
            return [((part.in_channels, length), False) for length in (64, 256, 1024)]
        if isinstance(part, nn.Conv3d):
            return [((part.in_channels, side, side, side), False) for side in (16, 32)]
        if isinstance(part, nn.RNNBase):
            return [((LENGTH, part.input_size), False)]
        if isinstance(part, nn.MultiheadAttention):
            return [((LENGTH, part.embed_dim), False)]
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm1d)):
            sides = (SIDES[0],) * 2 if isinstance(part, nn.BatchNorm2d) else ()
            return [((part.num_features, *sides), False)]
    return []


def _images(count: int) -> list[tuple[tuple[int, ...], bool]]:
    """Returns the square images of so many numbers, for a `forward` that flattens them."""
    found: list[tuple[tuple[int, ...], bool]] = []
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side > 1 and channels * side * side == count:
            found.append(((channels, side, side), False))
    return found


def _read_tensor(path: Path) -> Any:
    """Returns one example, with N first, from a picture, .npy or .pt file; raises DataError."""
    import numpy as np

    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        if path.suffix == ".pt":
            return torch.load(path, map_location="cpu", weights_only=True)
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        return _read_picture(path)
    except DataError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: cannot be read as an example: {said[:200]}\n"
            "Expected a picture, or a .npy or .pt file with what `forward` takes, N first."
        ) from None


def _read_picture(path: Path) -> Tensor:
    import numpy as np
    from PIL import Image

    from netwright.data.images import quiet_pillow

    with quiet_pillow(), Image.open(path) as picture:
        if picture.width * picture.height > 50_000_000:
            raise DataError(f"{path}: {picture.width} by {picture.height} pixels are too many for an example")
        pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "I;16", "I") else "RGB"))
    values = torch.from_numpy(pixels.copy()).float() / 255
    return (values[None] if values.dim() == 2 else values.permute(2, 0, 1))[None]
