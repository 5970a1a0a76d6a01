"""Test that two images and their targets are blended as the papers define."""

import numpy as np
from noise import noise

from imgrec.config.augment import Augment
from imgrec.data.augment import cutmix, mixup, soft_targets, to_unit
from imgrec.data.augment_params import draw
from imgrec.data.epoch_table import cutmix_boxes, probabilities


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
