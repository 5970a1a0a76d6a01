"""Choose the images that `imgrec evaluate` measures: the run's own split, or others that it was not trained on."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgrec import assembly, run_lookup, runfolder
from imgrec.config.root import Config, elsewhere
from imgrec.data import trained as trained_images
from imgrec.data.inventory import Inventory
from imgrec.data.source import Images
from imgrec.data.trained import Briefs
from imgrec.errors import RunError, UsageError, shown
from imgrec.rebuilding import Trained
from imgrec.runfolder import CHECKPOINTS


def _without_download(run: Path, config: Config) -> Config:
    """Return the configuration with the images that are present, so that nothing is downloaded.

    Raises:
        RunError: The images are missing.
    """
    try:
        return dataclasses.replace(config, data=config.data.at_hand())
    except RunError as error:
        raise RunError(f"{run} needs its images: {error}") from error


def _is_root_of(path: str, config: Config) -> bool:
    """Return True if the path is the folder of the run's own images."""
    if not config.data.named_by_root:
        return False
    named, own = (Path(root).expanduser().resolve() for root in (path, config.data.place or ""))
    return named == own


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The images to measure.

    Attributes:
        images: The images.
        fingerprint: The fingerprint of the data that contain them.
        what: The images in words.
        settings: Other settings that distinguish this measurement from others of the same data.
        remarks: Warnings that concern the scores.
        train: The run's own training images; None if other images are measured.
    """

    images: Images
    fingerprint: str
    what: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)
    train: Images | None = None


def choose(run: Path, trained: Trained, split: str, data_root: str | None, allow_trained: bool) -> Chosen:
    """Return the images to measure."""
    config = trained.config
    if data_root is not None:
        config = elsewhere(config, data_root)
    elif (record := runfolder.look(run) if run.is_dir() else None) is not None:
        config = run_lookup.settled(run, record, config)
    seen = runfolder.images(run, config)
    known = seen.known_as(trained.fingerprint)
    if known is None and (data_root is None or _is_root_of(data_root, trained.config)):
        raise RunError(
            "the images must be those that the run was trained on, and names or contents have changed since: a split of"
            " them would mix training images in; restore them, or name other images with --data-root"
        )
    if known is None and seen.listing is not None:
        return _others(run, trained, config, seen, split, allow_trained)
    if known is None and seen.file is not None:
        raise UsageError(
            f"--data-root={shown(data_root or '')} must hold the images that the run was trained on, as data="
            f"{config.data.name} cannot tell others from them, and contains others; name the run's own, or measure a"
            " folder of images with a run of data=folder"
        )
    if allow_trained:
        raise UsageError("--allow-trained is of other images than the run's own, which are split; leave it out")
    by_sizes = known is not None and not known.by_contents
    remarks = [run_lookup.unknown_contents(run)] if by_sizes else []
    alike = by_sizes and data_root is not None and not _is_root_of(data_root, trained.config)
    fingerprint = known.fingerprint if known is not None and not alike else seen.fingerprint  # alike: not the run's
    seen = known or seen
    source = assembly.source(_without_download(run, config), seen.listing)
    images = source.val if split == "val" else source.open_test()
    if images is None:
        raise RunError(f"the data have no {split} images ({split}_size=0); choose another --split")
    what = f"of the names and sizes of the run's own {split} images" if alike else f"the run's own {split} images"
    return Chosen(images=images, fingerprint=fingerprint, what=what, remarks=remarks, train=source.train)


def _others(run: Path, trained: Trained, config: Config, seen: Inventory, split: str, allow_trained: bool) -> Chosen:
    """Return the images of another folder than the run's: all of them, or the split that the folder has.

    Raises:
        UsageError: The classes are not the network's, the folder has no such split, or the run was trained on some of
            the images and this is not allowed.
    """
    listing = seen.listing
    assert listing is not None, "of a folder"
    root = shown(listing.root)
    _check_classes(root, trained.classes, listing.classes)
    files, part = (listing.test if split == "test" else listing.val), listing.folders.get(split)
    if not listing.folders and split == "test":
        files, part = listing.train, "all"
    if files is None or part is None:
        inner = [shlex.quote(str(listing.root / name)) for name in listing.folders.values()]
        raise UsageError(
            f"--split={split} must be a split of --data-root={root}, and it has"
            + (
                f" {', '.join(listing.folders.values())}; name one of them, such as --data-root {inner[-1]}"
                if inner
                else " none; leave --split out to measure all of its images"
            )
        )
    what = f"all of {root}" if part == "all" else f"{part}/ of {root}"
    settings: dict[str, Any] = {"part": part}
    remarks: list[str] = []
    before = _trained_images(run, trained)
    if before is None:
        remarks.append(
            f"{run}: which images it was trained on was not noted, so some of the {len(files)} may be among them"
        )
    else:
        again_n = np.isin(seen.briefs(files), before)
        count = int(again_n.sum())
        if count and not allow_trained:
            first = shown(files.path(int(again_n.argmax())))
            raise UsageError(
                f"--data-root={root} must hold images that {run} was not trained on, and {count} of {len(files)} are"
                f" among its training images (such as {first}); leave them out, or measure all the same with"
                " --allow-trained"
            )
        if count:
            what += f", {count} of them trained on"
            settings["trained_on"] = count
    return Chosen(
        images=assembly.images(config, listing, files),
        fingerprint=seen.fingerprint,
        what=what,
        settings=settings,
        remarks=remarks,
    )


def _check_classes(root: str, own: Sequence[str], found: Sequence[str]) -> None:
    def some(names: Sequence[str]) -> str:
        return ", ".join(map(shown, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    lacking = [name for name in own if name not in found]
    surplus = [name for name in found if name not in own]
    differences = [f"lacks {some(lacking)}"] * bool(lacking) + [f"has {some(surplus)} besides"] * bool(surplus)
    if differences:
        raise UsageError(
            f"--data-root={root} must have the network's {len(own)} classes as folders, and"
            f" {' and '.join(differences)}; rename or move the folders, or name other images"
        )


def _trained_images(run: Path, trained: Trained) -> Briefs | None:
    """Return the images that the network was trained on; None if they were not stored."""
    if run.is_dir():
        return trained_images.read(run, trained.run_id)
    own = run.resolve().parent
    return trained_images.read(own.parent, trained.run_id) if own.name == CHECKPOINTS else None
