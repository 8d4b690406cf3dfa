"""A name, path or tensors in; checked parts, seeded batches on the device, and their preparation out."""

from netwright.data.loading import load
from netwright.data.media import find_inputs
from netwright.data.named import datasets
from netwright.data.order import epoch_order
from netwright.data.preparation import FeaturePreparation, ImagePreparation, Preparation
from netwright.data.sets import Data, Reading
from netwright.data.split import DatasetSplit, Split
from netwright.data.stream import StreamSplit

__all__ = [
    "Data",
    "DatasetSplit",
    "FeaturePreparation",
    "ImagePreparation",
    "Preparation",
    "Reading",
    "Split",
    "StreamSplit",
    "datasets",
    "epoch_order",
    "find_inputs",
    "load",
]
