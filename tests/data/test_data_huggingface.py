"""Test data=huggingface on data sets that are made here and saved as Hugging Face's package saves them."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgrec import launch
from imgrec.components.data.huggingface import HuggingFace
from imgrec.data import inventory, sources
from imgrec.errors import RunError, UsageError

datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="the extra huggingface is not installed")

CLASSES = ["dark", "grey", "light"]


def png(value: int, size: int = 12) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def rows(count: int, *, names: bool = False) -> dict[str, list[Any]]:
    """Images whose grey value is 80 times their class plus their number."""
    labels = [number % 3 for number in range(count)]
    images = [{"bytes": png(80 * label + number % 60), "path": None} for number, label in enumerate(labels)]
    return {"img": images, "label": [CLASSES[label] for label in labels] if names else labels, "id": list(range(count))}


def table(count: int, *, kind: Any = None, **changes: Any) -> Any:
    kind = kind or datasets.ClassLabel(names=CLASSES)
    features = {"img": datasets.Image(), "label": kind, "id": datasets.Value("int64")}
    return datasets.Dataset.from_dict({**rows(count), **changes}, features=datasets.Features(features))


@pytest.fixture
def saved(workplace: Path) -> Path:
    datasets.DatasetDict({"train": table(60), "test": table(12)}).save_to_disk("saved")
    return workplace / "saved"


def config(root: Path | str, **settings: Any) -> HuggingFace:
    return HuggingFace(name="huggingface", root=str(root), image_size=8, **settings)


def test_images_labels_and_splits_are_those_of_the_data_set(saved: Path) -> None:
    source = sources.load(config(saved, val_size=12))
    assert source.classes == tuple(CLASSES)
    test = source.open_test()
    assert source.val is not None
    assert test is not None
    assert (len(source.train), len(source.val), len(test)) == (48, 12, 12)
    for images in (source.train, source.val, test):
        assert set(images.labels.bincount().tolist()) == {len(images) // 3}
        pixels = images.images_nchw  # type: ignore[attr-defined]
        assert pixels.shape[1:] == (3, 8, 8)
        values = pixels[:, 0, 0, 0].int()
        assert ((values - 80 * images.labels >= 0) & (values - 80 * images.labels < 60)).all()
    both = sorted([*source.train.images_nchw[:, 0, 0, 0].tolist(), *source.val.images_nchw[:, 0, 0, 0].tolist()])  # type: ignore[attr-defined]
    assert both == sorted(80 * (number % 3) + number for number in range(60)), "each image once"


def test_a_split_without_a_name_is_held_out(saved: Path) -> None:
    one = sources.load(config(saved, test_split="", test_size=6, val_size=6))
    test = one.open_test()
    assert test is not None
    assert (len(one.train), len(test)) == (48, 6)
    other = sources.load(config(saved, test_split="", test_size=6, val_size=12))
    assert test.labels.tolist() == other.open_test().labels.tolist(), "whatever val_size is"  # type: ignore[union-attr]
    folds = [sources.load(config(saved, test_split="", test_size=6, folds=3, fold=fold)) for fold in range(3)]
    assert [len(source.val or ()) for source in folds] == [18, 18, 18]
    with pytest.raises(UsageError, match=r"data.folds=3 makes the validation split, and data.val_split=test names one"):
        config(saved, val_split="test", folds=3)


@pytest.mark.parametrize("form", ["parquet", "folder", "names"])
def test_other_forms_hold_the_same_images(saved: Path, form: str) -> None:
    Path("other").mkdir()
    if form == "folder":
        for number, (image, label) in enumerate(zip(rows(60)["img"], rows(60)["label"], strict=True)):
            place = Path("other/train", CLASSES[label], f"{number:02}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(image["bytes"])
        found = sources.load(config("other", test_split="", test_size=0, val_size=0))
    elif form == "parquet":
        table(60).to_parquet("other/train.parquet")
        found = sources.load(config("other", test_split="", test_size=0, val_size=0))
    else:
        table(60, kind=datasets.Value("string"), label=rows(60, names=True)["label"]).save_to_disk("other/names")
        found = sources.load(config("other/names", test_split="", test_size=0, val_size=0, label_column="label"))
    assert found.classes == tuple(CLASSES)
    assert sorted(found.train.images_nchw[:, 0, 0, 0].tolist()) == sorted(80 * (n % 3) + n for n in range(60))  # type: ignore[attr-defined]


def test_the_fingerprint_is_of_images_and_labels_and_not_of_the_place(saved: Path) -> None:
    before = inventory.take(config(saved)).fingerprint
    assert inventory.take(config(saved.rename(saved.with_name("moved")))).fingerprint == before
    datasets.DatasetDict({"train": table(60), "test": table(12, id=[7] * 12)}).save_to_disk("same")
    assert inventory.take(config("same")).fingerprint == before, "other columns do not count"
    other = rows(60)["label"]
    other[5] = 0
    datasets.DatasetDict({"train": table(60, label=other), "test": table(12)}).save_to_disk("labels")
    changed = rows(12)["img"]
    changed[3] = {"bytes": png(1), "path": None}
    datasets.DatasetDict({"train": table(60), "test": table(12, img=changed)}).save_to_disk("images")
    found = {inventory.take(config(name)).fingerprint for name in ("labels", "images")}
    assert len({before, *found}) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train_split": "trian"}, r"must find split trian of .*; name splits with data\.train_split"),
        ({"test_split": "validation"}, r"must find split validation of .*\(empty: held out\)"),
        ({"image_column": "image"}, r"data\.image_column must be a column of .*, got 'image'; it has img, label, id"),
        ({"label_column": "fine"}, r"data\.label_column must be a column of .*, got 'fine'; it has img, label, id"),
        ({"val_size": 1000}, r"data\.val_size must lie in \[0, 60\]"),
    ],
)
def test_what_the_data_set_has_not_is_refused(saved: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sources.load(config(saved, **settings))


def test_a_damaged_image_and_a_missing_label_are_refused(workplace: Path) -> None:
    images = rows(12)["img"]
    images[5] = {"bytes": b"no image", "path": None}
    datasets.DatasetDict({"train": table(60), "test": table(12, img=images)}).save_to_disk("damaged")
    source = sources.load(config("damaged"))
    with pytest.raises(RunError, match=r"split test: image 5 must be a whole image, got: cannot identify image file"):
        source.open_test()
    labels = rows(12)["label"]
    labels[2] = -1  # as hidden test labels are stored
    datasets.DatasetDict({"train": table(60), "test": table(12, label=labels)}).save_to_disk("hidden")
    with pytest.raises(UsageError, match=r"image 2 has -1; name another split, or leave such rows out"):
        sources.load(config("hidden"))


def test_a_path_in_a_data_set_that_is_no_regular_file_is_refused(workplace: Path) -> None:
    """A pipe would be waited for for ever, and a device may never end."""
    os.mkfifo("pipe")
    images = rows(12)["img"]
    images[5] = {"bytes": None, "path": str(workplace / "pipe")}
    (workplace / "foreign").mkdir()
    for name, split in (("train", table(60)), ("test", table(12, img=images))):
        parquet.write_table(split.data.table, f"foreign/{name}.parquet")
    source = sources.load(config("foreign"))
    with pytest.raises(RunError, match=r"image 5, .*pipe, cannot be read: .* no regular file; restore it"):
        source.open_test()


def test_a_name_that_cannot_be_reached_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        RunError, match=r"data\.root='?nobody/nothing'? must be a data set on the hub of Hugging Face, or"
    ):
        sources.load(config("nobody/nothing"))


def test_a_run_trains_on_it(saved: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    words = ["data=huggingface", f"data.root={saved}", "data.image_size=8", "model.widths=[4]", "model.hidden=8"]
    words += ["trainer=cpu", "trainer.threads=1", "trainer.max_epochs=1", "trainer.progress=none", "hydra.run.dir=run"]
    outcome = launch.train(words)
    assert outcome.record.score("top1", split="test", at="last").n == 12  # type: ignore[union-attr]
    code, _, err = command("evaluate", "run", "--split", "val")
    assert code == 0, err
    assert json.loads(Path("run/record.json").read_text())["config"]["data.root"] == str(saved)
