"""One contestant in a process of its own: `python contestants.py NAME NETWORK BATCH EPOCHS FOLDER` prints one line of JSON.

Each is written as its own documentation shows it, with its defaults: progress, logs and checkpoints as they come. All get the
prepared tensors in memory, but for the tutorial loop, which decodes and prepares one image at a time as tutorials do, and
netwright, which reads the files itself.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import torch
import work
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

warnings.filterwarnings("ignore")


class Clock:
    """Seconds of training with validation; reading data and building the network are left out."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        work.finished()
        self.seconds = time.perf_counter() - self.began


def in_memory() -> tuple[TensorDataset, TensorDataset]:
    images, labels = work.tensors("train")
    return (
        TensorDataset(images[work.TRAIN], labels[work.TRAIN]),
        TensorDataset(images[work.VALIDATION], labels[work.VALIDATION]),
    )


def plain_loop(network: nn.Module, train: DataLoader, validation: DataLoader, epochs: int) -> None:
    optimizer, criterion = torch.optim.Adam(network.parameters(), lr=work.RATE), nn.CrossEntropyLoss()
    for epoch in range(epochs):
        network.train()
        for x, y in train:
            x, y = x.to(work.DEVICE), y.to(work.DEVICE)
            optimizer.zero_grad()
            loss = criterion(network(x), y)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            right = sum(
                (network(x.to(work.DEVICE)).argmax(1) == y.to(work.DEVICE)).sum().item()
                for x, y in validation
            )
        print(epoch, right / len(validation.dataset))


def tutorial(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from torchvision import datasets, transforms

    raw = folder / "MNIST" / "raw"  # where torchvision looks; the files are the ones that all others read
    if not raw.exists():
        raw.mkdir(parents=True)
        for packed in work.folder().glob("*.gz"):
            (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((work.MEAN,), (work.STD,))])
    whole = datasets.MNIST(folder, train=True, transform=prepare)
    train = DataLoader(Subset(whole, range(54_000)), batch_size=batch, shuffle=True)
    validation = DataLoader(Subset(whole, range(54_000, 60_000)), batch_size=batch)
    network = work.NETWORKS[name]().to(work.DEVICE)
    with clock:
        plain_loop(network, train, validation, epochs)
    return work.accuracy(network)


