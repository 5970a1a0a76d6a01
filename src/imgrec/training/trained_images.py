"""Note which images of a folder a run trains on, and tell where it is scored with some of them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from imgrec import runfolder
from imgrec.config.held_out import HeldOutData
from imgrec.config.root import Config
from imgrec.data import choose, trained
from imgrec.data.folder import FolderImages
from imgrec.data.inventory import Inventory
from imgrec.data.source import Source
from imgrec.data.trained import Briefs
from imgrec.errors import shown
from imgrec.records import Record

log = logging.getLogger(__name__)


def counted(seen: Inventory, before: Record | None) -> dict[str, Any]:
    """Return the value of `Record.images`. Counts from the run's beginning stay."""
    found = {"sizes": seen.older.fingerprint} if seen.older is not None else {}
    counted = before.images.get("trained_on") if before is not None else None
    return {**found, **({"trained_on": counted} if counted else {})}


def tell_choice(record: Record, config: Config, source: Source) -> None:
    """Tell which training images the run has, where not all with their own labels, in the log and the record."""
    if isinstance(config.data, HeldOutData) and config.data.folds:
        log.info(
            "fold %d of %d (from 0 on) validates, %d images; several values of data.fold train a run each",
            config.data.fold,
            config.data.folds,
            len(source.val or ()),
        )
    if not choose.applies(config.data):
        return
    count = len(source.train)
    sizes_k = source.train.labels.bincount(minlength=len(source.classes))
    told = f"{count} training images, {int(sizes_k.min())} to {int(sizes_k.max())} a class"
    if source.changed_labels:
        told += f", {source.changed_labels} of them with a wrong label"
        record.images["changed_labels"] = source.changed_labels
    log.info("%s", told)


def note(record: Record, config: Config, folder: Path, source: Source, seen: Inventory, parent: Path | None) -> None:
    """Store which images of a folder the run trains on, including those of the run that it continues.

    If that run stored none, this one stores none either, as the list would look complete.
    """
    images = source.train
    if not isinstance(images, FolderImages):
        return
    briefs = seen.briefs(images.files)
    if parent is not None:
        before = trained.read(parent, runfolder.record_of(parent).run_id)
        if before is None:
            return
        if seen.known_as(runfolder.record_of(parent).fingerprint) is None:
            _count_trained_on(record, config, source, seen, parent, before)
        briefs = np.concatenate([briefs, before])
    trained.write(folder, record.run_id, briefs)


def _count_trained_on(
    record: Record, config: Config, source: Source, seen: Inventory, parent: Path, before: Briefs
) -> None:
    """Count the validation and test images of a new split that the parent was trained on, in the record and the log."""
    counts = {}
    for split, images in (("val", source.val), ("test", source.open_test() if config.test else None)):
        if isinstance(images, FolderImages) and (count := int(np.isin(seen.briefs(images.files), before).sum())):
            counts[split] = count
            log.warning(
                "%d of %d %s images are among those that %s was trained on: scores of them are too good",
                count,
                len(images),
                split,
                shown(parent),
            )
    if counts:
        record.images["trained_on"] = counts
