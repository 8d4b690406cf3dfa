"""Changed images: each change against slices and rotations written by hand; draws that depend on the example alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.data import load
from netwright.data.augmentation import Augmentation, augmentation_draws, augmented
from netwright.errors import DataError, UnknownNameError

COUNT, CHANNELS, HEIGHT, WIDTH = 40, 3, 9, 12


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (COUNT, CHANNELS, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)


@pytest.fixture
def draws() -> torch.Tensor:
    return augmentation_draws(COUNT, seed=1, epoch=2)


def test_draws_are_uniform_and_differ_between_epochs_and_seeds() -> None:
    many = augmentation_draws(50_000, seed=0, epoch=0)
    assert many.min() >= 0 and many.max() < 1
    assert torch.allclose(many.mean(0), torch.full((8,), 0.5), atol=0.01)
    assert torch.corrcoef(many.T).fill_diagonal_(0).abs().max() < 0.02
    others = [augmentation_draws(100, seed=seed, epoch=epoch) for seed in range(3) for epoch in range(3)]
    for index, one in enumerate(others):
        assert all(not torch.equal(one, other) for other in others[index + 1 :])
    assert torch.equal(augmentation_draws(100, seed=2, epoch=1), others[7])


def test_nothing_asked_for_changes_nothing(images: torch.Tensor, draws: torch.Tensor) -> None:
    assert torch.equal(augmented(images, draws), images)


def test_flip_mirrors_about_half_of_the_images(images: torch.Tensor, draws: torch.Tensor) -> None:
    came = augmented(images, draws, flip=True)
    mirrored = [torch.equal(new, torch.flip(old, [2])) for new, old in zip(came, images)]
    kept = [torch.equal(new, old) for new, old in zip(came, images)]
    assert [one != other for one, other in zip(mirrored, kept)] == [True] * COUNT
    assert mirrored == (draws[:, 0] < 0.5).tolist() and 10 < sum(mirrored) < 30


@pytest.mark.parametrize("edge", ["black", "reflect"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shift_moves_by_whole_pixels(
    images: torch.Tensor, draws: torch.Tensor, edge: str, dtype: torch.dtype
) -> None:
    came = augmented(images.to(dtype), draws, shift=2, edge=edge)
    assert came.shape == images.shape and came.dtype == dtype
    seen = set()
    for index, (new, old) in enumerate(zip(came, images.to(dtype))):
        down, right = int(draws[index, 3] * 5) - 2, int(draws[index, 4] * 5) - 2
        seen.add((down, right))
        for y in range(HEIGHT):
            for x in range(WIDTH):
                row, column = y + down, x + right
                inside = 0 <= row < HEIGHT and 0 <= column < WIDTH
                if edge == "reflect":
                    row = (HEIGHT - 1) - abs((HEIGHT - 1) - abs(row))
                    column = (WIDTH - 1) - abs((WIDTH - 1) - abs(column))
                expected = old[:, row, column] if inside or edge == "reflect" else torch.zeros(3)
                assert torch.equal(new[:, y, x].float(), expected.float())
    assert len(seen) > 10 and min(map(min, seen)) == -2 and max(map(max, seen)) == 2


def test_a_quarter_turn_is_rot90(images: torch.Tensor) -> None:
    square = images[:, :, :, :HEIGHT]
    ends = torch.full((COUNT, 8), 0.5)
    ends[:, 1] = 0.0  # turned by -90 degrees
    expected = torch.rot90(square.float(), 1, (2, 3))
    other = torch.rot90(square.float(), -1, (2, 3))
    came = augmented(square, ends, rotate=90)
    assert torch.allclose(came, expected, atol=1e-2) or torch.allclose(came, other, atol=1e-2)
    assert torch.equal(augmented(square, torch.full((COUNT, 8), 0.5), rotate=90).round(), square.float())


def test_turning_and_scaling_is_what_affine_grid_does(images: torch.Tensor, draws: torch.Tensor) -> None:
    angle, size = torch.deg2rad((draws[:, 1] * 2 - 1) * 25), 1 / (1 + (draws[:, 2] * 2 - 1) * 0.2)
    # In pixels: about the centre; affine_grid wants it in sides from -1 to 1.
    to_pixels = torch.diag(torch.tensor([WIDTH / 2, HEIGHT / 2]))
    turned = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
    )
    linear = torch.linalg.inv(to_pixels) @ (turned * size[:, None, None]) @ to_pixels
    theta = torch.cat([linear, torch.zeros(COUNT, 2, 1)], 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    expected = F.grid_sample(images.float(), grid, align_corners=False)
    assert torch.allclose(augmented(images, draws, rotate=25, zoom=0.2), expected, atol=0.05)


def test_turning_a_wide_image_keeps_distances() -> None:
    """A bar stays as long: the angle is one of pixels, not of the sides' shares."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    bar = (((y - 19.5).abs() < 1.5) & ((x - 39.5).abs() < 14)).float()[None, None] * 255
    draws = torch.full((1, 8), 0.5)
    draws[:, 1] = 1.0
    turned = augmented(bar, draws, rotate=90)[0, 0]
    rows, columns = torch.nonzero(turned > 127).unbind(1)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (28, 2)


