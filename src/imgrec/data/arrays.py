"""Load arrays of images out of a .npz file into memory."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.data import arrays_file as files
from imgrec.data.held_out import memory_images
from imgrec.data.source import MemoryImages, Source, channel_statistics
from imgrec.errors import shown

if TYPE_CHECKING:
    from imgrec.components.data.arrays import Arrays

log = logging.getLogger(__name__)


def load(cfg: "Arrays") -> Source:
    """Load the arrays in `data.root`, split as `arrays_file.labels` does.

    Mean and standard deviation are those of the training images. Test images are read by `Source.open_test` only.

    Raises:
        UsageError: As in `arrays_file.labels` and `arrays_file.images`.
        RunError: As in `arrays_file.labels`.
    """
    path = Path(cfg.root).expanduser()
    found = files.labels(cfg)
    log.info(
        "%s: %d classes, %s images",
        shown(path),
        len(found.classes),
        " + ".join(str(size) for size in files.sizes(found)),
    )
    parts = found.parts
    train = _read(path, parts["train"])
    mean, std = channel_statistics(train)
    return Source(
        name=cfg.name,
        classes=found.classes,
        image_size=cfg.image_size,
        channels=train.images_nchw.shape[1],
        train=train,
        val=_read(path, parts["val"]) if "val" in parts else None,
        open_test=partial(_read, path, parts["test"]) if "test" in parts else _no_test,
        mean=mean,
        std=std,
    )


def _read(path: Path, part: files.Part) -> MemoryImages:
    return memory_images(files.images(path, part), part.labels_n)


def _no_test() -> None:
    """Return no test images, for data.test_size=0."""
