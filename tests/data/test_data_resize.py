"""Test progressive resizing: the side at each time, and the pixels of the smaller images."""

import pytest
import torch

from imgrec.config.augment import Augment
from imgrec.data.resize import resized, side_at


@pytest.mark.parametrize(
    ("progress", "side"), [(0.0, 16), (0.29, 16), (0.3, 24), (0.59, 24), (0.6, None), (0.99, None), (1.0, None)]
)
def test_stages_follow_each_other_by_the_share_of_the_training(progress: float, side: int | None) -> None:
    assert side_at(Augment(name="x", sizes=[16, 24], sizes_until=[0.3, 0.6]), progress) == side


def test_without_stages_images_keep_their_size() -> None:
    assert side_at(Augment(name="x"), 0.0) is None
    images = torch.rand(2, 3, 8, 8)
    assert resized(images, None) is images
    assert resized(images, 8) is images


def test_half_the_side_weighs_four_pixels_of_each_direction() -> None:
    """The weights are those of a triangle of width 2 around each new pixel, in old pixels: 1, 3, 3, 1 of 8 (inside)."""
    row = torch.arange(8.0)
    images = row.expand(1, 1, 8, 8)
    shrunk = resized(images, 4)
    assert shrunk.shape == (1, 1, 4, 4)
    assert shrunk[0, 0, 0, 1:3].tolist() == pytest.approx(
        [(1 * 1 + 3 * 2 + 3 * 3 + 4) / 8, (3 + 3 * 4 + 3 * 5 + 6) / 8]
    )
    assert torch.allclose(resized(torch.full((1, 3, 32, 32), 0.7), 24), torch.tensor(0.7))
