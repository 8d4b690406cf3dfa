"""A run as one plain PyTorch script that trains the same network on the same data to the same weights."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

import netwright
from netwright.architectures.user_file import load_object
from netwright.data.augmentation import COLOURS_FROM, RANDOM_FROM, Augmentation, augmentation_draws, augmented
from netwright.data.cifar import read_cifar10
from netwright.data.colours import recoloured
from netwright.data.folder import PART_NAMES
from netwright.data.idx import read_idx
from netwright.data.images import decode_image, list_files, natural_key, walk_files
from netwright.data.media import PICTURES, RECORDINGS, Medium
from netwright.data.mixing import Mixing, mixed
from netwright.data.npz import KEYS
from netwright.data.order import balanced_order, epoch_order
from netwright.data.partition import content_hashes, stratified_split
from netwright.data.randaugment import blended, blurred, equalized, randaugmented, stretched, warped
from netwright.data.recordings import fitted_waveform, read_waveform
from netwright.data.sound import SoundPreparation, log_mel, mel_filters
from netwright.data.sound_augmentation import SoundAugmentation, masked, shifted
from netwright.data.stream import StreamSplit
from netwright.errors import NetwrightError
from netwright.registry import option_names
from netwright.run_files import FROM_PYTHON
from netwright.source import definitions, expression, extract, foreign, joined, layers_source, literal
from netwright.training.losses import losses
from netwright.training.optimizers import make_optimizer, optimizer_arguments, optimizers, takes_network
from netwright.training.precision import PRECISIONS, choose_device
from netwright.training.schedules import Schedule, make_schedule, warmup_factor
from netwright.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from netwright.data import Data
    from netwright.recipe import Recipe
    from netwright.run import Run


PARTS = ("train", "validation", "test")


def script(run: Run) -> str:
    """Returns the script. It needs torch, numpy and what reads the data; its weights go to weights.pt.

    Raises:
        NetwrightError: the network was a Python object, whose first weights no script can make again, or uses
            something whose source cannot be printed.
    """
    recipe, data = run.recipe, run.data
    if recipe.network.name == FROM_PYTHON:
        raise NetwrightError(
            f"the network of {run.path} was a Python object, whose first weights a script cannot make again.\n"
            "Give the network as file.py:Name, or by a registered name, to have it ejected."
        )
    if recipe.transfer.source is not None:
        raise NetwrightError(
            f"the network of {run.path} began from {recipe.transfer.source}, whose weights a script cannot make again.\n"
            "netwright.Run(path).network is the trained network, a plain nn.Module; its weights are in model.safetensors."
        )
    if data.reading.kind == "parquet":
        raise NetwrightError(
            f"the data of {run.path} is Parquet, whose reading cannot be written as a script of torch and numpy.\n"
            "Save its columns as x.npy and y.npy in a folder, and fit that, to have it ejected."
        )
    if recipe.data.fold is not None:
        raise NetwrightError(
            f"{run.path} was tested on a fold, which scikit-learn cut: a script of torch and numpy cannot."
        )
    if data.reading.kind == "series":
        raise NetwrightError(
            f"the data of {run.path} is a series, whose reading cannot be written as a script of torch and numpy.\n"
            "netwright.load gives the same windows as tensors: data.train.prepared(slice(None))."
        )
    if data.reading.kind in ("text", "corpus"):
        raise NetwrightError(
            f"the data of {run.path} is texts, whose reading and tokens cannot be written as a script of torch and numpy.\n"
            "Save token ids as x.npy and y.npy in a folder, and fit that with a network of yours, to have it ejected."
        )
    with torch.random.fork_rng(devices=[]):
        module = run.untrained_network()
    module.to(choose_device(recipe.train.device))
    code = joined(
        "import random\n\nimport numpy as np\nimport torch\nfrom torch import nn",
        *_reading_definitions(data),
        _source(balanced_order if run.recipe.data.sampling == "balanced" else epoch_order),
        *_augmentation_definitions(recipe, data),
        *_mixing_definitions(recipe, data),
        *_network_definitions(run, module),
        *_loss_and_optimizer_definitions(recipe),
        *([PUT] if recipe.train.ema is not None else []),
    )
    body = "\n".join(
        [
            _settings(run, data),
            _reading(data),
            _making(run, module, data),
            _training(run, data),
        ]
    )
    return f'{_headline(run)}\n{code}\n\n{body}\ntorch.save(weights, "weights.pt")\n'


def plain_network(run: Run) -> str:
    """Returns a Python file whose function `network()` makes the run's network, of PyTorch alone, for its trained weights.

    Raises:
        NetwrightError: a layer whose source or arguments cannot be printed.
    """
    with torch.random.fork_rng(devices=[]):
        module = run.untrained_network()
    made = _network(run, module).replace("\n", "\n    ")
    code = joined("import torch\nfrom torch import nn", *_network_definitions(run, module)).rstrip()
    return (
        dedent(f'''\
        """The network of the run {run.path.name} as plain PyTorch (by netwright {netwright.__version__}).

        Its weights lie beside it: network().load_state_dict(safetensors.torch.load_file("FILE.safetensors")).
        """
        ''')
        + f"\n{code}\n\n\ndef network():\n    return {made}\n"
    )


def _headline(run: Run) -> str:
    versions = run.environment
    return dedent(f'''\
        """The run {run.path.name} as plain PyTorch (ejected by netwright {netwright.__version__}).

        Trains the same network on the same data and writes its last weights to weights.pt. They are the run's, bit
        for bit, on a processor of the same kind with the same versions: torch {versions.get("torch")}, numpy {versions.get("numpy")}.
        """
        ''')


def _settings(run: Run, data: Data) -> str:
    recipe = run.recipe
    device = choose_device(recipe.train.device)
    return dedent(f"""\
        torch.set_num_threads({run.environment.get("threads", 1)})
        device = torch.device({str(device)!r})
        seed = {recipe.train.seed}
        epochs = {recipe.train.epochs}
        batch = {recipe.data.batch}
        """)


# Reading


def _reading_definitions(data: Data) -> list[str]:
    reading = data.reading
    parts = []
    if reading.kind == "idx":
        parts.append(_with_imports(read_idx, "gzip", "math", "os", "zlib"))
    if reading.kind == "cifar10":
        parts.append(_with_imports(read_cifar10, "io", "os", "tarfile"))
    if reading.kind in ("folder", "sounds"):
        parts += [
            "from typing import Any",
            _with_imports(natural_key, "os", "re"),
            _source(walk_files),
            _source(list_files),
        ]
    if reading.kind == "folder":
        parts.append(_source(decode_image))
    if reading.kind == "sounds":
        parts += [_with_imports(read_waveform, "math"), _source(fitted_waveform)]
    if isinstance(data.preparation, SoundPreparation):
        parts += ["from torch import Tensor", _source(mel_filters), _source(log_mel)]
    if isinstance(data.train, StreamSplit):
        parts.append(ON_DISK)
    steps = reading.options.get("steps", [])
    if any("into" in step for step in steps):
        parts.append(_with_imports(content_hashes, "hashlib"))
    if any("size" in step for step in steps):
        parts.append(_source(stratified_split))
    return parts


def _augmentation_definitions(recipe: Recipe, data: Data) -> list[str]:
    changes = _changes(recipe, data)
    if not changes:
        return []
    used: list[Any] = [shifted, masked] if isinstance(changes, SoundAugmentation) else [augmented]
    if isinstance(changes, Augmentation):
        used += [recoloured] * bool(changes.colours())
        used += [warped, blurred, blended, stretched, equalized, randaugmented] * bool(changes.randaugment)
    imports = "from torch import Tensor\nfrom torch.nn import functional as F"
    return [imports, _source(augmentation_draws), *map(_source, used)]


def _mixing_definitions(recipe: Recipe, data: Data) -> list[str]:
    return ["from torch import Tensor", _source(mixed)] if _mixing(recipe, data) else []


def _with_imports(function: Any, *modules: str) -> str:
    return "".join(f"import {module}\n" for module in modules) + "\n\n" + _source(function)


def _source(function: Any) -> str:
    """Returns the source of one of our functions without the examples in its docstring."""
    return re.sub(r'\n\n    >>> .*?(?=\n    """)', "", inspect.getsource(function), count=1, flags=re.DOTALL)


