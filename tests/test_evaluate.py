"""Test `imgrec evaluate --data-root`: the own split of moved images, all of other images, no trained images."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_gpus
import numpy as np
import pytest
import torch
from PIL import Image

from imgrec import environment, inference, launch
from imgrec.tables.gather import gather

Said = tuple[int, str, str]
CLASSES = ("column", "diagonal", "row")


def draw(folder: Path, count: int, *, seed: int, classes: tuple[str, ...] = CLASSES) -> Path:
    """Images that no run was trained on."""
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture
def evaluate(command: Callable[..., Said], finished: Path) -> Callable[..., Said]:
    """`imgrec evaluate run WORDS...` on a finished run over 60 + 12 + 12 images."""
    return lambda *words: command("evaluate", "run", *words)


def measurements(n: int) -> dict[str, Any]:
    """The settings of the newest of n measurements, and its number of images."""
    files = sorted(Path("run/evaluations").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == n
    rows = json.loads(files[-1].read_text())
    assert {score["n"] for score in rows["scores"]} == {rows["scores"][0]["n"]}
    return {**rows["settings"], "n": rows["scores"][0]["n"]}


def top1(out: str) -> str:
    return out.splitlines()[3].split()[3]


def test_a_measurement_names_its_device_and_takes_the_one_that_is_asked_for(
    evaluate: Callable[..., Said],
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cpu = environment.environment()["cpu"]
    record = json.loads((finished / "record.json").read_text())
    assert (record["environment"]["device"], record["environment"]["deterministic"]) == (cpu, True)
    assert evaluate("--device", "gpu")[2].endswith(
        "--device=gpu needs a CUDA GPU and this machine has none; use --device cpu\n"
    )
    assert evaluate("--device", "tpu")[0] == 2
    assert evaluate("--device", "cpu")[::2] == (0, "")
    (path,) = (finished / "evaluations").glob("*.json")
    rows = json.loads(path.read_text())
    assert (rows["environment"]["device"], rows["environment"]["deterministic"]) == (cpu, True)
    own = [score for score in record["scores"] if (score["split"], score["at"]) == ("test", "best")]
    assert rows["scores"] == own, "as in the final reading"
    fake_gpus.install(monkeypatch, tmp_path, "NVIDIA H200", driver="470.82.01", cuda=11040)
    assert evaluate()[0] == 0
    assert "--device=auto takes the CPU, as the NVIDIA driver 470.82.01 reports GPUs that PyTorch" in caplog.text
    assert evaluate("--device", "gpu")[0] == 2


def test_a_measurement_of_a_gpu_and_one_of_the_cpu_are_two_files(
    evaluate: Callable[..., Said], finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The CPU computes for the GPU, which is none, with logits that round differently."""
    assert evaluate("--device", "cpu")[0] == 0
    (of_cpu,) = (finished / "evaluations").glob("*.json")
    rows, kept = json.loads(of_cpu.read_text()), of_cpu.with_suffix(".npz").read_bytes()
    assert "device" not in rows["settings"]
    plain = inference.predict

    def predict(*arguments: Any, device: torch.device, **words: Any) -> Any:
        assert device.type == "cuda"
        found = plain(*arguments, device=torch.device("cpu"), **words)
        return {key: replace(each, logits_nk=each.logits_nk * 1.0001) for key, each in found.items()}

    monkeypatch.setattr(inference, "predict", predict)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: "NVIDIA H200")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 90100)
    fake_gpus.install(monkeypatch, tmp_path, "NVIDIA H200")
    for _ in range(2):
        code, _, err = evaluate()
        assert code == 0, err
    (of_gpu,) = {*(finished / "evaluations").glob("*.json")} - {of_cpu}
    measured = json.loads(of_gpu.read_text())
    assert measured["settings"] == {**rows["settings"], "device": "gpu"}
    assert measured["environment"]["device"] == "NVIDIA H200"
    assert (json.loads(of_cpu.read_text()), of_cpu.with_suffix(".npz").read_bytes()) == (rows, kept)
    assert of_gpu.with_suffix(".npz").is_file()


