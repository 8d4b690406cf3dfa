"""Statistics against NumPy in double precision."""

import numpy as np
import pytest
import torch

from netwright.data.statistics import pixel_statistics, value_statistics


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels(channels):
    images = np.random.default_rng(0).integers(0, 200, (5000, channels, 5, 4), dtype=np.uint8)
    mean, std, constant = pixel_statistics(torch.from_numpy(images), 255.0)
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-7)
    assert mean.dtype == std.dtype == torch.float32 and not constant.any()


def test_a_constant_channel_has_std_1():
    images = torch.full((7, 2, 3, 3), 77, dtype=torch.uint8)
    images[:, 1, 0, 0] = 5
    _, std, constant = pixel_statistics(images, 255.0)
    assert std[0] == 1 and constant.tolist() == [True, False]


@pytest.mark.parametrize("shape", [(3000, 700), (40, 3, 6, 5), (50_000, 30)])
def test_values(shape):
    values = (np.random.default_rng(1).normal(1000, 0.5, shape)).astype(np.float32)
    mean, std, constant = value_statistics(torch.from_numpy(values))
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(axes), rtol=1e-7)
    np.testing.assert_allclose(std, values.astype(np.float64).std(axes), rtol=1e-6)
    assert not constant.any()


def test_a_constant_feature_has_std_1_even_where_its_mean_is_rounded():
    values = torch.full((1000, 3), 0.1)
    values[::2, 1] = 0.2
    _, std, constant = value_statistics(values)
    assert constant.tolist() == [True, False, True] and std[0] == std[2] == 1 and std[1] != 1