def _reading(data: Data) -> str:
    """The code that leaves raw train_x, train_y and so on, and the function `prepare`."""
    kinds = {
        "digits": _digits,
        "idx": _idx,
        "cifar10": _cifar10,
        "folder": _folder,
        "sounds": _sounds,
        "npz": _npz,
        "arrays": _arrays,
    }
    if data.reading.kind == "table":
        return _table(data)
    code = kinds.get(data.reading.kind, _python)(data)
    if data.reading.kind in kinds:
        for step in data.reading.options["steps"]:
            code += _cut(
                step, has_classes=data.classes is not None, on_disk=isinstance(data.train, StreamSplit)
            )
    preparation = data.preparation
    steps = "raw.float()"
    numbers = ""
    if isinstance(preparation, SoundPreparation):
        fft, hop = preparation.fft, preparation.hop
        numbers += f"filters = mel_filters({preparation.rate}, {fft}, {preparation.mels}).to(device)\n"
        numbers += f"taper = torch.hann_window({preparation.window}).to(device)\n"
        steps = f"log_mel(raw, filters, taper, hop={hop}, fft={fft})"
    if preparation.scale != 1:
        steps += f" / {preparation.scale!r}"
    for name, sign, idle in (("mean", "-", 0.0), ("std", "/", 1.0)):
        values = getattr(preparation, name)
        if bool((values != idle).any()):
            numbers += f"{name} = torch.tensor({preparation.to_dict()[name]}, device=device)"
            numbers += f".reshape({list(values.shape)})  # of the training part\n"
            steps = f"({steps}) {sign} {name}" if " " in steps else f"{steps} {sign} {name}"
    return f"{code}\n{numbers}\n\ndef prepare(raw):\n    return {steps}\n"