def test_zoom_makes_things_larger_and_smaller() -> None:
    picture = torch.zeros(2, 1, 40, 40)
    picture[:, :, 15:25, 15:25] = 255
    draws = torch.full((2, 8), 0.5)
    draws[0, 2], draws[1, 2] = 1.0, 0.0
    larger, smaller = (augmented(picture, draws, zoom=0.5) > 127).sum((1, 2, 3)).tolist()
    assert larger == pytest.approx(225, abs=32) and smaller == pytest.approx(25, abs=11)


def test_cutout_blanks_one_square_with_the_fill(images: torch.Tensor, draws: torch.Tensor) -> None:
    fill = torch.tensor([10.4, 20.6, 30.0]).view(3, 1, 1)
    came = augmented(images, draws, cutout=4, fill=fill)
    sizes = []
    for new, old in zip(came, images):
        hole = (new != old).any(0) | (new == torch.tensor([10, 21, 30]).view(3, 1, 1)).all(0)
        rows, columns = torch.nonzero(hole).unbind(1)
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert hole.sum() == height * width and 2 <= height <= 4 and 2 <= width <= 4
        assert new[:, rows[0], columns[0]].tolist() == [10, 21, 30]
        sizes.append((height, width))
    assert (4, 4) in sizes and len(set(sizes)) > 1


def test_an_example_is_changed_alike_in_any_batch_and_after_any_jump() -> None:
    train = load("digits").with_augmentation({"shift": 1, "rotate": 10, "cutout": 2}).train
    whole = torch.cat([x for x, _ in train.epoch(7, seed=3, epoch=1)])
    other = torch.cat([x for x, _ in train.epoch(100, seed=3, epoch=1)])
    jumped = torch.cat([x for x, _ in train.epoch(7, seed=3, epoch=1, start=11)])
    assert torch.allclose(whole, other, atol=1e-6) and torch.equal(whole[77:], jumped)
    again = torch.cat([x for x, _ in train.epoch(7, seed=3, epoch=2)])
    assert not torch.equal(whole, again)
    plain = torch.cat([x for x, _ in load("digits").train.epoch(7, seed=3, epoch=1)])
    assert not torch.equal(whole, plain)


@pytest.mark.parametrize("batch", [8, 9])
def test_processes_that_share_a_batch_change_their_examples_as_one_process_would(batch: int) -> None:
    train = load("digits", limit=101).with_augmentation({"shift": 1, "cutout": 2}).train
    whole = [x for x, _ in train.epoch(batch, seed=3, epoch=1)]
    parts = [[x for x, _ in train.epoch(batch, seed=3, epoch=1, share=(rank, 2))] for rank in range(2)]
    for number, x in enumerate(whole):
        together = torch.cat([own[number] for own in parts])
        assert torch.equal(together[: len(x)], x)


