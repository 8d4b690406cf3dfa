"""Folders of images: what Pillow reads, by stated rules; and every folder that cannot be loaded."""

import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.data import ImagePreparation, find_inputs, folder, load
from netwright.data.images import decode_image, natural_key
from netwright.errors import DataError


def notes(data):
    return "\n".join(data.notes)


def test_equal_grey_images_stay_as_they_are(photos):
    data = load(photos)
    assert data.name == "photos" and data.classes == ("cat", "dog") and data.input_shape == (1, 16, 16)
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 2, 4)
    assert data.reading.kind == "folder" and data.reading.options["size"] == (16, 16)
    for part in (data.train, data.validation, data.test):
        for pixels, target, name in zip(part.inputs, part.targets, part.names, strict=True):
            assert name.split(os.sep)[0] == data.classes[target]
            np.testing.assert_array_equal(pixels[0], np.asarray(Image.open(photos / name)))


def test_order_is_natural_whatever_the_disk_says(photos, picture):
    picture(photos / "cat" / "10.png", seed=50)
    data = load(photos, test_share=0, validation=0)
    assert data.train.names[:3] == tuple(os.path.join("cat", name) for name in ("0.png", "1.png", "2.png"))
    assert data.train.names[10] == os.path.join("cat", "10.png")
    assert sorted(["x10", "X9", "x1"], key=natural_key) == ["x1", "X9", "x10"]


def test_different_sizes_go_to_the_median_square(tmp_path, picture):
    sizes = [(30, 60), (45, 37), (90, 41), (38, 38)]  # shorter sides 30, 37, 41, 38: median 37.5
    for index, size in enumerate(sizes):
        for name in "ab":
            picture(tmp_path / name / f"{index}.png", size=size, seed=index + ord(name))
    data = load(tmp_path, test_share=0, validation=0)
    assert data.input_shape == (1, 32, 32)
    assert "8 of 8 images were resized to 32 x 32" in notes(
        data
    ) and "median of the shorter sides is 37" in notes(data)
    image = Image.open(tmp_path / "a" / "0.png")
    expected = image.resize((32, 64), Image.Resampling.BILINEAR).crop((0, 16, 32, 48))
    np.testing.assert_array_equal(data.train.inputs[0, 0], np.asarray(expected))
    assert load(tmp_path, size=20, test_share=0, validation=0).input_shape == (1, 20, 20)
    assert load(tmp_path, size=(20, 24), test_share=0, validation=0).input_shape == (1, 20, 24)
    for wrong in (0, (1, 2, 3), 2.5, "big"):
        with pytest.raises(DataError, match="size: expected a side"):
            load(tmp_path, size=wrong)


def test_one_colour_image_makes_all_colour(photos, picture):
    picture(photos / "cat" / "99.jpg", mode="RGB", seed=7)
    data = load(photos, test_share=0, validation=0)
    assert data.input_shape == (3, 16, 16) and "1 of 21 images are in colour" in notes(data)
    grey = data.train.inputs[0]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    jpeg = np.asarray(Image.open(photos / "cat" / "99.jpg"))
    np.testing.assert_array_equal(data.train.inputs[10].permute(1, 2, 0), jpeg)