def _digits(data: Data) -> str:
    return dedent("""
        from sklearn.datasets import load_digits

        found = load_digits()
        train_x = torch.from_numpy(found.images.astype(np.uint8))[:, None]
        train_y = torch.from_numpy(found.target.astype(np.int64))
        """)


def _idx(data: Data) -> str:
    train_images, train_labels, test_images, test_labels = map(repr, data.reading.paths)
    return dedent(f"""
        train_x = torch.from_numpy(read_idx({train_images}))[:, None]
        train_y = torch.from_numpy(read_idx({train_labels}).astype(np.int64))
        test_x = torch.from_numpy(read_idx({test_images}))[:, None]
        test_y = torch.from_numpy(read_idx({test_labels}).astype(np.int64))
        """)


def _cifar10(data: Data) -> str:
    return dedent(f"""
        found = read_cifar10({data.reading.paths[0]!r})
        train_x, train_y = map(torch.from_numpy, found["train"])
        test_x, test_y = map(torch.from_numpy, found["test"])
        """)


def _folder(data: Data) -> str:
    options = data.reading.options
    shape = ", ".join(map(str, (options["channels"], *options["size"])))
    return _class_folders(data, PICTURES, f"torch.from_numpy(decode_image(file, {shape}))")


def _sounds(data: Data) -> str:
    options = data.reading.options
    waveform = f"fitted_waveform(*read_waveform(file), {options['rate']}, {options['samples']})"
    return _class_folders(data, RECORDINGS, f"torch.from_numpy({waveform})")


