"""Read images from a folder with one sub-folder for each class, from disk whenever a batch needs them."""

# B images in a batch

import dataclasses
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from imgrec.data import batch_transport, layout
from imgrec.data.decode import ImageError, decode
from imgrec.data.files import Files
from imgrec.data.scan import Listing, Others, scan
from imgrec.data.source import Source, channel_statistics
from imgrec.data.split import Indices, drawn
from imgrec.errors import shown

if TYPE_CHECKING:
    from imgrec.components.data.folder import Folder

log = logging.getLogger(__name__)

_LISTED = 5  # names in a warning; the rest is counted

TEST_SEED, VAL_SEED = 13, 14  # seeds of the splits; constants, so that every run has the same splits
STATISTICS_IMAGES = 2000  # 2 million pixels at 32x32: mean and std are then known to about 0.01


class FolderImages:
    """Images on disk, which are decoded on each read."""

    def __init__(self, root: Path, files: Sequence[tuple[str, int]], *, image_size: int, on_error: str) -> None:
        self._root = root
        self._files = files if isinstance(files, Files) else Files(files)
        self._image_size = image_size
        self._on_error = on_error
        self._warned = batch_transport.zeros(len(files), torch.bool)  # shared, so that all workers together warn once
        self.labels = torch.tensor(self._files.labels_n)

    def take(self, places: Tensor, labels: Tensor) -> "FolderImages":
        """See `source.taken`."""
        files = self._files.take(places.tolist())
        images = FolderImages(self._root, files, image_size=self._image_size, on_error=self._on_error)
        images.labels = labels
        return images

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def files(self) -> Files:
        """The images' paths, relative to the folder, and classes."""
        return self._files

    def path(self, index: int) -> Path:
        """Return the path of an image."""
        return self._root / self._files.path(index)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """See `Images.read`.

        Raises:
            ImageError: An image cannot be read, and such images are not to be left out.
            ReadError: As in `decode`.
        """
        size = self._image_size
        images_bchw = np.empty((len(indices), 3, size, size), np.uint8)
        positions: list[int] = []
        for position, index in enumerate(indices.tolist()):
            try:
                images_bchw[len(positions)] = decode(self.path(index), size).transpose(2, 0, 1)
            except ImageError as error:
                if self._on_error != "skip":
                    raise
                if not self._warned[index]:
                    self._warned[index] = True
                    log.warning("left out: %s", error)
            else:
                positions.append(position)
        return torch.from_numpy(images_bchw[: len(positions)]), torch.tensor(positions, dtype=torch.int64)


def split(cfg: "Folder", listing: Listing | None = None) -> Listing:
    """List the files under `data.root` with all splits; an empty split is None.

    A split without a folder of its own is taken from the training images, stratified: first the test images, then the
    validation images, so that `val_size` never changes which images are test images.

    Args:
        cfg: The configuration.
        listing: The listing of the folder, if there is one already.

    Raises:
        UsageError: As in `scan`, or the sizes leave a class without training images.
        RunError: As in `scan`.
    """
    listing = listing or scan(cfg.root)
    train, val, test = listing.train, listing.val, listing.test
    total = len(train)
    if test is None:
        out = drawn(cfg, "test", train.labels_n, total, test_seed=TEST_SEED, val_seed=VAL_SEED)
        train, test = _parted(train, *out)
    if val is not None:
        cfg.refuse_own_split(f"{shown(listing.root)} has one of its own, {listing.folders.get('val')}/")
    else:
        out = drawn(cfg, "val", train.labels_n, total, test_seed=TEST_SEED, val_seed=VAL_SEED)
        train, val = _parted(train, *out)
    return dataclasses.replace(listing, train=train, val=val if len(val) else None, test=test if len(test) else None)


def load(cfg: "Folder", listing: Listing | None = None) -> Source:
    """Load the images under `data.root`, split as `split` does.

    Mean and standard deviation come from 2 000 training images, evenly spaced over the classes (from all if there are
    fewer).

    Raises:
        UsageError: As in `split`.
        RunError: As in `split`.
        ReadError: One of these 2 000 images cannot be read.
    """
    listing = split(cfg, listing)
    root = shown(listing.root)
    log.info("%s: %s", root, summary(listing))
    if listing.ignored:
        ignored = ", ".join(shown(name) for name in listing.ignored)
        log.warning("%s: ignored: %s; only train, val and test are read", root, ignored)
    if listing.left:
        log.warning("%s: passed over, as systems leave such folders behind: %s", root, _listed(listing.left))
    if listing.inner:
        log.warning("%s: %s", root, _nested(listing))
    if listing.others.count:
        log.warning("%s: %s", root, _not_read(listing.others))
    images = partial(FolderImages, listing.root, image_size=cfg.image_size, on_error=cfg.on_error)
    train_images = images(listing.train)
    mean, std = channel_statistics(train_images, at_most=STATISTICS_IMAGES)
    return Source(
        name=cfg.name,
        classes=listing.classes,
        image_size=cfg.image_size,
        channels=3,
        train=train_images,
        val=images(listing.val) if listing.val else None,
        open_test=partial(images, listing.test) if listing.test else _no_test,
        mean=mean,
        std=std,
    )


def summary(listing: Listing) -> str:
    """Return the number of classes, the number of images in each split, and where the splits come from, in words."""
    sizes = " + ".join(str(len(files or ())) for files in (listing.train, listing.val, listing.test))
    places = " + ".join(_source_of(listing, name) for name in layout.SPLITS)
    return f"{len(listing.classes)} classes, {sizes} images ({places})"


def _source_of(listing: Listing, name: str) -> str:
    if not listing.folders:
        return name
    folder = listing.folders.get(name)
    if folder is None:
        return f"{name}: held out"
    return f"{name}/" if folder == name else f"{name}: {shown(folder)}/"


def _nested(listing: Listing) -> str:
    """Return the advice for class folders that all contain the same sub-folders."""
    both = f"the folders {_listed(listing.classes)} are taken for the classes, and each holds {_listed(listing.inner)}"
    if all(layout.split_of(name) for name in listing.inner):
        return (
            f"{both}, whose images are pooled and split anew; to keep these splits, put their folders above the classes"
        )
    return (
        f"{both}; if those are the classes, name one of the folders as data.root, or name them"
        f" {', '.join(layout.SPLITS)}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_LISTED])) + (
        f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    )


def _not_read(others: Others) -> str:
    names = ", ".join(map(repr, others.names)) + (", ..." if others.count > len(others.names) else "")
    return f"{others.count} file{'s' if others.count > 1 else ''} of other kinds not read: {names}"


def _no_test() -> None:
    """Return no test images, for data.test_size=0."""


def _parted(files: Files, kept: Indices, taken: Indices) -> tuple[Files, Files]:
    """Return the files that stay, and the files that are taken."""
    return files.take(kept), files.take(taken)
