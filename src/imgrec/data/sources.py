"""From a data config to its source."""

import dataclasses
from collections.abc import Callable

from imgrec.config.data import Data
from imgrec.data.scan import Listing
from imgrec.data.source import Source

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
        if cfg.streams:
            return load(cfg, listing)
        key = _own_settings(cfg)
        if self._source is None or key != self._key:
            self._key = self._source = None  # before the next one is read: two need not fit into memory
            self._source, self._key = load(cfg, listing), key
        return self._source


def load(cfg: Data, listing: Listing | None = None) -> Source:
    """Load the data that `cfg` describes.

    listing: of a folder, where it has been listed already. Raises what the data set itself refuses.
    """
    return cfg.load(listing)


def _own_settings(cfg: Data) -> tuple[tuple[str, str], ...]:
    """The name and every setting of one data set alone, such as the split: batches and workers change no image."""
    shared = {field.name for field in dataclasses.fields(Data)} - {"name"}
    names = [field.name for field in dataclasses.fields(cfg) if field.name not in shared]
    return tuple((name, repr(getattr(cfg, name))) for name in names)