def _class_folders(data: Data, medium: Medium, decoded: str) -> str:
    """The code that reads a folder of files, one sub-folder a class; `decoded` is that which makes a tensor of a file."""
    folder = Path(data.reading.paths[0])
    options, names = data.reading.options, PART_NAMES
    inside = {names.get(entry.name.lower(), ""): entry.name for entry in folder.iterdir() if entry.is_dir()}
    # The same rule as in reading: train/ with classes in it makes the folder one of parts.
    parted = (
        "train" in inside
        and "" not in inside
        and any(e.is_dir() for e in (folder / inside["train"]).iterdir())
    )
    parts = inside if parted else {"train": "."}
    inputs = "torch.stack([decode(file) for file in files])"
    if isinstance(data.train, StreamSplit):
        inputs = (
            "OnDisk(lambda rows: torch.stack([decode(files[row]) for row in rows]), torch.arange(len(files)))"
        )
    code = dedent(f"""
        folder = {str(folder)!r}
        classes = {list(data.classes or ())!r}
        unreadable = {sorted(options["unreadable"])!r}


        def decode(file):
            return {decoded}


        def read_part(part):
            files, targets = [], []
            for target, name in enumerate(classes):
                for file in list_files(os.path.join(part, name)):
                    if os.path.splitext(file)[1].lower() in {sorted(medium.suffixes)!r} and file not in unreadable:
                        files.append(file)
                        targets.append(target)
            return {inputs}, torch.tensor(targets)


        """)
    for part, name in parts.items():
        where = "folder" if name == "." else f"os.path.join(folder, {name!r})"
        code += f"{part}_x, {part}_y = read_part({where})\n"
    return code


def _npz(data: Data) -> str:
    path = data.reading.paths[0]
    code = f"\narchive = np.load({path!r})\n"
    with np.load(path, allow_pickle=False) as archive:
        keys = {
            part: next((pair for pair in pairs if pair[0] in archive.files), None)
            for part, pairs in KEYS.items()
        }
        found = {part: pair for part, pair in keys.items() if pair is not None}
        if data.classes is not None:
            labels = ", ".join(f"archive[{pair[1]!r}].ravel()" for pair in found.values())
            code += f"labels = np.unique(np.concatenate([{labels}]))\n"
        for part, (inputs, targets) in found.items():
            read = _array_inputs(data, archive[inputs], f"archive[{inputs!r}]")
            code += f"{part}_x = torch.from_numpy({read})\n"
            code += f"{part}_y = {_array_targets(data, archive[targets], f'archive[{targets!r}]')}\n"
    return code


def _arrays(data: Data) -> str:
    """The same for a folder of .npy files, whose inputs stay on disk where the run streamed them."""
    files = data.reading.options["arrays"]
    code = "\n"
    if data.classes is not None:
        labels = ", ".join(f"np.load({targets!r}).ravel()" for _, targets in files.values())
        code += f"labels = np.unique(np.concatenate([{labels}]))\n"
    for part, (inputs, targets) in files.items():
        values = np.load(inputs, mmap_mode="r")
        if isinstance(data.train, StreamSplit):
            # torch.tensor copies to where torch's tensors begin; the bits of a product depend on the alignment.
            read = _array_inputs(data, values, f"{part}_array[rows.numpy()]")
            code += f'{part}_array = np.load({inputs!r}, mmap_mode="r")\n'
            code += f"{part}_x = OnDisk(lambda rows: torch.tensor({read}), torch.arange(len({part}_array)))\n"
        else:
            read = _array_inputs(data, values, f"np.load({inputs!r})")
            code += f"{part}_x = torch.from_numpy({read})\n"
        labelled = np.load(targets, mmap_mode="r")
        code += f"{part}_y = {_array_targets(data, labelled, f'np.load({targets!r})')}\n"
    return code


def _array_inputs(data: Data, values: np.ndarray, code: str) -> str:
    if values.ndim == 3:
        code += "[:, None]"
    elif values.ndim == 4 and values.shape[1:] != data.input_shape:
        code += ".transpose(0, 3, 1, 2)"
    dtype = "uint8" if data.preparation.to_dict().get("highest") == 255 or _is_bytes(data) else "float32"
    return f"np.ascontiguousarray({code}, dtype=np.{dtype})"


def _is_bytes(data: Data) -> bool:
    if isinstance(data.train, StreamSplit):
        return data.train.reader.dtype.itemsize == 1
    inputs = getattr(data.train, "inputs", None)
    return inputs is not None and inputs.element_size() == 1


def _array_targets(data: Data, values: np.ndarray, code: str) -> str:
    code += "[:, 0]" if values.ndim == 2 and values.shape[1] == 1 else ""
    if data.classes is not None:
        return f"torch.from_numpy(np.searchsorted(labels, {code}))"
    return f"torch.from_numpy(np.ascontiguousarray({code}, dtype=np.float32))"