def test_images_that_only_moved_have_the_runs_own_split(
    evaluate: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    code, own, _ = evaluate()
    assert code == 0
    assert own.startswith("12 images: the run's own test images\n")
    shutil.copytree(tiny_images, "moved")
    code, out, err = evaluate("--data-root", "moved")
    assert (code, out, err) == (0, own, "")
    assert measurements(1)["n"] == 12
    assert evaluate("--data-root", "moved", "--split", "val")[1].startswith("12 images: the run's own val images\n")


def test_a_copy_of_the_training_images_is_refused_however_it_was_changed(
    evaluate: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    """With a file less or other names, the split would be drawn again, over images that were trained on."""
    shutil.copytree(tiny_images, "copy")
    for path in sorted(Path("copy").glob("*/*.png")):
        path.rename(path.with_stem(f"photo {path.stem}"))
    next(Path("copy").glob("*/*.png")).unlink()
    code, out, err = evaluate("--data-root", "copy")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--data-root=copy must hold images that run was not trained on, and " in err
    count, whole = (int(word) for word in err.split() if word.isdigit())
    assert (whole, count in (59, 60)) == (83, True)
    assert not list(finished.glob("evaluations/*"))
    code, out, err = evaluate("--data-root", "copy", "--allow-trained")
    assert (code, err) == (0, "")
    assert out.startswith(f"83 images: all of copy, {count} of them trained on\n")
    settings = measurements(1)
    assert (settings["part"], settings["trained_on"], settings["n"]) == ("all", count, 83)


def test_other_images_are_measured_whole(evaluate: Callable[..., Said], finished: Path) -> None:
    draw(Path("others"), 5, seed=1)
    code, out, err = evaluate("--data-root", "others")
    assert (code, err) == (0, "")
    assert out.startswith("15 images: all of others\n")
    assert (measurements(1)["part"], measurements(1)["n"]) == ("all", 15)
    code, out, err = evaluate("--data-root", "others", "--split", "val")
    assert (code, out) == (2, "")
    assert err.endswith("and it has none; leave --split out to measure all of its images\n")


def test_of_other_images_in_splits_one_is_measured(evaluate: Callable[..., Said], finished: Path) -> None:
    for seed, (split, count) in enumerate({"train": 4, "test": 2}.items()):
        draw(Path("others") / split, count, seed=seed)
    code, out, err = evaluate("--data-root", "others")
    assert (code, err) == (0, "")
    assert out.startswith("6 images: test/ of others\n")
    code, out, err = evaluate("--data-root", "others", "--split", "val")
    assert (code, out) == (2, "")
    way_out = err.rpartition("such as ")[2].split()
    assert way_out == ["--data-root", "others/test"]
    assert evaluate(*way_out)[1].startswith("6 images: all of others/test\n")
    assert measurements(2)["part"] == "all", "a measurement of the same images under another name is one of its own"


def test_one_known_image_among_others_is_named(
    evaluate: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    draw(Path("others"), 3, seed=2)
    for k in range(28):
        shutil.copy(tiny_images / "row" / f"{k:02}.png", f"others/column/again {k:02}.png")
    code, _, err = evaluate("--data-root", "others")
    assert code == 2
    assert "(such as column/again " in err


@pytest.mark.parametrize(
    ("classes", "difference"),
    [
        (("column", "row"), "lacks diagonal;"),
        ((*CLASSES, "ring", "star"), "has ring, star besides;"),
        (("column", "diagonal", "Row"), "lacks row and has Row besides;"),
    ],
)
def test_other_classes_are_named(
    evaluate: Callable[..., Said], finished: Path, classes: tuple[str, ...], difference: str
) -> None:
    draw(Path("others"), 1, seed=3, classes=classes)
    code, out, err = evaluate("--data-root", "others")
    assert (code, out) == (2, "")
    assert f"must have the network's 3 classes as folders, and {difference}" in err


def test_what_an_older_run_was_trained_on_is_said_to_be_unknown(
    evaluate: Callable[..., Said], command: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    (finished / "trained_images.bin").unlink()
    draw(Path("others"), 2, seed=4)
    code, out, err = evaluate("--data-root", "others")
    assert (code, out.splitlines()[0]) == (0, "6 images: all of others")
    assert err == ("imgrec: run: which images it was trained on was not noted, so some of the 6 may be among them\n")
    shutil.copy(finished / "checkpoints" / "last.ckpt", "lone.ckpt")
    assert "was not noted" in command("evaluate", "lone.ckpt", "--data-root", "others")[2]
    finished.rename("two\nlines \x1b[2J")
    _, _, err = command("evaluate", "two\nlines \x1b[2J", "--data-root", "others")
    assert err.startswith("imgrec: two lines \\x1b[2J: which images it was trained on was not noted")
    assert err.count("\n") == 1


@pytest.mark.parametrize("spoil", [b"", b"\0" * 8, b"imgrec trained images 1 " + b"0" * 64 + b"\n" + b"\0" * 8])
def test_a_note_that_is_damaged_or_another_runs_is_refused(
    evaluate: Callable[..., Said], finished: Path, spoil: bytes
) -> None:
    draw(Path("others"), 1, seed=5)
    (finished / "trained_images.bin").write_bytes(spoil)
    code, out, err = evaluate("--data-root", "others")
    assert (code, out) == (1, "")
    assert "run/trained_images.bin must name the images that run " in err
    (finished / "trained_images.bin").unlink()
    assert evaluate("--data-root", "others")[0] == 0, "the way out"


def test_a_checkpoint_in_its_run_knows_its_images(
    command: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    shutil.copytree(tiny_images, "copy")
    (Path("copy") / "row" / "00.png").unlink()
    code, _, err = command("evaluate", "run/checkpoints/last.ckpt", "--data-root", "copy")
    assert (code, "among its training images" in err) == (2, True)


def test_allowing_what_cannot_happen_is_refused(evaluate: Callable[..., Said], finished: Path) -> None:
    code, out, err = evaluate("--allow-trained")
    assert (code, out) == (2, "")
    assert "--allow-trained is of other images than the run's own" in err


def test_a_run_that_goes_on_over_other_images_knows_both(
    command: Callable[..., Said], tiny: list[str], tiny_images: Path, finished: Path
) -> None:
    others = draw(Path("others"), 12, seed=6)
    may = "resume_override=[trainer.max_epochs,data.root]"
    words = ("resume=run", f"data.root={others}", "trainer.max_epochs=2", may, "hydra.run.dir=longer")
    code, _, err = command("train", *words)
    assert code == 0, err
    shutil.copytree(tiny_images, "copy")
    (Path("copy") / "row" / "00.png").unlink()
    code, _, err = command("evaluate", "longer", "--data-root", "copy")
    assert (code, "among its training images" in err) == (2, True)
    assert "trained_on" not in json.loads(Path("longer/record.json").read_text())["images"]


def test_a_run_that_goes_on_counts_what_its_parent_was_trained_on(
    command: Callable[..., Said], tiny_images: Path, finished: Path
) -> None:
    """The images are the same without one, and split again."""
    shutil.copytree(tiny_images, "copy")
    (Path("copy") / "row" / "00.png").unlink()
    may = "resume_override=[trainer.max_epochs,data.root]"
    words = ("resume=run", "data.root=copy", "trainer.max_epochs=2", may, "hydra.run.dir=longer")
    code, _, err = command("train", *words)
    assert code == 0, err
    counts = json.loads(Path("longer/record.json").read_text())["images"]["trained_on"]
    assert set(counts) == {"val", "test"}
    for split, count in counts.items():
        assert 0 < count <= 12
        assert f"{count} of 12 {split} images are among those that " in err


def test_a_table_takes_no_measurement_of_other_images_for_the_runs_own(
    evaluate: Callable[..., Said], finished: Path
) -> None:
    draw(Path("others"), 2, seed=7)
    assert evaluate("--data-root", "others", "--protocol", "tta_flip")[0] == 0
    found = gather([Path("run")])
    assert {score.protocol for score in found.runs[0].record.scores} == {"clean"}
    (note,) = found.notes
    assert note.startswith("left out, as it measures other images than the run's own: run/evaluations/tta_flip-")
    assert evaluate("--protocol", "tta_flip")[0] == 0
    found = gather([Path("run")])
    assert {score.protocol for score in found.runs[0].record.scores} == {"clean", "tta_flip"}


@pytest.mark.long
def test_the_digits_have_no_such_file(tiny: list[str], workplace: Path) -> None:
    words = [word for word in tiny if not word.startswith("data.")]
    run = launch.train([*words[1:], "data=digits", "trainer.max_epochs=1"])
    assert not (run.folder / "trained_images.bin").exists()
