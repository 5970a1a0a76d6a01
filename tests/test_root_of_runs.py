"""Test `data.root=.`, where the folder of the runs would become one of the classes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import tree

Said = tuple[int, str, str]


@pytest.fixture
def here(tiny_images: Path, tiny: list[str], workplace: Path) -> list[str]:
    """Words of a run on the classes in the working folder itself."""
    for path in tiny_images.iterdir():
        shutil.copytree(path, workplace / "photos" / path.name)
    return [*tiny, "trainer.max_epochs=1"]


@pytest.mark.parametrize(
    ("root", "more"),
    [
        (".", []),
        ("..//photos", []),
        (".", ["hydra.run.dir=row/run"]),
        (".", ["-m", "seed=0,1"]),
        (".", ["-m", "seed=0,1", "hydra.sweep.dir=sweep"]),
    ],
)
def test_runs_among_the_classes_are_refused_before_anything_is_written(
    command: Callable[..., Said], here: list[str], monkeypatch: pytest.MonkeyPatch, root: str, more: list[str]
) -> None:
    monkeypatch.chdir("photos")
    before = tree(Path())
    code, out, err = command("train", *here, f"data.root={root}", *more)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"data.root={Path(root)} must not hold the folder of its runs, and " in err
    assert tree(Path()) == before


@pytest.mark.long
def test_the_ways_out(command: Callable[..., Said], here: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("photos")
    code, _, err = command("train", *here, "data.root=.", "hydra.run.dir=../run")
    assert code == 0, err
    Path("images").mkdir()
    for name in ("row", "column", "diagonal"):
        Path(name).rename(f"images/{name}")
    code, _, err = command("train", *here, "data.root=images")
    assert code == 0, err
    assert list(Path("outputs").glob("*/*/record.json"))


def test_runs_beside_splits_are_no_class(
    command: Callable[..., Said], here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos").rename("train")
    for _ in range(2):
        code, out, err = command("train", *here, "data.root=.", "seed=3")
        assert code == 0, err
    assert out.startswith("finished already: ")


def test_verifying_among_the_classes_is_refused(
    command: Callable[..., Said], here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("photos")
    assert command("train", *here, "data.root=.", "hydra.run.dir=../run")[0] == 0
    code, _, err = command("verify", "../run")
    assert (code, "data.root=. must not hold the folder of its runs, and outputs/verify/run" in err) == (2, True)
    assert not Path("outputs").exists()
