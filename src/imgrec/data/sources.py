"""Load the data set that a configuration describes."""

import dataclasses
from collections.abc import Callable

import torch

from imgrec.config.data import Data
from imgrec.data import choose
from imgrec.data.scan import Listing
from imgrec.data.source import Source, taken

_CHOOSING = {"subset", "subset_seed", "imbalance", "label_noise", "noise_kind", "noise_seed"}

Load = Callable[[Data, Listing | None], Source]
"""Loads the data that a configuration describes, as `load` does."""


class Kept:
    """Loads as `load`, and returns images in memory again if the same ones are requested.

    It serves several runs of one process on the same data set. Images never change once they are loaded. A folder's
    images are read from disk, and are not stored.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[str, str], ...] | None = None
        self._source: Source | None = None

    def load(self, cfg: Data, listing: Listing | None = None) -> Source:
        """See `load`."""
        if cfg.streams:
            return load(cfg, listing)
        key = _own_settings(cfg)
        if self._source is None or key != self._key:
            self._key = self._source = None  # freed before the next one is read, as two may not fit into memory
            self._source, self._key = load(cfg, listing), key
        return self._source


def load(cfg: Data, listing: Listing | None = None) -> Source:
    """Load the data that `cfg` describes, with the training images and labels that it asks for.

    Mean and standard deviation stay those of all training images.

    Args:
        cfg: The configuration.
        listing: The listing of a folder, if there is one already.

    Raises:
        UsageError: The data set refuses the configuration, or a class would keep no training image.
        RunError: The data cannot be read.
    """
    source = cfg.load(listing)
    if not choose.applies(cfg):
        return source
    choice = choose.choose(cfg, source.train.labels.numpy(), len(source.classes))
    train = taken(source.train, torch.from_numpy(choice.places_m), torch.from_numpy(choice.labels_m))
    return dataclasses.replace(source, train=train, changed_labels=choice.changed)


def _own_settings(cfg: Data) -> tuple[tuple[str, str], ...]:
    """Return the data set's name, the settings that only it has, such as the split, and those that choose its images.

    Other settings that every data set has, such as batch size and workers, change no image.
    """
    shared = {field.name for field in dataclasses.fields(Data)} - {"name", *_CHOOSING}
    names = [field.name for field in dataclasses.fields(cfg) if field.name not in shared]
    return tuple((name, repr(getattr(cfg, name))) for name in names)
