"""Test that each image is augmented by its own draw, with the exact pixels that the papers define."""

import numpy as np
import pytest
import torch
from noise import EVERYTHING, augmented, noise

from imgrec.config.augment import Augment
from imgrec.data.augment import apply_policy, between, crop, flip_, to_unit
from imgrec.data.augment_params import Draws, draw
from imgrec.data.epoch_table import box_edges

# ---- crop, flip, cutout


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("padding", [1, 4, 10])
def test_crop_and_flip_equal_a_naive_loop(side: int, padding: int) -> None:
    images = noise(40, side)
    draws = draw(Augment(name="x", crop_padding=padding, flip=True), 40, seed=1, epoch=0)
    fast = crop(images, draws.shift_n2, padding=padding)
    flip_(fast, draws.flip_n)
    for index, image in enumerate(images):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        top, left = draws.shift_n2[index]
        slow = padded[:, top : top + side, left : left + side]
        assert np.array_equal(fast[index], slow[:, :, ::-1] if draws.flip_n[index] else slow)


@pytest.mark.parametrize(("side", "padding"), [(32, 2), (32, 4), (5, 4), (8, 1)])
def test_a_reflected_border_is_numpys(side: int, padding: int) -> None:
    images, shifts = noise(20, side), np.random.default_rng(1).integers(0, 2 * padding + 1, (20, 2))
    cropped = crop(images, shifts, padding=padding, border="reflect")
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="reflect")
    for index, (top, left) in enumerate(shifts):
        assert np.array_equal(cropped[index], padded[index, :, top : top + side, left : left + side])


def test_a_border_cannot_reflect_more_than_the_image() -> None:
    with pytest.raises(ValueError, match="a reflected border of 4 px needs larger images, got 4x4"):
        crop(noise(1, 4), np.array([[0, 0]]), padding=4, border="reflect")


def test_crop_reaches_every_corner() -> None:
    images = noise(4)
    cropped = crop(images, np.array([[0, 0], [8, 8], [0, 8], [4, 4]]), padding=4)
    assert np.array_equal(cropped[0, :, 4:, 4:], images[0, :, :28, :28])
    assert (cropped[0, :, :4] == 0).all()
    assert np.array_equal(cropped[1, :, :28, :28], images[1, :, 4:, 4:])
    assert np.array_equal(cropped[2, :, 4:, :28], images[2, :, :28, 4:])
    assert np.array_equal(cropped[3], images[3])


def test_unit_pixels_are_those_of_to_tensor() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(torch.from_numpy(to_unit(every)), torch.from_numpy(every).float().div(255))
    assert to_unit(np.transpose(noise(2), (0, 2, 3, 1))).flags.c_contiguous


@pytest.mark.parametrize("size", [1, 5, 8, 16, 80])
def test_cutout_greys_a_square_cut_off_at_the_borders(size: int) -> None:
    centres = np.array([[0.0, 0.0], [0.5, 0.5], [0.999, 0.999], [0.0, 0.5]])
    images = augmented(noise(4), Draws(cutout_n2=centres), Augment(name="cutout", cutout_size=size))
    plain = to_unit(noise(4))
    for index, (row, column) in enumerate((centres * 32).astype(int)):
        top, left = row - size // 2, column - size // 2
        expected = plain[index].copy()
        expected[:, max(top, 0) : top + size, max(left, 0) : left + size] = 0.5
        assert np.array_equal(images[index], expected)


def test_light_moves_every_pixel_of_an_image_by_its_own_contrast_and_brightness() -> None:
    cfg = Augment(name="x", brightness=0.1, contrast=0.3)
    draws = draw(cfg, 2000, seed=0, epoch=0)
    assert draws.light_n2 is not None
    gain, offset = draws.light_n2.astype(np.float64).T
    brightness = (offset - 0.5) / gain + 0.5  # x -> 0.5 + (x - 0.5 + brightness) * gain
    assert (gain.min(), gain.max()) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.3, abs=0.01))
    assert (brightness.min(), brightness.max()) == (pytest.approx(-0.1, abs=0.005), pytest.approx(0.1, abs=0.005))
    images = augmented(noise(2000, 2), draws, cfg)
    plain = to_unit(noise(2000, 2)).astype(np.float64)
    expected = (plain * gain[:, None, None, None] + offset[:, None, None, None]).clip(0, 1)
    assert np.allclose(images, expected, atol=1e-6)
    assert images.min() == 0
    assert images.max() == 1


def test_boxes_may_be_empty() -> None:
    assert not between(box_edges(np.array([[0.5, 0.5]]), np.array([[0, 0]]), side=(8, 8)), side=(8, 8)).any()


def test_steps_come_in_their_order() -> None:
    cfg = Augment(name="x", crop_padding=4, flip=True, cutout_size=6)
    draws = draw(cfg, 30, seed=2, epoch=1)
    expected = crop(noise(30), draws.shift_n2, padding=4)
    flip_(expected, draws.flip_n)
    expected = to_unit(expected)
    inside = between(box_edges(draws.cutout_n2, np.full((30, 2), 6), side=(32, 32)), side=(32, 32))
    expected = np.where(inside, np.float32(0.5), expected)
    assert np.array_equal(augmented(noise(30), draws, cfg), expected)


def test_an_image_meets_the_same_fate_in_any_company() -> None:
    draws = draw(EVERYTHING, 12, seed=2, epoch=1)
    whole = augmented(noise(12), draws, EVERYTHING)
    for index in (0, 5, 11):
        alone = augmented(noise(12)[[index]], draws.rows(np.array([index])), EVERYTHING)
        assert np.array_equal(alone[0], whole[index])
    assert whole.dtype == np.float32
    assert whole.flags.c_contiguous
    assert 0 <= whole.min() <= whole.max() <= 1


# ---- policies


@pytest.mark.parametrize("policy", ["trivialaugment", "randaugment"])
def test_policies_draw_for_each_image_and_leave_the_global_generator(policy: str) -> None:
    cfg = Augment(name=policy, policy=policy)
    same = np.repeat(noise(1), 24, axis=0)
    seeds = draw(cfg, 24, seed=0, epoch=0).policy_n
    torch.manual_seed(1)
    before = torch.get_rng_state()
    changed = apply_policy(same, seeds, cfg)
    assert torch.equal(torch.get_rng_state(), before)
    assert changed.shape == same.shape
    assert changed.dtype == np.uint8
    assert len({image.tobytes() for image in changed}) > 8
    assert np.array_equal(changed, apply_policy(same, seeds, cfg))
    assert np.array_equal(changed[[5]], apply_policy(same[[5]], seeds[[5]], cfg))
    assert np.array_equal(same, np.repeat(noise(1), 24, axis=0))


def test_policy_settings_count() -> None:
    images, seeds = noise(16), np.arange(16)
    results = {
        apply_policy(images, seeds, Augment(name="r", policy="randaugment", **changes)).tobytes()
        for changes in ({}, {"policy_ops": 1}, {"policy_magnitude": 20})
    }
    assert len(results) == 3
