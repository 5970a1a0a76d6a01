"""Draw small data sets in the formats of the published ones."""

import dataclasses
import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from imgrec.config.data import Data
from imgrec.config.registry import components
from imgrec.data import (
    cifar100_files,
    eurosat_files,
    idx_files,
    imagenette_files,
    stl10_files,
    svhn_files,
    tiny_imagenet_files,
)
from imgrec.data.checksum import sha256
from imgrec.data.published import Published
from imgrec.data.split import stratified

NAMES = ("cifar100", "mnist", "fashion_mnist", "kmnist", "svhn", "stl10", "eurosat", "imagenette", "tiny_imagenet")
WITH_TEST_FILES = NAMES[:6]  # the others are one archive each
_MODULES = {
    "cifar100": cifar100_files,
    "svhn": svhn_files,
    "stl10": stl10_files,
    "eurosat": eurosat_files,
    "imagenette": imagenette_files,
    "tiny_imagenet": tiny_imagenet_files,
}


def checksummed(published: Published, contents: dict[str, bytes]) -> Published:
    """The data set, whose official files are these."""
    return dataclasses.replace(
        published, files={name: sha256(sha256("").of(content)) for name, content in contents.items()}
    )


_TINY = "tiny-imagenet-200"


@dataclass
class Drawn:
    """A small data set that the code takes for the official one.

    Attributes:
        name: Its choice of `data=`.
        published: What the code takes for official.
        contents: The files.
        train_nchw: The training images, without a frame, in the order of the files.
        train_n: Their labels.
        test_n: The test images' labels.
        val_size: A size that its validation split can have.
    """

    name: str
    published: Published
    contents: dict[str, bytes]
    train_nchw: np.ndarray
    train_n: np.ndarray
    test_n: np.ndarray
    val_size: int

    def place(self, root: Path) -> Path:
        """Place the files below the root by hand, and return their folder."""
        folder = root / self.published.folder
        folder.mkdir(parents=True)
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)
        return folder

    def config(self, root: Path, **changes: object) -> Data:
        return components("data")[self.name](root=str(root), **{"val_size": self.val_size, **changes})

    def become(self, monkeypatch: pytest.MonkeyPatch, published: Published) -> None:
        """Let the code take this for the official data set."""
        self.published = published
        if self.name in _MODULES:
            monkeypatch.setattr(_MODULES[self.name], "PUBLISHED", published)
        else:
            monkeypatch.setitem(idx_files.PUBLISHED, self.name, published)

    def rewrite(self, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
        """Give a file another content, which is official too."""
        self.contents[name] = content
        self.become(monkeypatch, checksummed(self.published, self.contents))

    def served(self, monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, bytes]:
        """Let the files, or the archive, come from that address; returns what lies there by its path."""
        if self.published.archive is None:
            urls = {name: f"{url}/{name}" for name in self.contents}
            self.become(monkeypatch, dataclasses.replace(self.published, urls=urls))
            return {f"/{name}": content for name, content in self.contents.items()}
        contents = {**self.contents, "more.txt": b"not needed"}
        whole = tarred({f"{self.published.folder}/{name}": content for name, content in contents.items()})
        archive = (f"{url}/all.tar.gz", sha256(sha256("").of(whole)))
        self.become(monkeypatch, dataclasses.replace(self.published, archive=archive))
        return {"/all.tar.gz": whole}


def draw(name: str, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Draw a data set, and let the code take it for the official one."""
    makers = {"cifar100": _cifar100, "svhn": _svhn, "stl10": _stl10}
    makers |= {"eurosat": _eurosat, "imagenette": _imagenette, "tiny_imagenet": _tiny_imagenet}
    drawn = makers[name]() if name in makers else _idx(name)
    drawn.become(monkeypatch, checksummed(drawn.published, drawn.contents))
    monkeypatch.setattr(components("data")[name], "class_sizes", np.bincount(drawn.train_n).tolist())
    return drawn


def _noise(name: str, count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(name)).integers(0, 256, (count, *shape), dtype=np.uint8)


def _of_classes(sizes: Sequence[int]) -> np.ndarray:
    """Labels of classes of these sizes, mixed."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(0).permutation(labels)


def _cifar100() -> Drawn:
    train_n, test_n = _of_classes([3] * 100), _of_classes([1] * 100)
    train, test = _noise("train", 300, 3, 32, 32), _noise("test", 100, 3, 32, 32)
    contents = {
        "meta": python2_pickle(
            fine_label_names=[f"fine {number}" for number in range(100)],
            coarse_label_names=[f"coarse {number}" for number in range(20)],
        ),
        "train": cifar100_batch(train, train_n, train_n // 5),
        "test": cifar100_batch(test, test_n, test_n // 5),
    }
    return Drawn("cifar100", cifar100_files.PUBLISHED, contents, train, train_n, test_n, 100)


def cifar100_batch(images_nchw: np.ndarray, fine_n: np.ndarray, coarse_n: np.ndarray) -> bytes:
    pixels = images_nchw.reshape(len(images_nchw), -1)
    return python2_pickle(fine_labels=fine_n.tolist(), coarse_labels=coarse_n.tolist(), data=pixels)


def _idx(name: str) -> Drawn:
    sizes = [12] * 10 if name != "mnist" else [12, 14, 12, 13, 11, 9, 12, 13, 12, 12]
    train_n, test_n = _of_classes(sizes), _of_classes([3] * 10)
    train, test = _noise(name, len(train_n), 28, 28), _noise("test", 30, 28, 28)
    arrays = (train, train_n, test, test_n)
    files = [name for pair in idx_files.SPLITS.values() for name in pair]
    contents = {file: gzip.compress(idx_bytes(array)) for file, array in zip(files, arrays, strict=True)}
    return Drawn(name, idx_files.PUBLISHED[name], contents, train[:, None], train_n, test_n, 20)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def _svhn() -> Drawn:
    train_n, test_n = _of_classes([10, 17, 15, 13, 12, 12, 11, 11, 10, 9]), _of_classes([3] * 10)
    train, test = _noise("train", len(train_n), 3, 32, 32), _noise("test", 30, 3, 32, 32)
    contents = {"train_32x32.mat": svhn_bytes(train, train_n), "test_32x32.mat": svhn_bytes(test, test_n)}
    return Drawn("svhn", svhn_files.PUBLISHED, contents, train, train_n, test_n, 20)


def svhn_bytes(images_nchw: np.ndarray, labels_n: np.ndarray) -> bytes:
    stream = io.BytesIO()
    labels_n1 = np.where(labels_n == 0, 10, labels_n).astype(np.uint8)[:, None]
    savemat(stream, {"X": images_nchw.transpose(2, 3, 1, 0), "y": labels_n1}, do_compression=True)
    return stream.getvalue()


def _stl10() -> Drawn:
    train_n, test_n = _of_classes([4] * 10), _of_classes([1] * 10)
    train, test = _noise("train", 40, 3, 96, 96), _noise("test", 10, 3, 96, 96)
    contents = {}
    for split, images_nchw, labels_n in (("train", train, train_n), ("test", test, test_n)):
        contents[f"{split}_X.bin"] = images_nchw.transpose(0, 1, 3, 2).tobytes()
        contents[f"{split}_y.bin"] = (labels_n + 1).astype(np.uint8).tobytes()
    return Drawn("stl10", stl10_files.PUBLISHED, contents, train, train_n, test_n, 10)


def jpegs(count: int) -> list[bytes]:
    """Images of 64x64 pixels."""
    found = []
    for image_chw in _noise("jpeg", count, 3, 64, 64):
        stream = io.BytesIO()
        Image.fromarray(image_chw.transpose(1, 2, 0)).save(stream, "JPEG")
        found.append(stream.getvalue())
    return found


def _opened(contents: Iterable[bytes]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1) for content in contents])


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _eurosat() -> Drawn:
    names = [f"2750/{name}/{name}_{number}.jpg" for name in eurosat_files.CLASSES for number in range(5)]
    files = dict(zip(names, jpegs(50), strict=True))
    labels_n = np.repeat(np.arange(10), 5)
    rest, test = stratified(labels_n, 10, seed=22, key="")
    contents = {"EuroSAT.zip": zipped({"2750/": b"", **files})}
    train = _opened(files[names[place]] for place in rest)
    return Drawn("eurosat", eurosat_files.PUBLISHED, contents, train, labels_n[rest], labels_n[test], 10)


def _imagenette() -> Drawn:
    numbers = {
        split: [
            f"imagenette2-160/{split}/{number}/{place}.JPEG" for number in imagenette_files.CLASSES for place in who
        ]
        for split, who in (("train", range(4)), ("val", range(1)))
    }
    files = dict(zip([*numbers["val"], *numbers["train"]], jpegs(50), strict=True))
    contents = {imagenette_files.ARCHIVE: tarred({**files, "imagenette2-160/noisy.csv": b"path"})}
    train = _opened(files[name] for name in numbers["train"])
    train_n, test_n = np.repeat(np.arange(10), 4), np.arange(10)
    return Drawn("imagenette", imagenette_files.PUBLISHED, contents, train, train_n, test_n, 10)


def _tiny_imagenet() -> Drawn:
    numbers = [f"n{10000000 + place}" for place in range(200)]
    names = [f"{_TINY}/train/{number}/images/{number}_{place}.JPEG" for number in numbers for place in range(3)]
    images = jpegs(800)
    files = dict(zip(names, images[:600], strict=True))
    files |= {f"{_TINY}/val/images/val_{place:03}.JPEG": image for place, image in enumerate(images[600:])}
    test_n = np.random.default_rng(0).permutation(200)
    lines = (f"val_{place:03}.JPEG\t{numbers[label]}\t0\t0\t9\t9\n" for place, label in enumerate(test_n))
    files[f"{_TINY}/val/val_annotations.txt"] = "".join(lines).encode()
    words = "".join(f"{number}\t{'crane' if place < 2 else number[1:]}, bird\n" for place, number in enumerate(numbers))
    files[f"{_TINY}/words.txt"] = words.encode()
    files[f"{_TINY}/test/images/test_0.JPEG"] = images[0]
    contents = {tiny_imagenet_files.ARCHIVE: zipped(files)}
    train, train_n = _opened(images[:600]), np.repeat(np.arange(200), 3)
    return Drawn("tiny_imagenet", tiny_imagenet_files.PUBLISHED, contents, train, train_n, test_n, 200)


def python2_pickle(**values: object) -> bytes:
    """A dictionary as Python 2's cPickle wrote it: lists of numbers or texts, and arrays of bytes."""
    return b"\x80\x02}(" + b"".join(_text(name) + _pickled(value) for name, value in values.items()) + b"u."


def _text(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _pickled(value: object) -> bytes:
    if isinstance(value, list):
        return b"](" + b"".join(_text(item) if isinstance(item, str) else _int(item) for item in value) + b"e"
    assert isinstance(value, np.ndarray)
    pixels = value.tobytes()
    return b"".join(
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(",
            *map(_int, value.shape),
            b"tcnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            struct.pack("<I", len(pixels)) + pixels + b"tb",
        )
    )


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)
