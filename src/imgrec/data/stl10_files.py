"""Read the official STL-10 files (Coates et al. 2011), which are plain bytes. Imports no torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data.checksum import md5, sha256
from imgrec.data.published import Published
from imgrec.errors import RunError

SIDE = 96
SPLITS = {"train": ("train_X.bin", "train_y.bin"), "test": ("test_X.bin", "test_y.bin")}
PUBLISHED = Published(
    title="STL-10",
    key="stl-10",
    folder="stl10_binary",
    # as torchvision gives them (datasets/stl10.py); nobody publishes SHA-256 of the single files
    files={
        "train_X.bin": md5("918c2871b30a85fa023e0c44e0bee87f"),
        "train_y.bin": md5("5a34089d4802c674881badbb80307741"),
        "test_X.bin": md5("7f263ba9f9e0b06b93213547f721ac82"),
        "test_y.bin": md5("36f9794fa4beb8a2c72628de14fa638e"),
    },
    archive=(
        "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        sha256("f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"),  # of TensorFlow Datasets
    ),
)
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def read(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (N,3,96,96), and labels from 0, int64 (N,), of `train` or `test`.

    Raises:
        RunError: A file is not the official one, or the two do not belong together.
    """
    images, labels = SPLITS[split]
    pixels = np.frombuffer(PUBLISHED.read(folder, images), np.uint8)
    labels_n = np.frombuffer(PUBLISHED.read(folder, labels), np.uint8).astype(np.int64) - 1
    if pixels.size != len(labels_n) * 3 * SIDE * SIDE:
        raise RunError(
            f"{folder / images}: must hold {len(labels_n)} images of 3x{SIDE}x{SIDE} bytes, as {labels} has so many"
            f" labels, got {pixels.size} bytes; restore the official files"
        )
    images_ncwh = pixels.reshape(-1, 3, SIDE, SIDE)  # column by column, as MATLAB stores them
    return np.ascontiguousarray(images_ncwh.transpose(0, 1, 3, 2)), labels_n
