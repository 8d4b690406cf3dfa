"""The script that `eject` prints, run where there is no netwright, gives the run's final weights bit for bit."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

HELPED = """
import torch
from torch import nn

SCALE = 0.5


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * SCALE


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x + torch.relu(self.linear(x))


class Net(nn.Module):
    '''Has a helper function, another class, a constant, a buffer and an option.'''

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(2)))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.dropout(self.blocks(scaled(self.first(x.flatten(1))))))
"""


def options(*entries: str) -> tuple[str, ...]:
    return tuple(word for entry in entries for word in ("--set", entry))


SMALL = options("network.hidden=[12]")
MATRIX: dict[str, tuple[Any, ...]] = {
    "as it comes": (),
    **{
        f"activation {name}": options("network.hidden=[12,8]", f"network.activation={name}")
        for name in ("sigmoid", "tanh", "leaky-relu", "elu", "gelu", "silu", "softmax", "binary-step", "identity")
    },
    "an activation each": options("network.hidden=[12,8,6]", "network.activation=[relu,leaky-relu,log-softmax]"),
    "an output activation": options("network.hidden=[12]", "network.output_activation=relu"),
    "dropout and batch norm": options("network.hidden=[12,8]", "network.dropout=0.3", "network.batch_norm=true"),
    "layer norm": options("network.hidden=[12,8]", "network.norm=layer"),
    "cnn with group norm": ("--network", "cnn", *options("network.channels=[4]", "network.norm=group"), "--limit", 300),
    "no hidden layer": options("network.hidden=[]"),
    "cnn": ("--network", "cnn", *options("network.channels=[4,8]", "network.dropout=0.1"), "--limit", 300),
    "cnn with mean and max": ("--network", "cnn", *options("network.channels=[4]", "network.head=mean-max"), "--limit", 300),
    "cnn without batch norm": (
        "--network", "cnn", *options("network.channels=[4]", "network.batch_norm=false"), "--limit", 300,
    ),
    **{
        f"optimizer {name}": ("--optimizer", name, *SMALL)
        for name in ("sgd", "sgd-momentum", "sgd-nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "nadam")
    },
    "optimizer muon": ("--optimizer", "muon", *options("network.hidden=[12,8]")),
    "options of the optimizer": (
        "--optimizer", "sgd", "--lr", 0.05, *SMALL, *options("optimizer.momentum=0.7", "optimizer.weight_decay=0.01"),
    ),
    "betas": ("--optimizer", "adam", *SMALL, *options("optimizer.betas=[0.8,0.99]", "optimizer.eps=1e-6")),
    "schedule step": (*SMALL, *options("schedule.name=step", "schedule.step_size=2")),
    "schedule plateau": (*SMALL, *options("schedule.name=plateau", "schedule.patience=0"), "--lr", 0.1),
    **{f"schedule {name}": (*SMALL, *options(f"schedule.name={name}")) for name in ("cosine", "one-cycle", "warmup")},
    "accumulation": (*SMALL, *options("train.accumulate=3")),
    "clipping": (*SMALL, *options("train.clip=0.1")),
    "averages": (*SMALL, *options("train.ema=0.9")),
    "averages with batch norm": (*SMALL, *options("train.ema=0.9", "network.batch_norm=true")),
    "label smoothing": (*SMALL, *options("loss.label_smoothing=0.1")),
    "class weights": (*SMALL, *options("loss.class_weights=balanced")),
    "early stopping": (
        "--epochs", 20, "--lr", 0.3, *SMALL, *options("early_stopping.patience=1", "early_stopping.min_delta=0.05"),
    ),
    "stopped by accuracy": (
        "--epochs", 20, "--lr", 0.1, *SMALL,
        *options("early_stopping.patience=1", "early_stopping.monitor=validation_accuracy"),
    ),
    "bf16": ("--precision", "bf16-mixed", *SMALL),
    "nll": ("--loss", "nll", *SMALL, *options("network.output_activation=log-softmax")),
    "mse on classes": ("--loss", "mse", *SMALL),
    "bce with logits on classes": ("--loss", "bce-with-logits", *SMALL),
    "bce on classes": ("--loss", "bce", *SMALL, *options("network.output_activation=sigmoid")),
    "another seed": ("--seed", 77, *SMALL),
    "a last batch of its own size": ("--batch", 100, *SMALL),
    "a batch of 7": ("--batch", 7, "--epochs", 1, *SMALL),
    "limit": ("--limit", 100, *SMALL),
    "overfit": ("--overfit", 20, "--epochs", 5, *SMALL),
    "mean and std given": (*SMALL, *options("data.mean=0.5", "data.std=0.25")),
    "pixels only scaled": (*SMALL, *options("data.preparation=scale")),
    "pixels as they are": (*SMALL, *options("data.preparation=none")),
    "no validation": (*SMALL, *options("data.validation=0")),
    "a validation of 100": (*SMALL, *options("data.validation=100", "data.test_share=0.3")),
    "everything": (
        "--optimizer", "sgd-nesterov", "--lr", 0.05, "--epochs", 5, "--batch", 48,
        *options(
            "network.hidden=[24,12]", "network.dropout=0.2", "network.batch_norm=true", "train.ema=0.95",
            "train.accumulate=2", "train.clip=1.0", "schedule.name=cosine", "loss.label_smoothing=0.05",
            "early_stopping.patience=3",
        ),
    ),
    "a network of your own": ("--network", "mine.py:Net", *options("network.width=10")),
}  # fmt: skip


def same_weights(netwright: Any, script: Any, weights_sha256: Any, source: Any, *arguments: Any) -> str:
    """Fits, ejects, runs the script elsewhere, and compares; gives back the script."""
    if "--epochs" not in arguments:
        arguments = (*arguments, "--epochs", 3)
    keep = ("--set", "checkpoint.keep=last")
    ended = netwright("fit", source, *arguments, *keep, "--out", "run", "--json", "--quiet", "--no-examine")
    text = netwright("eject", "run").stdout
    elsewhere = netwright.folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.py").write_text(text)
    if 'torch.load("data.pt"' in text:
        netwright("eject", "run", "--data", elsewhere / "data.pt", "--out", elsewhere / "again.py")
        assert (elsewhere / "again.py").read_text() == text
    script(elsewhere / "train.py", cwd=elsewhere)
    written = torch.load(elsewhere / "weights.pt", weights_only=True)
    final = load_file(netwright.folder / "run" / "model.safetensors")
    assert sorted(written) == sorted(final)
    differing = [
        n for n in final if written[n].dtype != final[n].dtype or not torch.equal(written[n], final[n])
    ]
    assert not differing
    assert weights_sha256(written) == ended.json["weights_sha256"]
    return text


@pytest.mark.parametrize("recipe", MATRIX)
def test_the_script_gives_the_same_weights(
    netwright: Any, script: Any, weights_sha256: Any, folder: Path, recipe: str
) -> None:
    (folder / "mine.py").write_text(HELPED)
    text = same_weights(netwright, script, weights_sha256, "digits", *MATRIX[recipe])
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported - set(sys.stdlib_module_names) <= {"torch", "numpy", "sklearn"}


def test_photos(netwright: Any, script: Any, weights_sha256: Any, photos: Path) -> None:
    """Pillow reads them in the script too: grey, colour with alpha, a palette, another size."""
    from PIL import Image

    for index, mode in enumerate(("L", "RGBA", "P", "LA", "1")):
        file = photos / "light" / f"{index:02}.png"
        with Image.open(file) as image:
            image.convert(mode).resize((20, 16)).save(file)
    cnn = ("--network", "cnn", *options("network.channels=[4]"))
    same_weights(netwright, script, weights_sha256, "photos", *cnn, "--batch", 8)


def test_a_network_with_layers_of_our_own(netwright: Any, script: Any, weights_sha256: Any) -> None:
    cnn = (
        "--network",
        "cnn",
        *options("network.channels=[4,6]", "network.residual=1", "network.mirror=true"),
    )
    same_weights(netwright, script, weights_sha256, "digits", *cnn, "--limit", 200, "--epochs", 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"shift": 1, "flip": True},
        {"rotate": 10, "zoom": 0.1, "cutout": 3, "edge": "reflect"},
        {"crop": 0.5, "shear": 10, "flip_vertical": True, "brightness": 0.3, "contrast": 0.2},
        {"randaugment": 2, "magnitude": 12, "mixup": 0.2, "cutmix": 1.0},
        {"contrast": 0.2},
    ],
)
def test_changed_images(netwright: Any, script: Any, weights_sha256: Any, changes: dict[str, Any]) -> None:
    settings = options(*(f"augment.{name}={value}" for name, value in changes.items()))
    same_weights(netwright, script, weights_sha256, "digits", *SMALL, "--epochs", 2, *settings)


@pytest.mark.parametrize(
    "settings",
    [
        ("augment.saturation=0.4", "augment.hue=0.1", "augment.randaugment=1"),
        ("augment.mixup=0.4", "train.accumulate=2"),
        ("augment.cutmix=1", "loss.name=bce-with-logits"),
    ],
)
def test_changed_photos(
    netwright: Any, script: Any, weights_sha256: Any, photos: Path, settings: tuple[str, ...]
) -> None:
    same_weights(netwright, script, weights_sha256, "photos", *SMALL, "--batch", 8, *options(*settings))


@pytest.mark.parametrize(
    "words",
    [
        ("kind", *SMALL),
        ("price", *SMALL, "--network", "mlp", *options("table.categories=embedding", "data.sampling=uniform")),
        ("kind", "--network", "table-resnet", *options("network.width=8", "network.blocks=1", "data.sampling=balanced")),
        ("price", "--network", "table-transformer", *options("network.width=8", "network.heads=2", "network.blocks=1")),
    ],
)  # fmt: skip
def test_a_table(
    netwright: Any, script: Any, weights_sha256: Any, folder: Path, words: tuple[Any, ...]
) -> None:
    pytest.importorskip("pyarrow")
    numbers = np.random.default_rng(0)
    rows = ["size,town,price,kind"]
    for size, town in zip(numbers.normal(80, 20, 150), numbers.integers(0, 4, 150)):
        kind = "house" if size + 10 * town > 95 else "flat"
        rows.append(f"{size:.1f},town {town},{size * 3 + 50 * town:.0f},{kind}")
    (folder / "homes.csv").write_text("\n".join(rows) + "\n")
    target, *others = words
    same_weights(netwright, script, weights_sha256, "homes.csv", "--target", target, *others)


def test_data_is_written_for_tables_alone(netwright: Any, folder: Path) -> None:
    netwright("fit", "digits", "--limit", 100, "--epochs", 1, "--out", "run")
    ended = netwright("eject", "run", "--data", "data.pt", code=2)
    assert "--data goes with tables" in ended.stderr and not (folder / "data.pt").exists()


@pytest.mark.parametrize("kind", ["classes", "numbers", "pictures"])
def test_arrays(netwright: Any, script: Any, weights_sha256: Any, folder: Path, kind: str) -> None:
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(200, 5)).astype(np.float32)
    if kind == "classes":
        np.savez(folder / "set.npz", x=x, y=(x.sum(1) > 0).astype(np.int64))
    elif kind == "numbers":
        np.savez(folder / "set.npz", x=x, y=x @ np.float32([1, -2, 3, 0, 0.5]))
    else:
        pixels = numbers.integers(0, 256, (200, 6, 6, 3), dtype=np.uint8)
        np.savez(folder / "set.npz", x=pixels, y=np.arange(200) % 4)
    same_weights(netwright, script, weights_sha256, "set.npz", *SMALL)


@pytest.mark.parametrize("settings", [SMALL, ()])
def test_a_named_set_in_files(netwright: Any, script: Any, weights_sha256: Any, settings: Any) -> None:
    """Also with nothing said of the network: the set's own recipe has convolutions, changed images and one cycle."""
    import os

    if not os.environ.get("NETWRIGHT_DATA"):
        pytest.skip("NETWRIGHT_DATA is not set")
    same_weights(netwright, script, weights_sha256, "mnist", *settings, "--limit", 500, "--epochs", 2)


