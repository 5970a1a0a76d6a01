"""Read a data set out of a .npz file of NumPy arrays, without pickle. Imports no torch.

The form of every array is checked by its header before any values are read.
"""

# N images, H rows, W columns, C channels, K classes

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from imgrec.data.split import Indices, drawn
from imgrec.errors import RunError, UsageError, shown

if TYPE_CHECKING:
    from imgrec.components.data.arrays import Arrays

TEST_SEED, VAL_SEED = 25, 26  # seeds of the splits; constants, so that every run has the same splits
_SPLITS = ("train", "val", "test")
_KNOWN = ("classes", *(f"{split}_{what}" for split in _SPLITS for what in ("images", "labels")))
_CHANNELS = (1, 3)
_AT_ONCE = 1024  # images that are converted at a time
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of one split: some of an array's.

    Attributes:
        array: The split whose arrays they come from.
        places: Their indices there, rising; None for all.
        labels_n: Their classes.
    """

    array: str
    places: Indices | None
    labels_n: Indices


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The classes of a file, and its splits; an empty one is left out."""

    classes: tuple[str, ...]
    parts: dict[str, Part]


def labels(cfg: "Arrays") -> Labels:
    """Return the file's classes and splits. Headers and labels are read, and no image.

    A split without arrays of its own is taken from the training images, stratified: first the test images, then the
    validation images, so that `val_size` never changes which images are test images.

    Raises:
        UsageError: The file or an array has another form than the configuration needs.
        RunError: The file cannot be read.
    """
    path = Path(cfg.root).expanduser()
    with _File(path) as file:
        _check_names(path, file.forms)
        for split in _SPLITS:
            if f"{split}_images" in file.forms:
                _check_form(path, file.forms, split, cfg.image_size)
        labels_of = {
            split: file.read(f"{split}_labels").astype(np.int64) for split in _SPLITS if f"{split}_labels" in file.forms
        }
        classes = _classes(path, file, labels_of["train"])
    for split, labels_n in labels_of.items():
        _check_labels(path, f"{split}_labels", labels_n, len(classes), all_classes=split == "train")
    if "val" in labels_of:
        cfg.refuse_own_split(f"{shown(path)} has one of its own, val_images")
    parts = {split: Part(array=split, places=None, labels_n=labels_n) for split, labels_n in labels_of.items()}
    places, total = np.arange(len(labels_of["train"])), len(labels_of["train"])
    for split in ("test", "val"):
        if split not in parts:
            own_n = labels_of["train"][places]
            kept, out = drawn(cfg, split, own_n, total, test_seed=TEST_SEED, val_seed=VAL_SEED)
            if len(out):
                parts[split] = Part(array="train", places=places[out], labels_n=own_n[out])
            places = places[kept]
    if len(places) < total:
        parts["train"] = Part(array="train", places=places, labels_n=labels_of["train"][places])
    return Labels(classes=classes, parts=parts)


