"""Test images that are exchanged under the same names and sizes, before, during and after a run's training."""

import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from imgrec import launch
from imgrec.config import serialize
from imgrec.data import inventory
from imgrec.errors import RunError

Said = tuple[int, str, str]


@pytest.fixture
def photos(tiny_images: Path, workplace: Path) -> Path:
    """The tiny images, all of 600 bytes."""
    shutil.copytree(tiny_images, workplace / "photos")
    for path in (workplace / "photos").rglob("*.png"):
        path.write_bytes(path.read_bytes().ljust(600, b"\0"))
    return workplace / "photos"


@pytest.fixture
def words(tiny: list[str], photos: Path) -> list[str]:
    return [*tiny, f"data.root={photos}", "trainer.max_epochs=1"]


def exchange(photos: Path, name: str = "00.png") -> None:
    """The images of that name in two classes change places; their times stay."""
    row, column = photos / "row" / name, photos / "column" / name
    texts = row.read_bytes(), column.read_bytes()
    for path, text in ((row, texts[1]), (column, texts[0])):
        status = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def earlier(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> launch.Outcome:
    """The run of these words as it was recorded while a folder was known by names and sizes alone."""
    take = inventory.take

    def by_sizes(cfg: Any) -> inventory.Inventory:
        older = take(cfg).older
        assert older is not None
        return older

    with monkeypatch.context() as patch:
        patch.setattr(inventory, "take", by_sizes)
        return launch.train(words)


@pytest.mark.long
def test_a_run_over_exchanged_images_is_another_run(words: list[str], photos: Path) -> None:
    first = launch.train(words)
    assert launch.train(words).already
    exchange(photos)
    second = launch.train(words)
    assert not second.already
    assert second.folder != first.folder
    assert second.record.weights != first.record.weights
    exchange(photos)
    assert launch.train(words).folder == first.folder


@pytest.mark.long
def test_two_places_that_differ_in_contents_alone_are_two_runs(
    command: Callable[..., Said], tiny: list[str], photos: Path
) -> None:
    shutil.copytree(photos, "others")
    shutil.copytree(photos, "copies")
    exchange(Path("others"))
    code, _, err = command(
        "train", "-m", *tiny, "data.root=photos,others,copies", "trainer.max_epochs=1", "hydra.sweep.dir=sweep"
    )
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in Path("sweep").glob("*/record.json")]
    assert len(records) == 2
    assert len({record["fingerprint"] for record in records}) == 2


@pytest.mark.long
def test_measuring_verifying_and_going_on_see_the_exchange(
    command: Callable[..., Said], words: list[str], photos: Path
) -> None:
    run = launch.train([*words, "hydra.run.dir=run"])
    exchange(photos)
    for asked in (["evaluate", "run"], ["verify", "run"]):
        code, out, err = command(*asked)
        assert (code, out) == (1, "")
        assert "names or contents have changed since" in err
    more = "resume_override=[trainer.max_epochs]"
    code, out, err = command("train", "resume=run", "trainer.max_epochs=2", more)
    assert (code, out) == (2, "")
    assert "their names or contents have changed" in err
    exchange(photos)
    assert command("evaluate", "run")[0] == 0
    assert run.record.status == "finished"


