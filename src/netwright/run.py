"""A run's folder: what was decided, what happened, and the network that came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from netwright.errors import CheckpointError, DataError, RecipeError, RunFolderError
from netwright.recipe import Recipe
from netwright.run_files import (
    ENVIRONMENT,
    FROM_PYTHON,
    GUARD,
    MEANING,
    METRICS,
    PRETRAINED,
    RECIPE,
    RESULT,
    WEIGHTS,
)
from netwright.training.distributed import ALONE, Processes, put_weights
from netwright.training.evaluation import (
    evaluation_mode,
    forecast_scores,
    in_units,
    outputs_of,
    token_scores,
)
from netwright.training.losses import match_targets, meaning_of, to_probabilities

if TYPE_CHECKING:
    from netwright.data import Data, Preparation
    from netwright.explaining import Explanation
    from netwright.shipping import Answering, Card, Guard, Shipped


class Run:
    """A finished or interrupted run.

    Args:
        path: its folder, which may have been moved or renamed.
        network, data: only for a run that was started from Python with objects of yours, which a folder
            cannot hold: the same module (its weights are read from the run) and the same data.

    Raises:
        RunFolderError: the folder is not a run.

    A run whose network is a `.py` file keeps a copy of that file and executes it: open only runs of people
    whose programs you would run. Everything else in a run is read as data.
    """

    def __init__(
        self, path: str | Path, *, network: nn.Module | None = None, data: Data | None = None
    ) -> None:
        self.path = Path(path)
        if not (self.path / RECIPE).is_file():
            what = "holds no recipe.yaml" if self.path.is_dir() else "does not exist"
            raise RunFolderError(
                f"{self.path} is not a run: it {what}.\nExpected a folder that `netwright fit` wrote, such as runs/digits-mlp-1."
            )
        self._network, self._data = network, data

    def __repr__(self) -> str:
        state = "finished" if self.finished else "not finished"
        return f"Run({str(self.path)!r}, {state})"

    @cached_property
    def recipe(self) -> Recipe:
        """What decided the run."""
        return Recipe.build(Recipe.read(self.path / RECIPE))

    @property
    def result(self) -> dict[str, Any] | None:
        """What `netwright fit --json` printed; None while the run is not finished."""
        return self._read_json(RESULT) if (self.path / RESULT).exists() else None

    @property
    def finished(self) -> bool:
        return (self.path / RESULT).exists()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl: one every so many steps, and one an epoch (those have `train_loss`)."""
        path = self.path / METRICS
        if not path.exists():
            return []
        # A killed process may have left a part of a last line.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    @property
    def title(self) -> str:
        """What was trained on what, for people: `mnist · cnn`."""
        return f"{self.meaning['name']} · {network_title(self.recipe)}"

    @cached_property
    def meaning(self) -> dict[str, Any]:
        """What inputs and outputs mean: shapes, classes, task, and the preparation's numbers."""
        meaning = self._read_json(MEANING)
        wanted = ("name", "task", "classes", "input_shape", "num_outputs", "preparation")
        missing = [key for key in wanted if key not in meaning]
        if missing:
            raise RunFolderError(f"{self.path / MEANING} lacks {', '.join(missing)}: was it changed by hand?")
        classes = meaning["classes"]
        if classes is not None and len(classes) != meaning["num_outputs"]:
            raise RunFolderError(
                f"{self.path / MEANING} has {len(classes)} classes, but num_outputs {meaning['num_outputs']}."
            )
        return meaning

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, thread count and device with which the run was begun."""
        return self._read_json(ENVIRONMENT)

    @cached_property
    def preparation(self) -> Preparation:
        """What turns raw input into what the network was trained on."""
        from netwright.data import Preparation

        return Preparation.from_dict(self.meaning["preparation"])

    @property
    def classes(self) -> tuple[str, ...] | None:
        classes = self.meaning["classes"]
        return None if classes is None else tuple(classes)

    @cached_property
    def data(self) -> Data:
        """The data of the run, read and split again as it was."""
        if self._data is not None:
            return self._data
        if self.recipe.data.source == FROM_PYTHON:
            raise DataError(
                f"the data of {self.path} was a Python object, which the run cannot read again.\n"
                "Give it: netwright.Run(path, data=...), or --data SOURCE at the command line."
            )
        # A tokenizer is not trained again: another version of its library may come to another one. That of a transfer is its source's.
        taken_over = self.recipe.transfer.source is not None
        kept = self.preparation if self.preparation.takes_text or taken_over else None
        return load_data(self.recipe, preparation=kept)

    @cached_property
    def network(self) -> nn.Module:
        """The trained network on the CPU, in evaluation mode, with the weights in model.safetensors."""
        module = self.untrained_network()
        self.load_weights(module)
        return module.eval()

    def untrained_network(self) -> nn.Module:
        """Returns the module as the recipe builds it, with fresh weights."""
        from netwright.architectures import network
        from netwright.transfer import built_again

        if self._network is not None:
            return self._network
        if self.recipe.network.name == FROM_PYTHON:
            raise RunFolderError(
                f"the network of {self.path} was a Python object, which the run cannot build again.\n"
                "Give it: netwright.Run(path, network=...). A network given as file.py:Name needs no such help."
            )
        built = network(
            self.recipe.network.name,
            input_shape=tuple(self.meaning["input_shape"]),
            num_outputs=self.meaning["num_outputs"],
            facts=self.preparation.facts,
            **self.recipe.network.options(),
        )
        return built_again(self.recipe, built, self.meaning["num_outputs"])

    def load_weights(self, module: nn.Module, name: str = WEIGHTS) -> None:
        """Puts the weights of model.safetensors, or of the file of another `name`, into `module`.

        Raises:
            CheckpointError: there are none yet, the file is damaged, or they are another network's.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from netwright.training.state import check_weights_fit

        path = self.path / name
        if not path.exists() and name == PRETRAINED:
            raise CheckpointError(
                f"{self.path} has neither a checkpoint nor {name}, from which its network began: start it anew with netwright finetune"
            )
        if not path.exists():
            raise CheckpointError(
                f"{self.path} has no weights yet: it was interrupted before its first epoch ended.\n"
                f"Go on with: netwright resume {self.path}"
            )
        try:
            weights = load(path.read_bytes())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"the weights in {path} cannot be read: {error}") from None
        try:
            check_weights_fit(module, weights)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
        put_weights(module, weights)

    def test(self, data: Any = None) -> dict[str, Any]:
        """Returns the scores on the test part: `loss`, those of `netwright.metrics`, and `unlike_training`, the share that the guard flags.

        `data`: what else to test on, as `netwright.load` takes it; it is prepared as the training data was. A
        set without a test part of its own is tested on whole.

        Raises:
            DataError: the data cannot be read, or has other classes or another shape.
        """
        part = self.data.test
        if data is not None:
            part = part_to_test(data, recipe=self.recipe, preparation=self.preparation, classes=self.classes)
        found = score(
            self.network,
            part,
            self.loss(),
            classes=self.classes,
            decision=self.decision,
            temperature=self.temperature,
        )[0]
        if self.guard is not None:
            from netwright.doubt import flagged

            found["unlike_training"] = flagged(self.network, self.guard, part)[0]
        if not getattr(part, "horizon", None):
            return found
        from netwright.forecasting import with_plain_forecasts

        return with_plain_forecasts(found, self._training_part(data), part)

    def _training_part(self, data: Any) -> Any:
        """Returns what the linear forecast beside the network's is fitted to; None where it cannot be read any more."""
        try:
            return self.data.train
        except DataError:
            if data is None:
                raise
            return None

    @property
    def decision(self) -> Decision | None:
        """From which probability on the class that is looked for is taken; None for numbers and other counts of classes. Reads the result."""
        counts = self.meaning.get("class_counts")
        if self.classes is None or len(self.classes) != 2 or counts is None:
            return None
        kept = (self.result or {}).get("threshold") or {}
        asked = self.recipe.decision
        positive = looked_for(self.classes, counts, asked.positive)
        return Decision.of(positive, asked=asked.threshold, best=kept.get("best_f1"))

    @property
    def temperature(self) -> float:
        """By which the logarithms of the probabilities are divided (`calibration` in the result); 1 where nothing was fitted."""
        return float(((self.result or {}).get("calibration") or {}).get("temperature", 1.0))

    def loss(self) -> nn.Module:
        """Returns the loss that the recipe names, on the CPU."""
        from netwright.training.losses import make_loss

        recipe = self.recipe.loss
        name = recipe.name
        task = self.meaning["task"]
        if name == "auto":
            name = "mse" if task == "regression" else "cross-entropy"
        return make_loss(
            name,
            task=task,
            num_classes=self.meaning["num_outputs"],
            class_counts=self.meaning.get("class_counts"),
            class_weights=recipe.class_weights,
            label_smoothing=recipe.label_smoothing,
            **recipe.options(),
        )

    def predict(self, inputs: Any, *, batch: int = 256) -> list[dict[str, Any]]:
        """Returns one record an example for raw inputs: files, folders, or arrays as the data set has them.

        `inputs`: a path, a list of paths, or an array or tensor of one example or of several `(N, ...)`. Where the
        examples are texts, a str is one, a list of them are several, and files are given as `pathlib.Path`.
        Each record has `input`, `label` and `probabilities` {class: 0..1} for classes, or `value` for numbers,
        and `unlike_training` (None: the run has no guard).

        Raises:
            DataError: an input that cannot be read or has another shape than the training data.
        """
        return self.answering.predict(inputs, batch=batch)

    def explain_prediction(
        self,
        inputs: Any = None,
        *,
        of: str | None = None,
        against: str | None = None,
        row: int = 1,
        test: int | None = None,
    ) -> Explanation:
        """Returns why one example is answered as it is, as `netwright.explaining.explain_prediction` has it (`pip install 'netwright[explain]'`).

        Without inputs: the test example numbered `test`, or the one on which the run is wrong and most sure. Printed, it is text; in
        a notebook a page.
        """
        from netwright.explaining import explain_prediction

        return explain_prediction(self, inputs, of=of, against=against, row=row, test=test)

    @cached_property
    def answering(self) -> Answering:
        """What turns raw examples into records, as `predict`, the server and an export do."""
        from netwright.shipping import Answering

        shipped = self.shipped

        def forward(raw: Tensor) -> tuple[Tensor, ...]:
            with evaluation_mode(self.network):
                return shipped(raw)

        return Answering(self.card(), self.preparation, forward)

    @cached_property
    def shipped(self) -> Shipped:
        """Preparation, trained network and the meaning of its outputs in one module, on the CPU."""
        from netwright.shipping import Shipped

        meaning = None if self.classes is None else meaning_of(self.loss())
        return Shipped(
            self.preparation, self.network, meaning=meaning, temperature=self.temperature, guard=self.guard
        )

    @cached_property
    def guard(self) -> Guard | None:
        """What tells input unlike the training data; None where none was fitted."""
        from netwright.shipping import Guard

        # Without a result the file may be that of a start before.
        fitted = "views" in ((self.result or {}).get("guard") or {})
        return Guard.read(self.path / GUARD) if fitted else None

    def card(self) -> Card:
        """Returns what the network is and means, as plain data."""
        from netwright.architectures import weights_sha256
        from netwright.shipping import Card

        decision, meaning = self.decision, self.meaning
        return Card(
            title=self.title,
            name=meaning["name"],
            task=meaning["task"],
            classes=self.classes,
            input_shape=tuple(meaning["input_shape"]),
            num_outputs=meaning["num_outputs"],
            preparation=meaning["preparation"],
            rule=None if decision is None else decision.rule,
            strange_above=None if self.guard is None else 1.0,
            test=(self.result or {}).get("test"),
            recipe=self.recipe.model_dump(mode="json"),
            weights_sha256=weights_sha256(self.network.state_dict()),
            netwright=self.environment["netwright"],
        )

    def export(
        self,
        to: str,
        *,
        out: str | Path | None = None,
        int8: bool = False,
        batch: int | None = None,
        tolerance: float | None = None,
    ) -> dict[str, Any]:
        """Writes the network in a format ("onnx", "pt2", ...), proves it on the test part, and returns file and certificate.

        As `netwright.exporting.export`; `netwright.shipping.artefacts.open_artefact` opens the file again.
        """
        from netwright.exporting import export

        place = None if out is None else Path(out)
        return export(self, to, out=place, int8=int8, batch=batch, tolerance=tolerance)

    def write(
        self,
        prompt: str = "",
        *,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yields, piece by piece, what the language model of this run writes behind `prompt`: `length` tokens.

        Args:
            prompt: what stands before, of any length; without one the model begins as after the end of a line.
            temperature: by which the logits are divided; 0 always takes the most probable token.
            top_k: only the k most probable tokens may come. top_p: only the most probable that together have this
                probability (Holtzman et al., arXiv:1904.09751). Both hold after the temperature.
            seed: decides what is drawn. The same seed writes the same on the same machine.

        Raises:
            RecipeError: a setting that cannot be. DataError: the run is no language model.
        """
        from netwright.writing import written

        return written(
            self, prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )

    def resume(self, *, quiet: bool = False) -> Run:
        """Goes on where the run was interrupted; a finished run is returned as it is."""
        from netwright.fitting import carry_on

        return carry_on(self, quiet=quiet)

    def eject(self) -> str:
        """Returns the plain PyTorch script that trains the same network to the same weights."""
        from netwright.eject import script

        return script(self)

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{path} cannot be read ({error}): is {self.path} a whole run?") from None
        if not isinstance(content, dict):
            raise RunFolderError(f"{path} should hold a JSON object, not a {type(content).__name__}.")
        return content


def network_title(recipe: Recipe) -> str:
    """Returns what a recipe's network is called, in a word; one of a package by the name that it has there.

    >>> network_title(Recipe.build({"network.name": "nets/mine.py:Net"}))
    'Net'
    """
    name, options = recipe.network.name, recipe.network.options()
    if name == FROM_PYTHON:
        return "your network"
    if name == "transformers":
        return Path((recipe.transfer.source or name).rpartition(":")[2]).name
    return str(options.get("architecture", name)).rpartition(":")[2]


def load_data(recipe: Recipe, *, preparation: Preparation | None = None) -> Data:
    """Reads and splits the data that a recipe names; `preparation` is what prepares it, if that is known."""
    from netwright.data import load

    entries = recipe.data.model_dump(exclude={"source", "batch"})
    if recipe.data.source is None:
        raise RecipeError(
            "the recipe names no data: give data.source, for example `data: {source: mnist}`, or a SOURCE."
        )
    if preparation is not None:
        entries["preparation"] = preparation
        if preparation.kind == "fitted-image":
            entries["size"] = None  # it has the size that was asked for
    return load(
        recipe.data.source,
        seed=recipe.train.seed,
        table=asked_of_table(recipe),
        text=recipe.text.model_dump(),
        sound=recipe.sound.model_dump(exclude_defaults=True),
        series=recipe.series.model_dump(exclude_defaults=True),
        **entries,
    )


def part_to_test(
    source: Any, *, recipe: Recipe, preparation: Preparation, classes: tuple[str, ...] | None
) -> Any:
    """Returns the test part of `source`, or all of a set without one, prepared as a run's training data was.

    Raises DataError: it cannot be read, or has other classes.
    """
    from netwright.data import Data, load

    data = source if isinstance(source, Data) else None
    if data is None:
        data = load(
            source,
            preparation=preparation,
            validation=0,
            test_share=0,
            target=recipe.data.target,
            features=recipe.data.features,
            table=asked_of_table(recipe),
            text=recipe.text.model_dump(),
            series=recipe.series.model_dump(include={"horizon", "window"}),
            classes=classes if preparation.kind in ("table", "text", "series") else None,
        )
    if data.classes != classes:
        raise DataError(f"the run knows {_few(classes)}; {data.name} has {_few(data.classes)}.")
    return data.test if len(data.test) else data.train


def asked_of_table(recipe: Recipe) -> dict[str, Any]:
    """Returns the entries of `table` with what suits the recipe's network where they leave it open.

    A transformer has a token for each number, so they stay whole; other networks of ours get them in pieces, with which they are
    better in every table of `benchmarks/data/tables.py`; a network of one's own gets what people expect.
    """
    from netwright.architectures import networks
    from netwright.registry import option_names

    entries = recipe.table.model_dump(exclude_defaults=True)
    name = recipe.network.name
    takes = option_names(networks[name]) or [] if name in networks else []
    if "cardinalities" not in takes:
        suits = {"scaling": "standard", "categories": "one-hot"}
    else:
        suits = {"scaling": "quantile" if "heads" in takes else "piecewise", "categories": "auto"}
    return {**entries, "suits": suits}


@dataclass(frozen=True)
class Decision:
    """How one of two classes is taken. `positive`: the class that is looked for; `best`: the threshold of the best F1 in
    validation, if known; `rule`: (class, threshold) if labels follow a threshold, None where the more probable class wins.
    """

    positive: int
    best: float | None = None
    rule: tuple[int, float] | None = None

    @staticmethod
    def of(positive: int, *, asked: float | str | None, best: float | None) -> Decision:
        threshold = best if asked == "f1" else asked
        return Decision(positive, best, None if threshold is None else (positive, float(threshold)))


def looked_for(classes: Sequence[str], counts: Sequence[int], asked: str | int | None) -> int:
    """Returns which of two classes is looked for: the one that is asked for, else the rarer one in training."""
    from netwright.errors import unknown_name
    from netwright.metrics import rarer_class

    if asked is None:
        return rarer_class(counts)
    if str(asked) not in classes:
        raise unknown_name("class in decision.positive", str(asked), classes)
    return list(classes).index(str(asked))


def score(
    network: nn.Module,
    part: Any,
    loss: nn.Module,
    *,
    classes: tuple[str, ...] | None,
    decision: Decision | None = None,
    temperature: float = 1.0,
    precision: str = "32",
    processes: Processes = ALONE,
) -> tuple[dict[str, Any], Tensor | None, Tensor | None]:
    """Returns the scores on a part of the data, and what they were computed from, on the CPU (None for a language model).

    That is, probabilities `(N, C)` before `temperature` calibrates them (or the values themselves for numbers) and targets `(N, ...)`.
    The loss is that of the raw outputs, the scores those of the calibrated ones. Several `processes` compute a part of the outputs each.
    """
    from netwright.metrics import classification_scores, regression_scores
    from netwright.metrics.probabilities import tempered

    if getattr(part, "every_token", False):
        return token_scores(network, part, loss, precision=precision), None, None
    if getattr(part, "horizon", None):
        return forecast_scores(network, part, loss, precision=precision), None, None
    outputs, targets = (
        tensor.cpu() for tensor in outputs_of(network, part, precision=precision, processes=processes)
    )
    loss = loss.cpu()
    mean_loss = float(loss(outputs, match_targets(targets, loss, outputs)))
    if classes is None:
        values, targets = in_units(part, outputs.reshape(targets.shape)), in_units(part, targets)
        return {"loss": mean_loss, **regression_scores(values, targets)}, values, targets
    probabilities = to_probabilities(outputs, loss)
    calibrated = tempered(probabilities, temperature)
    rule = None if decision is None else decision.rule
    scores = classification_scores(calibrated, targets, list(classes), threshold=rule)
    if decision is not None:
        scores["two_classes"] = _of_two(calibrated, targets, classes, decision)
    return {"loss": mean_loss, **scores}, probabilities, targets


def _of_two(
    probabilities: Tensor, targets: Tensor, classes: tuple[str, ...], decision: Decision
) -> dict[str, Any]:
    """Returns how well the class that is looked for is ranked, and what the best threshold of validation comes to here."""
    from netwright.metrics import ranking_scores, scores_at

    positive = decision.positive
    found: dict[str, Any] = {"class": classes[positive]}
    found |= ranking_scores(probabilities, targets, positive=positive) or {}
    if decision.best is not None:
        at = scores_at(probabilities, targets, decision.best, positive=positive)
        found["at_threshold"] = {"threshold": decision.best, **at}
    return found


def _few(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "numbers, not classes"
    shown = ", ".join(classes[:5])
    return f"{len(classes)} classes ({shown}{', …' if len(classes) > 5 else ''})"