def _python(data: Data) -> str:
    return _saved_parts(
        data,
        "# The data of the run was a Python object. Save it, divided as the run had it, with\n"
        '#     torch.save({"train_x": data.train.inputs, "train_y": data.train.targets, ...}, "data.pt")\n',
    )


def _table(data: Data) -> str:
    remark = "# The table of the run as numbers, as `netwright eject RUN --data data.pt` writes it.\n"
    return f"{_saved_parts(data, remark)}\n\ndef prepare(raw):\n    return raw\n"


def _saved_parts(data: Data, remark: str) -> str:
    parts = [part for part in PARTS if len(getattr(data, part))]
    code = f'\n{remark}saved = torch.load("data.pt", weights_only=True)\n'
    return code + "".join(f'{part}_{axis} = saved["{part}_{axis}"]\n' for part in parts for axis in "xy")


def write_table(run: Run, file: Path) -> None:
    """Writes the prepared rows and targets of a run's table, which its script reads: a dictionary of tensors, for torch.load.

    Raises NetwrightError where the run's data is no table: its script reads the files themselves.
    """
    data = run.data
    if data.reading.kind != "table":
        raise NetwrightError(f"--data goes with tables; the script of {run.path} reads its data itself")
    saved = {}
    for part in PARTS:
        split = getattr(data, part)
        if len(split):
            saved[f"{part}_x"], saved[f"{part}_y"] = split.prepared(slice(None))
    torch.save(saved, file)


def _cut(step: dict[str, Any], *, has_classes: bool, on_disk: bool = False) -> str:
    """One cut of the data, as `Reading` describes it."""
    if "overfit" in step:
        return "".join(f"{part}_x, {part}_y = train_x, train_y\n" for part in ("validation", "test"))
    part = step.get("limit", "train")
    labels = f"{part}_y.numpy()" if has_classes else "None"
    if "limit" in step:
        return (
            f"_, chosen = stratified_split({labels}, np.arange(len({part}_y)), {step['size']}, seed)\n"
            f"{part}_x, {part}_y = {part}_x[chosen], {part}_y[chosen]\n"
        )
    into = step["into"]
    hashes = "content_hashes(train_x)"
    if on_disk:
        hashes = "np.concatenate([content_hashes(some) for some in train_x.split(1024)])"
    return (
        f"kept, held_out = stratified_split({labels}, {hashes}, {step['size']}, seed)\n"
        f"{into}_x, {into}_y = train_x[held_out], train_y[held_out]\n"
        f"train_x, train_y = train_x[kept], train_y[kept]\n"
    )


# Making


def _network_definitions(run: Run, module: nn.Module) -> list[str]:
    name = run.recipe.network.name
    if ".py:" in name:
        file, _, wanted = name.rpartition(":")
        return [extract(file, wanted)]
    kinds = foreign(module)
    return [definitions(kinds)] if kinds else []


def _network(run: Run, module: nn.Module) -> str:
    name, options = run.recipe.network.name, run.recipe.network.options()
    if ".py:" not in name:
        return layers_source(module)
    wanted = load_object(name)
    if isinstance(wanted, nn.Module):
        return name.rpartition(":")[2]
    taken = option_names(wanted)
    shapes = {"input_shape": tuple(run.meaning["input_shape"]), "num_outputs": run.meaning["num_outputs"]}
    shapes |= run.preparation.facts
    arguments = {key: value for key, value in shapes.items() if taken is not None and key in taken} | options
    return f"{name.rpartition(':')[2]}({', '.join(f'{key}={literal(value)}' for key, value in arguments.items())})"


def _loss_and_optimizer_definitions(recipe: Recipe) -> list[str]:
    things: list[Any] = [optimizers[recipe.optimizer.name]]
    if recipe.loss.name != "auto":
        things.append(losses[recipe.loss.name])
    if recipe.schedule.name == "warmup":
        things.append(warmup_factor)
    code = definitions(things)
    imports = "import functools\n" if "functools" in code or recipe.schedule.name == "warmup" else ""
    if recipe.schedule.name == "warmup":
        imports += "import math\n"
    return [joined(imports, code)] if code else []


