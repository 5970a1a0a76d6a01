"""Test runs that were moved, or are used from another folder: recorded paths decide nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import launch
from imgrec.errors import RunError

Said = tuple[int, str, str]
LONGER = ["trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"]


def alter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` alter the record in that folder."""
    rows = json.loads((folder / "record.json").read_text())
    change(rows)
    (folder / "record.json").write_text(json.dumps(rows))


def as_older_versions(rows: dict[str, Any]) -> None:
    """A relative path to the parent, and nothing else that would tell of places."""
    del rows["parent_id"], rows["cwd"]
    rows["parent"] = "outputs/default/first"


@pytest.fixture(scope="module")
def line(
    tiny_words: tuple[str, ...], tiny_images: Path, one_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project with images, a run, `first`, and `second`, which went on from it and was interrupted at its end."""
    project = tmp_path_factory.mktemp("line") / "project"
    shutil.copytree(one_run, project / "outputs/default/first")
    shutil.copytree(tiny_images, project / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        alter(Path("outputs/default/first"), lambda rows: rows["config"].update({"data.root": "images"}))
        words = [word for word in tiny_words if not word.startswith("data.root=")]
        alter(
            Path("outputs/default/first"),
            lambda rows: rows.update(command=[*words, "trainer.max_epochs=1", "data.root=images"]),
        )
        launch.train(["resume=outputs/default/first", *LONGER, "hydra.run.dir=outputs/default/second"])
    alter(project / "outputs/default/second", lambda rows: rows.update(status="interrupted"))
    return project


@pytest.fixture
def project(line: Path, workplace: Path) -> Path:
    """The project, moved to another place."""
    shutil.copytree(line, workplace / "elsewhere/project")
    for name in ("first", "second"):  # the original is left for the next test
        run = workplace / "elsewhere/project/outputs/default" / name
        alter(run, lambda rows: rows.update(cwd=str(workplace / "left")))
    return workplace / "elsewhere/project"


@pytest.mark.parametrize("older", [False, True], ids=["new", "older"])
@pytest.mark.parametrize("cwd", ["", "elsewhere", "elsewhere/project"])
@pytest.mark.long
def test_a_run_that_went_on_from_another_goes_on(
    project: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, cwd: str, older: bool
) -> None:
    """The command is given in any folder, also after both runs and the images were moved."""
    second = project / "outputs/default/second"
    if older:
        alter(second, as_older_versions)
    (workplace / "images/row").mkdir(parents=True)  # of something else
    monkeypatch.chdir(workplace / cwd)
    before = json.loads((second / "record.json").read_text())
    record = launch.train([f"resume={second}"]).record
    assert (record.status, record.run_id) == ("finished", before["run_id"])
    assert record.weights == before["weights"]
    assert record.parent_id == json.loads((project / "outputs/default/first/record.json").read_text())["run_id"]
    assert (workplace / cwd / record.config["data.root"]).samefile(project / "images")


def test_a_record_keeps_the_working_directory_only_for_a_relative_path(one_run: Path, project: Path) -> None:
    assert json.loads((one_run / "record.json").read_text())["cwd"] is None
    assert json.loads((project / "outputs/default/second/record.json").read_text())["cwd"]


@pytest.mark.long
def test_a_parent_under_another_name_is_found_by_its_id(project: Path) -> None:
    second = project / "outputs/default/second"
    first = project / "outputs/default/first"
    own = json.loads((first / "record.json").read_text())["run_id"]
    first.rename(first.with_name(f"renamed-{own[:8]}"))
    for name in ("damaged", "zdamaged", f"damaged-{own[:8]}"):
        first.with_name(name).mkdir()
        (first.with_name(name) / "record.json").write_text("{")
    alter(second, as_older_versions)
    record = launch.train([f"resume={second}"]).record
    assert (record.status, record.parent_id) == ("finished", own)


@pytest.mark.long
def test_a_run_with_a_state_of_its_own_needs_its_parent_no_more(project: Path, workplace: Path) -> None:
    second = project / "outputs/default/second"
    shutil.rmtree(project / "outputs/default/first")
    alter(second, lambda rows: rows.update(parent="/gone/first"))
    assert launch.train([f"resume={second}"]).record.status == "finished"
    alter(second, lambda rows: rows.update(status="interrupted"))
    alter(second, as_older_versions)
    with pytest.raises(RunError, match=r"which is not there, and its record is too old to know it by its id; put that"):
        launch.train([f"resume={second}"])


def test_another_run_in_the_recorded_place_is_not_taken_for_the_parent(project: Path) -> None:
    second = project / "outputs/default/second"
    first = project / "outputs/default/first"
    shutil.copytree(first, project / "kept-first")
    alter(first, lambda rows: rows.update(run_id="0" * 64))
    alter(second, lambda rows: rows.update(parent=str(first)))
    assert launch.train([f"resume={second}"]).record.status == "finished"


def test_images_are_found_by_evaluate_and_verify_from_anywhere(
    project: Path, command: Callable[..., Said], workplace: Path
) -> None:
    first = project / "outputs/default/first"
    alter(first, lambda rows: rows.update(cwd=str(project)))
    code, out, err = command("evaluate", str(first), "--protocol", "tta_flip")
    assert code == 0, err
    code, out, err = command("verify", str(first))
    assert code == 0, err
    assert out.startswith("bit-equal")