def loader(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    train, validation = in_memory()
    network = work.NETWORKS[name]().to(work.DEVICE)
    loaders = DataLoader(train, batch_size=batch, shuffle=True), DataLoader(validation, batch_size=batch)
    with clock:
        plain_loop(network, *loaders, epochs)
    return work.accuracy(network)


def whole_tensors(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    train, validation = in_memory()
    x_train, y_train, x_held, y_held = (
        tensor.to(work.DEVICE) for tensor in (*train.tensors, *validation.tensors)
    )
    network = work.NETWORKS[name]().to(work.DEVICE)
    optimizer, criterion = torch.optim.Adam(network.parameters(), lr=work.RATE), nn.CrossEntropyLoss()
    with clock:
        for epoch in range(epochs):
            network.train()
            for rows in torch.randperm(len(x_train), device=work.DEVICE).split(batch):
                optimizer.zero_grad()
                loss = criterion(network(x_train[rows]), y_train[rows])
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                print(epoch, (network(x_held).argmax(1) == y_held).float().mean().item())
    return work.accuracy(network)


def netwright_loop(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    import netwright as nw
    from netwright.training.evaluation import evaluate

    data = nw.load("mnist", validation=6_000)
    network = work.NETWORKS[name]()
    steps = nw.train(network, data.train, epochs=epochs, batch=batch, lr=work.RATE)
    with clock:
        for step in steps:
            if step.ends_epoch:
                print(evaluate(network, data.validation, nn.CrossEntropyLoss()))
    return work.accuracy(network)


def lightning(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    import lightning as L

    class Classifier(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.NETWORKS[name]()

        def training_step(self, batch, index):
            x, y = batch
            loss = F.cross_entropy(self.network(x), y)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, index):
            x, y = batch
            outputs = self.network(x)
            self.log("val_loss", F.cross_entropy(outputs, y))
            self.log("val_accuracy", (outputs.argmax(1) == y).float().mean())

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=work.RATE)

    train, validation = in_memory()
    model = Classifier()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator=work.DEVICE.type,
        default_root_dir=folder,
    )
    with clock:
        trainer.fit(
            model,
            DataLoader(train, batch_size=batch, shuffle=True),
            DataLoader(validation, batch_size=batch),
        )
    return work.accuracy(model.network)


def fabric(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from lightning.fabric import Fabric

    tool = Fabric(accelerator=work.DEVICE.type)
    train, validation = in_memory()
    network = work.NETWORKS[name]()
    with clock:
        model, optimizer = tool.setup(network, torch.optim.Adam(network.parameters(), lr=work.RATE))
        loaders = tool.setup_dataloaders(
            DataLoader(train, batch_size=batch, shuffle=True), DataLoader(validation, batch_size=batch)
        )
        _handed_over(model, optimizer, loaders, epochs, tool.backward)
    return work.accuracy(network)


def accelerate(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from accelerate import Accelerator

    tool = Accelerator(cpu=work.DEVICE.type == "cpu")
    train, validation = in_memory()
    network = work.NETWORKS[name]()
    with clock:
        model, optimizer, *loaders = tool.prepare(
            network,
            torch.optim.Adam(network.parameters(), lr=work.RATE),
            DataLoader(train, batch_size=batch, shuffle=True),
            DataLoader(validation, batch_size=batch),
        )
        _handed_over(model, optimizer, loaders, epochs, tool.backward)
    return work.accuracy(tool.unwrap_model(model))


def _handed_over(model, optimizer, loaders, epochs: int, backward: Callable[..., None]) -> None:
    """The loop by hand around what Fabric or Accelerate prepared."""
    criterion, (train, validation) = nn.CrossEntropyLoss(), loaders
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            backward(criterion(model(x), y))
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in validation)
        print(epoch, right / 6_000)


def ignite(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss

    train, validation = in_memory()
    network, criterion = work.NETWORKS[name]().to(work.DEVICE), nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(
        network, torch.optim.Adam(network.parameters(), lr=work.RATE), criterion, device=work.DEVICE
    )
    evaluator = create_supervised_evaluator(
        network, {"accuracy": Accuracy(), "loss": Loss(criterion)}, device=work.DEVICE
    )
    held = DataLoader(validation, batch_size=batch)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        print(engine.state.epoch, evaluator.run(held).metrics)

    with clock:
        trainer.run(DataLoader(train, batch_size=batch, shuffle=True), max_epochs=epochs)
    return work.accuracy(network)


def skorch(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from skorch import NeuralNetClassifier
    from skorch.helper import predefined_split

    train, validation = in_memory()
    net = NeuralNetClassifier(
        work.NETWORKS[name], criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=work.RATE,
        batch_size=batch, max_epochs=epochs, iterator_train__shuffle=True, train_split=predefined_split(validation),
        device=work.DEVICE.type,
    )  # fmt: skip
    with clock:
        net.fit(*train.tensors)
    return work.accuracy(net.module_)


def keras(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers

    train, validation = in_memory()
    built = {
        "mlp": lambda: [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10)],
        "cnn": lambda: [
            layers.Conv2D(16, 3, padding="same", activation="relu", data_format="channels_first"),
            layers.MaxPooling2D(data_format="channels_first"),
            layers.Conv2D(32, 3, padding="same", activation="relu", data_format="channels_first"),
            layers.MaxPooling2D(data_format="channels_first"),
            layers.Flatten(),
            layers.Dense(10),
        ],
    }
    images = keras.Input((1, 28, 28))
    if name == "transformer":
        model = keras.Model(images, _keras_transformer(images))
    else:
        model = keras.Sequential([images, *built[name]()])
    model.compile(
        optimizer=keras.optimizers.Adam(work.RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    arrays = [tensor.numpy() for tensor in (*train.tensors, *validation.tensors)]
    with clock:
        model.fit(*arrays[:2], batch_size=batch, epochs=epochs, validation_data=tuple(arrays[2:]))
    images, labels = work.tensors("t10k")
    return float(
        model.evaluate(images.numpy(), labels.numpy(), batch_size=2_000, return_dict=True)["accuracy"]
    )


def _keras_transformer(images):
    """`work.Transformer` of Keras's own layers."""
    from keras import layers

    class Place(layers.Layer):
        def build(self, shape):
            self.place = self.add_weight(shape=shape[1:], initializer="zeros")

        def call(self, tokens):
            return tokens + self.place

    tokens = layers.Conv2D(64, 4, 4, data_format="channels_first")(images)
    tokens = Place()(layers.Permute((2, 1))(layers.Reshape((64, 49))(tokens)))
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-5)(tokens)
        tokens = tokens + layers.MultiHeadAttention(4, 16)(normed, normed)
        normed = layers.LayerNormalization(epsilon=1e-5)(tokens)
        tokens = tokens + layers.Dense(64)(layers.Dense(128, activation="relu")(normed))
    return layers.Dense(10)(layers.GlobalAveragePooling1D()(tokens))


def fastai(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    from fastai.basics import DataLoaders, Learner
    from fastai.metrics import accuracy

    train, validation = in_memory()
    loaders = DataLoaders.from_dsets(train, validation, bs=batch, device=work.DEVICE)
    network = work.NETWORKS[name]()
    learner = Learner(loaders, network, loss_func=nn.CrossEntropyLoss(), metrics=accuracy, path=folder)
    with clock:
        learner.fit(epochs, work.RATE)
    return work.accuracy(network)


def netwright(name: str, batch: int, epochs: int, folder: Path, clock: Clock, precision: str = "32") -> float:
    from netwright.fitting import carry_out
    from netwright.recipe import Recipe

    entries = {
        "data.source": "mnist",
        "network.name": f"{Path(__file__).with_name('work.py')}:{work.NETWORKS[name].__name__}",
        "optimizer.name": "adam",
        "optimizer.lr": work.RATE,
        "data.batch": batch,
        "train.epochs": epochs,
        "train.precision": precision,
        "checkpoint.keep": "last",
    }
    run = carry_out(Recipe.build(entries), out=folder / f"run-{time.time_ns()}")
    clock.seconds = run.result["seconds"]  # from the first step on, validation, log and checkpoints with it
    return float(run.result["test"]["accuracy"])


def netwright_auto(name: str, batch: int, epochs: int, folder: Path, clock: Clock) -> float:
    return netwright(name, batch, epochs, folder, clock, precision="auto")


CONTESTANTS = {
    function.__name__: function
    for function in (
        tutorial, loader, whole_tensors, ignite, fabric, accelerate, skorch, fastai, lightning, keras, netwright_loop, netwright, netwright_auto,
    )
}  # fmt: skip


def main() -> None:
    contestant, name, batch, epochs, folder = sys.argv[1:]
    torch.manual_seed(0)
    clock = Clock()
    with redirect_stdout(sys.stderr):
        score = CONTESTANTS[contestant](name, int(batch), int(epochs), Path(folder), clock)
    found = {
        "epoch": clock.seconds / int(epochs),
        "accuracy": score,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if work.DEVICE.type == "cuda":
        found["device_peak"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(found))


if __name__ == "__main__":
    main()
