"""Test sweep.estimate=true: what a sweep costs, from records of like runs or a measurement, with nothing written."""

import multiprocessing.util
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from fake_runs import lay, run
from runs import one_line, tree

from imgrec.config.compose import compose
from imgrec.data.inventory import DIGITS
from imgrec.environment import name_of
from imgrec.sweeps import like_runs, rehearsals
from imgrec.sweeps import search as search_of
from imgrec.sweeps.like_runs import Known, Machine

Said = tuple[int, str, str]
ASKED = "sweep.estimate=true"
WORDS = ["data=digits", "trainer=cpu", "trainer.threads=1", "trainer.max_epochs=10"]
COST = {"seconds": 50.0, "train_seconds": 40.0, "images_per_second": 300.0, "parameters": 5, "flops_per_image": 2e6}


def lay_run(words: str = "", *, epochs: int = 10, place: str = "outputs/default", **changes: Any) -> Path:
    """A finished run of these words that took 50 seconds on this machine, with one thread."""
    device = {"threads": 1, "device": name_of(torch.device("cpu"))} | changes.pop("environment", {})
    given: dict[str, Any] = {"cost": COST, "progress": {"epochs": epochs}, "environment": device} | changes
    text = " ".join([*WORDS[:-1], f"trainer.max_epochs={epochs}", *words.split()])
    return lay(Path(place), run(text, fingerprint=DIGITS, **given))


def line(out: str, name: str) -> str:
    """What the estimate says there."""
    (found,) = [text for text in out.splitlines() if text.startswith(name)]
    return found.removeprefix(name).strip()


def test_records_of_like_runs_tell_what_a_sweep_costs(command: Callable[..., Said], workplace: Path) -> None:
    lay_run("optimizer.lr=0.1 seed=7")
    slower = COST | {"seconds": 54.0, "train_seconds": 48.0, "images_per_second": 250.0}
    lay_run("optimizer.lr=0.2 seed=8 schedule=cosine", cost=slower)
    before = tree(workplace)
    settings = ["sweep.price=2", "sweep.watts=100", "sweep.carbon=0.5"]
    code, out, err = command("train", "-m", *WORDS, "optimizer.lr=0.1,0.3", "seed=7,9", *settings, ASKED)
    assert (code, err) == (0, "")
    assert tree(workplace) == before
    assert out.splitlines()[0] == "4 runs: 1 finished, 3 to do"
    assert line(out, "images").startswith("3.6e+04 in training")  # 1 200 images, ten epochs, three runs
    assert line(out, "FLOPs").startswith("2.16e+11 ")  # three times 2e6 for each
    assert line(out, "a run").startswith("53 s [51 s, 55 s]  (3 such as ")  # 52, and what is not in records
    assert "2 finished runs like it in outputs/default" in line(out, "a run")
    wall = re.match(r"(\d\.\d) min \[.*\]  \(launcher=basic, 1 run at a time\)", line(out, "wall time"))
    assert wall
    assert 3 * 52 <= 60 * float(wall[1]) <= 3 * 52 + 20
    hours = float(line(out, "core hours").split()[0])
    assert hours == pytest.approx(3 * 53.2 / 3600, rel=0.01)
    for name, factor in (("money", 2), ("energy", 0.1), ("CO2", 0.05)):
        assert float(line(out, name).split()[0]) == pytest.approx(factor * hours, rel=0.01), name


@pytest.mark.long
def test_what_is_not_known_is_left_out_or_said(command: Callable[..., Said], workplace: Path) -> None:
    lay_run("trainer.early_stopping=2")
    code, out, _ = command("train", "-m", *WORDS, "trainer.early_stopping=3", "seed=range(4)", ASKED)
    assert code == 0
    assert "money" not in out
    assert "12 W a core: Green Algorithms' value of any CPU" in line(out, "energy")
    assert "0.481 kg a kWh" in line(out, "CO2")
    assert "- trainer.early_stopping may end runs early, which count as whole" in out


@pytest.mark.long
def test_frozen_layers_are_counted_as_if_they_trained_and_it_says_so(
    command: Callable[..., Said], workplace: Path
) -> None:
    freezes = ["model.freeze=backbone", "model.unfreeze_at=2"]
    lay_run(" ".join(freezes))
    lay_run()
    _, out, _ = command("train", "-m", *WORDS, *freezes, "seed=range(4)", ASKED)
    assert "- what frozen layers save: FLOPs count their backward pass" in out
    _, out, _ = command("train", "-m", *WORDS, "seed=range(4)", ASKED)
    assert "frozen" not in out


