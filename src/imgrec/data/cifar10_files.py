"""Read the official CIFAR-10 files (Krizhevsky 2009, "python version"). Imports no torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data import cifar_pickle
from imgrec.data.checksum import sha256
from imgrec.data.published import Published

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"  # as given by Keras
FOLDER = "cifar-10-batches-py"
META, TEST_BATCH = "batches.meta", "test_batch"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
# computed from files with the MD5s that torchvision gives
SHA256 = {
    "batches.meta": "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb",
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}


def published() -> Published:
    """Return where the files come from, and their checksums."""
    return Published(
        title="CIFAR-10",
        key="cifar-10",
        folder=FOLDER,
        files={name: sha256(value) for name, value in SHA256.items()},
        archive=(URL, sha256(ARCHIVE_SHA256)),
    )


def read_batch(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (N,3,32,32), and labels, int64 (N,), of one official file.

    Raises:
        RunError: The file is not the official one.
    """
    content = cifar_pickle.load(published().read(folder, name), "CIFAR-10")
    return content[b"data"].reshape(-1, 3, 32, 32), np.asarray(content[b"labels"], dtype=np.int64)


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the ten class names, in the order of the labels.

    Raises:
        RunError: The file is not the official one.
    """
    content = cifar_pickle.load(published().read(folder, META), "CIFAR-10")
    return tuple(name.decode("ascii") for name in content[b"label_names"])
