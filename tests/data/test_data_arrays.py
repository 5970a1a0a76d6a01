"""Test data=arrays: a .npz file of arrays, read without pickle, split, and refused where it is malformed."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imgrec.components.data.arrays import Arrays
from imgrec.config.compose import compose
from imgrec.data import inventory
from imgrec.data.choose import counts
from imgrec.data.source import Images, Source, channel_statistics
from imgrec.data.sources import load
from imgrec.errors import RunError, UsageError

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.permutation(np.repeat(np.arange(3), [30, 20, 10]))
GREY = RANDOM.integers(0, 256, (60, 8, 8), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
PLAIN = {"train_images": GREY, "train_labels": LABELS}


def config(path: Path, arrays: dict[str, Any] | None = None, **changes: object) -> Arrays:
    if arrays is not None:
        np.savez(path, **arrays)
    return Arrays(root=str(path), **{"image_size": 8, **changes})


def pixels(images: Images | None) -> np.ndarray:
    assert images is not None
    return images.read(torch.arange(len(images)))[0].numpy()


def parts(source: Source) -> list[Images]:
    test = source.open_test()
    assert source.val is not None
    assert test is not None
    return [source.train, source.val, test]


def test_splits_are_held_out_as_of_a_folder(tmp_path: Path) -> None:
    source = load(config(tmp_path / "x.npz", PLAIN, val_size=0.2, test_size=6))
    assert [len(part) for part in parts(source)] == [42, 12, 6]
    assert [part.labels.bincount().tolist() for part in parts(source)] == [[21, 14, 7], [6, 4, 2], [3, 2, 1]]
    seen = sorted(bytes(image) + bytes([label]) for part in parts(source) for image, label in _pairs(part))
    assert seen == sorted(bytes(image) + bytes([label]) for image, label in zip(GREY, LABELS, strict=True))
    assert (source.classes, source.channels, source.image_size) == (("0", "1", "2"), 1, 8)
    assert (source.mean, source.std) == channel_statistics(source.train)
    other = load(config(tmp_path / "x.npz", val_size=0, test_size=6))
    assert other.val is None
    assert np.array_equal(pixels(other.open_test()), pixels(source.open_test())), "val_size moves no test image"
    varied = load(config(tmp_path / "x.npz", val_size=0.2, test_size=6, split_seed=1))
    assert not np.array_equal(pixels(varied.val), pixels(source.val))
    assert np.array_equal(pixels(varied.open_test()), pixels(source.open_test()))


def _pairs(images: Images) -> list[tuple[np.ndarray, int]]:
    return list(zip(pixels(images), images.labels.tolist(), strict=True))


def test_splits_of_the_file_stay(tmp_path: Path) -> None:
    arrays = {
        "train_images": COLOUR[:30],
        "train_labels": np.arange(30, dtype=np.uint8) % 3,
        "val_images": COLOUR[30:50],
        "val_labels": np.zeros(20, np.int32),
        "test_images": COLOUR[50:],
        "test_labels": np.full(10, 2),
        "classes": np.array(["zero", "one", "two"]),
    }
    cfg = config(tmp_path / "x.npz", arrays)
    source = load(cfg)
    for part, images in zip(parts(source), (COLOUR[:30], COLOUR[30:50], COLOUR[50:]), strict=True):
        assert np.array_equal(pixels(part), images.transpose(0, 3, 1, 2))
    assert source.classes == ("zero", "one", "two")
    assert source.channels == 3
    assert counts(cfg) == (30, 20)
    for key, does in (("split_seed", "varies"), ("folds", "makes")):
        with pytest.raises(
            UsageError, match=rf"data.{key}=2 {does} the validation split, and .* has .*; leave data.{key} out"
        ):
            load(config(tmp_path / "x.npz", **{key: 2}))


def test_without_test_images_there_is_no_test(tmp_path: Path) -> None:
    source = load(config(tmp_path / "x.npz", PLAIN, test_size=0, val_size=0))
    assert source.open_test() is None
    assert source.val is None
    assert len(source.train) == 60


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_bytes(dtype: type, tmp_path: Path) -> None:
    floats = (GREY / 255).astype(dtype)
    source = load(config(tmp_path / "x.npz", {**PLAIN, "train_images": floats}, val_size=0, test_size=0))
    assert np.array_equal(pixels(source.train)[:, 0], GREY)


@pytest.mark.parametrize("shape", [(60, 8, 8), (60, 8, 8, 1)])
def test_grey_images_have_one_channel(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", train_images=GREY.reshape(shape), train_labels=LABELS)
    assert pixels(load(config(tmp_path / "x.npz", val_size=0, test_size=0)).train).shape == (60, 1, 8, 8)


@pytest.mark.parametrize("changes", [{}, {"val_size": 0}, {"subset": 0.5}, {"imbalance": 0.3}, {"folds": 4}])
def test_counts_are_those_of_the_loaded_images(changes: dict[str, float], tmp_path: Path) -> None:
    cfg = config(tmp_path / "x.npz", PLAIN, **changes)
    source = load(cfg)
    assert counts(cfg) == (len(source.train), 0 if source.val is None else len(source.val))


def test_the_fingerprint_is_of_the_bytes_and_not_of_the_place(tmp_path: Path) -> None:
    one = inventory.take(config(tmp_path / "x.npz", PLAIN)).fingerprint
    (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes())
    assert inventory.take(config(tmp_path / "y.npz")).fingerprint == one
    other = GREY.copy()
    other[0, 0, 0] ^= 1
    assert inventory.take(config(tmp_path / "x.npz", {**PLAIN, "train_images": other})).fingerprint != one


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    seen = inventory.take(config(tmp_path / "x.npz", PLAIN))
    inventory.check_unchanged(seen)
    config(tmp_path / "x.npz", {**PLAIN, "train_images": GREY[::-1]})
    with pytest.raises(RunError, match=r"the images must stay as they are until a run has ended, and x.npz have"):
        inventory.check_unchanged(seen)
    config(tmp_path / "x.npz", PLAIN)  # the way out
    inventory.check_unchanged(seen)


MALFORMED = {
    "no images": ({"train_labels": LABELS}, "must hold train_images and train_labels, and lacks train_images; add"),
    "no labels": ({"train_images": GREY}, "must hold train_images and train_labels, and lacks train_labels; add"),
    "half a split": ({**PLAIN, "val_images": GREY}, "must hold val_images and val_labels, and lacks val_labels; add"),
    "another name": (
        {**PLAIN, "x_test": GREY},
        "an array must be one of classes, train_images, .* got 'x_test'; rename",
    ),
    "objects": ({**PLAIN, "train_labels": LABELS.astype(object)}, "must be an array of numbers .* never read; store"),
    "one dimension": ({**PLAIN, "train_images": GREY.reshape(60, 64)}, r"the shape \(N, H, W\), .* got \(60, 64\); re"),
    "channels first": (
        {**PLAIN, "train_images": COLOUR.transpose(0, 3, 1, 2)},
        r"or \(N, H, W, 3\), got \(60, 3, 8, 8\)",
    ),
    "two channels": ({**PLAIN, "train_images": COLOUR[..., :2]}, r"or \(N, H, W, 3\), got \(60, 8, 8, 2\); reshape"),
    "not square": ({**PLAIN, "train_images": GREY[:, :6]}, "train_images must be square, got 6x8 pixels; crop or"),
    "another side": (
        {**PLAIN, "train_images": GREY[:, :6, :6]},
        "data.image_size=8, got 6x6 pixels; give data.image_s",
    ),
    "integers": (
        {**PLAIN, "train_images": GREY.astype(int)},
        "train_images must be uint8, or floats .* got int64; con",
    ),
    "none": ({"train_images": GREY[:0], "train_labels": LABELS[:0]}, "must hold at least 1 image, got none; leave"),
    "other channels": (
        {**PLAIN, "test_images": COLOUR, "test_labels": LABELS},
        r"test_images must have the channels of train_images, got \(60, 8, 8, 3\) and \(60, 8, 8\); convert",
    ),
    "NaN": (
        {**PLAIN, "train_images": np.full(GREY.shape, np.nan)},
        r"train_images must be in \[0, 1\] .* got nan; scale",
    ),
    "0 to 255": (
        {**PLAIN, "train_images": GREY.astype(np.float32)},
        r"must be in \[0, 1\] where it holds floats, got \d+; ",
    ),
    "fewer labels": (
        {**PLAIN, "train_labels": LABELS[:-1]},
        r"the shape \(60,\), one label an image, got \(59,\); mend",
    ),
    "one-hot": ({**PLAIN, "train_labels": np.eye(3, dtype=int)[LABELS]}, r"one label an image, got \(60, 3\); mend it"),
    "float labels": ({**PLAIN, "train_labels": LABELS / 1}, "train_labels must be whole numbers, got float64; number"),
    "names as labels": ({**PLAIN, "train_labels": LABELS.astype(str)}, "train_labels must be whole numbers, got <U"),
    "from 1": (
        {**PLAIN, "train_labels": LABELS + 1},
        "train_labels must be from 0 to 2 for 3 classes, got 1 to 3; num",
    ),
    "negative": (
        {**PLAIN, "train_labels": LABELS - 1},
        "must be from 0 to 2 for 3 classes, got -1 to 1; number the cl",
    ),
    "a gap": (
        {**PLAIN, "train_labels": LABELS * 2},
        "must be from 0 to 2 for 3 classes, got 0 to 4; number the classes",
    ),
    "huge": (
        {**PLAIN, "train_labels": LABELS * 10**15},
        "must be from 0 to 2 for 3 classes, got 0 to 2000000000000000;",
    ),
    "a new test class": (
        {**PLAIN, "test_images": GREY, "test_labels": LABELS + 1},
        "test_labels must be from 0 to 2 for 3 classes, got 1 to 3; number",
    ),
    "a class without images": (
        {**PLAIN, "classes": np.array(list("abcd"))},
        "train_labels must have an image of every class, and has none of class 3; add images, or leave",
    ),
    "too few names": (
        {**PLAIN, "classes": np.array(["a", "b"])},
        "must be from 0 to 1 for 2 classes, got 0 to 2; numb",
    ),
    "names twice": ({**PLAIN, "classes": np.array(["a", "b", "a"])}, "classes must name each class once, got .*; mend"),
    "numbers as names": ({**PLAIN, "classes": np.arange(3)}, r"classes must be an array of names, .* got int64 of the"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_arrays_are_refused_in_a_sentence(fault: str, tmp_path: Path) -> None:
    arrays, told = MALFORMED[fault]
    cfg = config(tmp_path / "x.npz", arrays)
    with pytest.raises(UsageError, match=told) as caught:
        load(cfg)
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: ")
    assert "\n" not in str(caught.value)
    load(config(tmp_path / "x.npz", PLAIN))


def test_another_side_is_told_by_the_way_out(tmp_path: Path) -> None:
    arrays = {**PLAIN, "train_images": np.zeros((60, 12, 12), np.uint8)}
    assert load(config(tmp_path / "x.npz", arrays, image_size=12)).image_size == 12
    assert config(tmp_path / "x.npz", image_size=12).side == 12


def damaged(fault: str) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **PLAIN)
    whole = stream.getvalue()
    if fault == "cut":
        return whole[: len(whole) // 2]
    if fault == "changed":
        place = whole.index(GREY.tobytes()[:64]) + 5
        return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    if fault == "one array":
        stream = io.BytesIO()
        np.save(stream, GREY)
        return stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {"descr": "|u1", "fortran_order": False, "shape": (10**15, 8, 8) if fault == "claims" else (1, 8, 8)},
        )
        text = header.getvalue() if fault != "another format" else b"no array"
        file.writestr("train_images.npy", text)
        file.writestr("train_labels.npy", text)
    return stream.getvalue()


@pytest.mark.parametrize("fault", ["cut", "changed", "one array", "claims", "no values", "another format"])
def test_a_damaged_file_is_refused_in_a_sentence(fault: str, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(damaged(fault))
    with pytest.raises(
        RunError, match=r"x.npz: must be a whole .npz file, as numpy.savez writes it, .*; write it again"
    ):
        load(config(tmp_path / "x.npz"))


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "canary"), "w"))

    labels = np.array([Evil()] * 60, dtype=object)
    with pytest.raises(UsageError, match="one of Python objects, which are never read"):
        load(config(tmp_path / "x.npz", {**PLAIN, "train_labels": labels}))
    assert not (tmp_path / "canary").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for function in (load, inventory.take, counts):
        with pytest.raises(UsageError, match=r"data.root must be a .* and .*/x.npz is none; add data.root="):
            function(config(tmp_path / "x.npz"))
    with pytest.raises(UsageError, match=r"data.root must be a .npz file, got ''; add data.root=FILE.npz"):
        compose(["data=arrays", "data.root=''"])


@pytest.mark.long
def test_an_epoch_ends_with_scores_and_the_file_may_move(
    workplace: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    config(workplace / "x.npz", PLAIN)
    words = ["data=arrays", "data.root=x.npz", "data.image_size=8", "data.batch_size=16", "model.widths=[4]"]
    words += ["model.hidden=8", "trainer=cpu", "trainer.threads=1", "trainer.max_epochs=1", "trainer.progress=none"]
    code, _, err = command("train", *words, "loggers=[]", "hydra.run.dir=run")
    assert code == 0, err
    record = json.loads((workplace / "run/record.json").read_text())
    assert {(score["split"], score["n"]) for score in record["scores"]} >= {("val", 6), ("test", 6)}
    (workplace / "x.npz").rename(workplace / "moved.npz")
    code, _, err = command("evaluate", "run", "--data-root", "moved.npz")
    assert code == 0, err
    config(workplace / "other.npz", {**PLAIN, "train_images": GREY[::-1]})
    code, _, err = command("evaluate", "run", "--data-root", "other.npz")
    assert code == 2
    assert "--data-root=other.npz must hold the images that the run was trained on, as data=arrays cannot tell" in err
