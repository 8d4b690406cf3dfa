"""Images as a pretrained network takes them: against Pillow's resizing and plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import netwright as nw
from netwright.data.fitted_images import FittedImages, fitted_to
from netwright.data.images import decode_image
from netwright.data.preparation import FeaturePreparation, ImagePreparation, Preparation
from netwright.errors import DataError

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]


def fitted(side: int = 24) -> FittedImages:
    found = fitted_to(
        ImagePreparation((3, side, side), scale=255.0, mean=MEAN, std=STD, highest=255), size=None
    )
    assert isinstance(found, FittedImages)
    return found


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 40, 40), (3, 10, 30), (3, 37, 25), (1, 28, 28)])
def test_arrays_are_resized_as_pictures_are(shape: tuple[int, int, int]) -> None:
    """Pillow rounds to whole pixels, and once more between the two axes: one grey value apart at the most."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    notes: list[str] = []
    prepare = fitted().onto(shape, highest=255, where="x", notes=notes)
    ours = prepare(torch.from_numpy(pixels)[None])[0]
    picture = Image.fromarray(pixels[0] if shape[0] == 1 else pixels.transpose(1, 2, 0))
    theirs = torch.from_numpy(decode_image(picture, 3, 24, 24)).float() / 255
    theirs = (theirs - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    grey_values = (ours - theirs).abs() * torch.tensor(STD)[:, None, None] * 255
    assert ours.shape == (3, 24, 24) and float(grey_values.max()) <= 1.01
    assert any("brought to 24 x 24" in note for note in notes)
    assert any("repeated in each of 3" in note for note in notes) == (shape[0] == 1)


def test_what_fits_already_is_only_standardised() -> None:
    raw = torch.arange(2 * 3 * 24 * 24, dtype=torch.int64).remainder(256).to(torch.uint8).view(2, 3, 24, 24)
    plain = ImagePreparation((3, 24, 24), scale=255.0, mean=MEAN, std=STD, highest=255)
    notes: list[str] = []
    ours = fitted().onto((3, 24, 24), highest=255, where="x", notes=notes)
    assert torch.equal(ours(raw), plain(raw)) and not notes
    assert torch.equal(ours.prepare_fresh(raw), plain(raw))


def test_other_ranges_of_pixels_mean_the_same() -> None:
    """The digits of scikit-learn go from 0 to 16: their white is that of 255."""
    prepare = fitted().onto((1, 8, 8), highest=16, where="digits", notes=[])
    white = prepare(torch.full((1, 1, 8, 8), 16, dtype=torch.uint8))
    expected = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(white[0, :, 3, 3], expected)
    unscaled = ImagePreparation((3, 24, 24), highest=255)  # trained on pixels as they are, up to 255
    same = fitted_to(unscaled, size=None)
    assert isinstance(same, FittedImages)
    torch.testing.assert_close(
        same.onto((1, 8, 8), highest=16, where="x", notes=[])(
            torch.full((1, 1, 8, 8), 16, dtype=torch.uint8)
        ).max(),
        torch.tensor(255.0),
    )


def test_it_comes_back_from_its_dictionary() -> None:
    prepare = fitted().onto((1, 10, 30), highest=255, where="x", notes=[])
    again = Preparation.from_dict(prepare.to_dict())
    raw = torch.randint(0, 256, (2, 1, 10, 30), dtype=torch.uint8)
    assert type(again) is FittedImages and torch.equal(again(raw), prepare(raw))
    assert again.to_dict() == prepare.to_dict()


def test_a_folder_is_read_in_the_size_that_the_network_takes(tmp_path: Path) -> None:
    for name, mode in (("a", "L"), ("b", "RGB")):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new(mode, (30, 20), index * 50).save(tmp_path / name / f"{index}.png")
    data = nw.load(tmp_path, preparation=fitted(), validation=0, test_share=0)
    assert data.train.inputs.shape == (6, 3, 24, 24) and data.input_shape == (3, 24, 24)  # type: ignore[union-attr]
    said = "\n".join(data.notes)
    assert "6 of 6 images were resized to 24 x 24" in said
    assert "3 of 6 images are grey and repeated in each of 3 channels" in said


def test_training_images_are_changed_before_they_are_brought_there() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 10, 12), dtype=np.uint8)
    data = nw.load((x, np.arange(20) % 2), preparation=fitted(), validation=0, test_share=0)
    changed = data.with_augmentation({"cutout": 4, "flip": True})
    (ours, _), (plain, _) = (next(iter(one.train.epoch(20, seed=0, epoch=0))) for one in (changed, data))
    assert ours.shape == plain.shape == (20, 3, 24, 24) and not torch.equal(ours, plain)


def test_data_that_cannot_be_brought_there() -> None:
    for shape, highest, said in (
        ((4,), None, "takes images \\(3 x 24 x 24\\)"),
        ((3, 8, 8), None, "float images, whose range is not known"),
        ((2, 8, 8), 255, "came 2 channels"),
    ):
        with pytest.raises(DataError, match=said):
            fitted().onto(shape, highest=highest, where="x", notes=[])
    with pytest.raises(DataError, match=r"data.size= goes with a network of images"):
        fitted_to(FeaturePreparation((3,)), size=32)
    rows = FeaturePreparation((3,))
    assert fitted_to(rows, size=None) is rows
    with pytest.raises(DataError, match="takes as \\(channels, height, width\\)"):
        FittedImages((3, 8, 8), takes=(3, 8))