def _making(run: Run, module: nn.Module, data: Data) -> str:
    """The code that makes network, loss, optimizer and what else trains."""
    recipe = run.recipe
    entry = optimizers[recipe.optimizer.name]
    lr = recipe.optimizer.lr if not isinstance(recipe.optimizer.lr, str) else None
    arguments = optimizer_arguments(recipe.optimizer.name, module, lr=lr, **recipe.optimizer.options())
    first = "network" if takes_network(entry) else _trained(module)
    lines = [
        "",
        "random.seed(seed)",
        "np.random.seed(seed % 2**32)",
        "torch.manual_seed(seed)",
        f"network = {_network(run, module)}.to(device{_layout(run, module)})",
        f"loss = {layers_source(run.loss())}.to(device)",
        f"optimizer = {expression(entry, arguments, first)}",
        *_schedule(run, data, module),
    ]
    if recipe.train.precision == "fp16-mixed":
        lines.append("scaler = torch.amp.GradScaler(device.type)")
    if recipe.train.ema is not None:
        lines += [
            "average = torch.optim.swa_utils.AveragedModel(",
            f"    network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn({recipe.train.ema!r})",
            ")",
        ]
    return "\n".join(lines) + "\n"


def _layout(run: Run, module: nn.Module) -> str:
    """The memory format that a registered network's builder gave its weights; a class of one's own gives its own."""
    # By strides: a filter of one channel is contiguous in both formats, and yet decides what comes out.
    last = any(
        weight.dim() == 4
        and weight.is_contiguous(memory_format=torch.channels_last)
        and weight.stride() != torch.empty(weight.shape, device="meta").stride()
        for weight in module.parameters()
    )
    return ", memory_format=torch.channels_last" if last and ".py:" not in run.recipe.network.name else ""


def _trained(module: nn.Module) -> str:
    if all(parameter.requires_grad for parameter in module.parameters()):
        return "network.parameters()"
    return "[parameter for parameter in network.parameters() if parameter.requires_grad]"


