"""Test folders of images: which images are found, how they are split, and which folders are refused."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgrec.components.data.folder import Folder
from imgrec.config.augment import Augment
from imgrec.data import workers
from imgrec.data.folder import FolderImages
from imgrec.data.loader import eval_loader, train_loader
from imgrec.data.scan import EXTENSIONS, scan
from imgrec.data.source import ReadError
from imgrec.data.sources import load
from imgrec.errors import RunError, UsageError

Draw = Callable[..., list[Path]]


@pytest.fixture
def root(tmp_path: Path, draw_images: Draw) -> Path:
    """Two classes of ten images each."""
    draw_images(tmp_path / "images" / "zebra", 10)
    draw_images(tmp_path / "images" / "ant", 10)
    return tmp_path / "images"


def config(root: Path, **changes: object) -> Folder:
    return Folder(root=str(root), **{"image_size": 8, **changes})


def names(images: object) -> list[str]:
    assert isinstance(images, FolderImages)
    return [images.path(index).as_posix() for index in range(len(images))]


# ---- what is found


def test_direct_classes_are_split_in_three(root: Path) -> None:
    source = load(config(root))
    test = source.open_test()
    assert source.classes == ("ant", "zebra")
    assert (source.image_size, source.channels, source.name) == (8, 3, "folder")
    assert (len(source.train), len(source.val), len(test)) == (16, 2, 2)
    assert sorted(names(source.train) + names(source.val) + names(test)) == sorted(
        path.as_posix() for path in root.rglob("*.png")
    )
    for part in (source.train, source.val, test):
        assert part.labels.float().mean() == 0.5
        for index, name in enumerate(names(part)):
            assert source.classes[part.labels[index]] in name


def test_sizes_count_from_one(root: Path) -> None:
    source = load(config(root, val_size=4, test_size=6))
    assert (len(source.train), len(source.val), len(source.open_test())) == (10, 4, 6)


def test_val_size_moves_no_test_image(root: Path) -> None:
    one, two = load(config(root, val_size=0.1)), load(config(root, val_size=6))
    assert names(one.open_test()) == names(two.open_test())


def test_without_validation_and_test(root: Path) -> None:
    source = load(config(root, val_size=0, test_size=0))
    assert len(source.train) == 20
    assert source.val is None
    assert source.open_test() is None


def test_given_splits_are_kept(tmp_path: Path, draw_images: Draw) -> None:
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        draw_images(tmp_path / split / "a", count)
        draw_images(tmp_path / split / "b", count)
    draw_images(tmp_path / "test" / "b", 1)
    source = load(config(tmp_path))
    assert (len(source.train), len(source.val), len(source.open_test())) == (12, 4, 6)


def test_a_missing_split_is_taken_from_train(tmp_path: Path, draw_images: Draw) -> None:
    for split, count in (("train", 10), ("test", 3)):
        draw_images(tmp_path / split / "a", count)
        draw_images(tmp_path / split / "b", count)
    source = load(config(tmp_path))
    assert (len(source.train), len(source.val), len(source.open_test())) == (18, 2, 6)
    assert all("/train/" in name for name in names(source.val))


def test_a_split_may_lack_a_class(tmp_path: Path, draw_images: Draw) -> None:
    for folder, count in (("train/a", 4), ("train/b", 4), ("val/b", 2)):
        draw_images(tmp_path / folder, count)
    assert load(config(tmp_path, test_size=0)).val.labels.tolist() == [1, 1]


def test_a_class_may_be_called_train(tmp_path: Path, draw_images: Draw) -> None:
    draw_images(tmp_path / "train", 3)
    draw_images(tmp_path / "plane", 3)
    assert scan(str(tmp_path)).classes == ("plane", "train")


def test_other_folders_beside_the_splits_are_named(
    tmp_path: Path, draw_images: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("train/a", "train/b", "spare/a"):
        draw_images(tmp_path / folder, 4)
    load(config(tmp_path, val_size=2, test_size=0))
    assert f"{tmp_path}: ignored: spare; only train, val and test are read" in caplog.text


def test_extensions_in_any_case_at_any_depth(root: Path, draw_images: Draw) -> None:
    for suffix in EXTENSIONS:
        draw_images(root / "ant" / "deeper" / suffix, 1, suffix=suffix.upper())
    (root / "ant" / "notes.txt").write_text("no image")
    (root / "ant" / "._00.png").write_bytes(b"hidden")
    listing = scan(str(root))
    assert len(listing.train) == 20 + len(EXTENSIONS)
    source = load(config(root, val_size=0, test_size=0))
    images, positions = source.train.read(torch.arange(len(source.train)))
    assert len(positions) == len(listing.train)
    assert images.shape == (len(listing.train), 3, 8, 8)


def test_links_are_followed_once(root: Path, tmp_path: Path, draw_images: Draw) -> None:
    draw_images(tmp_path / "elsewhere", 2)
    (root / "ant" / "loop").symlink_to(root)
    (root / "ant" / "up").symlink_to(root / "ant")
    (root / "ant" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "ant" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = [path for path, label in scan(str(root)).train if label == 0]
    assert len([path for path in found if "/link/" in path]) == 2
    assert len([path for path in found if path.count("/") == 1]) == 10
    assert len(found) == len(set(found))


# ---- what is refused


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda p: None, UsageError, "data.root must be a folder of images, got '{root}', which is nothing there"),
        (lambda p: p.write_text(""), UsageError, "data.root must be a folder of images, got '{root}', which is a file"),
        (lambda p: p.mkdir(), RunError, "{root}: must hold one sub-folder a class, got none; sort the images"),
        (lambda p: (p / "a").mkdir(parents=True), RunError, "{root}: must hold at least 2 class folders, got 1 (a)"),
    ],
)
def test_refuses_what_is_no_data_set(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], sentence: str
) -> None:
    root = tmp_path / "root"
    make(root)
    with pytest.raises(error) as caught:
        load(config(root))
    assert str(caught.value).startswith(sentence.format(root=root))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_refuses_a_root_that_was_not_given() -> None:
    with pytest.raises(UsageError, match=r"data.root must be given for data=folder"):
        load(Folder())


def test_refuses_an_empty_class(root: Path) -> None:
    (root / "bee").mkdir()
    with pytest.raises(RunError) as caught:
        load(config(root))
    assert str(caught.value) == (
        f"{root / 'bee'}: a class folder must hold at least 1 image (jpg, jpeg, png, webp, bmp, tif, tiff), "
        "got an empty folder; add images or remove the folder"
    )


def test_refuses_a_class_of_other_files(root: Path) -> None:
    (root / "bee").mkdir()
    (root / "bee" / "a.gif").write_text("")
    with pytest.raises(
        RunError, match=r"bee: a class folder must hold at least 1 image .* got 1 files of other kinds;"
    ):
        load(config(root))


@pytest.mark.parametrize("split", ["val", "test"])
def test_refuses_a_split_without_train(tmp_path: Path, draw_images: Draw, split: str) -> None:
    draw_images(tmp_path / split / "a", 1)
    draw_images(tmp_path / "other", 1)
    with pytest.raises(RunError, match=f"with {split}/ must have train/ with class folders too, got other, "):
        load(config(tmp_path))


def test_refuses_a_folder_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if Path(path).name == "zebra":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(RunError, match="zebra: must be readable, got Permission denied; correct its permissions"):
        load(config(root))


def test_refuses_an_unknown_class(tmp_path: Path, draw_images: Draw) -> None:
    for folder in ("train/a", "train/b", "test/c"):
        draw_images(tmp_path / folder, 1)
    with pytest.raises(RunError, match=r"test/c: every class of test/ must be one of train/ \(a, b\), got 'c'; rename"):
        load(config(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"val_size": 30}, r"data.val_size must lie in \[0, 18\]"),
        ({"test_size": 20}, "data.test_size must leave at least 1 training image of every class, got 20 of 20"),
        ({"val_size": 0.01}, "data.val_size must hold out at least 1 of 20 images, got 0.01; use a larger share, or 0"),
    ],
)
def test_refuses_sizes_that_do_not_fit(root: Path, changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load(config(root, **changes))


# ---- what cannot be read


def broken(root: Path) -> Path:
    """One image of the class `ant` becomes a truncated JPEG."""
    path = root / "ant" / "03.jpg"
    (root / "ant" / "03.png").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:2000])
    return path


def test_a_truncated_jpeg_is_named_when_loading(root: Path) -> None:
    path = broken(root)
    with pytest.raises(RunError, match=rf"^'{path}': must be a whole image .* got: .*truncated") as caught:
        load(config(root, val_size=0, test_size=0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_worker_hands_the_same_sentence_over(root: Path, num_workers: int) -> None:
    files = scan(str(root)).train
    path = broken(root)
    files = [(name.replace("ant/03.png", "ant/03.jpg"), label) for name, label in files]
    images = FolderImages(root, files, image_size=8, on_error="raise")
    loader = eval_loader(images, batch_size=5, num_workers=num_workers)
    with pytest.raises(ReadError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"'{path}': must be a whole image")
    assert str(caught.value).endswith("with data.on_error=skip")
    assert "\n" not in str(caught.value)
    workers.end(loader)


def test_skip_leaves_it_out_and_says_so_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = broken(root)
    source = load(config(root, val_size=0, test_size=0, on_error="skip"))
    loader = train_loader(source.train, augment=Augment(name="none"), num_classes=2, batch_size=7, seed=0)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        assert sum(len(targets) for _, targets in loader) == 19
        assert len(loader) == 3
    assert sum(len(targets) for _, targets in eval_loader(source.train, batch_size=7)) == 19
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].getMessage().startswith(f"left out: '{path}': must be a whole image")


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_partner_that_is_skipped_leaves_the_image_as_it_is(root: Path, mix: str) -> None:
    for number in range(1, 10):
        (root / "zebra" / f"{number:02}.png").write_bytes(b"broken")
        (root / "ant" / f"{number:02}.png").write_bytes(b"broken")
    images = FolderImages(root, scan(str(root)).train, image_size=8, on_error="skip")
    plain = dict(zip((0, 10), images.read(torch.tensor([0, 10]))[0] / 255, strict=True))
    augment = Augment(name=mix, mix=mix)
    ((batch, targets),) = train_loader(images, augment=augment, num_classes=2, batch_size=20, seed=2)
    assert len(batch) == 2
    for image, target in zip(batch, targets, strict=True):
        assert target.max() == 1
        assert torch.allclose(image, plain[10 * int(target.argmax())], atol=1e-6)


def test_a_batch_of_nothing_is_refused(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(RunError, match=r"mean and std need at least 1 readable training image, got 0; check data.root"):
        load(config(root, on_error="skip"))
    images = FolderImages(root, scan(str(root)).train, image_size=8, on_error="skip")
    with pytest.raises(ReadError, match="batch 0: none of its images can be read"):
        list(eval_loader(images, batch_size=4))
    with pytest.raises(ReadError, match="batch 0 of epoch 0: none of its images can be read"):
        list(train_loader(images, augment=Augment(name="none"), num_classes=2, batch_size=4, seed=0))
