"""Load Tiny ImageNet (Le & Yang 2015, "Tiny ImageNet Visual Recognition Challenge") into memory."""

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgrec.data import archived_images
from imgrec.data import tiny_imagenet_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.source import MemoryImages, Source
from imgrec.errors import RunError

if TYPE_CHECKING:
    from imgrec.components.data.tiny_imagenet import TinyImageNet

SPLIT_SEED = 24  # seed of the validation split; constant, so that every run and every paper has the same one
_SIDE = 64
_TRAIN = re.compile(r".*/train/(n\d+)/images/[^/]+\.JPEG")
_TEST = re.compile(r".*/val/images/([^/]+\.JPEG)")
_LABELS = "/val/val_annotations.txt"


def load(cfg: "TinyImageNet") -> Source:
    """Load Tiny ImageNet with a class-balanced validation split.

    The labels of its test images are not published. So its folder `val` is the test set, as papers have it. These
    images are decoded by `Source.open_test` only.

    Raises:
        RunError: The archive is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    path = folder / files.ARCHIVE
    found = archived_images.contents(
        files.PUBLISHED, folder, files.ARCHIVE, lambda name: bool(_TRAIN.fullmatch(name)) or _is_words(name)
    )
    images = {name: match[1] for name in found if (match := _TRAIN.fullmatch(name))}
    numbers = sorted(set(images.values()))
    if len(numbers) != len(cfg.class_sizes):
        raise _not_official(path, f"{len(cfg.class_sizes)} classes in train", f"{len(numbers)}")
    rows = [line.split("\t") for name in found if _is_words(name) for line in found[name].decode().splitlines()]
    words = {row[0]: row[1].split(",")[0] for row in rows if len(row) == 2}
    count = Counter(words.values())
    order = {number: label for label, number in enumerate(numbers)}
    return held_out(
        cfg,
        archived_images.decoded(path, [(name, found[name]) for name in images], _SIDE),
        np.array([order[number] for number in images.values()], np.int64),
        # WordNet uses a word for several classes; the number then tells them apart
        classes=[words[number] if count[words.get(number, "")] == 1 else number for number in numbers],
        seed=SPLIT_SEED,
        open_test=partial(_open_test, folder, order),
    )


def _open_test(folder: Path, order: dict[str, int]) -> MemoryImages:
    path = folder / files.ARCHIVE
    found = archived_images.contents(
        files.PUBLISHED, folder, files.ARCHIVE, lambda name: bool(_TEST.fullmatch(name)) or name.endswith(_LABELS)
    )
    lines = [line.split("\t") for name in found if name.endswith(_LABELS) for line in found[name].decode().splitlines()]
    classes = {line[0]: line[1] for line in lines if len(line) > 1}
    images = {name: match[1] for name in found if (match := _TEST.fullmatch(name))}
    if not images or not all(classes.get(image) in order for image in images.values()):
        raise _not_official(path, f"a class of train for each image in {_LABELS.lstrip('/')}", "others, or none")
    pixels_nchw = archived_images.decoded(path, [(name, found[name]) for name in images], _SIDE)
    return memory_images(pixels_nchw, np.array([order[classes[image]] for image in images.values()], np.int64))


def _is_words(name: str) -> bool:
    """Return True for the file that names the classes."""
    return name.endswith("/words.txt")


def _not_official(path: Path, rule: str, got: str) -> RunError:
    return RunError(f"{path}: must hold {rule}, got {got}; restore the official file")
