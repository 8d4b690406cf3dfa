"""The recipe: everything that decides a run, as one validated object and one YAML file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from netwright.errors import RecipeError, unknown_name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def options(self) -> dict[str, Any]:
        """The entries that are not declared here: options of what `name` stands for."""
        return dict(self.model_extra or {})


class _NamedSection(_Section):
    """A section whose `name` decides which further entries there are; the registry's entry checks them."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


# What netwright itself passes to the entry of a registry, and no recipe can set.
_DECIDED_BY_THE_DATA = {
    "network": ("data", "input_shape", "num_outputs", "single_logit", "facts"),
    "loss": ("task", "num_classes", "class_counts", "device"),
    "optimizer": ("network", "params"),
    "schedule": ("optimizer", "total_steps", "steps_per_epoch"),
}


# Sections that the recipes of runs by older versions do not have.
_ADDED_LATER = ("transfer", "guard")

# What the recipes of the named sets of images have in common: how they were found stands in EXPERIMENTS.md.
_CONVOLUTIONS: dict[str, Any] = {
    "network.name": "cnn",
    "network.kernels": [5, 3, 3],
    "network.pools": [2, 2, 1],
    "network.padded": [False, False, True],
    "network.pool_first": True,
    "data.batch": 128,
    "data.validation": 0.03,
    "loss.name": "cross-entropy",
    "optimizer.name": "adam",
    "schedule.name": "one-cycle",
    "schedule.div_factor": 10,
    "checkpoint.keep": "last",
}
# Three blocks of 3 x 3 filters, pooled from the first on, with a residual layer where the map is smallest.
_RESIDUAL_CONVOLUTIONS: dict[str, Any] = {
    **_CONVOLUTIONS,
    "network.kernels": 3,
    "network.pools": 2,
    "network.padded": [False, True, True],
    "network.residual": [0, 0, 1],
    "network.head": "mean-max",
    "network.mirror": True,
    "augment.flip": True,
    "loss.label_smoothing": 0.05,
    "optimizer.lr": 0.015,
}


class DataRecipe(_Section):
    source: str | None = None
    batch: int = Field(64, ge=1)
    validation: float | int = Field(0.1, ge=0)
    test_share: float | int = Field(0.2, ge=0)
    preparation: Literal["standard", "scale", "none"] = "standard"
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    size: int | None = Field(None, ge=1)
    unreadable: float = Field(0.01, ge=0, le=1)
    limit: int | None = Field(None, ge=1)
    overfit: int | None = Field(None, ge=1)
    target: str | list[str] | None = None
    features: list[str] | None = Field(None, min_length=1)
    sampling: Literal["uniform", "balanced"] = "uniform"
    fold: list[int] | None = Field(None, min_length=2, max_length=2)
    group: str | None = None
    time: str | None = None
    stream: bool | Literal["auto"] = "auto"
    workers: int | Literal["auto", "thread"] = "auto"


class TableRecipe(_Section):
    kinds: dict[str, str] | None = None
    scaling: Literal["auto", "standard", "min-max", "quantile", "piecewise", "none"] = "auto"
    categories: Literal["auto", "one-hot", "embedding"] = "auto"
    rare: int = Field(5, ge=1)
    most: int = Field(100, ge=1)
    task: Literal["auto", "classes", "numbers"] = "auto"
    target_scaling: Literal["standard", "none"] = "standard"
    encoding: str | None = None
    header: bool | Literal["auto"] = "auto"
    separator: str | None = Field(None, min_length=1, max_length=1)
    gaps: list[str] | None = None


class TextRecipe(_Section):
    column: str | None = None
    tokens: Literal["bpe", "words", "characters", "auto"] = "auto"
    vocabulary: int | None = Field(None, ge=1)
    length: int | None = Field(None, ge=1)
    lowercase: bool | Literal["auto"] = "auto"
    encoding: str | None = None