def rgb(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return decode_image(str(tmp_path / name), 3, image.height, image.width)


def test_transparency_lies_on_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[0, 1] = (255, 0, 0, 0)
    pixels[1, 0] = (0, 0, 0, 128)
    came = rgb(tmp_path, Image.fromarray(pixels))
    assert came[:, 0, 0].tolist() == [255, 0, 0] and came[:, 0, 1].tolist() == [255, 255, 255]
    assert came[:, 1, 0].tolist() == [127, 127, 127]
    grey = Image.fromarray(np.array([[[0, 0], [0, 255]]], np.uint8))
    grey.save(tmp_path / "la.png")
    assert decode_image(str(tmp_path / "la.png"), 1, 1, 2)[0].tolist() == [[255, 0]]


def test_palettes(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    came = rgb(tmp_path, image)
    assert came[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]
    came = rgb(tmp_path, image, "b.png", transparency=1)
    assert came[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]
    assert rgb(tmp_path, image, "c.gif")[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]


def test_a_grey_palette_is_grey_and_a_coloured_one_colour(tmp_path, picture):
    for name, palette in (("grey", [9, 9, 9, 7, 7, 7]), ("colour", [9, 9, 9, 7, 0, 7])):
        image = Image.new("P", (4, 4))
        image.putpalette(palette)
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "a.png")
        assert folder._header(str(tmp_path / name / "a.png")).colour == (name == "colour")


def test_16_bits_become_8(tmp_path):
    values = np.array([[0, 257, 32_896, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert decode_image(str(tmp_path / "a.png"), 1, 1, 4)[0, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert decode_image(str(tmp_path / "a.tiff"), 1, 1, 4)[0, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match="floating-point"):
        decode_image(str(tmp_path / "f.tiff"), 1, 2, 2)


@pytest.mark.parametrize("name", ["a.jpg", "a.tiff"])
def test_cmyk_is_converted_as_pillow_does(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    Image.merge("CMYK", [Image.fromarray(pixels[..., channel]) for channel in range(4)]).save(tmp_path / name)
    expected = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    np.testing.assert_array_equal(decode_image(str(tmp_path / name), 3, 8, 8).transpose(1, 2, 0), expected)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.tif", "a.ppm"])
def test_other_kinds(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    options = {"lossless": True} if name.endswith("webp") else {}
    np.testing.assert_array_equal(
        rgb(tmp_path, Image.fromarray(pixels), name, **options).transpose(1, 2, 0), pixels
    )


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (3, lambda a: a[::-1, ::-1]),
        (6, lambda a: np.rot90(a, -1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_orientation_is_applied(tmp_path, orientation, turn):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "1.png", exif=exif)
    data = load(tmp_path, test_share=0, validation=0)
    np.testing.assert_array_equal(data.train.inputs[0, 0], turn(pixels))


def test_a_folder_with_its_own_parts(tmp_path, picture):
    seed = 0
    for part, count in (("train", 6), ("valid", 2), ("test", 3)):
        for name in ("x", "y"):
            for index in range(count):
                picture(tmp_path / part / name / f"{index}.png", seed=(seed := seed + 1))
    shutil.copy(tmp_path / "train" / "x" / "0.png", tmp_path / "test" / "x" / "copy.png")
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 4, 7)
    assert data.test.names[0].split(os.sep)[:2] == ["test", "x"]
    assert "1 of the 7 examples of the set's own test part are copies of training examples" in notes(data)
    shutil.rmtree(tmp_path / "valid")
    assert len(load(tmp_path, validation=2).validation) == 2
    shutil.rmtree(tmp_path / "test" / "y")
    picture(tmp_path / "test" / "z" / "1.png")
    with pytest.raises(DataError, match="expected the 2 classes of train; missing: y; not in train: z"):
        load(tmp_path)


def test_copies_stay_together(tmp_path, picture):
    for name in ("a", "b"):
        for index in range(10):
            for copy in range(3):
                picture(tmp_path / name / f"{index}-{copy}.png", seed=index + 50 * (name == "b"))
    for seed in range(5):
        data = load(tmp_path, seed=seed)
        stems = [
            {name.split("-")[0] for name in part.names} for part in (data.train, data.validation, data.test)
        ]
        assert not stems[0] & stems[1] and not stems[0] & stems[2] and not stems[1] & stems[2]
        assert "40 of 60 training examples are copies of others" in notes(data)


def test_unreadable_images_are_named_and_counted(photos, picture):
    path = picture(photos / "dog" / "5.png", seed=9, size=(64, 64))
    path.write_bytes(path.read_bytes()[:1500])  # truncated: the header is good
    (photos / "cat" / "3.png").write_bytes(b"nothing")
    with pytest.raises(DataError) as caught:
        load(photos)
    text = str(caught.value)
    assert "of 20 images cannot be read, more than the 0.01 that is let pass" in text
    assert os.path.join("cat", "3.png") in text and len(text.splitlines()) <= 4
    data = load(photos, unreadable=0.1, size=16)
    assert len(data.train) + len(data.validation) + len(data.test) == 18
    assert "2 of 20 images cannot be read and are left out" in notes(data)
    assert os.path.join("dog", "5.png") in notes(data)
    kept = load(photos, unreadable=0.1, size=16, test_share=0, validation=0).train
    assert len(kept.names) == 18 and os.path.join("dog", "5.png") not in kept.names
    for pixels, name in zip(kept.inputs, kept.names, strict=True):
        np.testing.assert_array_equal(pixels[0], np.asarray(Image.open(photos / name)))


def test_a_class_of_unreadable_images_stops(photos):
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the images of class 'cat' in train can be read"):
        load(photos, unreadable=1.0)


def test_decompression_bombs_are_refused(photos):
    def claim(width, height):
        """A picture whose header claims a size: signature, length and name of IHDR, then the size and a checksum."""
        content = (photos / "cat" / "0.png").read_bytes()
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        bomb = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
        (photos / "cat" / "bomb.png").write_bytes(bomb)

    claim(40_000, 40_000)
    with pytest.raises(DataError, match=r"1 of 21 images cannot be read.*bomb\.png.*1600000000 pixels"):
        load(photos)
    claim(10_000, 9_500)  # Pillow alone would only warn
    with pytest.raises(DataError, match="10000 x 9500 pixels, more than 89 million"):
        load(photos)
    with pytest.raises(DataError, match=r"bomb\.png: .*more than 89 million"):
        ImagePreparation((1, 8, 8)).read(photos / "cat" / "bomb.png")


def test_strays_hidden_files_and_links(photos, tmp_path, picture):
    (photos / "readme.txt").write_text("x")
    (photos / "cat" / "notes.csv").write_text("x")
    (photos / "cat" / ".hidden.png").write_text("x")
    (photos / ".cache").mkdir()
    (photos / "cat" / "loop").symlink_to(photos / "cat")
    (photos / "cat" / "link.png").symlink_to(picture(tmp_path / "elsewhere.png", seed=77))
    data = load(photos, test_share=0, validation=0)
    assert len(data.train) == 21 and data.classes == ("cat", "dog")
    assert "2 files are not images of a class" in notes(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "an empty folder"),
        (lambda p: (p / "a.png").write_bytes(b"x"), "1 images and 0 other files with no sub-folder"),
        (
            lambda p: (p / "only").mkdir() or Image.new("L", (4, 4)).save(p / "only" / "a.png"),
            "one class only, 'only'",
        ),
        (
            lambda p: [(p / n).mkdir() for n in "ab"] and Image.new("L", (4, 4)).save(p / "a" / "a.png"),
            "a class without images (0 other files)",
        ),
    ],
)
def test_a_folder_that_is_no_set(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value) and message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 4


def test_a_set_that_does_not_fit_in_memory_is_told(photos, monkeypatch):
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 5000)
    with pytest.raises(DataError, match=r"the set takes 5\.1 kB, and 5\.0 kB of memory are free"):
        load(photos, stream=False)


def test_another_set_under_a_preparation_of_before(photos, tmp_path, picture):
    before = load(photos).preparation
    for name in ("dog", "cat"):
        for index in range(4):
            picture(tmp_path / "new" / name / f"{index}.jpg", mode="RGB", size=(50, 40), seed=index)
    data = load(tmp_path / "new", preparation=before, classes=("dog", "cat"), test_share=0, validation=0)
    assert data.input_shape == (1, 16, 16) and data.preparation is before
    assert (
        data.classes == ("dog", "cat")
        and data.train.names[0].startswith("cat")
        and data.train.targets[0] == 1
    )
    with pytest.raises(DataError, match="expected classes among dog; came cat"):
        load(tmp_path / "new", preparation=before, classes=("dog",))
    with pytest.raises(DataError, match="expected raw examples of shape"):
        load("digits", preparation=before)


def test_inputs_to_predict(photos, tmp_path):
    (photos / "cat" / "x.txt").write_text("")
    found = find_inputs([photos / "cat", photos / "dog" / "3.png"])
    assert found == [*(photos / "cat" / f"{index}.png" for index in range(10)), photos / "dog" / "3.png"]
    assert find_inputs(photos / "dog" / "3.png") == [photos / "dog" / "3.png"]
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "empty", "a folder without any"),
        (tmp_path / "missing", "no such file or folder"),
        (photos / "cat" / "x.txt", r"expected a picture .*, came \.txt"),
    ):
        with pytest.raises(DataError, match=message):
            find_inputs([path])
