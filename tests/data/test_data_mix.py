"""Test that two images and their targets are blended as the papers define."""

import numpy as np
import pytest
import torch
from noise import augmented, noise

from imgrec.config.augment import Augment
from imgrec.data.augment import cutmix, mixup, soft_targets, to_unit
from imgrec.data.augment_params import draw
from imgrec.data.epoch_table import cutmix_boxes, probabilities
from imgrec.data.loader import train_loader
from imgrec.data.source import MemoryImages


def targets_of(labels: np.ndarray, partners: np.ndarray, share: np.ndarray) -> np.ndarray:
    return soft_targets(labels, partners, probabilities(share, labels == partners), num_classes=4)


def test_mixup_blends_pixels_and_targets() -> None:
    images, partners = to_unit(noise(3)), to_unit(noise(3)[::-1])
    share = np.array([0.0, 0.25, 1.0])
    mixed = mixup(images, partners, share.astype(np.float32))
    assert np.array_equal(mixed[0], partners[0])
    assert np.allclose(mixed[1], 0.25 * images[1] + 0.75 * partners[1], atol=1e-6)
    assert np.array_equal(mixed[2], images[2])
    assert mixed.dtype == np.float32
    targets = targets_of(np.array([0, 1, 2]), np.array([2, 1, 0]), share)
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert targets_of(np.array([0]), np.array([3]), np.array([0.25])).tolist() == [[0.25, 0, 0, 0.75]]


def test_cutmix_pastes_a_box_and_counts_its_area() -> None:
    images, partners = np.zeros((200, 3, 32, 32), np.float32), np.ones((200, 3, 32, 32), np.float32)
    draws = draw(Augment(name="cutmix", mix="cutmix"), 200, seed=0, epoch=0)
    edges, kept = cutmix_boxes(draws.share_n, draws.box_n2, side=(32, 32))
    mixed = cutmix(images, partners, edges)
    assert mixed.dtype == np.float32
    assert np.allclose(kept, 1 - mixed.mean(axis=(1, 2, 3)), atol=1e-6)
    assert (kept >= draws.share_n - 1e-9).all()  # the sides are rounded down, and cut off at the borders
    for image in mixed:
        assert np.array_equal(image[0], image[2])
        rows, columns = image[0].any(axis=1), image[0].any(axis=0)
        assert np.array_equal(image[0], np.outer(rows, columns))  # one rectangle
        assert (np.diff(np.flatnonzero(rows)) == 1).all()
        assert (np.diff(np.flatnonzero(columns)) == 1).all()


def test_a_share_of_one_leaves_the_image_as_it_is() -> None:
    images, partners = to_unit(noise(2)), to_unit(noise(2)[::-1])
    share = np.ones(2)
    assert np.array_equal(mixup(images, partners, share.astype(np.float32)), images)
    edges, kept = cutmix_boxes(share, np.array([[0.0, 0.0], [0.5, 0.9]]), side=(32, 32))
    assert np.array_equal(cutmix(images, partners, edges), images)
    assert kept.tolist() == [1, 1]


def test_cutmix_in_the_middle_takes_the_drawn_area() -> None:
    images, partners = np.zeros((1, 3, 32, 32), np.float32), np.ones((1, 3, 32, 32), np.float32)
    edges, kept = cutmix_boxes(np.array([0.75]), np.array([[0.5, 0.5]]), side=(32, 32))
    mixed = cutmix(images, partners, edges)
    assert kept.tolist() == [0.75]
    assert (mixed[0, :, 8:24, 8:24] == 1).all()
    assert mixed.sum() == 3 * 16 * 16


def test_mixup_cutmix_does_one_of_the_two_to_each_image() -> None:
    """Images of one class are white and those of the other black: blends are grey, and pasted boxes are not."""
    labels = torch.arange(400) % 2
    pixels = (255 * labels).to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    cfg = Augment(name="both", mix="mixup_cutmix", mix_switch=0.25, mix_alpha=0.8)
    loader = train_loader(MemoryImages(pixels, labels), augment=cfg, num_classes=2, batch_size=400, seed=0)
    ((images, targets),) = list(loader)
    assert targets.sum(dim=1).tolist() == pytest.approx([1.0] * 400)
    grey = (images[:, 0] > 0.004) & (images[:, 0] < 0.996)
    blended = grey.flatten(1).all(dim=1)
    assert not (grey.flatten(1).any(dim=1) & ~blended).any(), "no image is blended in part"
    assert torch.allclose(images.mean(dim=(1, 2, 3)), targets[:, 1], atol=1e-6), "targets are shares of the pixels"
    pasted = ~blended & (targets > 0.004).all(dim=1)
    assert 0.15 < float(pasted.sum() / (pasted | blended).sum()) < 0.35


def test_erasing_takes_rectangles_of_the_published_sizes() -> None:
    cfg = Augment(name="erasing", erase_probability=0.5)
    white = np.full((2000, 3, 32, 32), 255, np.uint8)
    erased = augmented(white, draw(cfg, 2000, seed=0, epoch=0), cfg)
    assert set(np.unique(erased).tolist()) == {0.5, 1.0}
    inside = erased[:, 0] == 0.5
    changed = inside.any(axis=(1, 2))
    assert 0.45 < changed.mean() < 0.55
    rows, columns = inside.any(axis=2).sum(axis=1)[changed], inside.any(axis=1).sum(axis=1)[changed]
    assert (inside[changed].sum(axis=(1, 2)) == rows * columns).all(), "rectangles, whole in the image"
    shares = rows * columns / 32**2
    assert 0.01 < shares.min() < 0.03
    assert 0.36 < shares.max() < 0.44
    assert shares.mean() == pytest.approx(0.2, abs=0.03)
    assert rows.max() < 32
    assert columns.max() < 32
    assert 0.2 < (rows / columns).min() < 0.4
    assert 2.5 < (rows / columns).max() < 4.5
    where = inside[changed].mean(axis=0)
    assert where[:16].mean() == pytest.approx(where[16:].mean(), rel=0.15), "anywhere in the image"


def test_augmix_is_torchvisions_without_the_operations_of_the_corrupted_test_sets() -> None:
    from torchvision.transforms import v2

    cfg = Augment(name="augmix", policy="augmix")
    images, drawn = noise(3), draw(Augment(name="augmix", policy="augmix"), 3, seed=0, epoch=0)
    found = augmented(images, drawn, cfg)
    assert drawn.policy_n is not None
    with torch.random.fork_rng():
        torch.manual_seed(int(drawn.policy_n[1]))
        expected = v2.AugMix(all_ops=False)(torch.from_numpy(images[1]))
    assert np.array_equal(found[1], to_unit(expected.numpy()[None])[0])
    assert not np.array_equal(found[1], to_unit(images[1:2])[0])