class AugmentRecipe(_Section):
    flip: bool = False
    flip_vertical: bool = False
    shift: int = Field(0, ge=0)
    rotate: float = Field(0.0, ge=0, le=180)
    zoom: float = Field(0.0, ge=0, lt=1)
    shear: float = Field(0.0, ge=0, lt=90)
    crop: float = Field(0.0, ge=0, le=1)
    cutout: int = Field(0, ge=0)
    edge: Literal["black", "reflect"] = "black"
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)
    randaugment: int = Field(0, ge=0)
    magnitude: float = Field(9.0, ge=0, le=30)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    time_shift: float = Field(0.0, ge=0)
    mask_time: float = Field(0.0, ge=0)
    mask_frequency: int = Field(0, ge=0)


class SoundRecipe(_Section):
    """Of a folder of recordings; seconds, hertz, and the number of mel bands. None: chosen from the recordings."""

    rate: int | None = Field(None, ge=100, le=768_000)
    seconds: float | None = Field(None, gt=0)
    mels: int = Field(64, ge=1, le=512)
    window: float = Field(0.025, gt=0)
    hop: float = Field(0.01, gt=0)


class SeriesRecipe(_Section):
    """Of a table with a time: rows to forecast, to look back on, from a training window to the next, after which it comes again, and to use.

    A horizon, or a window without one, makes a table a series. None: chosen from the rows.
    """

    horizon: int | None = Field(None, ge=1)
    window: int | None = Field(None, ge=1)
    stride: int | None = Field(None, ge=1)
    season: int | None = Field(None, ge=2)
    rows: int | None = Field(None, ge=1)


class NetworkRecipe(_NamedSection):
    name: str = "mlp"


class LossRecipe(_NamedSection):
    name: str = "auto"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["balanced"] | list[float] | None = None


class OptimizerRecipe(_NamedSection):
    name: str = "adam"
    lr: float | Literal["find"] | None = Field(None)

    @model_validator(mode="after")
    def _lr_is_positive(self) -> OptimizerRecipe:
        if isinstance(self.lr, float) and not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr is above 0, not {self.lr}")
        return self


class ScheduleRecipe(_NamedSection):
    name: str = "constant"


class TrainRecipe(_Section):
    epochs: int = Field(10, ge=1)
    seed: int = Field(0, ge=0)
    precision: str = "32"
    device: str = "auto"
    accumulate: int = Field(1, ge=1)
    clip: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    shard: bool = False


class TransferRecipe(_Section):
    """Of a network that begins from another one's weights.

    `auto`: the backbone is frozen unless the head is kept. `backbone_lr` None: 0.01 beside a new head, 1 beside one that is kept.
    """

    source: str | None = None
    head: str | None = Field(None, coerce_numbers_to_str=True)
    keep_head: bool = False
    freeze: Literal["auto", "backbone", "gradual", "none"] = "auto"
    stages: int = Field(4, ge=1)
    unfreeze_every: int = Field(1, ge=1)
    backbone_lr: float | None = Field(None, gt=0)
    layer_decay: float = Field(0.4, gt=0, le=1)
    batch_norm: Literal["frozen", "adapt"] = "frozen"
    features_once: bool = True


class DecisionRecipe(_Section):
    positive: str | int | None = None
    threshold: float | Literal["f1"] | None = None

    @model_validator(mode="after")
    def _threshold_is_a_share(self) -> DecisionRecipe:
        if isinstance(self.threshold, float) and not 0 < self.threshold < 1:
            raise ValueError(f"threshold is a probability between 0 and 1, not {self.threshold}")
        return self


class GuardRecipe(_Section):
    """Of the guard that flags input unlike the training data: the share of validation examples that it may flag; 0: none is fitted."""

    share: float = Field(0.01, ge=0, le=0.5)


class EarlyStoppingRecipe(_Section):
    monitor: Literal["validation_loss", "validation_accuracy", "validation_rmse", "train_loss"] = (
        "validation_loss"
    )
    mode: Literal["auto", "min", "max"] = "auto"
    patience: int | None = Field(None, ge=1)
    min_delta: float = Field(0.0, ge=0)


