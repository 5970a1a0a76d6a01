"""Test the normalisation in the network."""

import pytest
import torch
from torch import nn

from imgrec.errors import UsageError
from imgrec.models.network import Network


def test_the_network_normalises_each_channel() -> None:
    network = Network(nn.Flatten(), mean=[0.5, 0.25], std=[0.5, 0.125])
    pixels = torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)
    assert network(pixels).tolist() == [[1.0, 2.0]]


def test_the_constants_travel_with_the_weights() -> None:
    network = Network(nn.Identity(), mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == {
        "mean": (1, 3, 1, 1),
        "std": (1, 3, 1, 1),
    }


def test_constants_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one value a channel, got 3 and 1 values"):
        Network(nn.Identity(), mean=[0.5, 0.5, 0.5], std=[0.2])


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_channel_that_never_varies_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="std must be > 0 in every channel"):
        Network(nn.Identity(), mean=[0.5], std=[std])


def test_images_of_whole_numbers_are_refused() -> None:
    """An image with values from 0 to 255 would give logits too, but far from those of its pixels in [0, 1]."""
    net = Network(nn.Flatten(), mean=(0.5,), std=(0.5,))
    with pytest.raises(UsageError, match=r"images must be floats in \[0, 1\], got torch.uint8; divide .* by 255"):
        net(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
