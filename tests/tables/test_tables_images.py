"""Test runs on different images: one row each, and never a mean over them."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answered import predicted
from fake_runs import Shown, lay, run, score

from imgrec import predictions

Said = tuple[int, str, str]
Table = Callable[..., Shown]


def lay_on(
    runs: Path, root: str, fingerprint: str, *, tops: tuple[float, ...] = (0.5, 0.6), first: int = 0, **more: Any
) -> None:
    """A run for each seed on a folder of images."""
    config = {"data.root": root} | more.pop("config", {})
    for seed, top in enumerate(tops, first):
        record = run(
            f"data=folder data.root=x seed={seed}",
            score("top1", top),
            fingerprint=fingerprint * 64,
            **more,
            config=config,
        )
        lay(runs, record, f"{fingerprint}-{root[-3:]}-{seed}")


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["photos", "paintings"], ["paintings", "photos"]),
        (["/data/a/images", "/data/b/images"], ["a/images", "b/images"]),
        (["/data/images", "/home/data/images"], ["data/images@aaaaaaaa", "home/data/images"]),
        (["~/photos", "../photos"], ["photos@aaaaaaaa", "photos@bbbbbbbb"]),
        (["photos", "photos"], ["photos@aaaaaaaa", "photos@bbbbbbbb"]),
    ],
)
def test_each_data_set_has_a_row_named_by_the_end_of_its_root(
    table: Table, runs: Path, roots: list[str], names: list[str]
) -> None:
    for root, fingerprint in zip(roots, "ab", strict=True):
        lay_on(runs, root, fingerprint)
    shown = table()
    assert shown.header[0] == "data.root"
    assert [row["data.root"] for row in shown.rows] == names
    assert {row["n"] for row in shown.rows} == {"2"}
    assert any("no best is marked, as the rows are of different data" in note for note in shown.notes)


def test_one_data_set_in_two_places_is_one_row(table: Table, runs: Path) -> None:
    lay_on(runs, "/here/photos", "a", tops=(0.5,))
    lay_on(runs, "/there/pictures", "a", tops=(0.6,), first=1)
    shown = table()
    assert [row["n"] for row in shown.rows] == ["2"]
    assert "data.root" not in shown.header


def test_a_factor_within_each_data_set_and_a_data_set_without_a_root(table: Table, runs: Path) -> None:
    for root, fingerprint in (("photos", "a"), ("paintings", "b")):
        for loss in ("mse", "hinge"):
            words = f"data=folder data.root={root} loss={loss}"
            lay(runs, run(words, score("top1", 0.5), fingerprint=fingerprint * 64), f"{root}-{loss}")
    lay(runs, run("loss=mse", score("top1", 0.5)))
    shown = table()
    assert shown.header[:3] == ["data", "data.root", "loss"]
    assert [(row["data.root"], row["loss"]) for row in shown.rows] == [
        ("digits", "mse"),
        ("paintings", "hinge"),
        ("paintings", "mse"),
        ("photos", "hinge"),
        ("photos", "mse"),
    ]


def test_a_recipe_on_two_data_sets_is_two_rows_and_two_recipes_on_one_each_keep_the_column(
    table: Table, runs: Path
) -> None:
    lay_on(runs, "photos", "a", experiment="mine")
    lay_on(runs, "paintings", "b", experiment="other")
    shown = table()
    assert shown.header[:2] == ["experiment", "data.root"]
    lay_on(runs, "paintings", "c", experiment="mine")
    assert len(table().rows) == 3


def test_rows_without_the_images_are_refused_and_the_way_out_works(
    command: Callable[..., Said], refusal: Callable[..., str], runs: Path
) -> None:
    lay_on(runs, "photos", "a", config={"data.root": "my photos, old"})
    lay_on(runs, "paintings", "b")
    sentence = refusal("--rows", "optimizer")
    assert "data.root must be a factor of the table, as it varies (my-photos-old, paintings)" in sentence
    way_out = shlex.split(sentence.rpartition("fix it with ")[2])
    code, out, err = command("table", str(runs), "--rows", "optimizer", *way_out)
    assert (code, err) == (0, "")
    assert "| 2 |" in out
    assert command("table", str(runs), "--where", "data.root=paintings")[0] == 0


def test_an_older_record_counts_to_the_only_images_of_its_names_and_sizes(table: Table, runs: Path) -> None:
    lay_on(runs, "photos", "a", tops=(0.5,))
    newer = {"images": {"sizes": "a" * 64}}
    lay_on(runs, "photos", "b", tops=(0.6,), first=1, **newer)
    shown = table()
    assert [row["n"] for row in shown.rows] == ["2"]
    assert shown.note("warning: some of the runs on photos know its images by names and sizes alone, so whether")
    lay_on(runs, "photos", "c", tops=(0.7,), first=2, images={"sizes": "a" * 64})
    assert [row["data.root"] for row in table().rows] == [f"photos@{letter * 8}" for letter in "abc"]


def test_an_older_record_of_another_root_stands_by_itself(table: Table, runs: Path) -> None:
    lay_on(runs, "photos", "a", tops=(0.5,))
    lay_on(runs, "paintings", "b", tops=(0.6,), first=1, images={"sizes": "a" * 64})
    assert [(row["data.root"], row["n"]) for row in table().rows] == [("paintings", "1"), ("photos", "1")]


@pytest.mark.parametrize(
    ("split", "key", "values", "is_compared"),
    [
        ("val", "data.split_seed", (0, 1), False),
        ("val", "data.val_size", (0.1, 0.2), False),
        ("val", "data.test_size", (0.1, 0.2), False),
        ("test", "data.test_size", (0.1, 0.2), False),
        ("test", "data.split_seed", (0, 1), True),
        ("test", "data.val_size", (0.1, 0.2), True),
        ("val", "data.split_seed", (None, 0), True),
    ],
)
def test_splits_that_were_drawn_otherwise_are_different_images(
    table: Table, runs: Path, split: str, key: str, values: tuple[Any, Any], is_compared: bool
) -> None:
    """This holds even if the predictions of both are of the same positions in the split, and of the same classes."""
    random = np.random.default_rng(0)
    for value, optimizer, share in zip(values, ("sgd", "adam"), (0.5, 0.9), strict=True):
        for seed in range(3):
            found = predicted((random.random(100) < share).tolist())
            place = (split, "clean", "last")
            measured = dataclasses.replace(score("top1", float(found.correct_n.mean()), split=split), n=100)
            record = run(
                f"data=folder data.root=x optimizer={optimizer} seed={seed}",
                measured,
                config={key: value},
                predictions={predictions.key_of(place): found.digest()},
            )
            predictions.write(lay(runs, record).parent / predictions.NAME, {record.run_id: {place: found}})
    shown = table("--split", split, "--rows", "optimizer", "--baseline", "optimizer=sgd")
    adam = shown.row("adam")
    assert (adam[f"Δ {split} top1 %"] != "–") == is_compared
    assert ("Δ, new images" in shown.header) == is_compared
    assert any("**" in text for row in shown.rows for text in row.values()) == is_compared
    told = [note for note in shown.notes if f"the rows are of different {split} images ({key})" in note]
    assert len(told) == (not is_compared)


def test_settings_that_draw_alike_are_compared_where_their_draws_are_averaged_over(table: Table, runs: Path) -> None:
    for split_seed in range(3):
        for optimizer, top in (("sgd", 0.5), ("adam", 0.9)):
            measured = score("top1", top + split_seed / 100, split="val")
            lay(runs, run(f"optimizer={optimizer} data.split_seed={split_seed}", measured))
    shown = table("--split", "val", "--baseline", "optimizer=sgd", "--average", "data.split_seed")
    assert shown.row("adam")["Δ val top1 %"].startswith("+40.00")
