"""The one object that prepares: its arithmetic, its way to JSON and back, and reading one raw example."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.data import FeaturePreparation, ImagePreparation, Preparation, load
from netwright.errors import DataError

GREY = ImagePreparation((1, 4, 4), scale=255.0, mean=[0.1307], std=[0.3081])
COLOUR = ImagePreparation((3, 4, 6), scale=255.0, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
ROWS = FeaturePreparation((3,), mean=[1.0, 2.0, 3.0], std=[0.5, 1.0, 2.0])


@pytest.mark.parametrize("prepare", [GREY, COLOUR, ROWS, ImagePreparation((1, 4, 4))])
def test_forward_is_the_stated_line_and_prepare_fresh_the_same_bits(prepare):
    raw = torch.randint(0, 256, (5, *prepare.shape), dtype=torch.uint8)
    expected = (raw.float() / prepare.scale - prepare.mean) / prepare.std
    assert torch.equal(prepare(raw), expected)
    assert torch.equal(prepare.prepare_fresh(raw.clone()), expected)
    assert torch.equal(prepare.prepare_fresh(raw.float()), expected)


@pytest.mark.parametrize("prepare", [GREY, COLOUR, ROWS, ImagePreparation((1, 2, 2), highest=None)])
def test_json_and_back_is_exact(prepare):
    numbers = torch.rand(len(prepare.mean)) / 3 + 0.01
    prepare = type(prepare).from_dict({**prepare.to_dict(), "std": numbers.tolist()})
    back = Preparation.from_dict(json.loads(json.dumps(prepare.to_dict())))
    assert type(back) is type(prepare) and back.to_dict() == prepare.to_dict()
    assert torch.equal(back.mean, prepare.mean) and torch.equal(back.std, prepare.std)
    assert (back.shape, back.scale) == (prepare.shape, prepare.scale)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "expected kind image or features or .*, came None"),
        ({"kind": "image", "shape": [1, 2]}, "an image's shape as"),
        ({"kind": "image", "shape": [3, 2, 2], "mean": [1.0, 2.0]}, "expected mean as 1 or 3 finite numbers"),
        ({"kind": "image", "shape": [3, 2, 2], "std": [0.0]}, "must be above 0"),
        ({"kind": "features", "shape": [2], "mean": [float("nan")]}, "finite numbers"),
        ({"kind": "features", "shape": [2], "colour": 1}, "cannot be read back"),
    ],
)
def test_a_preparation_that_cannot_be(entries, message):
    with pytest.raises(DataError, match=message):
        Preparation.from_dict(entries)


def test_files_bytes_and_pictures_become_raw_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    expected = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), buffer.getvalue(), image, pixels, expected):
        raw = COLOUR.read(source)
        assert raw.dtype == torch.uint8 and torch.equal(raw, expected)


def test_a_file_of_another_size_is_resized_as_in_training(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.resize((4, 6), Image.Resampling.BILINEAR).crop((0, 1, 4, 5)))
    np.testing.assert_array_equal(GREY.read(tmp_path / "a.png")[0], expected)


def test_files_are_brought_to_the_range_of_digits():
    prepare = load("digits").preparation
    image = Image.fromarray(np.full((8, 8), 255, np.uint8))
    assert prepare.read(image).unique().tolist() == [16]


def test_numbers_nested_or_flat_become_raw(real):
    assert ROWS.read([1, 2, 3.5]).tolist() == [1.0, 2.0, 3.5]
    assert GREY.read([list(range(4))] * 4).shape == (1, 4, 4)
    assert GREY.read(list(range(16))).flatten().tolist() == list(range(16))
    assert ImagePreparation((1, 2, 2), highest=None).read([[0.5, -1.5], [2, 3]]).dtype == torch.float32


@pytest.mark.parametrize(
    ("prepare", "source", "message"),
    [
        (ROWS, [1, 2], "input: expected 3 numbers, came 2"),
        (ROWS, 5, "expected 3 numbers, came a single number"),
        (ROWS, [1, 2, float("inf")], "came inf at [2]"),
        (ROWS, [1, "a", 2], "expected numbers, came"),
        (ROWS, [[1], [1, 2]], "rows of different lengths"),
        (ROWS, "a.png", "a.png: expected a row of 3 numbers"),
        (GREY, np.zeros((5, 4)), "expected 1 x 4 x 4 numbers, came 5 x 4"),
        (GREY, np.full((4, 4), 256), "whole numbers from 0 to 255, came 256 at [0, 0, 0]"),
        (GREY, np.full((4, 4), 0.5), "whole numbers from 0 to 255, came 0.5"),
        (GREY, np.full((4, 4), -1), "came -1"),
        (GREY, "missing.png", "missing.png: no such file"),
        (GREY, b"not a picture", "image: expected a picture"),
        (ImagePreparation((1, 4, 4), highest=None), "a.png", "float arrays"),
        (ImagePreparation((2, 4, 4)), "a.png", "1 or 3 channels"),
    ],
)
def test_what_cannot_be_read_is_told(prepare, source, message):
    with pytest.raises(DataError) as caught:
        prepare.read(source)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
        GREY.read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="came an empty file"):
        GREY.read(path)
    with pytest.raises(DataError, match="came a folder"):
        GREY.read(tmp_path)


def test_on_makes_a_copy():
    moved = GREY.on("meta")
    assert moved.mean.device.type == "meta" and GREY.mean.device.type == "cpu"
    assert "shape=(1, 4, 4), scale=255, mean=[0.1307]" in repr(GREY)