def test_a_run_that_was_moved_and_resumed(
    netwright: Any, script: Any, weights_sha256: Any, run: Path
) -> None:
    moved = run.rename(run.parent / "moved run")
    (run.parent / "eject.py").write_text(netwright("eject", "moved run").stdout)
    script("eject.py")
    sha = netwright("resume", moved, "--json").json["weights_sha256"]
    assert weights_sha256(torch.load(run.parent / "weights.pt", weights_only=True)) == sha


def test_out_writes_what_is_otherwise_printed(netwright: Any, run: Path) -> None:
    printed = netwright("eject", "run").stdout
    ended = netwright("eject", "run", "--out", "train.py")
    assert (run.parent / "train.py").read_text() == printed
    assert printed not in ended.stdout


@pytest.mark.slow
def test_in_a_fresh_interpreter_with_two_threads(fresh: Any, fresh_script: Any, weights_sha256: Any) -> None:
    fresh.threads = fresh_script.threads = 2
    same_weights(fresh, fresh_script, weights_sha256, "digits", *MATRIX["everything"])


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_deeper_networks_of_images(netwright: Any, script: Any, weights_sha256: Any, name: str) -> None:
    options = ("--set", "network.widths=[4, 8]", "--set", "network.stochastic_depth=0.2")
    options = options if name == "resnet" else ("--set", "network.width=16", "--set", "network.dropout=0.1")
    command = ("fit", "digits", "--network", name, *options, "--set", "network.blocks=2", "--epochs", 2)
    command = (*command, "--set", "checkpoint.keep=last")
    result = netwright(*command, "--limit", 300, "--quiet", "--json", "--out", "run").json
    (netwright.folder / "train.py").write_text(netwright("eject", "run").stdout)
    script(netwright.folder / "train.py")
    weights = torch.load(netwright.folder / "weights.pt", weights_only=True)
    assert weights_sha256(weights) == result["weights_sha256"]
