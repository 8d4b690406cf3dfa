"""A name, path or tensors in; checked, divided, counted parts with what prepares them out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from netwright.data import arrays, labels, named
from netwright.data.ahead import Workers
from netwright.data.corpus import CorpusSplit, is_corpus, load_corpus
from netwright.data.delimited import is_table
from netwright.data.division import divide, fold_among, note_absent, shorten
from netwright.data.measured import Numbers, check_mode, make_preparation
from netwright.data.media import holds_recordings
from netwright.data.memory import Stream, choose_stream
from netwright.data.parquet import is_parquet
from netwright.data.part_files import find_parts, list_files
from netwright.data.preparation import Preparation
from netwright.data.series import SeriesOptions, SeriesSplit
from netwright.data.sets import AnySplit, Data, Reading
from netwright.data.source import AnyPart, DatasetPart, Part, Source
from netwright.data.split import Split
from netwright.data.stream import StreamSplit
from netwright.data.text import TextOptions
from netwright.data.text_parts import TextPart, is_texts, texts_of
from netwright.data.torch_dataset import read_dataset
from netwright.errors import DataError, UnknownNameError, unknown_name

TAKES = (
    "load takes a registered name, a folder of images, recordings or texts (one sub-folder a class) or of arrays (x.npy, "
    "y.npy), an .npz file, a text (.txt), a table (.csv, .tsv, .parquet), a torch Dataset, or tensors and arrays"
)


BALANCED = "an epoch visits each class equally often, whatever its number of examples"


def load(
    source: Any,
    targets: Any = None,
    *,
    test: Any = None,
    validation: Any = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
    overfit: int | None = None,
    preparation: str | Preparation = "standard",
    mean: Numbers | None = None,
    std: Numbers | None = None,
    size: int | tuple[int, int] | None = None,
    sound: Mapping[str, Any] | None = None,
    unreadable: float = 0.01,
    classes: Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    text: str | Mapping[str, Any] | TextOptions | None = None,
    sampling: Literal["uniform", "balanced"] = "uniform",
    fold: Sequence[int] | None = None,
    group: str | None = None,
    time: str | None = None,
    stream: Stream = "auto",
    workers: Workers | Literal["auto"] = "auto",
    table: Mapping[str, Any] | None = None,
    series: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Data:
    """Returns train, validation and test of a data set, checked, with what prepares them.

    `source` is a registered name, a path (folder of images, recordings or .npy files, .npz, a table: CSV, TSV, Parquet), a torch Dataset,
    inputs with `targets`, a pair (inputs, targets), or {"train": pair or Dataset, "validation": …, "test": …}. Inputs are (N, D)
    features, (N, H, W), (N, C, H, W), (N, H, W, C) images, or a list of N texts (str); integer, boolean or string targets (N,) are
    classes, float targets (N,) or (N, D) are predicted as numbers.

    A set's own test and validation parts are used as they are; `test` gives one (a pair or a Dataset), and so
    may `validation`. Otherwise `test_share` and `validation` (shares of the examples that the set does not
    divide itself, or counts; 0 for none) are held out: seeded, stratified by class, equal examples together.
    `limit` keeps at most so many examples of each part; `overfit` trains, validates and tests on the same few.

    `preparation` is "standard" (pixels divided by their largest value, then less the mean and over the std of
    the training part alone, a channel or feature at a time; `mean` and `std` override them), "scale" (only
    the division), "none", or a Preparation to use as it is. Images of a folder get `size` (a side, or height
    and width), recordings `sound`: {"rate": hertz, "seconds": of an example, "mels": 64, "window": 0.025, "hop": 0.01 s}
    (see `netwright.data.sound_folder`); more than the share `unreadable` of the files that cannot be read is an error.
    `classes` names integer labels. `target` names the column of a table to predict, `features` those to use; `table` has
    the entries of `netwright.data.table.TableOptions`. `text` is the column of a table that holds texts, or a dictionary of how
    texts are read and cut (`netwright.data.text.TextOptions`).

    `fold` (number, count): the test part is fold `number`, from 1, of `count` that the training part is cut into, stratified by
    class; a test part of the set's own is left alone. `group` and `time` name columns of a table: rows of one group stay in one
    part; with times the test part is what comes last, and the validation part what comes last before it.

    `series` (`netwright.data.series.SeriesOptions`) reads a table as series: {"horizon": rows to forecast, "window": rows to look back on}, of
    `target` (a column, a list of them, or "*" or None for all numbers); or {"window": rows} that have the class `target`. Parts are then cut
    by `time`, shares and counts are of rows, and `group` tells several series apart.

    `sampling`: an epoch visits each example once ("uniform"), or each class equally often ("balanced").

    `stream`: read from disk as it goes (True), hold in memory (False), or hold what takes no more than half of the
    free memory ("auto"); for paths to folders and Parquet. `workers` read what is streamed: 0 (between the steps),
    "thread" (a thread reads ahead), a number of processes, or "auto" (`fit` measures; else a thread). Neither
    changes a batch, but for the order of Parquet's rows (see `netwright.data.parquet`).

    Raises DataError (or UnknownNameError) saying what was expected, what came, and where.

    >>> load("digits", validation=0).describe().splitlines()[0]
    'digits: 1,438 to train, 0 to validate, 359 to test'
    """
    check_mode(preparation, mean, std)
    texts = TextOptions.build(text)
    # What a text and series, which are cut where they stand, take like everyone else.
    cut: dict[str, Any] = {
        "validation": validation,
        "test_share": test_share,
        "seed": seed,
        "limit": limit,
        "overfit": overfit,
        "preparation": preparation,
        "sampling": sampling,
        "stream": stream,
        "name": name,
    }
    if (
        isinstance(source, (str, os.PathLike))
        and is_corpus(Path(source).expanduser())
        and texts.column is None
        and target is None
    ):
        return _load_corpus(
            source,
            texts,
            targets=targets,
            test=test,
            unused=(features, size, mean, std, classes, fold, group, time),
            **cut,
        )
    windows = SeriesOptions.build(series)
    if windows.asked:
        return _load_series(
            source,
            windows,
            target=target,
            features=features,
            time=time,
            group=group,
            unused={
                "targets": targets,
                "test": test,
                "size": size,
                "mean": mean,
                "std": std,
                "sound": sound or None,
                "fold": fold,
                "text": texts.column,
            },
            table=table or {},
            unreadable=unreadable,
            classes=classes,
            **cut,
        )
    if target is not None and not isinstance(target, str):
        raise DataError(
            f"target: expected one column, came {target!r}; several are forecast with series.horizon"
        )
    found = read_source(
        source,
        targets,
        size=size,
        sound=sound or {},
        unreadable=unreadable,
        preparation=preparation,
        classes=classes,
        target=target,
        features=features,
        text=texts,
        stream=stream,
        table=table or {},
        group=group,
        time=time,
    )
    found.name = name or found.name
    for option, column in (("group", group), ("time", time)):
        if column is not None and found.kind != "table":
            raise DataError(f"data.{option} names a column of a table; {found.name} has no columns")
    _check_streams(found, stream, workers)
    _check_alike(found)
    if classes is not None:
        _match_classes(found, tuple(str(entry) for entry in classes))
    if isinstance(test, (int, float)):
        raise DataError(
            f"test: expected a pair (inputs, targets) or a Dataset, came {test!r}; test_share= takes a share"
        )
    if test is not None:
        add_part(found, "test", test, classes)
    if not isinstance(validation, (int, float, np.number)):
        add_part(found, "validation", validation, classes)
    options: dict[str, Any] = {
        "seed": seed,
        "classes": found.classes,
        "highest": found.highest,
        **found.entries,
    }
    steps = divide(
        found, validation=validation, test_share=test_share, seed=seed, fold=fold_among(found, fold)
    )
    steps += shorten(found, limit=limit, overfit=overfit, seed=seed)
    for part in found.parts:
        note_absent(found, part)
    prepare = make_preparation(found, preparation, mean, std, texts=texts)
    found.parts = {
        part: _with_targets(held, prepare.to_learn(held.targets)) for part, held in found.parts.items()
    }
    empty = found.parts["train"].select(torch.zeros(0, dtype=torch.int64))
    train, held, tested = (
        read_by(found.parts.get(part, empty).split(prepare), workers)
        for part in ("train", "validation", "test")
    )
    train = sampled_by(train, sampling, found)
    reading = Reading(found.kind, found.paths, {**options, "shape": prepare.shape, "steps": steps})
    notes = tuple(dict.fromkeys(found.notes))
    return Data(found.name, train, held, tested, found.classes, prepare, notes, reading, found.rows)


def _load_corpus(
    source: str | os.PathLike[str],
    texts: TextOptions,
    *,
    targets: Any,
    test: Any,
    preparation: str | Preparation,
    sampling: str,
    stream: Stream,
    unused: tuple[Any, ...],
    **options: Any,
) -> Data:
    """Returns a file of text as what a language model learns; refuses what goes with other data."""
    if stream is True:
        raise DataError(
            f"{source}: stream= goes with folders of images or arrays and with Parquet; a text is held in memory"
        )
    other = preparation in ("scale", "none") or sampling != "uniform"
    if other or any(entry is not None for entry in (targets, test, *unused)):
        raise DataError(
            f"{source}: a file of plain text is learned by a language model, which takes no classes and no columns.\n"
            "A table of texts is told by --text COLUMN; texts of classes are a folder with a file or sub-folder for each."
        )
    like = preparation if isinstance(preparation, Preparation) else None
    return load_corpus(Path(source).expanduser(), texts, like=like, **options)


def _load_series(
    source: Any,
    windows: SeriesOptions,
    *,
    target: Any,
    features: Any,
    time: str | None,
    group: str | None,
    preparation: str | Preparation,
    sampling: str,
    stream: Stream,
    unused: Mapping[str, Any],
    **options: Any,
) -> Data:
    """Returns a table as series; refuses what goes with other data."""
    from netwright.data.series import SeriesPreparation
    from netwright.data.series_source import Asked, load_series

    given = sorted(key for key, value in unused.items() if value is not None)
    if not isinstance(source, (str, os.PathLike)) or source in named.datasets:
        raise DataError(
            f"series= goes with the path of a table, came {source if isinstance(source, str) else _kind(source)}"
        )
    if given or preparation == "scale" or stream is True:
        wrong = f"{given[0]}=" if given else "preparation='scale'" if preparation == "scale" else "stream="
        raise DataError(
            f"{source}: {wrong} does not go with series, which are cut by time and scaled by their training rows"
        )
    like = preparation if isinstance(preparation, Preparation) else None
    if like is not None and not isinstance(like, SeriesPreparation):
        raise DataError(f"{source}: expected the preparation of a series, came one of kind {like.kind!r}")
    data = load_series(
        Path(source).expanduser(),
        windows,
        Asked(target, features, time, group),
        like=like,
        scaled=preparation != "none",
        **options,
    )
    if sampling == "uniform":
        return data
    if sampling != "balanced" or data.classes is None:
        raise DataError(
            f"{source}: data.sampling is uniform, or, of windows with classes, balanced; came {sampling!r}"
        )
    return replace(data, train=replace(data.train, balanced=True), notes=(*data.notes, BALANCED))


def read_source(source: Any, targets: Any, **options: Any) -> Source:
    """Returns what any source that `load` takes holds; raises DataError for what it does not take."""
    if isinstance(source, Source):
        if options["sound"]:
            raise DataError(f"{source.name}: sound= goes with a folder of recordings, came a named data set")
        return source
    if isinstance(source, (str, os.PathLike)):
        if targets is not None:
            raise DataError(f"{source}: targets= goes with arrays; a name or path brings its own")
        return _read_named(source, options)
    classes = options["classes"]
    if options["text"].column is not None:
        raise DataError(
            f"text= names a column of a table, came {_kind(source)}; give the texts themselves as inputs"
        )
    if options["size"] is not None:
        raise DataError(
            f"size= goes with a folder of images, came {_kind(source)}; resize arrays before loading"
        )
    if options["sound"]:
        raise DataError(f"sound= goes with a folder of recordings, came {_kind(source)}")
    if isinstance(source, dict) or is_dataset(source):
        if targets is not None:
            raise DataError(f"{_kind(source)}: targets= goes with arrays; this brings its own")
        return _read_parts(source if isinstance(source, dict) else {"train": source}, classes)
    if isinstance(source, tuple) and targets is None:
        return _read_parts({"train": source}, classes)
    if targets is None:
        raise DataError(f"expected targets with {_kind(source)}: load(inputs, targets).\n{TAKES}.")
    return _read_parts({"train": (source, targets)}, classes)


def is_dataset(source: Any) -> bool:
    """Says whether this is a Dataset, or an object that can stand in for one."""
    if isinstance(source, Dataset):
        return True
    arraylike = isinstance(source, (Tensor, np.ndarray, list, tuple, dict, str)) or hasattr(
        source, "__array__"
    )
    return not arraylike and hasattr(source, "__getitem__") and hasattr(source, "__len__")


def _kind(source: Any) -> str:
    return f"{type(source).__module__}.{type(source).__qualname__}".removeprefix("builtins.")


def _read_named(source: str | os.PathLike[str], options: dict[str, Any]) -> Source:
    if isinstance(source, str) and source in named.datasets:
        if options["text"].column is not None:
            raise DataError(f"{source}: text= names a column of a table, and this set has none")
        entry = named.datasets[source]()
        found = read_source(entry, None, **options)
        found.name = source
        return found
    path = Path(source).expanduser()
    if options["text"].column is not None:
        from netwright.data.text_table import read_text_table

        _check_unused(path, options, "size", "features")
        return read_text_table(
            path,
            options["text"],
            **{key: options[key] for key in ("table", "target", "classes", "unreadable")},
        )
    if path.is_dir():
        return _read_folder(path, options)
    _check_unused(path, options, "sound")
    if path.is_file() and (is_table(path) or (options["target"] and path.suffix.lower() != ".npz")):
        return _read_table(path, options)
    _check_unused(path, options, "target", "features", "table", "group", "time")
    if path.suffix.lower() == ".npz" and path.is_file():
        from netwright.data.npz import read_npz

        found = _read_parts(read_npz(path), options["classes"], name=path.stem)
        found.kind, found.paths = "npz", (str(path),)
        return found
    if path.exists():
        raise DataError(
            f"{path}: expected a data set, came a {path.suffix or 'plain'} file.\n{TAKES}, today."
        )
    text = str(source)
    if os.sep in text or "/" in text or path.suffix or text.startswith(("~", ".")):
        raise DataError(f"{path}: no such file or folder.\n{TAKES}.")
    raise UnknownNameError(
        f"{unknown_name('data set', text, named.datasets)}\nNor is there a folder of that name."
    )


def _read_folder(path: Path, options: dict[str, Any]) -> Source:
    from netwright.data.folder import read_folder
    from netwright.data.mapped import is_arrays_folder
    from netwright.data.sound_folder import read_sounds
    from netwright.data.text_files import read_text_folder, text_unit

    of_tables = ("target", "features", "table", "group", "time")
    if is_arrays_folder(path):
        _check_unused(path, options, "size", "sound", *of_tables)
        return _read_arrays_folder(path, options)
    taken = {key: options[key] for key in ("unreadable", "stream")} | {"like": options["preparation"]}
    if holds_recordings(path):  # before tables: a list of the recordings may lie beside them
        _check_unused(path, options, "size", *of_tables)
        return read_sounds(path, sound=options["sound"], **taken)
    _check_unused(path, options, "sound")
    if is_parquet(path) or list_files(path, is_table):
        return _read_table(path, options)
    _check_unused(path, options, *of_tables)
    unit = text_unit(path)
    if unit is not None:
        _check_unused(path, options, "size")
        return read_text_folder(path, unit, options["text"], unreadable=options["unreadable"])
    return read_folder(path, size=options["size"], **taken)


def _check_unused(path: Path, options: dict[str, Any], *names: str) -> None:
    takes = {
        "size": "a folder of images",
        "sound": "a folder of recordings",
        "target": "a table",
        "features": "a table",
        "table": "a table",
        "group": "a table",
        "time": "a table",
    }
    for option in names:
        given = set(options[option]) - {"suits"} if option == "table" else options[option]
        if given:
            raise DataError(
                f"{path}: {option}= goes with {takes[option]}, came {options[option]!r} with another source"
            )


def _read_table(path: Path, options: dict[str, Any]) -> Source:
    """Returns a table in memory, or, of Parquet of numbers without gaps, rows that may stay on disk."""
    from netwright.data.table import TableOptions, TablePreparation
    from netwright.data.table_source import read_table

    _check_unused(path, options, "size")
    like = options["preparation"]
    shared = {key: options[key] for key in ("target", "features", "classes")}
    by_column = options["group"] or options["time"]
    if (
        is_parquet(path)
        and not by_column
        and not set(options["table"]) - {"suits"}
        and not isinstance(like, TablePreparation)
    ):
        from netwright.data.parquet import holds_numbers, read_parquet

        if options["stream"] is True or holds_numbers(path, options["target"], options["features"]):
            return read_parquet(path, **shared, stream=options["stream"])
    try:
        asked = TableOptions(**options["table"]).settled()
    except TypeError as error:
        raise DataError(f"table: {error}") from None
    return read_table(
        find_parts(path, is_table),
        name=path.name.partition(".")[0] if path.is_file() else path.name,
        options=asked,
        unreadable=options["unreadable"],
        like=like,
        group=options["group"],
        time=options["time"],
        **shared,
    )


def _read_arrays_folder(folder: Path, options: dict[str, Any]) -> Source:
    from netwright.data import mapped

    files = mapped.find_arrays(folder)
    streamed, why = choose_stream(options["stream"], mapped.bytes_needed(files), str(folder))
    name = folder.name or str(folder)
    if streamed:
        found = mapped.stream_arrays(folder, files, options["classes"], name=name)
    else:
        found = _read_parts(mapped.read_arrays(files), options["classes"], name=name)
    found.kind = "arrays"
    found.paths = tuple(str(path) for pair in files.values() for path in pair)
    found.entries = {"arrays": {part: tuple(map(str, pair)) for part, pair in files.items()}}
    unused = sorted(path.name for path in folder.glob("*.npy") if str(path) not in found.paths)
    found.notes += [why] if why else []
    found.notes += [f"not used: {', '.join(unused[:5])}{', …' if len(unused) > 5 else ''}"] if unused else []
    return found


def _read_parts(parts: dict[str, Any], classes: Sequence[str] | None, *, name: str = "data") -> Source:
    """Returns the source behind {"train": pair or Dataset, …}."""
    unknown = [key for key in parts if key not in ("train", "validation", "test")]
    if unknown or "train" not in parts:
        raise DataError(
            f'{name}: expected parts named "train" and, if there are any, "validation" and "test"; '
            f"came {', '.join(map(repr, parts)) or 'none'}"
        )
    found = Source(name, "python", {}, None, image=False)
    raw: dict[str, np.ndarray] = {}
    for part, given in parts.items():
        where = name if len(parts) == 1 else f"{name}, {part}"
        raw[part], classes = _read_part(found, part, given, where, classes)
    encoded, found.classes, notes = labels.encode(raw, classes, name=name)
    found.notes += notes
    for part, values in encoded.items():
        held = found.parts[part]
        found.parts[part] = _with_targets(held, values)
    _check_alike(found)
    return found


def _with_targets(part: AnyPart, targets: Tensor) -> AnyPart:
    return replace(part, targets=targets)


def _read_part(
    found: Source, part: str, given: Any, where: str, classes: Sequence[str] | None
) -> tuple[np.ndarray, Sequence[str] | None]:
    """Adds one part, its targets not yet encoded, and returns these with the classes that a Dataset names."""
    if is_dataset(given):
        held, targets, image, named_classes, notes = read_dataset(given, where=where)
        if classes is None and targets.dtype.kind != "f":
            classes = named_classes
    elif isinstance(given, (tuple, list)) and len(given) == 2:
        targets = labels.read_targets(given[1], where=f"{where} targets")
        if is_texts(given[0]):
            held, image, notes = texts_of(given[0], where=f"{where} inputs"), False, []
            found.entries["unit"] = "line"
        else:
            inputs, image, owned, notes = arrays.read_inputs(given[0], where=f"{where} inputs")
            held = Part(inputs, torch.zeros(len(inputs)), owned=owned)
    else:
        count = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        raise DataError(
            f"{where}: expected a pair (inputs, targets) or a Dataset, came {_kind(given)}{count}"
        )
    if len(held) != len(targets):
        raise DataError(f"{where}: expected a target for each of {len(held):,} inputs, came {len(targets):,}")
    if isinstance(held, Part) and held.inputs.dtype == torch.uint8:
        found.highest = 255 if image else None
    found.image = image
    found.parts[part] = held
    found.notes += notes
    return targets, classes


def add_part(found: Source, part: str, given: Any, classes: Sequence[str] | None) -> None:
    """Adds a test or validation part that was given by itself."""
    if part in found.parts:
        raise DataError(f"{found.name}: {part}= was given, but the set has a {part} part of its own")
    if found.classes is not None:
        classes = found.classes
    extra = _read_parts({"train": given}, classes, name=f"{found.name}, {part}")
    if extra.classes is not None and found.classes is None:
        raise DataError(f"{found.name}: expected float targets in {part} as in train, came classes")
    found.parts[part] = extra.parts["train"]
    found.notes += extra.notes
    if extra.image != found.image:
        raise DataError(f"{found.name}: expected {part} inputs like those of train")
    _check_alike(found)


def _match_classes(found: Source, classes: tuple[str, ...]) -> None:
    """Numbers the classes of a set that names its own as `classes` does."""
    if found.classes is None or found.classes == classes:
        return
    unknown = [name for name in found.classes if name not in classes]
    if unknown:
        raise DataError(
            f"{found.name}: expected classes among {', '.join(classes[:10])}{', …' if len(classes) > 10 else ''}; "
            f"came {', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}"
        )
    ids = torch.tensor([classes.index(name) for name in found.classes])
    found.parts = {part: _with_targets(held, ids[held.targets]) for part, held in found.parts.items()}
    found.classes = classes


def _check_alike(found: Source) -> None:
    shapes = {
        name: (tuple(part.inputs.shape[1:]), part.inputs.dtype)
        if isinstance(part, Part)
        else (tuple(part.reader.shape), part.reader.dtype)
        for name, part in found.parts.items()
        if not isinstance(part, (DatasetPart, TextPart))
    }
    if len(set(shapes.values())) > 1:
        shown = "; ".join(
            f"{name} {shape}, {str(dtype).removeprefix('torch.')}" for name, (shape, dtype) in shapes.items()
        )
        raise DataError(f"{found.name}: expected inputs of one shape and type in every part, came {shown}")


def _check_streams(found: Source, stream: Stream, workers: Workers | Literal["auto"]) -> None:
    train = found.parts["train"]
    if stream is True and isinstance(train, (Part, TextPart)):
        raise DataError(
            f"{found.name}: stream= goes with a folder of images or of .npy files, with one of recordings, and with Parquet; this set is held in "
            "memory.\nSave its arrays as x.npy and y.npy in a folder, or give a Dataset whose items do not fit in memory."
        )
    if isinstance(train, DatasetPart) and isinstance(workers, int) and workers:
        found.notes.append(
            f"read by {workers} processes: where items are random, a resumed run draws others than one that was not "
            "interrupted (with workers=0 it draws the same)"
        )


def sampled_by(train: AnySplit, sampling: str, found: Source) -> AnySplit:
    """Returns the training part with how its epochs are drawn; raises DataError for numbers to predict."""
    if sampling not in ("uniform", "balanced"):
        raise unknown_name("data.sampling", sampling, ("uniform", "balanced"))
    if sampling == "uniform":
        return train
    if found.classes is None:
        raise DataError(
            f"{found.name}: data.sampling=balanced goes with classes; this set has numbers to predict"
        )
    found.notes.append(BALANCED)
    return replace(train, balanced=True)


def read_by(split: AnySplit, workers: Workers | Literal["auto"]) -> AnySplit:
    """Returns the split with who reads it, where it is read as it goes."""
    valid = workers in ("auto", "thread") or (
        isinstance(workers, int) and not isinstance(workers, bool) and workers >= 0
    )
    if not valid:
        raise DataError(f"workers: expected 'auto', 'thread' or a number of processes, came {workers!r}")
    if isinstance(split, (Split, CorpusSplit, SeriesSplit)) or workers == "auto":
        return split
    if isinstance(split, StreamSplit):
        return replace(split, workers=workers if split.reader.by_processes or workers == 0 else "thread")
    return replace(split, workers=0 if workers == "thread" else workers)