@pytest.mark.long
def test_runs_of_other_epochs_are_scaled_with_the_range_of_what_is_unknown(
    command: Callable[..., Said], workplace: Path
) -> None:
    lay_run(epochs=5)  # 40 s of training and 10 s of the rest, which belong to the run or to its epochs
    _, out, _ = command("train", "-m", *WORDS, "launcher=pool", "launcher.processes=2", "seed=range(1,5)", ASKED)
    found = re.match(r"([\d.]+) s \[([\d.]+) s, ([\d.]+) (s|min)\]", line(out, "a run"))
    assert found
    assert 90 <= float(found[2]) <= float(found[1]) <= 98
    assert "2 runs at a time" in line(out, "wall time")
    assert 2 * 95 <= 60 * float(line(out, "wall time").split()[0]) <= 2 * 95 + 25


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("model.widths=[8,16]", {}),
        ("data.batch_size=64", {}),
        ("augment=crop_flip", {}),
        ("trainer.precision=bf16-mixed", {}),
        ("optimizer=adamw", {}),
        ("test_protocols=[tta_flip]", {}),
        ("", {"environment": {"threads": 2}}),
        ("", {"environment": {"device": "another CPU"}}),
        ("", {"status": "interrupted"}),
        ("", {"parent": "outputs/default/another"}),
        ("", {"cost": {}}),
    ],
)
@pytest.mark.long
def test_other_runs_are_not_like_it(words: str, changes: dict[str, Any], workplace: Path) -> None:
    lay_run(words, **changes)
    here = Machine(device=name_of(torch.device("cpu")), threads=1)
    known = Known(Path("outputs/default"), None)
    assert known.like(compose(WORDS), [DIGITS], here) is None
    lay_run("seed=3 optimizer.lr=0.7")
    found = Known(Path("outputs/default"), None).like(compose(WORDS), [DIGITS], here)
    assert found is not None
    assert [record.config["seed"] for record in found.found] == [3]
    assert Known(Path("outputs/default"), None).like(compose(WORDS), ["f" * 64], here) is None


def test_of_other_machines_only_the_sweeps_own_runs_count(workplace: Path) -> None:
    lay_run(environment={"device": "a node"}, place="outputs/mine")
    lay_run("seed=1", place="outputs/default")
    found = Known(Path("outputs/mine"), None).like(compose(WORDS), [DIGITS], None)
    assert found is not None
    assert [record.environment["device"] for record in found.found] == ["a node"]
    assert Known(Path("outputs/none"), None).like(compose(WORDS), [DIGITS], None) is None


@pytest.mark.long
def test_a_tuned_sweep_counts_its_tries_and_its_final_runs(command: Callable[..., Said], workplace: Path) -> None:
    for words in ("optimizer=sgd", "optimizer=adam", "optimizer=sgd test=false", "optimizer=adam test=false"):
        lay_run(f"{words} seed=50")
    tuned = ["sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.1,1,10"]', "sweep.tune_seeds=[100]"]
    code, out, err = command("train", "-m", *WORDS, *tuned, "optimizer=sgd,adam", "seed=0,1", ASKED)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "10 runs: 10 to do"  # 2 choices by 3 values, then 2 choices by 2 seeds
    assert out.count("(3 such as") == 2
    assert out.count("(2 such as") == 2


@pytest.mark.long
def test_a_search_counts_its_trials(command: Callable[..., Said], workplace: Path) -> None:
    for words in ("optimizer=sgd test=false", "optimizer=adam test=false"):
        lay_run(f"{words} seed=50")
    search = ["sweep=optuna", "sweep.trials=7", "optimizer.lr_scale=interval(0.1,10)", "optimizer=sgd,adam"]
    pruned = ["sweep.pruner=asha", "launcher=pool", "launcher.processes=1"]
    study = optuna.create_study(storage=f"sqlite:///{Path('outputs/default', search_of.STORAGE)}", study_name="imgrec")
    for value in (0.5, 0.6):  # of an earlier command
        study.add_trial(optuna.trial.create_trial(value=value, user_attrs={"begun": True}))
    before = tree(workplace)
    code, out, err = command("train", "-m", *WORDS, *search, *pruned, ASKED)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "7 runs: 2 finished, 5 to do"
    assert "3 such as" in out
    assert "2 such as" in out
    assert "sweep.pruner=asha ends trials early, which all count as whole" in out
    assert tree(workplace) == before


