"""Test how a data configuration becomes a source, and what the runs of one process share."""

from pathlib import Path

from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.data import sources


def test_images_in_memory_are_read_once_while_they_are_kept() -> None:
    kept = sources.Kept()
    first = kept.load(Digits())
    assert kept.load(Digits(batch_size=7)) is first, "how images are batched does not change them"
    other = kept.load(Digits(val_size=100))
    assert other is not first
    assert other.val is not None
    assert len(other.val) == 100
    assert kept.load(Digits(val_size=100, split_seed=1)) is not other, "another split"
    assert kept.load(Digits()) is not first, "one data set is kept, not every one"
    assert sources.load(Digits()) is not sources.load(Digits())


def test_a_folder_is_read_anew_for_every_run(image_folder: Path) -> None:
    config = Folder(root=str(image_folder), image_size=8)
    kept = sources.Kept()
    assert kept.load(config) is not kept.load(config)