def images(path: Path, part: Part) -> NDArray[np.uint8]:
    """Return the images of a part, uint8 (N,C,H,W). Values of floats in [0, 1] are rounded to the nearest of 256.

    Raises:
        UsageError: A value is NaN, or lies outside of [0, 1].
        RunError: The file cannot be read.
    """
    name = f"{part.array}_images"
    with _File(path) as file:
        values = file.read(name)
    if values.dtype != np.uint8:
        values = _rounded(path, name, values)
    if part.places is not None:
        values = values[part.places]
    return values[:, None] if values.ndim == 3 else np.ascontiguousarray(values.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class _Form:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _File:
    """A .npz file whose headers have been read.

    Raises:
        UsageError: There is no such file.
        RunError: It is damaged, or no .npz file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise UsageError(f"data.root must be a .npz file, and {shown(path)} is none; add data.root=FILE.npz")
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        try:
            self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
            self.forms = {name: self._form(name) for name in self._members}
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, name: str) -> NDArray[Any]:
        """Return an array of the file."""
        try:
            with self._zip.open(self._members[name]) as stream:
                values: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except _DAMAGE as error:
            raise self._damaged(error, name) from error
        return values

    def _form(self, name: str) -> _Form:
        """Return shape and type of an array, which must be as long as they say."""
        try:
            with self._zip.open(self._members[name]) as stream:
                shape, dtype = _header(stream)
                length = stream.tell() + int(np.prod([1, *shape], dtype=object)) * dtype.itemsize
        except _DAMAGE as error:
            raise self._damaged(error, name) from error
        if dtype.hasobject:
            raise UsageError(
                f"{shown(self._path)}: {shown(name)} must be an array of numbers or of text, and is one of Python"
                " objects, which are never read; store it with another dtype"
            )
        if length != self._members[name].file_size:
            raise self._damaged(f"{self._members[name].file_size} bytes in place of {length}", name)
        return _Form(shape, dtype)

    def _damaged(self, error: object, name: str | None = None) -> RunError:
        what = f"{shown(name)} in it" if name else "it"
        reason = " ".join(str(error).split()) or type(error).__name__
        return RunError(
            f"{shown(self._path)}: must be a whole .npz file, as numpy.savez writes it, and {what} cannot be read"
            f" ({reason}); write it again"
        )


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = _HEADERS[version](stream)
    return shape, dtype


def _check_names(path: Path, forms: dict[str, _Form]) -> None:
    for name in forms:
        if name not in _KNOWN:
            raise UsageError(
                f"{shown(path)}: an array must be one of {', '.join(_KNOWN)}, got {name!r}; rename it, or leave it out"
            )
    for split in _SPLITS:
        pair = (f"{split}_images", f"{split}_labels")
        lacking = [name for name in pair if name not in forms]
        if lacking and (split == "train" or len(lacking) == 1):
            raise UsageError(
                f"{shown(path)}: must hold {' and '.join(pair)}, and lacks {' and '.join(lacking)}; add what is lacking"
            )


def _check_form(path: Path, forms: dict[str, _Form], split: str, side: int) -> None:
    """Refuse images or labels of a split that have another shape or type than the data set needs."""
    images, labels, first = (forms[name] for name in (f"{split}_images", f"{split}_labels", "train_images"))
    told = f"{shown(path)}: {split}_images must"
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UsageError(f"{told} be uint8, or floats in [0, 1], got {images.dtype}; convert it")
    shape = images.shape
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in _CHANNELS):
        raise UsageError(
            f"{told} have the shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {shape}; reshape it, or move its axes"
        )
    if shape[0] == 0:
        raise UsageError(f"{told} hold at least 1 image, got none; leave the array out, or add images")
    if shape[1] != shape[2]:
        raise UsageError(f"{told} be square, got {shape[1]}x{shape[2]} pixels; crop or resize them")
    if shape[1] != side:
        raise UsageError(
            f"{told} have the side data.image_size={side}, got {shape[1]}x{shape[2]} pixels; give"
            f" data.image_size={shape[1]}"
        )
    if (shape[3:] or (1,)) != (first.shape[3:] or (1,)):
        raise UsageError(
            f"{told} have the channels of train_images, got {shape} and {first.shape}; convert one of them"
        )
    told = f"{shown(path)}: {split}_labels must"
    if labels.dtype.kind not in "iu":
        raise UsageError(
            f"{told} be whole numbers, got {labels.dtype}; number the classes from 0, and name them in classes"
        )
    if labels.shape != shape[:1]:
        raise UsageError(f"{told} have the shape ({shape[0]},), one label an image, got {labels.shape}; mend it")


def _classes(path: Path, file: _File, train_n: Indices) -> tuple[str, ...]:
    """Return the names of the classes: those of the array `classes`, else 0 to K-1 for K labels that occur."""
    if "classes" not in file.forms:
        return tuple(map(str, range(len(np.unique(train_n)))))
    form = file.forms["classes"]
    if form.dtype.kind != "U" or len(form.shape) != 1:
        raise UsageError(
            f"{shown(path)}: classes must be an array of names, of one dimension, got {form.dtype} of the shape"
            f" {form.shape}; write numpy.array(names)"
        )
    names = tuple(map(str, file.read("classes").tolist()))
    if len(set(names)) < len(names) or not all(names):
        raise UsageError(f"{shown(path)}: classes must name each class once, got {list(names)[:20]}; mend them")
    return names


def _check_labels(path: Path, name: str, labels_n: Indices, classes: int, *, all_classes: bool) -> None:
    """Refuse labels outside of [0, K), and training labels that lack a class."""
    low, high = int(labels_n.min()), int(labels_n.max())
    if low < 0 or high >= classes:
        raise UsageError(
            f"{shown(path)}: {name} must be from 0 to {classes - 1} for {classes} classes, got {low} to {high}; number"
            " the classes from 0 without a gap"
        )
    if all_classes and (lacking := sorted(set(range(classes)) - set(np.unique(labels_n).tolist()))):
        raise UsageError(
            f"{shown(path)}: {name} must have an image of every class, and has none of class {lacking[0]}; add images,"
            " or leave the class out"
        )


def _rounded(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return floats in [0, 1] as bytes."""
    found = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _AT_ONCE):
        some = values[start : start + _AT_ONCE].astype(np.float64)
        if not ((some >= 0) & (some <= 1)).all():  # false for NaN, too
            bad = some[~((some >= 0) & (some <= 1))][0]
            raise UsageError(
                f"{shown(path)}: {name} must be in [0, 1] where it holds floats, got {bad:g}; scale it, or store it as"
                " uint8"
            )
        found[start : start + _AT_ONCE] = np.rint(255 * some)
    return found


def sizes(found: Labels) -> Sequence[int]:
    """Return the number of images in each split: training, validation, test."""
    return [len(found.parts[split].labels_n) if split in found.parts else 0 for split in _SPLITS]
