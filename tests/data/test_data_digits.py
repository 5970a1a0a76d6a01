"""Test the digits: real images, split and upsampled."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from imgrec.components.data.digits import Digits
from imgrec.data.digits import upsample
from imgrec.data.source import Source
from imgrec.data.sources import load
from imgrec.errors import UsageError


@pytest.fixture(scope="module")
def source() -> Source:
    return load(Digits())


def test_sizes_and_classes(source: Source) -> None:
    test = source.open_test()
    assert test is not None
    assert source.val is not None
    assert (len(source.train), len(source.val), len(test)) == (1257, 180, 360)
    assert source.classes == tuple("0123456789")
    assert (source.image_size, source.channels, source.name) == (32, 3, "digits")
    for part in (source.train, source.val, test):
        counts = part.labels.bincount(minlength=10)
        assert counts.min() >= 0.09 * len(part)


def test_parts_are_the_whole_set_once(source: Source) -> None:
    seen = []
    for part in (source.train, source.val, source.open_test()):
        assert part is not None
        images, _ = part.read(torch.arange(len(part)))
        seen += [images[i].numpy().tobytes() + bytes([int(part.labels[i])]) for i in range(len(part))]
    digits = load_digits()
    whole = upsample(digits.images.astype(np.int64))
    expected = [np.stack([i, i, i]).tobytes() + bytes([label]) for i, label in zip(whole, digits.target, strict=True)]
    assert sorted(seen) == sorted(expected)


def test_without_validation_the_test_split_stays(source: Source) -> None:
    other = load(Digits(val_size=0))
    assert other.val is None
    assert len(other.train) == 1437
    one, two = source.open_test(), other.open_test()
    assert one is not None
    assert two is not None
    assert torch.equal(one.read(torch.arange(360))[0], two.read(torch.arange(360))[0])


def test_statistics_are_of_the_training_split(source: Source) -> None:
    pixels = source.train.read(torch.arange(1257))[0].double() / 255
    assert source.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert source.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_upsampling_is_bilinear() -> None:
    values = load_digits().images
    exact = interpolate(torch.from_numpy(values)[:, None], size=(32, 32), mode="bilinear")[:, 0] * 255 / 16
    assert (torch.from_numpy(upsample(values.astype(np.int64))) - exact).abs().max() <= 0.5


def test_upsampling_reaches_both_ends() -> None:
    assert (upsample(np.full((1, 8, 8), 16)) == 255).all()
    assert (upsample(np.zeros((1, 8, 8), np.int64)) == 0).all()


def test_refuses_a_validation_split_that_empties_a_class() -> None:
    with pytest.raises(UsageError, match=r"data.val_size must leave at least 1 training image .* got 1436"):
        load(Digits(val_size=1436))