@pytest.mark.long
def test_an_exchange_while_the_run_trains_ends_it_unfinished(
    words: list[str], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgrec.training import final

    read = final.read

    def meanwhile(*arguments: Any) -> final.Reading:
        exchange(photos)
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(final, "read", meanwhile)
        with pytest.raises(RunError, match="restore them and start the same command again"):
            launch.train(words)
    (path,) = Path("outputs/default").glob("*/record.json")
    record = json.loads(path.read_text())
    assert (record["status"], record["scores"]) == ("failed", [])
    exchange(photos)
    again = launch.train(words)
    assert (again.folder / "record.json").resolve() == path.resolve()
    assert again.record.status == "finished"


@pytest.mark.parametrize(
    ("launcher", "module", "name"),
    [
        ("basic", "imgrec.execution", "run"),
        pytest.param("pool", "imgrec.sweeps.pool", "_start", marks=pytest.mark.slow),
    ],
)
@pytest.mark.long
def test_an_exchange_while_a_sweep_runs_ends_what_has_not_begun(
    command: Callable[..., Said],
    words: list[str],
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    module: str,
    name: str,
) -> None:
    begin = getattr(importlib.import_module(module), name)

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        if not exchanged:
            exchange(photos)
            exchanged.append(True)
        return begin(*arguments, **more)

    exchanged: list[bool] = []
    monkeypatch.setattr(f"{module}.{name}", meanwhile)
    asked = ["train", "-m", *words, "seed=0,1", f"launcher={launcher}", "hydra.sweep.dir=sweep"]
    code, _, err = command(*asked)
    assert (code, "2 of 2 runs failed" in err) == (1, True)
    assert f"data.root={photos} must hold the images that it held when the command began" in err
    assert not list(Path("sweep").glob("*/record.json"))
    if launcher == "pool":  # the way out, which takes its time
        exchange(photos)
        assert command(*asked)[0] == 0
        assert len(list(Path("sweep").glob("*/record.json"))) == 2


@pytest.mark.long
def test_a_run_from_before_contents_were_known_is_found_and_keeps_its_id(
    command: Callable[..., Said], words: list[str], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = earlier(monkeypatch, words)
    before = (old.folder / "record.json").read_bytes()
    code, out, err = command("train", *words)
    assert code == 0
    assert out.startswith("finished already: ")
    assert err.count("by names and sizes alone, so whether they contain what they did then is unknown;") == 1
    exchange(photos)
    assert command("train", *words)[0] == 0
    assert (old.folder / "record.json").read_bytes() == before
    code, out, err = command("evaluate", str(old.folder))
    assert (code, err.count("by names and sizes alone")) == (0, 1)
    assert err.endswith("is unknown\n"), "measuring takes no force"
    assert out.startswith("12 images: the run's own test images\n")
    shutil.copytree(photos, "others")
    code, out, err = command("evaluate", str(old.folder), "--data-root", "others")
    assert (code, err.count("by names and sizes alone")) == (0, 1)
    assert out.startswith("12 images: of the names and sizes of the run's own test images\n")
    settings = {json.loads(path.read_text())["settings"]["data"] for path in old.folder.glob("evaluations/*.json")}
    contents = inventory.take(serialize.from_flat(old.record.config).data).fingerprint
    assert settings == {old.record.fingerprint, contents}, (
        "what the table takes for the run's own, and what it does not"
    )
    code, out, err = command("train", *words, "force=true")
    assert (code, "by names and sizes alone" in err) == (0, False), "the way out trains anew"
    code, out, err = command("train", *words)
    assert (code, "by names and sizes alone" in err) == (0, False), "and its id comes first from then on"


@pytest.mark.long
def test_a_run_from_before_goes_on_under_its_id(
    command: Callable[..., Said], words: list[str], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = earlier(monkeypatch, [*words, "hydra.run.dir=run"])
    rows = json.loads(Path("run/record.json").read_text())
    Path("run/record.json").write_text(json.dumps({**rows, "status": "interrupted", "scores": []}))
    code, _, err = command("train", *words, "hydra.run.dir=run")
    assert (code, err.count("by names and sizes alone")) == (0, 1)
    again = json.loads(Path("run/record.json").read_text())
    assert (again["run_id"], again["fingerprint"]) == (old.record.run_id, old.record.fingerprint)
    assert again["weights"] == rows["weights"]
    meta = torch.load("run/checkpoints/last.ckpt", weights_only=True)["imgrec"]
    assert (meta["run_id"], meta["fingerprint"]) == (old.record.run_id, old.record.fingerprint)
    longer = ("trainer.max_epochs=2", "resume_override=[trainer.max_epochs]")
    code, _, err = command("train", "resume=run", *longer)
    assert code == 0, err
    Image.new("RGB", (8, 8)).save(photos / "row" / "late.png")
    code, _, err = command("train", "resume=run", *longer)
    assert (code, "have changed: split anew" in err) == (2, True)


@pytest.mark.slow
def test_a_run_from_before_is_verified_under_its_id(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(monkeypatch, [*words, "hydra.run.dir=run"])
    code, out, err = command("verify", "run")
    assert (code, out.partition(":")[0]) == (0, "bit-equal"), err
    assert "by names and sizes alone" in err


@pytest.mark.long
def test_a_sweep_from_before_is_finished_and_says_so_once(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        earlier(monkeypatch, [*words, f"seed={seed}", f"hydra.run.dir=sweep/{seed}-x"])
    for path in Path("sweep").glob("*-x"):
        path.rename(path.with_name(f"x-{json.loads((path / 'record.json').read_text())['run_id'][:8]}"))
    before = {path: path.read_bytes() for path in Path("sweep").glob("*/record.json")}
    code, _, err = command("train", "-m", *words, "seed=0,1", "hydra.sweep.dir=sweep")
    assert (code, err.count("by names and sizes alone")) == (0, 1)
    assert {path: path.read_bytes() for path in Path("sweep").glob("*/record.json")} == before
