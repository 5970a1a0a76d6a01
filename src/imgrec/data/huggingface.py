"""Load a data set of Hugging Face into memory, decoded by imgrec itself. `datasets` is an optional package."""

# N images, S the side in pixels

import hashlib
import logging
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from imgrec.data import decode
from imgrec.data.held_out import Pixels, memory_images
from imgrec.data.source import MemoryImages, Source, channel_statistics
from imgrec.data.split import Indices, drawn
from imgrec.errors import RunError, UsageError, sentence, shown

if TYPE_CHECKING:
    from imgrec.components.data.huggingface import HuggingFace

log = logging.getLogger(__name__)

TEST_SEED, VAL_SEED = 29, 30  # seeds of the splits; constants, so that every run has the same splits
_AT_ONCE = 256  # images that are read at a time
_ON_DISK = ("dataset_dict.json", "state.json")  # what save_to_disk writes


class _Part:
    """One split: its images as bytes, and its labels."""

    def __init__(self, cfg: "HuggingFace", split: str) -> None:
        self._told = f"{shown(cfg.root)}, split {split}"
        self._split = _split_of(cfg, split)
        features = self._split.features
        images = [name for name, each in features.items() if isinstance(each, _datasets().Image)]
        self._image = _column("image", cfg.image_column, images, list(features), self._told)
        labels = [name for name, each in features.items() if isinstance(each, _datasets().ClassLabel)]
        self._label = _column("label", cfg.label_column, labels, list(features), self._told)
        self._split = self._split.cast_column(self._image, _datasets().Image(decode=False))

    def __len__(self) -> int:
        return len(self._split)

    @property
    def names(self) -> list[str] | None:
        """The names of the classes, in the order of their numbers; None where the column has no such names."""
        feature = self._split.features[self._label]
        return list(feature.names) if isinstance(feature, _datasets().ClassLabel) else None

    def values(self) -> list[Any]:
        """Return the labels as they are stored."""
        return list(self._split[self._label])

    def files(self, places: Indices | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the place and the bytes of these images, or of all.

        Raises:
            RunError: A file that the data set names cannot be read.
        """
        column = self._split.select_columns([self._image])
        wanted = np.arange(len(self)) if places is None else places
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            for place, item in zip(some.tolist(), column[some.tolist()][self._image], strict=True):
                yield place, self._bytes(item, place)

    def decoded(self, size: int, places: Indices | None = None) -> Pixels:
        """Return images as uint8 (N,3,S,S), as `decode.decode` does.

        Raises:
            RunError: An image cannot be decoded.
        """
        count = len(self) if places is None else len(places)
        named = ((f"{self._told}: image {place}", content) for place, content in self.files(places))
        return decode.squares(named, count, size, way_out="mend the data set")

    def _bytes(self, item: Any, place: int) -> bytes:
        if isinstance(item, dict) and item.get("bytes") is not None:
            return bytes(item["bytes"])
        if isinstance(item, dict) and item.get("path"):
            try:
                return decode.content(Path(item["path"]))
            except (OSError, ValueError) as error:  # it may be no regular file, or too large
                raise RunError(
                    f"{self._told}: image {place}, {shown(item['path'])}, cannot be read: {decode.reason(error)};"
                    " restore it"
                ) from error
        raise RunError(f"{self._told}: image {place} is missing; leave such rows out of the data set")


def fingerprint(cfg: "HuggingFace") -> str:
    """Return SHA-256 over all images and labels of the splits that the run uses, as 64 hexadecimal digits.

    Raises:
        UsageError, RunError: As in `load`.
    """
    digest = hashlib.sha256(b"huggingface\n")
    for use, split in _used(cfg).items():
        part = _Part(cfg, split)
        digest.update(f"{use}\n{part.names}\n{part.values()}\n".encode())
        for _, content in part.files():
            digest.update(struct.pack("<Q", len(content)) + hashlib.sha256(content).digest())
    return digest.hexdigest()


def load(cfg: "HuggingFace") -> Source:
    """Load the splits that `cfg` names, resized. Mean and standard deviation are those of the training images.

    A split that it does not name is taken from the training images, stratified: first the test images, then the
    validation images. Test images are decoded by `Source.open_test` only.

    Raises:
        UsageError: There is no such data set, split or column, or no label is a class.
        RunError: The package is not installed, or the data set cannot be read.
    """
    train = _Part(cfg, cfg.train_split)
    classes, labels_n = _classes(cfg, train)
    parts: dict[str, tuple[_Part, Indices | None, Indices]] = {}
    places = np.arange(len(train))
    for use, split in (("test", cfg.test_split), ("val", cfg.val_split)):
        if split:
            other = _Part(cfg, split)
            parts[use] = (other, None, _labels(cfg, split, other, classes))
            continue
        kept, out = drawn(cfg, use, labels_n[places], len(train), test_seed=TEST_SEED, val_seed=VAL_SEED)
        if len(out):
            parts[use] = (train, places[out], labels_n[places[out]])
        places = places[kept]
    sizes = [len(places), *(len(parts[use][2]) if use in parts else 0 for use in ("val", "test"))]
    log.info("%s: %d classes, %s images", shown(cfg.root), len(classes), " + ".join(map(str, sizes)))
    images = memory_images(train.decoded(cfg.image_size, places), labels_n[places])
    mean, std = channel_statistics(images)
    return Source(
        name=cfg.name,
        classes=classes,
        image_size=cfg.image_size,
        channels=3,
        train=images,
        val=_open(cfg, *parts["val"]) if "val" in parts else None,
        open_test=partial(_open, cfg, *parts["test"]) if "test" in parts else _no_test,
        mean=mean,
        std=std,
    )


def _open(cfg: "HuggingFace", part: _Part, places: Indices | None, labels_n: Indices) -> MemoryImages:
    return memory_images(part.decoded(cfg.image_size, places), labels_n)


def _no_test() -> None:
    """Return no test images, for data.test_size=0."""


def _used(cfg: "HuggingFace") -> dict[str, str]:
    """Return the splits that a run uses, by their use."""
    named = {"train": cfg.train_split, "val": cfg.val_split, "test": cfg.test_split}
    return {use: split for use, split in named.items() if split}


def _classes(cfg: "HuggingFace", train: _Part) -> tuple[tuple[str, ...], Indices]:
    """Return the names of the classes, and the number of each training image's class."""
    if train.names is not None:
        classes = tuple(train.names)
    else:
        found = set(train.values())
        if not all(isinstance(value, (int, str)) for value in found):
            raise UsageError(
                f"data.label_column must hold whole numbers or names, and that of {shown(cfg.root)} holds others; name"
                " another column"
            )
        classes = tuple(str(value) for value in sorted(found, key=lambda value: (isinstance(value, str), value)))
    return classes, _labels(cfg, cfg.train_split, train, classes)


def _labels(cfg: "HuggingFace", split: str, part: _Part, classes: Sequence[str]) -> Indices:
    """Return the number of each image's class.

    Raises:
        UsageError: An image has no label, or one that is no class of the training images.
    """
    known: dict[Any, int] = {number: number for number in range(len(classes))}
    if part.names is None:
        known = {name: number for number, name in enumerate(classes)}
    values = part.values() if part.names is not None else [str(value) for value in part.values()]
    if part.names is not None and part.names != list(classes):
        raise UsageError(
            f"data={cfg.name}: split {split} of {shown(cfg.root)} must have the classes of the training images in their"
            f" order, {', '.join(classes[:5])}, ..., got {', '.join(part.names[:5])}, ...; mend the data set"
        )
    for place, value in enumerate(values):
        if value not in known:
            raise UsageError(
                f"data={cfg.name}: split {split} of {shown(cfg.root)} must label each image with a class of the"
                f" training images, and image {place} has {value!r}; name another split, or leave such rows out"
            )
    return np.array([known[value] for value in values], np.int64)


def _column(kind: str, named: str, found: Sequence[str], there: Sequence[str], told: str) -> str:
    """Return the name of a column: the one that is named, else the only one of its kind."""
    if named and named not in there:
        raise UsageError(f"data.{kind}_column must be a column of {told}, got {named!r}; it has {', '.join(there)}")
    if named:
        return named
    if len(found) != 1:
        raise UsageError(
            f"data.{kind}_column must say which column of {told} holds the {kind}s, as {len(found) or 'none'} looks so;"
            f" it has {', '.join(there)}"
        )
    return found[0]


def _split_of(cfg: "HuggingFace", split: str) -> Any:
    """Return a split as the package gives it.

    Raises:
        UsageError, RunError: As in `load`.
    """
    package, place = _datasets(), Path(cfg.root).expanduser()
    try:
        if any((place / name).is_file() for name in _ON_DISK):
            stored = package.load_from_disk(str(place))
            if isinstance(stored, package.DatasetDict):
                if split not in stored:
                    raise ValueError(f'Unknown split "{split}". Should be one of {list(stored)}.')
                return stored[split]
            return stored
        return package.load_dataset(
            str(place) if place.is_dir() else cfg.root,
            cfg.config_name or None,
            revision=cfg.revision or None,
            split=split,
        )
    except ValueError as error:  # of the package, for a split or a configuration that is not there
        raise UsageError(
            f"data={cfg.name} must find split {split} of {shown(cfg.root)}, got: {sentence(error)}; name splits with"
            " data.train_split, data.val_split and data.test_split (empty: held out), configurations with"
            " data.config_name"
        ) from error
    except (OSError, RuntimeError, package.exceptions.DatasetsError) as error:
        raise RunError(
            f"data.root={shown(cfg.root)} must be a data set on the hub of Hugging Face, or a folder, got:"
            f" {sentence(error)}; check the name and the network, or download it before"
        ) from error


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise RunError(
            "data=huggingface needs the package datasets, which is not installed; in the clone,"
            " pip install -e '.[huggingface]', or save the images as a folder and choose data=folder"
        ) from error
    datasets.disable_progress_bars()
    module: ModuleType = datasets
    return module
