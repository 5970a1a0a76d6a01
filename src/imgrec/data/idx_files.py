"""Read MNIST, Fashion-MNIST and Kuzushiji-MNIST, which have one format: four gzipped IDX files. Imports no torch."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data.checksum import sha256
from imgrec.data.published import Published
from imgrec.errors import RunError

SPLITS = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SIDE = 28
_UBYTE = 8  # the format's number of the type uint8


def _of(title: str, key: str, folder: str, url: str, *checksums: str) -> Published:
    """Return a data set of the family.

    Args:
        title: See `Published`.
        key: See `Published`.
        folder: See `Published`.
        url: The address of the files' folder.
        checksums: SHA-256 of the files, in the order of SPLITS.
    """
    names = [name for pair in SPLITS.values() for name in pair]
    return Published(
        title=title,
        key=key,
        folder=folder,
        files={name: sha256(value) for name, value in zip(names, checksums, strict=True)},
        urls={name: f"{url}/{name}" for name in names},
    )


# the folders are those of torchvision; the SHA-256 are those of TensorFlow Datasets (url_checksums), and belong to the
# files whose MD5s torchvision gives
PUBLISHED = {
    "mnist": _of(
        "MNIST",
        "mnist",
        "MNIST/raw",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion_mnist": _of(
        "Fashion-MNIST",
        "fashion-mnist",
        "FashionMNIST/raw",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": _of(
        "Kuzushiji-MNIST",
        "kmnist",
        "KMNIST/raw",
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist",
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
}


def read(published: Published, folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (N,28,28), and labels, int64 (N,), of `train` or `test`.

    Raises:
        RunError: A file is not the official one, or the two do not belong together.
    """
    images, labels = SPLITS[split]
    images_nhw = _array(published, folder, images, dimensions=3)
    labels_n = _array(published, folder, labels, dimensions=1)
    if images_nhw.shape != (len(labels_n), SIDE, SIDE):
        raise RunError(
            f"{folder / images}: must hold {len(labels_n)} images of {SIDE}x{SIDE}, as {labels} has so many labels, got"
            f" {images_nhw.shape}; restore the official files"
        )
    return images_nhw, labels_n.astype(np.int64)


def _array(published: Published, folder: Path, name: str, *, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of one file: two zero bytes, the type, the number of dimensions, each length, the values."""
    content = published.read(folder, name)
    try:
        values = gzip.decompress(content)
        zeros, kind, found = struct.unpack_from(">HBB", values)
        if (zeros, kind, found) != (0, _UBYTE, dimensions):
            raise ValueError(f"the header {values[:4].hex()}")
        shape = struct.unpack_from(f">{dimensions}I", values, 4)
        return np.frombuffer(values, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise RunError(
            f"{folder / name}: must be a gzipped IDX file of bytes with {dimensions} dimensions, got: {error}; restore"
            " the official file"
        ) from error
