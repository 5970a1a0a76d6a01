"""From a data config to its source: the only place that knows them all."""

import dataclasses
from collections.abc import Callable

from imgrec.config.data import Cifar10, Data, Digits, Folder
from imgrec.data.files import Files
from imgrec.data.scan import Listing
from imgrec.data.source import Images, Source
from imgrec.errors import UsageError

Load = Callable[[Data, Listing | None], Source]
"""Loads the data that a configuration describes; as `load`."""


class Kept:
    """Loads as `load`, and hands images in memory out again where the same ones are asked for once more.

    For the runs of one process over the same data set. Images never change once they are loaded. A folder's images
    stream from disk, and are not kept.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[str, str], ...] | None = None
        self._source: Source | None = None

    def load(self, cfg: Data, listing: Listing | None = None) -> Source:
        """As `load`."""
        if isinstance(cfg, Folder):
            return load(cfg, listing)
        key = _own_settings(cfg)
        if self._source is None or key != self._key:
            self._key = self._source = None  # before the next one is read: two need not fit into memory
            self._source, self._key = load(cfg, listing), key
        return self._source


def check(cfg: Data, listing: Listing | None = None) -> bool:
    """Whether there will be validation images. No image is opened.

    listing: of a folder, where it has been listed already.
    Raises UsageError or RunError for a folder that holds no such data set, or cannot be split so.
    """
    match cfg:
        case Folder():
            from imgrec.data import folder

            return len(folder.split(cfg, listing).val or ()) > 0
        case Cifar10() | Digits():
            return cfg.val_size > 0
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")


def training_images(cfg: Data, listing: Listing | None = None) -> int:
    """How many training images there will be. No image is opened. Raises as `check`."""
    match cfg:
        case Folder():
            from imgrec.data import folder

            return len(folder.split(cfg, listing).train)
        case Cifar10():
            return 50_000 - cfg.val_size
        case Digits():
            return 1437 - cfg.val_size
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")


def some(cfg: Folder, listing: Listing, files: Files) -> Images:
    """These images of a folder, as `cfg` has them read."""
    from imgrec.data import folder

    return folder.FolderImages(listing.root, files, image_size=cfg.image_size, on_error=cfg.on_error)


def load(cfg: Data, listing: Listing | None = None) -> Source:
    """Load the data that `cfg` describes.

    listing: of a folder, where it has been listed already.
    Raises UsageError for a config of no known source, and what the source itself refuses.
    """
    match cfg:  # each source is imported when it is wanted: scikit-learn alone costs a second
        case Cifar10():
            from imgrec.data import cifar10

            return cifar10.load(cfg)
        case Digits():
            from imgrec.data import digits

            return digits.load(cfg)
        case Folder():
            from imgrec.data import folder

            return folder.load(cfg, listing)
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")


def _own_settings(cfg: Data) -> tuple[tuple[str, str], ...]:
    """The name and every setting of one data set alone, such as the split: batches and workers change no image."""
    shared = {field.name for field in dataclasses.fields(Data)} - {"name"}
    names = [field.name for field in dataclasses.fields(cfg) if field.name not in shared]
    return tuple((name, repr(getattr(cfg, name))) for name in names)