def _made_schedule(run: Run, data: Data, module: nn.Module) -> Schedule:
    recipe = run.recipe
    batches = -(-len(data.train) // recipe.data.batch)
    steps = -(-batches // recipe.train.accumulate)
    lr = recipe.optimizer.lr if not isinstance(recipe.optimizer.lr, str) else None
    optimizer = make_optimizer(recipe.optimizer.name, module, lr=lr, **recipe.optimizer.options())
    return make_schedule(
        recipe.schedule.name,
        optimizer,
        total_steps=steps * recipe.train.epochs,
        steps_per_epoch=steps,
        **recipe.schedule.options(),
    )


def _schedule(run: Run, data: Data, module: nn.Module) -> list[str]:
    schedule = _made_schedule(run, data, module)
    if schedule.scheduler is None:
        return []
    return [f"schedule = {expression(type(schedule.scheduler), schedule.arguments, 'optimizer')}"]


# Training


def _training(run: Run, data: Data) -> str:
    recipe = run.recipe
    validates = len(data.validation) > 0
    stops = recipe.early_stopping.patience is not None
    schedule = _made_schedule(run, data, run.untrained_network())
    lines = ["best, waited = None, 0"] if stops else []
    lines += [
        "",
        "for epoch in range(epochs):",
        "    network.train()",
        f"    order = {_order(recipe)}",
        *(
            [f"    draws = augmentation_draws(len(train_x), {_drawn(changes)})"]
            if (changes := _changes(recipe, data))
            else []
        ),
        "    total = 0.0",
        *indented(_steps(recipe, schedule, data)),
        "    train_loss = total / len(train_x)",
    ]
    if validates:
        lines += indented(_validation(recipe, data))
    lines += indented(_end_of_epoch(recipe, schedule, validates=validates))
    lines += ["", *_final_weights(recipe)]
    return "\n".join(lines)


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _steps(recipe: Recipe, schedule: Schedule, data: Data) -> list[str]:
    accumulate, clip = recipe.train.accumulate, recipe.train.clip
    scaled = recipe.train.precision == "fp16-mixed"
    mixing = _mixing(recipe, data)
    targets = "y" if mixing and data.classes is not None else _targets(recipe, data)
    forward = ["outputs = network(x)", f"value = loss(outputs, {targets})"]
    if PRECISIONS[recipe.train.precision] is not None:
        dtype = PRECISIONS[recipe.train.precision]
        forward = [f"with torch.autocast(device.type, dtype={dtype}):", *indented(forward)]
    batch = [f"x, y = {_prepared(recipe, data)}, train_y[rows].to(device)"]
    if mixing:
        shares = (
            "y" if mixing.num_classes is None else f"nn.functional.one_hot(y, {mixing.num_classes}).float()"
        )
        batch.append(f"x, y = mixed(x, {shares}, (seed, epoch, number), {_keywords(mixing.settings())})")
    batch += forward
    after = []
    if scaled:
        after.append("scaler.unscale_(optimizer)")
    if clip is not None:
        after.append(f"nn.utils.clip_grad_norm_(network.parameters(), {clip!r})")
    after += ["scaler.step(optimizer)", "scaler.update()"] if scaled else ["optimizer.step()"]
    if recipe.train.ema is not None:
        after.append("average.update_parameters(network)")
    if schedule.scheduler is not None and schedule.per == "step":
        after.append("schedule.step()")
    part = "scaler.scale({}).backward()" if scaled else "({}).backward()"
    if accumulate == 1:
        backward = part.format("value") if scaled else "value.backward()"
        body = ["optimizer.zero_grad()", *batch, backward, "total += value.item() * len(rows)", *after]
        each = "number, rows in enumerate(order.split(batch))" if mixing else "rows in order.split(batch)"
        return [f"for {each}:", *indented(body)]
    weight = part.format("value * (len(rows) / len(group)) if len(rows) < len(group) else value")
    inner = [*batch, weight, "total += value.item() * len(rows)"]
    each, every = "rows in group.split(batch)", f"group in order.split({accumulate} * batch)"
    if mixing:
        each, every = (
            f"number, rows in enumerate(group.split(batch), {accumulate} * step)",
            f"step, {every[:9]}enumerate({every[9:]})",
        )
    body = ["optimizer.zero_grad()", f"for {each}:", *indented(inner), *after]
    return [f"for {every}:", *indented(body)]


def _prepared(recipe: Recipe, data: Data) -> str:
    """The training examples of a batch, changed where the recipe says so, as the network takes them."""
    raw = "train_x.index_select(0, rows).to(device)"
    changes, preparation = _changes(recipe, data), data.preparation
    if not changes:
        return f"prepare({raw})"
    if isinstance(changes, SoundAugmentation):
        assert isinstance(preparation, SoundPreparation)
        if changes.time_shift:
            raw = f"shifted({raw}, draws[rows].to(device), {_keywords(changes.shift(preparation))})"
        if not (changes.mask_time or changes.mask_frequency):
            return f"prepare({raw})"
        return f"masked(prepare({raw}), draws[rows].to(device), {_keywords(changes.masks(preparation))})"
    highest = getattr(preparation, "highest", None)
    if changes.randaugment:
        chosen = f"operations={changes.randaugment}, magnitude={changes.magnitude!r}, highest={highest!r}"
        raw = f"randaugmented({raw}, draws[rows, {RANDOM_FROM}:].to(device), {chosen})"
    if changes.colours():
        chosen = f"{_keywords(changes.colours())}, highest={highest!r}"
        raw = f"recoloured({raw}, draws[rows, {COLOURS_FROM}:{RANDOM_FROM}].to(device), {chosen})"
    settings = {name: repr(value) for name, value in changes.settings().items()}
    if not settings:
        return f"prepare({raw})"
    if changes.cutout:
        # As `netwright.data.augmentation` has it.
        centred = bool((preparation.mean != 0).any())
        settings["fill"] = f"mean * {preparation.scale!r}" if centred else "0.0"
    return f"prepare(augmented({raw}, draws[rows].to(device), {_keywords(settings)}))"


def _keywords(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _changes(recipe: Recipe, data: Data) -> Augmentation | SoundAugmentation:
    return data.changes(recipe.augment.model_dump(exclude_defaults=True))


def _drawn(changes: Augmentation | SoundAugmentation) -> str:
    columns = "" if changes.columns == 8 else f", columns={changes.columns}"
    return f"seed=seed, epoch=epoch{columns}"


def _mixing(recipe: Recipe, data: Data) -> Mixing:
    return data.mixing(recipe.augment.model_dump(exclude_defaults=True))


def _order(recipe: Recipe) -> str:
    if recipe.data.sampling == "balanced":
        return "balanced_order(train_y, seed=seed, epoch=epoch)"
    return "epoch_order(len(train_x), seed=seed, epoch=epoch)"


def _targets(recipe: Recipe, data: Data) -> str:
    """The targets y as the loss wants them: what `match_targets` does, written out for this run."""
    if data.classes is None:
        return "y.reshape(outputs.shape)"
    if recipe.loss.name in ("auto", "cross-entropy", "nll"):
        return "y"
    return f"nn.functional.one_hot(y, {data.num_outputs}).float()"


def _validation(recipe: Recipe, data: Data) -> list[str]:
    precision = PRECISIONS[recipe.train.precision]
    context = (
        "torch.no_grad()"
        if precision is None
        else f"torch.no_grad(), torch.autocast(device.type, dtype={precision})"
    )
    averaged = recipe.train.ema is not None
    lines = ["network.eval()"]
    if averaged:
        lines += [
            "own = [weight.detach().clone() for weight in network.parameters()]",
            "put(average.module.parameters(), network)",
        ]
    lines += [
        f"with {context}:",
        f"    parts = validation_x.split({data.validation.evaluation_batch})",
        "    outputs = torch.cat([network(prepare(part.to(device))).float() for part in parts])",
        "y = validation_y.to(device)",
        f"validation_loss = loss(outputs, {_targets(recipe, data)}).item()",
    ]
    if data.classes is None:
        lines.append("validation_rmse = (outputs.reshape(y.shape) - y).square().mean().sqrt().item()")
    else:
        lines.append("validation_accuracy = (outputs.argmax(dim=1) == y).float().mean().item()")
    if averaged:
        lines.append("put(own, network)")
    return lines


def _end_of_epoch(recipe: Recipe, schedule: Schedule, *, validates: bool) -> list[str]:
    stopping = EarlyStopping(**recipe.early_stopping.model_dump())
    monitor = stopping.monitor if validates else "train_loss"
    lines = []
    if schedule.scheduler is not None and schedule.per == "epoch":
        lines.append(f"schedule.step({monitor if schedule.needs_score else ''})")
    shown = f", {monitor} {{{monitor}:.4f}}" if monitor != "train_loss" else ""
    lines.append(f'print(f"epoch {{epoch + 1}}: train_loss {{train_loss:.4f}}{shown}")')
    if recipe.early_stopping.patience is not None:
        gain = f"{monitor} - best" if stopping.mode == "max" else f"best - {monitor}"
        lines += [
            f"if best is None or {gain} > {stopping.min_delta!r}:",
            f"    best, waited = {monitor}, 0",
            "else:",
            "    waited += 1",
            f"if waited >= {recipe.early_stopping.patience}:",
            "    break",
        ]
    return lines


def _final_weights(recipe: Recipe) -> list[str]:
    if recipe.train.ema is None:
        return ["weights = network.state_dict()"]
    return ["put(average.module.parameters(), network)", "weights = network.state_dict()"]


PUT = """
@torch.no_grad()
def put(weights, network):
    for parameter, weight in zip(network.parameters(), weights):
        parameter.copy_(weight)
"""

ON_DISK = '''
class OnDisk:
    """Examples that stay on disk until their rows are asked for."""

    def __init__(self, read, rows):
        self.read, self.rows = read, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, chosen):
        return OnDisk(self.read, self.rows[chosen])

    def index_select(self, dim, chosen):
        return self.read(self.rows[chosen])

    def split(self, size):
        return (self.read(rows) for rows in self.rows.split(size))
'''
