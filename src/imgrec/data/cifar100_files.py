"""Read the official CIFAR-100 files (Krizhevsky 2009, "python version"). Imports no torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data import cifar_pickle
from imgrec.data.checksum import md5, sha256
from imgrec.data.published import Published
from imgrec.errors import RunError

TITLE = "CIFAR-100"
META, TRAIN, TEST = "meta", "train", "test"
PUBLISHED = Published(
    title=TITLE,
    key="cifar-100",
    folder="cifar-100-python",
    # as torchvision gives them (datasets/cifar.py); nobody publishes SHA-256 of the single files
    files={
        META: md5("7973b15100ade9c7d40fb424638fde48"),
        TRAIN: md5("16019d7e3df5f24257cddd939b257f8d"),
        TEST: md5("f0ef6b0ae62326f3e7ffdfab6717acfc"),
    },
    archive=(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        sha256("85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),  # as given by Keras
    ),
)


def read_batch(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the images, uint8 (N,3,32,32), and their fine and coarse labels, int64 (N,), of one official file.

    Raises:
        RunError: The file is not the official one.
    """
    content = cifar_pickle.load(PUBLISHED.read(folder, name), TITLE)
    fine_n, coarse_n = (np.asarray(content[key], np.int64) for key in (b"fine_labels", b"coarse_labels"))
    return content[b"data"].reshape(-1, 3, 32, 32), fine_n, coarse_n


def read_classes(folder: Path, labels: str) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the labels.

    Args:
        folder: The data set's folder.
        labels: `fine` or `coarse`.

    Raises:
        RunError: The file is not the official one.
    """
    content = cifar_pickle.load(PUBLISHED.read(folder, META), TITLE)
    return tuple(name.decode("ascii") for name in content[f"{labels}_label_names".encode()])


def superclasses(path: Path, fine_n: NDArray[np.int64], coarse_n: NDArray[np.int64]) -> dict[int, int]:
    """Return the coarse label of each fine label.

    Args:
        path: The file that the labels come from, for the error message.
        fine_n: The fine labels.
        coarse_n: The coarse labels.

    Raises:
        RunError: A fine label has several coarse ones.
    """
    pairs = np.unique(np.stack([fine_n, coarse_n]), axis=1)
    found: dict[int, int] = {}
    for fine, coarse in pairs.T.tolist():
        if found.setdefault(fine, coarse) != coarse:
            raise RunError(
                f"{path}: each fine class must lie in one coarse class, and class {fine} lies in {found[fine]} and in"
                f" {coarse}; restore the official file"
            )
    return found
