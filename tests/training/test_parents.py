"""Test what a run may continue from: the images that were trained on, and states that fit the new settings."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from runs import state, tree

from imgrec import launch
from imgrec.errors import RunError, UsageError

MORE = ["trainer.max_epochs=2"]


@pytest.fixture
def photos(tiny: list[str], tiny_images: Path, workplace: Path) -> tuple[list[str], Path]:
    """The tiny run over images of its own, and their folder."""
    root = workplace / "photos"
    shutil.copytree(tiny_images, root)
    return [*tiny, f"data.root={root}", "trainer.max_epochs=1"], root


def going_on(base: Any, *words: str, may: str = "") -> Any:
    """A run of two epochs that goes on from `base`, a finished run of one."""
    allowed = ",".join(filter(None, ["trainer.max_epochs", may]))
    return launch.train([f"resume={base.folder}", *MORE, *words, f"resume_override=[{allowed}]"])


@pytest.mark.long
def test_a_run_over_images_that_have_changed_is_refused_before_anything_is_written(
    photos: tuple[list[str], Path], workplace: Path
) -> None:
    """With a new split, many of the images that were trained on would be test images."""
    words, root = photos
    base = launch.train(words)
    Image.new("RGB", (8, 8)).save(root / "row" / "000.png")
    before = tree(workplace)
    for more in ([], [*MORE, "resume_override=[trainer.max_epochs]"]):
        with pytest.raises(UsageError, match=r"was trained on, and their names or|nothing is left to train"):
            launch.train([f"resume={base.folder}", *more])
    with pytest.raises(UsageError, match=r"data\.root must hold the images that .* was trained on, and their names or"):
        going_on(base)
    assert tree(workplace) == before
    (root / "row" / "000.png").unlink()
    assert going_on(base).record.status == "finished"


@pytest.mark.long
def test_a_run_that_may_take_other_images_does_not_compare_with_the_best_on_those_before(
    photos: tuple[list[str], Path],
) -> None:
    words, root = photos
    base = launch.train(words)
    Image.new("RGB", (8, 8)).save(root / "row" / "000.png")
    other = going_on(base, may="data.root")
    assert state(other.folder)["callbacks"]["Saver"]["best"]["epoch"] == 2


@pytest.mark.long
def test_images_that_only_lie_elsewhere_are_the_same(photos: tuple[list[str], Path]) -> None:
    words, root = photos
    base = launch.train(words)
    root.rename(root.with_name("moved"))
    assert going_on(base, f"data.root={root.with_name('moved')}").record.status == "finished"


def test_rmsprop_cannot_begin_with_momentum_on_the_way(tiny: list[str], workplace: Path) -> None:
    base = launch.train([*tiny, "optimizer=rmsprop", "trainer.max_epochs=1"])
    before = tree(workplace)
    with pytest.raises(UsageError, match=r"cannot change optimizer\.momentum 0\.0 -> 0\.9"):
        going_on(base, "optimizer.momentum=0.9", may="optimizer.momentum")
    assert tree(workplace) == before


@pytest.mark.long
def test_a_run_without_a_whole_checkpoint_starts_over_when_they_are_removed(tiny: list[str], workplace: Path) -> None:
    words = [*tiny, "trainer.max_epochs=2", "hydra.run.dir=run"]
    straight = launch.train([*words, "hydra.run.dir=straight"])
    launch.train(words)
    record = workplace / "run/record.json"
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    checkpoints = workplace / "run/checkpoints"
    for path in checkpoints.glob("*.ckpt"):
        path.unlink()  # the generations may be one file
        path.write_bytes(b"damaged")
    with pytest.raises(
        RunError, match=r"holds no whole checkpoint; restore one, or remove .*run/checkpoints to start over"
    ):
        launch.train(words)
    shutil.rmtree(checkpoints)
    again = launch.train(words)
    assert again.record.weights["last"] == straight.record.weights["last"]
    assert again.record.status == "finished"
