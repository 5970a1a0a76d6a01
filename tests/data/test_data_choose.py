"""Test which training images a run has (data.subset, data.imbalance), and which labels are wrong (data.label_noise)."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.config.data import Data
from imgrec.config.registry import components
from imgrec.data import sources
from imgrec.data.choose import Choice, choose, counts, kept_sizes
from imgrec.data.folder import FolderImages
from imgrec.data.source import MemoryImages, Source, Taken
from imgrec.data.sources import load
from imgrec.errors import UsageError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [100, 60, 200, 40]))


def chosen(labels_n: np.ndarray = LABELS, **changes: object) -> Choice:
    return choose(Digits(**changes), labels_n, int(labels_n.max()) + 1)


def images(source: Source) -> torch.Tensor:
    return source.train.read(torch.arange(len(source.train)))[0]


# ---- a share of the images


@pytest.mark.parametrize("subset", [0.03, 0.1, 1 / 3, 0.5, 0.99, 1.0])
def test_a_subset_has_its_size_and_the_shares_of_the_classes(subset: float) -> None:
    found = chosen(subset=subset)
    assert len(found.places_m) == round(subset * 400)
    assert found.places_m.tolist() == sorted(set(found.places_m.tolist()))
    assert np.array_equal(found.labels_m, LABELS[found.places_m])
    assert np.abs(np.bincount(found.labels_m) - subset * np.bincount(LABELS)).max() <= 1
    assert found.changed == 0


@pytest.mark.parametrize("imbalance", [1.0, 0.1])
def test_a_smaller_subset_lies_inside_a_larger_one_of_the_same_seed(imbalance: float) -> None:
    shares = [size / 400 for size in range(20, 401)] if imbalance == 1 else [0.1 * k for k in range(2, 11)]
    found = [set(chosen(subset=subset, imbalance=imbalance).places_m.tolist()) for subset in shares]
    assert all(small <= large for small, large in itertools.pairwise(found))
    one, other = (set(chosen(subset=0.5, imbalance=imbalance, subset_seed=seed).places_m.tolist()) for seed in (0, 1))
    assert one != other
    assert len(one) == len(other)


def test_the_choice_never_changes() -> None:
    labels_n = np.repeat(np.arange(2), 8)
    words_n = np.random.PCG64(27).random_raw(16)
    expected = {*np.argsort(words_n[:8])[:4], *(8 + np.argsort(words_n[8:])[:4])}
    found = chosen(labels_n, subset=0.5).places_m.tolist()
    assert set(found) == expected
    assert found == [1, 2, 6, 7, 8, 11, 14, 15]


# ---- a long tail


def test_a_long_tail_keeps_powers_of_the_imbalance() -> None:
    sizes_k = [5000] * 10
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]  # as in the code of Cao et al. 2019 (LDAM)
    assert kept_sizes(Digits(imbalance=0.01), sizes_k).tolist() == expected
    assert expected == [math.floor(5000 * 0.01 ** (k / 9) + 1e-9) for k in range(10)]
    assert kept_sizes(Digits(imbalance=0.01), [4500] * 3).tolist() == [4500, 450, 45]


def test_a_longer_tail_lies_inside_a_shorter_one() -> None:
    found = [set(chosen(imbalance=imbalance).places_m.tolist()) for imbalance in (0.05, 0.1, 0.5, 1.0)]
    assert [len(each) for each in found] == sorted(len(each) for each in found)
    assert all(small < large for small, large in itertools.pairwise(found))


def test_one_class_alone_has_no_tail() -> None:
    assert kept_sizes(Digits(imbalance=0.5), [7]).tolist() == [7]


# ---- wrong labels


@pytest.mark.parametrize("kind", ["symmetric", "pairs"])
@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
def test_the_share_of_each_class_gets_a_wrong_label(kind: str, noise: float) -> None:
    found = chosen(label_noise=noise, noise_kind=kind)
    wrong = found.labels_m != LABELS
    assert np.array_equal(found.places_m, np.arange(400))
    assert found.changed == wrong.sum() == round(noise * 400)
    assert np.abs(np.bincount(LABELS[wrong], minlength=4) - noise * np.bincount(LABELS)).max() <= 1
    assert set(found.labels_m.tolist()) <= {0, 1, 2, 3}
    if kind == "pairs":
        assert np.array_equal(found.labels_m[wrong], (LABELS[wrong] + 1) % 4)


def test_symmetric_noise_draws_every_other_class_equally_often() -> None:
    labels_n = np.repeat(np.arange(10), 3000)
    found = chosen(labels_n, label_noise=1.0)
    counted = np.zeros((10, 10), int)
    np.add.at(counted, (labels_n, found.labels_m), 1)
    assert (np.diag(counted) == 0).all()
    others = counted[~np.eye(10, dtype=bool)]
    assert ((others - 3000 / 9) ** 2 / (3000 / 9)).sum() < 131  # chi-squared of 80 degrees: exceeded once in 3000


def test_more_noise_changes_the_same_labels_and_more_and_its_seed_other_ones() -> None:
    few, more, other = (chosen(label_noise=noise, noise_seed=seed) for noise, seed in ((0.2, 0), (0.4, 0), (0.2, 1)))
    changed = few.labels_m != LABELS
    assert np.array_equal(few.labels_m[changed], more.labels_m[changed])
    assert not np.array_equal(few.labels_m, other.labels_m)
    assert other.changed == few.changed


def test_an_image_keeps_its_wrong_label_in_a_subset() -> None:
    whole, part = chosen(label_noise=1.0), chosen(label_noise=1.0, subset=0.3)
    assert np.array_equal(whole.labels_m[part.places_m], part.labels_m)


# ---- whole data sets


@pytest.mark.parametrize("changes", [{"subset": 0.3}, {"imbalance": 0.1}, {"label_noise": 0.25}])
def test_only_training_images_and_their_labels_change(changes: dict[str, float]) -> None:
    plain, source = load(Digits()), load(Digits(**changes))
    assert isinstance(source.train, MemoryImages), "so that they can lie on the accelerator"
    choice = choose(Digits(**changes), plain.train.labels.numpy(), 10)
    assert torch.equal(images(source), images(plain)[choice.places_m])
    assert source.train.labels.tolist() == choice.labels_m.tolist()
    assert (source.mean, source.std) == (plain.mean, plain.std)
    for one, other in ((source.val, plain.val), (source.open_test(), plain.open_test())):
        assert one is not None
        assert other is not None
        assert torch.equal(one.labels, other.labels)
    assert source.changed_labels == round(changes.get("label_noise", 0) * 1257)


def test_defaults_choose_nothing() -> None:
    config = Digits()
    source = load(config)
    assert source.changed_labels == 0
    assert len(source.train) == 1257


@pytest.mark.parametrize("name", ["digits", "folder"])
@pytest.mark.parametrize("changes", [{}, {"subset": 0.5}, {"imbalance": 0.4}, {"imbalance": 0.4, "subset": 0.7}])
def test_counts_are_those_of_the_loaded_images(name: str, changes: dict[str, float], image_folder: Path) -> None:
    own = {"root": str(image_folder), "image_size": 8} if name == "folder" else {}
    config = components("data")[name](**own, **changes)
    source = load(config)
    assert source.val is not None
    assert counts(config) == (len(source.train), len(source.val))


def test_a_folder_streams_the_chosen_images(image_folder: Path) -> None:
    own = {"root": str(image_folder), "image_size": 8, "val_size": 6, "test_size": 3}
    plain, source = load(Folder(**own)), load(Folder(**own, subset=0.5, label_noise=0.2))
    assert isinstance(plain.train, FolderImages)
    assert isinstance(source.train, FolderImages)
    choice = choose(Folder(**own, subset=0.5, label_noise=0.2), plain.train.labels.numpy(), 3)
    assert torch.equal(images(source), images(plain)[choice.places_m])
    assert source.train.labels.tolist() == choice.labels_m.tolist()
    assert [path for path, _ in source.train.files] == [plain.train.files.path(place) for place in choice.places_m]


def test_images_of_another_kind_are_read_by_index() -> None:
    inner = MemoryImages(torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64))
    found = Taken(inner, torch.tensor([1, 3]), torch.tensor([5, 6]))
    assert len(found) == 2
    assert found.read(torch.tensor([1, 0, 1]))[0].reshape(-1).tolist() == [3, 1, 3]


def test_runs_of_one_process_do_not_share_another_choice() -> None:
    kept = sources.Kept()
    first = kept.load(Digits(label_noise=0.1))
    assert kept.load(Digits(label_noise=0.1, batch_size=7)) is first
    for changes in ({}, {"label_noise": 0.1, "noise_seed": 1}, {"label_noise": 0.1, "noise_kind": "pairs"}):
        assert len(kept.load(Digits(**changes)).train) == 1257
        assert not torch.equal(kept.load(Digits(**changes)).train.labels, first.train.labels)


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "told", "way_out"),
    [
        (
            {"subset": 0.004},
            r"data.subset must leave at least 1 training image .* got 0.004: .* use a larger one",
            0.02,
        ),
        ({"imbalance": 0.001}, r"data.imbalance must leave .* class number 7 would keep none of its 125", 0.1),
    ],
)
def test_a_choice_that_empties_a_class_is_refused(changes: dict[str, float], told: str, way_out: float) -> None:
    with pytest.raises(UsageError, match=told):
        load(Digits(**changes))
    with pytest.raises(UsageError, match=told):
        counts(Digits(**changes))
    assert len(load(Digits(**dict.fromkeys(changes, way_out))).train.labels.unique()) == 10


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subset": 0.0}, r"data.subset must lie in \(0, 1\], got 0.0"),
        ({"subset": 1.1}, r"data.subset must lie in \(0, 1\], got 1.1"),
        ({"imbalance": 0.0}, r"data.imbalance must lie in \(0, 1\], got 0.0"),
        ({"label_noise": -0.1}, r"data.label_noise must lie in \[0, 1\], got -0.1"),
        ({"noise_kind": "pair"}, r"data.noise_kind must be one of symmetric, pairs, got 'pair'; did you mean pairs\?"),
        ({"noise_seed": -1}, r"data.noise_seed must lie in \[0, 4294967295\], got -1"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Digits(**changes)


def test_noise_needs_another_class() -> None:
    with pytest.raises(UsageError, match=r"data.label_noise needs at least 2 classes, got 1; leave it out"):
        chosen(np.zeros(5, np.int64), label_noise=0.5)


# ---- a run


@pytest.mark.long
def test_a_run_tells_how_many_labels_were_changed(
    tiny: list[str], workplace: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    words = [*tiny, "data.label_noise=0.25", "data.subset=0.8", "trainer.max_epochs=1", "hydra.run.dir=run"]
    code, _, err = command("train", *words)
    assert code == 0, err
    record = json.loads((workplace / "run/record.json").read_text())
    assert record["images"]["changed_labels"] == 12
    assert record["progress"]["steps"] == 6, "48 images in batches of 8"
    assert "48 training images, " in (workplace / "run/train.log").read_text()
    assert "12 of them with a wrong label" in (workplace / "run/train.log").read_text()
    assert command("train", *words)[0] == 0
    code, _, err = command(
        "train", "resume=run", "data.label_noise=0.5", "resume_override=[data.label_noise]", "force=true"
    )
    assert code == 2
    assert "a run has the same training images and labels from its first step to its last" in err


def test_every_data_set_has_these_settings() -> None:
    for schema in components("data").values():
        assert issubclass(schema, Data)
        assert {"subset", "imbalance", "label_noise"} <= {field.name for field in schema.settings()}