class CheckpointRecipe(_Section):
    keep: Literal["best", "last"] = "best"
    every_steps: int | None = Field(None, ge=1)
    every_minutes: float | None = Field(5.0, gt=0)


# What `log.to` may name, and the package that each needs.
LOGGERS = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


class LogRecipe(_Section):
    """`to`: further logs beside metrics.jsonl, of LOGGERS. `energy`: estimated with codecarbon."""

    every_steps: int = Field(100, ge=1)
    to: list[str] = []
    energy: bool = False

    @field_validator("to", mode="before")
    @classmethod
    def _to_is_known(cls, value: Any) -> list[str]:
        if value is not None and not isinstance(value, str | list | tuple):
            raise ValueError(f"expected a name or a list of them, of {', '.join(LOGGERS)}; came {value!r}")
        names = [value] if isinstance(value, str) else list(value or ())
        for name in names:
            if name not in LOGGERS:
                raise unknown_name("log.to", str(name), LOGGERS)
        return list(dict.fromkeys(names))


class Recipe(_Section):
    """All that decides a run. Sections and their entries are written `section.entry`.

    >>> Recipe.build({"optimizer.lr": 0.1}).optimizer.lr
    0.1
    """

    data: DataRecipe = DataRecipe()
    table: TableRecipe = TableRecipe()
    text: TextRecipe = TextRecipe()
    sound: SoundRecipe = SoundRecipe()
    series: SeriesRecipe = SeriesRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    network: NetworkRecipe = NetworkRecipe()
    transfer: TransferRecipe = TransferRecipe()
    loss: LossRecipe = LossRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    train: TrainRecipe = TrainRecipe()
    early_stopping: EarlyStoppingRecipe = EarlyStoppingRecipe()
    decision: DecisionRecipe = DecisionRecipe()
    guard: GuardRecipe = GuardRecipe()
    checkpoint: CheckpointRecipe = CheckpointRecipe()
    log: LogRecipe = LogRecipe()

    # What a named data set wants otherwise than the fields above say. What names a network is a recipe that belongs
    # together: it is taken where the person says nothing of the network.
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "digits": {"train.epochs": 30},
        "mnist": {
            **_CONVOLUTIONS,
            "network.channels": [16, 32, 64],
            "augment.shift": 1,
            "augment.rotate": 8,
            "augment.zoom": 0.08,
            "loss.label_smoothing": 0.1,
            "optimizer.lr": 0.015,
            "train.epochs": 6,
        },
        "fashion-mnist": {
            **_RESIDUAL_CONVOLUTIONS,
            "network.channels": [24, 64, 128],
            "train.epochs": 11,
        },
        "cifar10": {
            **_RESIDUAL_CONVOLUTIONS,
            "network.channels": [32, 64, 128],
            "augment.shift": 2,
            "augment.edge": "reflect",
            "train.epochs": 9,
        },
    }

    # What a kind of data wants otherwise (`netwright.data.kinds`), whatever the set; entries of `network`, `optimizer` and
    # `schedule` go with the network's name.
    kinds: ClassVar[dict[str, dict[str, Any]]] = {
        "table": {
            "network.name": "mlp",
            "network.hidden": [256, 256],
            "network.dropout": 0.1,
            "data.batch": 128,
            "train.epochs": 40,
            "early_stopping.patience": 8,
        },
        "text": {
            "network.name": "embedding-bag",
            "optimizer.lr": 3e-3,
            "data.batch": 32,
            "train.epochs": 30,
            "early_stopping.patience": 5,
        },
        "corpus": {
            "network.name": "gpt",
            "optimizer.name": "adamw",
            "optimizer.lr": 2e-3,
            "schedule.name": "one-cycle",
            "data.batch": 32,
            "data.validation": 0.05,
            "data.test_share": 0.05,
            "train.epochs": 5,
        },
        # Chosen by the validation part of ETTh1 (rows 8,640 to 11,520), 24 to 336 rows ahead: EXPERIMENTS.md.
        "series": {
            "network.name": "dlinear",
            "optimizer.name": "adam",
            "optimizer.lr": 5e-3,
            "schedule.name": "one-cycle",
            "data.batch": 32,
            "train.epochs": 15,
            "checkpoint.keep": "last",
        },
        "windows": {
            "network.name": "tcn",
            "data.batch": 64,
            "optimizer.lr": 1e-3,
            "train.epochs": 20,
            "early_stopping.patience": 5,
        },
        "sound": {
            "network.name": "cnn",
            "network.channels": [16, 32, 64],
            "network.dropout": 0.2,
            "augment.time_shift": 0.1,
            "augment.mask_time": 0.1,
            "augment.mask_frequency": 12,
            "loss.label_smoothing": 0.1,
            "loss.name": "cross-entropy",
            "optimizer.name": "adam",
            "optimizer.lr": 0.005,
            "schedule.name": "one-cycle",
            "train.epochs": 15,
            "checkpoint.keep": "last",
        },
    }

    # Adam's learning rate for a new head on pretrained features (how it was found: EXPERIMENTS.md); stages that learn as well
    # get their share of it (`transfer.backbone_lr`).
    transfer_lr: ClassVar[float] = 0.01

    @classmethod
    def build(cls, *layers: Mapping[str, Any], kind: str | None = None) -> Recipe:
        """Returns the recipe of nested or dotted entries; a later layer overrides an earlier one.

        `kind` of the data, where it is no path that shows it.

        Raises:
            RecipeError: a value that cannot be; UnknownNameError: an entry that is not known.
        """
        merged: dict[str, dict[str, Any]] = {}
        for layer in layers:
            for key, value in _flatten(layer):
                section, entry = cls.locate(key)
                merged.setdefault(section, {})[entry] = value
        origin = merged.get("transfer", {}).get("source")
        if origin is not None and "name" not in merged.get("network", {}):
            from netwright.transfer import network_entries

            merged["network"] = {**network_entries(str(origin)), **merged.get("network", {})}
            if "name" not in merged["network"]:
                raise RecipeError(
                    f"{origin} holds weights, but not the network whose weights they are.\n"
                    "Say which: --network file.py:Class, or a registered name with its options"
                )
        if origin is not None:
            cls._want_for_transfer(merged)
        source = merged.get("data", {}).get("source")
        for section, entries in cls._wanted_by(str(source), kind, merged).items():
            merged[section] = {**entries, **merged.get(section, {})}
        try:
            return cls(**merged)
        except ValidationError as error:
            raise _explained(error) from None

    @classmethod
    def _want_for_transfer(cls, merged: dict[str, dict[str, Any]]) -> None:
        """Adds the learning rate that Adam gets in a transfer, where the recipe names neither another optimizer nor a rate."""
        optimizer = merged.setdefault("optimizer", {})
        named = optimizer.get("name", "adam") in ("adam", "adamw")
        if named and "lr" not in optimizer and not merged["transfer"].get("keep_head"):
            optimizer["lr"] = cls.transfer_lr

    @classmethod
    def _wanted_by(
        cls, source: str, kind: str | None, given: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Returns what a named data set, or a kind of data, wants, as far as it goes with what is given.

        Options of an optimizer, a loss or a schedule go with its name. Examples to be learned by heart stay as they are.
        """
        wanted: dict[str, dict[str, Any]] = {}
        if all(section in given for section in cls.model_fields if section not in _ADDED_LATER):
            return (
                wanted  # what a run has written: every entry is there, and no folder needs to be looked into
            )
        named = cls.defaults.get(source)
        if named is None and kind is None:
            column, target = given.get("text", {}).get("column"), given.get("data", {}).get("target")
            from netwright.data.kinds import kind_of

            kind = kind_of(source, target=target, text_column=column, series=given.get("series"))
        for key, value in (cls.kinds.get(kind or "", {}) if named is None else named).items():
            section, entry = key.split(".")
            wanted.setdefault(section, {})[entry] = value
        if "network" in wanted and given.get("network"):
            if named is not None:
                return {}
            if given["network"].get("name", wanted["network"]["name"]) != wanted["network"]["name"]:
                for section in ("network", "optimizer", "schedule"):
                    wanted.pop(section, None)
        for section in ("optimizer", "loss", "schedule"):
            name = given.get(section, {}).get("name")
            if name is not None and name != wanted.get(section, {}).get("name"):
                wanted.pop(section, None)
        if given.get("data", {}).get("overfit") is not None:
            wanted.pop("augment", None)
        return wanted

    @classmethod
    def locate(cls, key: str) -> tuple[str, str]:
        """Returns section and entry of a dotted key. Raises UnknownNameError, or RecipeError for what is no single entry."""
        section, _, entry = key.partition(".")
        if section not in cls.model_fields:
            raise unknown_name("recipe section", section, cls.model_fields)
        if not entry:
            raise RecipeError(f"{section!r} is a section of the recipe: write {section}.ENTRY=VALUE")
        fields = type(cls.model_fields[section].default).model_fields
        if not issubclass(type(cls.model_fields[section].default), _NamedSection) and entry not in fields:
            known = [
                f"{name}.{field}"
                for name, info in cls.model_fields.items()
                for field in type(info.default).model_fields
            ]
            raise unknown_name("recipe entry", key, known)
        if entry in _DECIDED_BY_THE_DATA.get(section, ()):
            raise RecipeError(f"{key} follows from the data and the other entries: leave it out")
        return section, entry

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """Returns the entries of a recipe file, nested, not yet validated.

        A network given as `file.py:Name` is looked for beside the recipe first.
        """
        try:
            entries = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except FileNotFoundError:
            raise RecipeError(f"there is no recipe file {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from None
        except yaml.YAMLError as error:
            raise RecipeError(
                f"the recipe {path} is not valid YAML: {' '.join(str(error).split())}"
            ) from None
        if not isinstance(entries, dict):
            raise RecipeError(
                f"the recipe {path} holds {type(entries).__name__}, expected sections such as 'data:'"
            )
        network = entries.get("network")
        if isinstance(network, dict) and ".py:" in str(network.get("name", "")):
            file, _, name = str(network["name"]).rpartition(":")
            beside = path.parent / file
            if not Path(file).is_absolute() and beside.exists():
                network["name"] = f"{beside}:{name}"
        return entries

    def to_yaml(self) -> str:
        """Returns the recipe as YAML, every entry written out."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for text; people mean the number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def parse_setting(text: str) -> tuple[str, Any]:
    """Returns key and value of `key=value`, the value read as YAML.

    >>> parse_setting("network.hidden=[512, 512]")
    ('network.hidden', [512, 512])
    >>> parse_setting("optimizer.lr=1e-3")
    ('optimizer.lr', 0.001)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set takes key=value, for example optimizer.lr=0.01; got {text!r}")
    try:
        return key.strip(), yaml.load(value, Loader=_Loader)
    except yaml.YAMLError:
        raise RecipeError(f"the value of {key.strip()} cannot be read: {value!r}") from None


def _flatten(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in entries.items():
        if isinstance(value, Mapping) and "." not in key:
            flat += [(f"{key}.{inner}", inner_value) for inner, inner_value in value.items()]
        elif value is None and "." not in key:
            continue  # an empty section in a file
        else:
            flat.append((key, value))
    return flat


def _explained(error: ValidationError) -> RecipeError:
    """Returns pydantic's findings, one a line, in the recipe's own terms."""
    lines: dict[str, str] = {}
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"][:2])
        what = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        got = problem["input"]
        said = f"{place} should be {what}" if problem["msg"].startswith("Input") else f"{place}: {what}"
        if place in lines and problem["msg"].startswith("Input"):
            lines[place] = lines[place].replace(f", not {got!r}", f" or {what}, not {got!r}")
        else:
            lines[place] = said + (f", not {got!r}" if problem["msg"].startswith("Input") else "")
    return RecipeError("\n".join(list(lines.values())[:4]))
