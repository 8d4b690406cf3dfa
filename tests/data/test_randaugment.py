"""Each operation of RandAugment against Pillow's own, and which are drawn how often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from netwright.data import load
from netwright.data.randaugment import randaugmented
from netwright.errors import DataError

ROTATE, SHEAR_X, SHEAR_Y, MOVE_X, MOVE_Y = range(5)
BRIGHTNESS, CONTRAST, COLOUR, SHARPNESS, STRETCH, EQUALIZE, POSTERIZE, SOLARIZE, NOTHING = range(5, 14)


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(6, 3, 22, 22, generator=generator)
    return (20 + 180 * noise**2).to(torch.uint8)


def chosen(operation: int, count: int = 6, *, up: bool = True) -> torch.Tensor:
    return torch.tensor([[(operation + 0.5) / 14, 0.75 if up else 0.25]]).repeat(count, 1)


def pictures(images: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(image.permute(1, 2, 0).to(torch.uint8).numpy()) for image in images]


def difference(came: torch.Tensor, expected: list[Image.Image]) -> np.ndarray:
    arrays = np.stack([np.asarray(picture, dtype=np.float32) for picture in expected])
    return np.abs(came.permute(0, 2, 3, 1).numpy() - arrays)


@pytest.mark.parametrize(
    "operation, enhance",
    [
        (BRIGHTNESS, ImageEnhance.Brightness),
        (CONTRAST, ImageEnhance.Contrast),
        (COLOUR, ImageEnhance.Color),
        (SHARPNESS, ImageEnhance.Sharpness),
    ],
)
@pytest.mark.parametrize("up", [True, False])
def test_blends_are_those_of_pillow(images: torch.Tensor, operation: int, enhance: type, up: bool) -> None:
    came = randaugmented(images, chosen(operation, up=up), operations=1, magnitude=15)
    factor = 1 + (0.45 if up else -0.45)
    expected = [enhance(picture).enhance(factor) for picture in pictures(images)]
    assert difference(came, expected).max() <= 2  # both round greys, blurs and results


def test_equalize_autocontrast_posterize_and_solarize_are_those_of_pillow(images: torch.Tensor) -> None:
    for operation, magnitude, change, most in (
        (EQUALIZE, 9, ImageOps.equalize, 0),
        (STRETCH, 9, ImageOps.autocontrast, 1),
        (POSTERIZE, 30, lambda picture: ImageOps.posterize(picture, 4), 0),
        (POSTERIZE, 15, lambda picture: ImageOps.posterize(picture, 6), 0),
        (SOLARIZE, 18, lambda picture: ImageOps.solarize(picture, 102), 0),
    ):
        came = randaugmented(images, chosen(operation), operations=1, magnitude=magnitude)
        assert difference(came, [change(picture) for picture in pictures(images)]).max() <= most
        assert difference(came, pictures(images)).max() > 2


@pytest.mark.parametrize("up", [True, False])
def test_turning_shearing_and_moving_are_pillows_transforms(images: torch.Tensor, up: bool) -> None:
    sign, centre = (1 if up else -1), 11
    angle, slope, away = sign * np.pi / 6, sign * 0.3, sign * 22 * 150 / 331
    cos, sin = np.cos(angle), np.sin(angle)
    about = {
        ROTATE: (cos, -sin, centre * (1 - cos + sin), sin, cos, centre * (1 - sin - cos)),
        SHEAR_X: (1, slope, -slope * centre, 0, 1, 0),
        SHEAR_Y: (1, 0, 0, slope, 1, -slope * centre),
        MOVE_X: (1, 0, away, 0, 1, 0),
        MOVE_Y: (1, 0, 0, 0, 1, away),
    }
    for operation, numbers in about.items():
        came = randaugmented(images, chosen(operation, up=up), operations=1, magnitude=30)
        expected = [
            picture.transform(picture.size, Image.Transform.AFFINE, numbers) for picture in pictures(images)
        ]
        # The nearest pixel, where a place lies between two, may be either.
        assert (difference(came, expected) > 0).mean() < 0.003


def test_a_grey_image_of_few_values_keeps_its_range() -> None:
    images = torch.randint(0, 17, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    drawn = torch.rand(200, 4, generator=torch.Generator().manual_seed(1))
    came = randaugmented(images, drawn, operations=2, magnitude=20, highest=16.0)
    assert came.min() >= 0 and came.max() <= 16 and torch.equal(came, came.round())


def test_one_of_fourteen_stays_and_no_magnitude_changes_little(images: torch.Tensor) -> None:
    many = images[:1].repeat(3000, 1, 1, 1)
    drawn = torch.rand(3000, 2, generator=torch.Generator().manual_seed(1))
    came = randaugmented(many, drawn, operations=1, magnitude=12)
    same = (came == many).flatten(1).all(1).float().mean()
    assert 0.05 < same < 0.1
    assert torch.equal(randaugmented(many, drawn, operations=0, magnitude=12), many.float())
    weak = randaugmented(many, drawn, operations=1, magnitude=0)
    same = (weak == many).flatten(1).all(1).float().mean()
    assert same > 0.8  # all but auto-contrast and equalize


def test_a_constant_image_is_not_stretched() -> None:
    flat = torch.full((6, 3, 8, 8), 90, dtype=torch.uint8)
    for operation in (STRETCH, EQUALIZE):
        assert torch.equal(randaugmented(flat, chosen(operation), operations=1, magnitude=9), flat.float())


def test_an_image_is_changed_alike_whatever_stands_beside_it_and_after_any_jump(images: torch.Tensor) -> None:
    drawn = torch.rand(6, 6, generator=torch.Generator().manual_seed(3))
    together = randaugmented(images, drawn, operations=3, magnitude=12)
    alone = [randaugmented(images[[row]], drawn[[row]], operations=3, magnitude=12) for row in range(6)]
    assert torch.equal(together, torch.cat(alone))
    train = load("digits").with_augmentation({"randaugment": 2, "brightness": 0.3, "crop": 0.5}).train
    whole = [x for x, _ in train.epoch(8, seed=3, epoch=1)]
    jumped = [x for x, _ in train.epoch(8, seed=3, epoch=1, start=11)]
    assert all(torch.equal(one, other) for one, other in zip(whole[11:], jumped, strict=True))


def test_floats_of_any_range_are_refused() -> None:
    data = load(torch.randn(40, 1, 8, 8), torch.arange(40) % 2, validation=0)
    with pytest.raises(DataError, match=r"augment\.randaugment takes images of whole numbers"):
        data.with_augmentation({"randaugment": 2})