def test_streamed_examples_are_changed_as_those_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (300, 3, 8, 8), dtype=np.uint8))
    np.save(tmp_path / "y.npy", np.arange(300) % 3)
    changes = {"flip": True, "shift": 1, "rotate": 5, "cutout": 3, "edge": "reflect"}
    streamed, held = (
        load(tmp_path, stream=stream).with_augmentation(changes).train for stream in (True, False)
    )
    for start in (0, 2):
        pairs = zip(
            streamed.epoch(16, seed=1, epoch=2, start=start),
            held.epoch(16, seed=1, epoch=2, start=start),
            strict=True,
        )
        assert all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def test_only_the_training_part_of_an_epoch_is_changed() -> None:
    plain, data = load("digits"), load("digits").with_augmentation({"flip": True})
    for part in ("validation", "test"):
        assert getattr(data, part).augmentation is None
    assert torch.equal(next(data.train.batches(50))[0], next(plain.train.batches(50))[0])
    assert any("mirrored" in note for note in data.notes)
    assert load("digits").with_augmentation({}).train.augmentation is None


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"shift": -1}, "whole number of pixels"),
        ({"shift": 1.5}, "whole number of pixels"),
        ({"shift": True}, "whole number of pixels"),
        ({"shift": 8}, "leaves nothing of images of 8 x 8"),
        ({"cutout": 9}, "leaves nothing"),
        ({"rotate": float("nan")}, "degrees"),
        ({"zoom": 1}, "share"),
        ({"edge": "white"}, "black or reflect"),
        ({"flip": "yes"}, "true or false"),
    ],
)
def test_what_cannot_be_is_refused(entries: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load("digits").with_augmentation(entries)


def test_an_unknown_entry_is_answered_with_the_near_one_and_rows_are_no_images() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rotate'"):
        Augmentation.build({"rotation": 5})
    rows = load(torch.randn(20, 4), torch.arange(20) % 2, validation=0)
    with pytest.raises(DataError, match="changes images"):
        rows.with_augmentation({"flip": True})


def test_a_vertical_flip_mirrors_about_half_of_the_images(images: torch.Tensor) -> None:
    drawn = augmentation_draws(COUNT, seed=1, epoch=2, columns=19)
    came = augmented(images, drawn, flip_vertical=True)
    mirrored = [torch.equal(new, torch.flip(old, [1])) for new, old in zip(came, images)]
    assert mirrored == (drawn[:, 8] < 0.5).tolist() and 10 < sum(mirrored) < 30


def test_a_crop_is_that_part_of_the_image_resized(images: torch.Tensor) -> None:
    """With torch's own interpolation of the part that the draws name; whole pixels, so that both see the same part."""
    image = images[:1, :, :8, :8]
    for row, column in ((0, 0), (0, 4), (3, 1)):
        drawn = torch.zeros(1, 15)
        drawn[0, 11], drawn[0, 12] = 1.0, 0.5  # the least area, and square
        drawn[0, 13], drawn[0, 14] = column / 4, row / 4
        part = image[:, :, row : row + 4, column : column + 4].float()
        expected = F.interpolate(part, (8, 8), mode="bilinear", align_corners=False)
        came = augmented(image, drawn, crop=0.25)
        # At its edges the part sees its neighbours, which the resized part does not have.
        assert torch.allclose(came[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], atol=1e-2)


def test_crops_have_the_areas_and_sides_that_are_asked_for() -> None:
    drawn = augmentation_draws(400, seed=0, epoch=0, columns=15)
    across = torch.arange(100.0).expand(400, 1, 100, 100)
    wide, high = (
        augmented(picture, drawn, crop=0.3)[:, 0].flatten(1) for picture in (across, across.transpose(2, 3))
    )
    wide, high = ((shown.amax(1) - shown.amin(1) + 1) / 100 for shown in (wide, high))
    assert (wide * high).min() > 0.28 and (wide * high).max() > 0.95
    # A side that would not fit is cut to the whole, which takes some of the area.
    inside = (wide < 0.99) & (high < 0.99)
    assert inside.sum() > 200 and (wide / high)[inside].min() > 0.73 and (wide / high)[inside].max() < 1.37


def test_a_shear_moves_rows_by_the_tangent(images: torch.Tensor) -> None:
    bar = torch.zeros(1, 1, 41, 41)
    bar[:, :, :, 19:22] = 255
    drawn = torch.full((1, 15), 0.5)
    drawn[0, 9] = 1.0
    slanted = augmented(bar, drawn, shear=30)[0, 0]
    columns = torch.arange(41.0)
    centre = (slanted * columns).sum(1) / slanted.sum(1)
    moved = centre[30] - centre[10]
    assert abs(float(moved)) == pytest.approx(20 * np.tan(np.pi / 6), abs=0.5)
    upright = augmented(bar.transpose(2, 3), drawn, shear=30)[0, 0]
    assert torch.allclose(upright[:, 14:27], bar[0, 0].T[:, 14:27], atol=1e-3)


def test_older_recipes_draw_what_they_drew() -> None:
    """A run of an older version that is resumed must see the same images."""
    assert Augmentation.build({"shift": 2, "rotate": 5, "cutout": 1}).columns == 8
    assert Augmentation.build({"shear": 2}).columns == Augmentation.build({"hue": 0.1}).columns == 19
    assert Augmentation.build({"randaugment": 2}).columns == 23
    first = augmentation_draws(2, seed=0, epoch=0)[0, :3]
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(1_000_003)))
