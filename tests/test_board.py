"""Test the columns of TensorBoard's HPARAMS page: the differences of a folder's runs, whichever run finished last."""

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from boards import hparams_page
from fake_runs import lay, run, score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from imgrec import hparams, launch, records
from imgrec.board import summarise
from imgrec.errors import RunError
from imgrec.records import Record

SCORES_OF_ALL = [f"{split} top1 at {at}" for at in ("best", "last") for split in ("val", "test")]  # of `lay_run`
SCORES = ["val top1 at best", "test top1 at best", "val loss at best", "test loss at best"]


def lay_run(place: Path, words: str, top1: float = 0.5, name: str | None = None, fingerprint: str = "f" * 64) -> Record:
    """A finished run with its record and its events, as a run leaves them."""
    scores = [score("top1", top1, split=split, at=at) for split in ("val", "test") for at in ("best", "last")]
    record = run(words, *scores, fingerprint=fingerprint)
    folder = lay(place, record, name).parent
    (folder / "tensorboard").mkdir()
    values = [Summary.Value(tag="hp/val_top1_best", simple_value=top1)]
    with (folder / "tensorboard" / "events.out.tfevents.1.test").open("wb") as file:
        events = RecordWriter(file)
        for message in (
            hparams.run_began(hparams.values_of(record.config, None), trial=folder.name),
            Summary(value=values),
            hparams.run_ended(),
        ):
            events.write(Event(wall_time=1, step=1, summary=message).SerializeToString())
    return record


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A group below outputs/."""
    group = tmp_path / "outputs" / "default"
    group.mkdir(parents=True)
    return group


def made(place: Path) -> list[str]:
    """What was put beside the runs."""
    return sorted(path.name for path in place.glob("hparams-*"))


@pytest.mark.long
def test_the_columns_of_a_sweep_and_of_a_run_after_it_are_what_differs_and_the_scores(
    tiny: list[str], command: Callable[..., tuple[int, str, str]], workplace: Path
) -> None:
    words = ["train", *tiny, "trainer.max_epochs=1", "trainer.tensorboard=true"]
    assert command(*words, "-m", "optimizer=adam,sgd")[0] == 0
    place = Path("outputs/default")
    first = hparams_page(place)
    assert first.columns == ["optimizer"]
    assert first.scores[:4] == SCORES
    assert {row["optimizer"] for row in first.rows.values()} == {"adam", "sgd"}
    assert all(name.startswith(f"optimizer-{row['optimizer']}_seed-0-") for name, row in first.rows.items())
    assert command(*words, "model.hidden=8")[0] == 0
    page = hparams_page(place)
    assert page.columns == ["model.hidden", "optimizer"]
    assert sorted(row["model.hidden"] for row in page.rows.values()) == [8, 16, 16]
    for name, row in page.rows.items():
        found = records.read(place / name / "record.json").score("top1", split="val", at="best")
        assert found is not None
        assert row["val top1 at best"] == pytest.approx(found.value)
    assert len(made(place)) == 1
    events = EventAccumulator(str(place / min(page.rows) / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"])[:4] == [
        "1 validation/loss",
        "1 validation/top1",
        "2 training/loss",
        "2 training/top1",
    ]
    points = [[(point.step, point.value) for point in events.Scalars(tag)] for tag in ("1 validation/top1", "val/top1")]
    assert points[0] == points[1]


def test_seeds_make_a_column_and_constant_keys_none(place: Path) -> None:
    for seed in (0, 1):
        lay_run(place, f"data=digits optimizer.lr_scale=3 seed={seed}")
    summarise(place)
    page = hparams_page(place)
    assert page.columns == ["seed"]
    assert sorted(row["seed"] for row in page.rows.values()) == [0, 1]


def test_images_make_a_column_also_where_their_folders_have_one_name(place: Path) -> None:
    for k, root in enumerate(("here/images", "there/images")):
        lay_run(place, f"data=folder data.root={root}", fingerprint=f"{k}" * 64)
    summarise(place)
    page = hparams_page(place)
    assert page.columns == ["data.root"]
    assert sorted(row["data.root"] for row in page.rows.values()) == ["here/images", "there/images"]


def test_a_run_alone_shows_what_is_not_as_the_defaults_have_it(place: Path) -> None:
    lay_run(place, "data=digits optimizer.lr_scale=3 loss=mse seed=5")
    summarise(place)
    (row,) = hparams_page(place).rows.values()
    assert row["optimizer.lr_scale"] == 3
    assert row["loss"] == "mse"
    assert row["val top1 at best"] == 0.5


def test_a_folder_that_imgrec_did_not_choose_stays_as_it_is(tmp_path: Path, place: Path) -> None:
    for folder, names in ((tmp_path, ("x1", "x2")), (tmp_path / "mine", (None, None)), (place, ("x1", "x2"))):
        for words, name in zip(("data=digits optimizer=adam", "data=digits optimizer=sgd"), names, strict=True):
            lay_run(folder, words, name=name)
        summarise(folder)
        assert made(folder) == []


def test_a_folder_that_a_sweep_was_given_has_a_table(tmp_path: Path) -> None:
    lay_run(tmp_path, "data=digits optimizer=adam")
    lay_run(tmp_path, "data=digits optimizer=sgd", name="beside-it")
    (tmp_path / "sweep.lock").touch()
    summarise(tmp_path)
    assert hparams_page(tmp_path).filters["optimizer"] == ["adam", "sgd"]


def test_a_key_that_only_some_choices_have_is_blank_for_the_others_and_filters_hide_no_run(place: Path) -> None:
    lay_run(place, "data=digits optimizer=adam")
    lay_run(place, "data=digits optimizer=momentum optimizer.momentum=0.5")
    lay_run(place, "data=digits optimizer=momentum optimizer.momentum=0.8")
    summarise(place)
    page = hparams_page(place)
    assert page.columns == ["optimizer", "optimizer.momentum"]
    assert [row.get("optimizer.momentum") for _, row in sorted(page.rows.items())] == [None, 0.5, 0.8]
    assert page.filters["optimizer"] == ["adam", "momentum"]


def test_new_columns_replace_the_old_ones_and_the_same_ones_are_not_written_again(place: Path) -> None:
    lay_run(place, "data=digits optimizer=adam")
    summarise(place)
    (first,) = made(place)
    before = (place / first).stat().st_mtime_ns
    summarise(place)
    assert (place / first).stat().st_mtime_ns == before
    lay_run(place, "data=digits optimizer=sgd")
    (place / first / ".events.0badc0de.partial").write_bytes(b"of a process that was killed")
    summarise(place)
    (second,) = made(place)
    assert second != first


def test_a_sweep_renews_a_table_once_it_is_old_enough_or_shows_test_scores(place: Path) -> None:
    def renewed(optimizer: str) -> bool:
        before = made(place)
        lay_run(place, f"data=digits optimizer={optimizer}")
        summarise(place, test=False, at_most_every=1e6)
        return made(place) != before

    assert renewed("adam")
    assert not renewed("sgd")
    (table,) = made(place)
    os.utime(place / table / "events.out.tfevents.0.imgrec", (1e9, 1e9))
    assert renewed("momentum")
    assert not renewed("adagrad")
    summarise(place)
    assert len(hparams_page(place).rows) == 4
    assert hparams_page(place).scores == SCORES_OF_ALL
    assert renewed("muon_sgd")
    assert hparams_page(place).scores == [score for score in SCORES_OF_ALL if "test" not in score]


@pytest.mark.parametrize("status", ["running", "interrupted"])
@pytest.mark.parametrize("has_events", [True, False])
def test_no_test_scores_are_shown_while_a_run_is_left(place: Path, status: str, has_events: bool) -> None:
    lay_run(place, "data=digits optimizer=adam")
    left = lay_run(place, "data=digits optimizer=sgd", name="left")
    records.write(place / "left/record.json", dataclasses.replace(left, status=status, scores=[]))
    if not has_events:
        shutil.rmtree(place / "left/tensorboard")
    summarise(place)
    assert hparams_page(place).scores == ["val top1 at best", "val top1 at last"]
    records.write(place / "left/record.json", left)
    summarise(place)
    assert hparams_page(place).scores == SCORES_OF_ALL


def test_files_of_others_stay(place: Path) -> None:
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events.out.tfevents.0.imgrec").write_bytes(b"theirs")
    lay_run(place, "data=digits optimizer=adam")
    lay_run(place, "data=digits optimizer=sgd")
    (place / "hparams-0badc0de").symlink_to(elsewhere)
    (place / "hparams-of-mine").mkdir()
    (place / "hparams-12345678").mkdir()
    (place / "hparams-12345678" / "notes").write_text("mine")
    (place / "events.out.tfevents.7.other").write_bytes(b"")
    summarise(place)
    assert (elsewhere / "events.out.tfevents.0.imgrec").read_bytes() == b"theirs"
    assert (place / "hparams-12345678" / "notes").read_text() == "mine"
    assert (place / "hparams-of-mine").is_dir()
    assert (place / "events.out.tfevents.7.other").is_file()


def test_writers_at_the_same_time_leave_one_table_of_all(place: Path) -> None:
    names = ("adam", "sgd", "adagrad", "momentum")

    def finish(name: str) -> None:
        lay_run(place, f"data=digits optimizer={name}")
        summarise(place)

    run("data=digits")  # composed once, before the threads
    threads = [threading.Thread(target=finish, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made(place)) == 1
    assert hparams_page(place).filters["optimizer"] == sorted(names)


def test_a_damaged_record_costs_its_own_row_alone(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay_run(place, "data=digits optimizer=adam")
    lay_run(place, "data=digits optimizer=sgd")
    lay_run(place, "data=digits optimizer=momentum", name="spoilt")
    (place / "spoilt" / "record.json").write_text("{")
    summarise(place)
    assert hparams_page(place).filters["optimizer"] == ["adam", "sgd"]
    assert "spoilt/record.json must be a record" in caplog.text


def test_values_that_tensorboard_does_not_take_become_texts(place: Path) -> None:
    lay_run(place, "data=digits optimizer=adam optimizer.lr=0.5")
    for k, value in enumerate((str(10**400), "1e999", '"\\ud800"')):  # as JSON: an integer, infinity, half a character
        lay_run(place, "data=digits optimizer=adam optimizer.lr=0.125", name=f"odd-{k}")
        path = place / f"odd-{k}" / "record.json"
        path.write_text(path.read_text().replace('"optimizer.lr": 0.125', f'"optimizer.lr": {value}'))
    path.write_text(path.read_text().replace('"optimizer.eps"', '"optimizer.\\ud800"'))
    summarise(place)
    assert hparams_page(place).columns[0] == "optimizer.lr"
    odd = [hparams.value_of(records.read(place / f"odd-{k}/record.json").config["optimizer.lr"]) for k in range(3)]
    assert odd == [str(10**400), "inf", "\\ud800"]


def test_images_below_a_name_of_any_bytes_make_a_column_with_escapes(place: Path) -> None:
    for k, name in enumerate((b"caf\xe9", b"caf\xe8")):
        root = f'data.root="{os.fsdecode(name)}"'
        lay_run(place, f"data=folder {root}", fingerprint=f"{k}" * 64)
    summarise(place)
    page = hparams_page(place)
    assert page.filters["data.root"] == ["caf\\udce8", "caf\\udce9"]
    assert sorted(row["data.root"] for row in page.rows.values()) == ["caf\\udce8", "caf\\udce9"]


def test_what_goes_wrong_with_the_table_is_told_in_a_line_and_ends_no_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(folder: Path, *, test: bool, at_most_every: float) -> None:
        raise KeyError("a slip")

    monkeypatch.setattr("imgrec.board.summarise", broken)
    launch.show_on_board(place, test=True)
    (said,) = caplog.messages
    assert said == f"TensorBoard's HPARAMS of {place} stays as it was: KeyError: 'a slip'"


def test_a_folder_that_takes_no_files_is_refused_in_a_sentence(place: Path) -> None:
    lay_run(place, "data=digits optimizer=adam")
    lay_run(place, "data=digits optimizer=sgd")
    summarise(place)
    (name,) = made(place)
    (place / name / "events.out.tfevents.0.imgrec").unlink()
    (place / name).rmdir()
    (place / name).write_text("a file in the way")
    with pytest.raises(RunError, match=r"HPARAMS stays as it was: .*; free the disk"):
        summarise(place)
