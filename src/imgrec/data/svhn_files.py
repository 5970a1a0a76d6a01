"""Read the official SVHN files of cropped digits (Netzer et al. 2011), which are MATLAB's. Imports no torch."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data.checksum import sha256
from imgrec.data.published import Published
from imgrec.errors import RunError

TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"
_URL = "https://ufldl.stanford.edu/housenumbers"
PUBLISHED = Published(
    title="SVHN",
    key="svhn",
    folder="svhn",
    # of TensorFlow Datasets (url_checksums/svhn_cropped.txt), for the files whose MD5s torchvision gives
    files={
        TRAIN: sha256("435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        TEST: sha256("cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    },
    urls={name: f"{_URL}/{name}" for name in (TRAIN, TEST)},
)


def read(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (N,3,32,32), and labels, int64 (N,), of one official file. The digit 0 has the label 0.

    Raises:
        RunError: The file is not the official one.
    """
    from scipy.io import loadmat  # takes a quarter of a second to import

    content = PUBLISHED.read(folder, name)
    try:
        values = loadmat(io.BytesIO(content), variable_names=("X", "y"))
        images_hwcn, labels_n = values["X"], values["y"].reshape(-1).astype(np.int64)
    except Exception as error:  # scipy raises many kinds, of its own and of Python's
        raise _no_svhn(folder / name, str(error) or type(error).__name__) from error
    if images_hwcn.dtype != np.uint8 or images_hwcn.shape != (32, 32, 3, len(labels_n)):
        raise _no_svhn(folder / name, f"{images_hwcn.dtype} {images_hwcn.shape} with {len(labels_n)} labels")
    return np.ascontiguousarray(images_hwcn.transpose(3, 2, 0, 1)), labels_n % 10  # 10 stands for the digit 0


def _no_svhn(path: Path, got: str) -> RunError:
    return RunError(
        f"{path}: must hold X, uint8 (32, 32, 3, N), and y, N labels, as a MATLAB file, got: {' '.join(got.split())};"
        " restore the official file"
    )
