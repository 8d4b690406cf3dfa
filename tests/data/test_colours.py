"""Changed colours against Pillow's ImageEnhance, and against colorsys for the hue."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from netwright.data import load
from netwright.data.augmentation import Augmentation
from netwright.data.colours import recoloured
from netwright.errors import DataError

SHARES = (0.0, 0.2, 0.5, 0.75, 0.999)


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(len(SHARES), 3, 9, 12, generator=generator)
    return (60 + 120 * noise * torch.tensor([1.0, 0.7, 0.9])[:, None, None]).to(torch.uint8)


def draws(column: int) -> torch.Tensor:
    drawn = torch.full((len(SHARES), 4), 0.5)
    drawn[:, column] = torch.tensor(SHARES)
    return drawn


@pytest.mark.parametrize(
    "column, name, enhance",
    [
        (0, "brightness", ImageEnhance.Brightness),
        (1, "contrast", ImageEnhance.Contrast),
        (2, "saturation", ImageEnhance.Color),
    ],
)
def test_each_change_is_that_of_pillow(images: torch.Tensor, column: int, name: str, enhance: type) -> None:
    came = recoloured(images, draws(column), **{name: 0.8})
    for new, old, share in zip(came, images, SHARES):
        picture = Image.fromarray(old.permute(1, 2, 0).numpy())
        expected = np.asarray(enhance(picture).enhance(1 + (2 * share - 1) * 0.8), dtype=np.float32)
        # Pillow rounds greys and results to whole numbers.
        assert np.abs(new.permute(1, 2, 0).numpy() - expected).max() <= 1.5


def test_one_channel_is_changed_as_pillow_changes_grey(images: torch.Tensor) -> None:
    came = recoloured(images[:, :1], draws(1), contrast=0.8)
    for new, old, share in zip(came, images[:, 0], SHARES):
        picture = ImageEnhance.Contrast(Image.fromarray(old.numpy())).enhance(1 + (2 * share - 1) * 0.8)
        assert np.abs(new[0].numpy() - np.asarray(picture, dtype=np.float32)).max() <= 1.5


def test_hue_turns_the_colour_at_equal_luma(images: torch.Tensor) -> None:
    """With colorsys, whose matrix differs from ours in the third digit."""
    came = recoloured(images, draws(3), hue=0.5)
    for new, old, share in zip(came, images, SHARES):
        angle = (2 * share - 1) * np.pi
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for row, column in ((0, 0), (3, 5), (8, 11)):
            y, i, q = colorsys.rgb_to_yiq(*(old[:, row, column].numpy() / 255))
            expected = colorsys.yiq_to_rgb(y, *(turn @ [i, q]))
            assert np.abs(new[:, row, column].numpy() / 255 - expected).max() < 0.02
    grey = torch.full((5, 3, 4, 4), 77, dtype=torch.uint8)
    assert torch.allclose(recoloured(grey, draws(3), hue=0.5), grey.float(), atol=0.2)


def test_nothing_drawn_changes_nothing_and_all_stays_in_range(images: torch.Tensor) -> None:
    all_of_them = {"brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "hue": 0.3}
    middle = torch.full((len(SHARES), 4), 0.5)
    assert torch.allclose(recoloured(images, middle, **all_of_them), images.float(), atol=0.05)
    ends = recoloured(images, torch.full((len(SHARES), 4), 0.999), **all_of_them)
    assert ends.min() >= 0 and ends.max() == 255
    free = recoloured(images.float(), torch.full((len(SHARES), 4), 0.999), **all_of_them, highest=None)
    assert free.max() > 255


def test_an_image_is_changed_alike_whatever_stands_beside_it(images: torch.Tensor) -> None:
    drawn = torch.rand(len(SHARES), 4, generator=torch.Generator().manual_seed(1))
    chosen = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2}
    together = recoloured(images, drawn, **chosen)
    alone = torch.cat([recoloured(images[[row]], drawn[[row]], **chosen) for row in range(len(SHARES))])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("option", ["saturation", "hue"])
def test_grey_images_have_no_colours_to_change(option: str) -> None:
    with pytest.raises(DataError, match=f"augment.{option} changes colours; these images have 1 channels"):
        load("digits").with_augmentation({option: 0.2})


@pytest.mark.parametrize(
    "entries", [{"brightness": 1.5}, {"hue": 0.6}, {"contrast": "much"}, {"saturation": -1}]
)
def test_what_cannot_be_is_refused(entries: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"augment.{next(iter(entries))}: expected a share"):
        Augmentation.build(entries)
