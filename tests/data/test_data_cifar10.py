"""Test that CIFAR-10 is verified whenever it is read, and split evenly."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from imgrec.components.data.cifar10 import Cifar10
from imgrec.data import cifar10, cifar10_files
from imgrec.data.source import channel_statistics
from imgrec.data.sources import load
from imgrec.errors import RunError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def config(root: Path, **changes: object) -> Cifar10:
    return Cifar10(root=str(root), **{"val_size": 20, **changes})


def test_files_placed_by_hand_are_split_evenly(cifar_root: Path) -> None:
    source = load(config(cifar_root))
    assert (source.name, source.image_size, source.channels, source.classes) == ("cifar10", 32, 3, CLASSES)
    assert (source.mean, source.std) == (cifar10.MEAN, cifar10.STD)
    assert source.val is not None
    assert source.train.labels.bincount().tolist() == [8] * 10
    assert source.val.labels.bincount().tolist() == [2] * 10
    images, positions = source.train.read(torch.tensor([3, 0, 3]))
    assert images.dtype == torch.uint8
    assert images.shape == (3, 3, 32, 32)
    assert images.is_contiguous()
    assert positions.tolist() == [0, 1, 2]
    assert torch.equal(images[0], images[2])


def test_images_keep_their_pixels_and_labels(cifar_root: Path) -> None:
    source = load(config(cifar_root, val_size=0))
    assert source.val is None
    batch, labels = cifar10_files.read_batch(cifar_root / cifar10_files.FOLDER, "data_batch_2")
    images, _ = source.train.read(torch.arange(20, 40))
    assert np.array_equal(images.numpy(), batch)
    assert source.train.labels[20:40].tolist() == labels.tolist()


def test_test_file_is_opened_only_when_asked_for(cifar_root: Path) -> None:
    source = load(config(cifar_root))
    (cifar_root / cifar10_files.FOLDER / "test_batch").write_bytes(b"tampered")
    with pytest.raises(RunError, match=r"test_batch: its SHA-256 must be .* got .* over 8 bytes; restore it, or"):
        source.open_test()


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:-1] + b"?"])
def test_refuses_a_file_that_is_not_the_official_one(cifar_root: Path, change: object) -> None:
    path = cifar_root / cifar10_files.FOLDER / "data_batch_1"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RunError) as caught:
        load(config(cifar_root))
    sentence = str(caught.value)
    assert sentence.startswith(
        f"{path}: its SHA-256 must be {cifar10_files.SHA256['data_batch_1']} (the official file)"
    )
    assert sentence.endswith(f"restore it, or delete {path.parent} and run again to download it anew")


def test_refuses_a_missing_file(cifar_root: Path) -> None:
    path = cifar_root / cifar10_files.FOLDER / "test_batch"
    path.unlink()
    with pytest.raises(RunError) as caught:
        load(config(cifar_root))
    assert str(caught.value).startswith(f"{path}: missing, and CIFAR-10 needs batches.meta, data_batch_1")
    assert f"restore it, or delete {path.parent} and run again" in str(caught.value)


def test_unpickles_nothing_but_arrays(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harmful = b"cos\nsystem\n(S'true'\ntR."
    path = cifar_root / cifar10_files.FOLDER / "data_batch_1"
    path.write_bytes(harmful)
    monkeypatch.setitem(cifar10_files.SHA256, "data_batch_1", hashlib.sha256(harmful).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match=r"CIFAR-10 files name no os\.system"):
        load(config(cifar_root))


@pytest.mark.slow
def test_the_real_files() -> None:
    root = os.environ.get("IMGREC_DATA_DIR", "")
    if not (Path(root) / cifar10_files.FOLDER / "test_batch").is_file():
        pytest.skip("IMGREC_DATA_DIR holds no CIFAR-10")
    source = load(Cifar10(root=root, download=False, val_size=0))
    mean, std = channel_statistics(source.train)
    assert [round(value, 4) for value in mean] == list(cifar10.MEAN)
    assert [round(value, 4) for value in std] == list(cifar10.STD)
    assert source.classes == CLASSES
    test = source.open_test()
    assert test is not None
    assert test.labels.bincount().tolist() == [1000] * 10
    split = load(Cifar10(root=root, download=False))
    assert split.val is not None
    assert split.train.labels.bincount().tolist() == [4500] * 10
    assert split.val.labels.bincount().tolist() == [500] * 10