@pytest.mark.long
def test_a_sweep_with_nothing_left_costs_nothing(command: Callable[..., Said], workplace: Path) -> None:
    for seed in (0, 1):
        lay_run(f"seed={seed}")
    code, out, _ = command("train", "-m", *WORDS, "seed=0,1", ASKED)
    assert (code, out) == (0, "2 runs: 2 finished; nothing is left to do\n")


@pytest.mark.long
def test_a_distributed_run_without_records_is_said_to_be_unknown(command: Callable[..., Said], workplace: Path) -> None:
    words = ["data=digits", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    code, out, _ = command("train", "-m", *words, "seed=0,1", ASKED)
    assert code == 0
    assert line(out, "a run").startswith("unknown: 2 such as")
    assert "wall time" not in out


@pytest.fixture
def place(tmp_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; each kind is measured in a second."""
    multiprocessing.util.get_temp_dir()  # stays where it is, as its sockets need a short path
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr("imgrec.sockets.LONGEST", 1000)
    monkeypatch.setattr(rehearsals, "SECONDS", 0.5)
    return folder


@pytest.mark.long
def test_without_records_a_kind_is_measured_and_nothing_stays(
    command: Callable[..., Said], tiny: list[str], workplace: Path, place: Path
) -> None:
    words = [*tiny, "trainer.max_epochs=40", "optimizer.lr=0.01,0.02", "seed=0,1,2,3"]
    code, out, err = command("train", "-m", *words, "launcher=pool", "launcher.processes=2", ASKED)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "8 runs: 8 to do"
    assert line(out, "images").startswith("1.92e+04 ")  # 60 images, 40 epochs, 8 runs
    told = line(out, "a run")  # one kind: seeds and rates cost no time
    assert re.search(r"\(8 such as .*; measured on this machine: \d+ steps, 2 at a time\)", told)
    assert "2 runs at a time" in line(out, "wall time")
    assert "what was measured is that of this moment" in out
    assert list(workplace.iterdir()) == [place]
    assert list(place.glob("imgrec-*")) == []


@pytest.mark.long
def test_a_run_that_cannot_be_measured_is_told_of(
    command: Callable[..., Said], tiny: list[str], workplace: Path, place: Path
) -> None:
    code, out, err = command("train", "-m", *tiny, "optimizer=sgd", "optimizer.lr_scale=1e30,2e30", ASKED)
    assert (code, out) == (1, "")
    assert re.search(r"measures a run such as \S+, which has failed: .*must be finite.*; mend it", one_line(err))
    assert list(workplace.iterdir()) == [place]
    assert list(place.glob("imgrec-*")) == []


@pytest.mark.slow
def test_a_measurement_that_is_interrupted_leaves_nothing(
    imgrec: Callable[..., Any], tiny: list[str], workplace: Path, place: Path
) -> None:
    words = [*tiny, "trainer.max_epochs=40", "seed=0,1", ASKED]
    child = imgrec("train", "-m", *words)
    assert child.signal_when(lambda: any(place.glob("imgrec-*/0/later")), signal.SIGTERM) == 143
    assert child.log.read_text().endswith("imgrec: interrupted by SIGTERM: nothing is recorded\n")
    assert sorted(path for path in workplace.iterdir() if path != child.log) == [place]
    assert list(place.glob("imgrec-*")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "sweep.estimate=true,false"], "sweep.estimate holds for a whole sweep"),
        ([ASKED], "sweep.estimate=true says how a sweep goes, and this is one run; add -m"),
        (["-m", ASKED, "sweep.watts=0"], "sweep.watts must be > 0 and finite, got 0"),
        (["-m", ASKED, "sweep.carbon=-1"], "sweep.carbon must be >= 0 and finite, got -1"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], told: str, command: Callable[..., Said], workplace: Path) -> None:
    code, out, err = command("train", *WORDS, *words)
    assert (code, out) == (2, "")
    assert told in one_line(err)
    assert list(workplace.iterdir()) == []


def test_a_kind_ignores_what_costs_no_time() -> None:
    """Such as seeds, rates and schedules; a rate of 0 may spare work."""
    kinds = {
        words: like_runs.kind(compose([*WORDS, *words.split()]))
        for words in ("", "seed=3 init_seed=4", "optimizer.weight_decay=0.1", "optimizer.weight_decay=0.2")
    }
    assert kinds[""] == kinds["seed=3 init_seed=4"]
    assert kinds["optimizer.weight_decay=0.1"] == kinds["optimizer.weight_decay=0.2"] != kinds[""]
