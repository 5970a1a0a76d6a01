"""Test which folders are splits, which are classes, and which are left behind by operating systems."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec.components.data.folder import Folder
from imgrec.data.inventory import take
from imgrec.data.scan import Listing, scan
from imgrec.data.sources import load
from imgrec.errors import RunError

Draw = Callable[..., list[Path]]


@pytest.fixture
def laid(tmp_path: Path, draw_images: Draw) -> Callable[..., Listing]:
    """The listing of a folder in which each of these folders holds four images."""

    def lay(*folders: str) -> Listing:
        for name in folders:
            draw_images(tmp_path / "photos" / name, 4)
        return scan(str(tmp_path / "photos"))

    return lay


def numbers(listing: Listing) -> tuple[int, int, int]:
    return len(listing.train), len(listing.val or ()), len(listing.test or ())


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train", "Valid", ""),
        ("train", "validation", "testing"),
        ("Train", "dev", "Test"),
        ("training", "", ""),
    ],
)
def test_splits_have_their_usual_names_in_any_case(
    laid: Callable[..., Listing], train: str, val: str, test: str
) -> None:
    listing = laid(*(f"{split}/{name}" for split in filter(None, (train, val, test)) for name in ("ant", "bee")))
    assert listing.classes == ("ant", "bee")
    assert numbers(listing) == (8, 8 * bool(val), 8 * bool(test))
    assert listing.folders == {k: v for k, v in {"train": train, "val": val, "test": test}.items() if v}
    assert listing.ignored == ()


@pytest.mark.parametrize(
    "folders",
    [
        ("Training/x", "Resting/y", "Racing/z"),  # classes of what people do
        ("dev/x", "ops/y"),
        ("testing/x", "cooking/x"),
        ("Train/", "Plane/"),
    ],
)
def test_a_class_may_have_the_name_of_a_split(laid: Callable[..., Listing], folders: tuple[str, ...]) -> None:
    listing = laid(*folders)
    assert listing.folders == {}
    assert listing.classes == tuple(sorted(name.split("/")[0] for name in folders))


def test_the_plain_name_comes_first_and_the_other_is_ignored(laid: Callable[..., Listing]) -> None:
    listing = laid("train/a", "train/b", "Training/a", "val/a", "valid/a", "notes/x")
    assert listing.folders == {"train": "train", "val": "val"}
    assert listing.ignored == ("Training", "notes", "valid")


def test_two_folders_of_one_split_are_refused(laid: Callable[..., Listing]) -> None:
    with pytest.raises(RunError, match="must hold one folder of test images, got Test, testing; name the right one"):
        laid("Train/a", "Train/b", "Test/a", "testing/b")


def test_splits_without_a_training_split_are_refused(laid: Callable[..., Listing]) -> None:
    with pytest.raises(RunError, match="a data set with Validation/ must have train/ with class folders too"):
        laid("Validation/a", "Testing/a")


LEFT = ("__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle", "__pycache__")


def test_what_systems_leave_is_no_class_and_no_image(
    laid: Callable[..., Listing], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = laid("ant", "bee")
    known = take(Folder(root=str(tmp_path / "photos")))
    listing = laid(*LEFT, "ant/@eaDir/00.png", ".ipynb_checkpoints")
    assert (listing.classes, list(listing.train)) == (before.classes, list(before.train))
    assert listing.left == tuple(sorted((*LEFT, "ant/@eaDir")))
    assert take(Folder(root=str(tmp_path / "photos"))).fingerprint == known.fingerprint
    load(Folder(root=str(tmp_path / "photos"), image_size=8, val_size=2, test_size=2))
    assert "photos: passed over, as systems leave such folders behind: #recycle, $RECYCLE.BIN, @eaDir, " in caplog.text


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (
            ("2019/cat", "2019/dog", "2020/cat", "2020/dog"),
            "the folders 2019, 2020 are taken for the classes, and each holds cat, dog; if those are the classes,"
            " name one of the folders as data.root, or name them train, val, test",
        ),
        (
            ("Training_set/cat", "Training_set/dog", "Test_set/cat", "Test_set/dog"),
            "the folders Test_set, Training_set are taken for the classes, and each holds cat, dog;",
        ),
        (
            ("cat/train", "cat/test", "dog/train", "dog/test"),
            "the folders cat, dog are taken for the classes, and each holds test, train, whose images are pooled"
            " and split anew;",
        ),
        (("cat/images", "dog/images"), ""),  # as Tiny ImageNet has it
        (("cat/a", "cat/b", "dog/a"), ""),
        (("cat/a", "cat/b", "dog/a", "dog/b", "dog"), ""),
        (
            ("train/cat/a", "train/cat/b", "train/dog/a", "train/dog/b"),
            "the folders cat, dog are taken for the classes",
        ),
    ],
)
def test_folders_that_all_hold_the_same_folders_are_warned_about(
    laid: Callable[..., Listing], tmp_path: Path, caplog: pytest.LogCaptureFixture, folders: tuple[str, ...], said: str
) -> None:
    laid(*folders)
    load(Folder(root=str(tmp_path / "photos"), image_size=8, val_size=2, test_size=2))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == bool(said)
    assert said in "".join(warnings)


@pytest.mark.parametrize(
    ("folders", "line"),
    [
        (("ant", "bee", "cow"), "3 classes, 8 + 2 + 2 images (train + val + test)"),
        (("train/ant", "train/bee", "test/ant"), "2 classes, 6 + 2 + 4 images (train/ + val: held out + test/)"),
        (
            ("Training/ant", "Training/bee", "Testing/ant", "valid/bee"),
            "2 classes, 8 + 4 + 4 images (train: Training/ + val: valid/ + test: Testing/)",
        ),
    ],
)
def test_the_first_line_says_what_was_found(
    laid: Callable[..., Listing], tmp_path: Path, caplog: pytest.LogCaptureFixture, folders: tuple[str, ...], line: str
) -> None:
    laid(*folders)
    with caplog.at_level(logging.INFO, logger="imgrec"):
        load(Folder(root=str(tmp_path / "photos"), image_size=8, val_size=2, test_size=2))
    assert caplog.records[0].getMessage() == f"{tmp_path / 'photos'}: {line}"


def test_one_folder_around_the_classes_is_named(laid: Callable[..., Listing], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"got 1 .archive.; add another class, or choose {tmp_path}/photos/archive$"):
        laid("archive/ant", "archive/bee")
    assert scan(f"{tmp_path}/photos/archive").classes == ("ant", "bee")


def test_older_records_know_a_folder_as_it_was_read_then(laid: Callable[..., Listing], tmp_path: Path) -> None:
    """Older versions ignored a validation folder. A folder in which they misread the classes has no older form."""
    laid("train/ant", "train/bee", "valid/ant")
    seen = take(Folder(root=str(tmp_path / "photos")))
    assert seen.older is not None
    assert seen.older.listing is not None
    assert numbers(seen.older.listing) == (8, 0, 0)
    assert seen.known_as(seen.older.fingerprint) is seen.older
    (tmp_path / "photos" / "train").rename(tmp_path / "photos" / "Train")
    misread = take(Folder(root=str(tmp_path / "photos")))
    assert misread.by_contents
    assert misread.older is None


def test_a_folder_that_holds_runs_is_no_class(laid: Callable[..., Listing], tmp_path: Path) -> None:
    laid("ant", "bee")
    run = tmp_path / "photos" / "outputs" / "default" / "seed-0-00000000"
    run.mkdir(parents=True)
    for name in ("record.json", "config.yaml"):
        (run / name).touch()
    with pytest.raises(RunError, match=r"outputs: a class folder must hold images, got a run of imgrec in .*; move"):
        laid()
    (tmp_path / "photos" / "outputs").rename(tmp_path / "outputs")
    assert laid().classes == ("ant", "bee")
