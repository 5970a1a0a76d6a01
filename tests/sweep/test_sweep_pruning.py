"""Test searches that end trials early."""

import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import records
from imgrec.config.compose import compose
from imgrec.errors import UsageError
from imgrec.job import Job
from imgrec.sweeps import pruning
from imgrec.sweeps.run import Sweep
from imgrec.sweeps.strategies.optuna import Optuna

SWEEP = Path("outputs/default")
SLOW = "0:import time; from imgrec.training.progress import Speed; old = Speed.on_train_batch_end; " + (
    "Speed.on_train_batch_end = lambda self, *a: (old(self, *a), time.sleep(0.1))[0]"
)
SPACE = "optimizer.lr=tag(log,interval(1e-9,0.1))"


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    pruner = ["sweep.pruner=asha", "sweep.reduction_factor=2"]
    return [*tiny, "trainer.max_epochs=4", SPACE, "sweep=optuna", "sweep.trials=5", *pruner]


def states() -> Counter[str]:
    found = [records.read(path) for path in SWEEP.glob("*/record.json")]
    return Counter("pruned" if record.is_pruned else record.status for record in found)


def test_each_epoch_is_judged_once_and_the_last_one_never(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    monkeypatch.setattr(pruning, "_PAUSE", 0.0)
    config = compose([*(word for word in words if word != SPACE), "sweep.min_epochs=2"])
    assert isinstance(config.sweep, Optuna)
    study = optuna.create_study(direction="maximize", pruner=pruning.pruner_of(config.sweep))
    jobs = {
        name: Job(config=config, folder=tmp_path / name, run_id=name, fingerprint="")
        for name in ("good", "bad", "late")
    }
    judge = pruning.Judge(study, {name: study.ask().number for name in jobs})

    def reach(name: str, *top1: float) -> str | None:
        rows = [f"{8 * epoch},{epoch},val,top1,{value}\n" for epoch, value in enumerate(top1, start=1)]
        jobs[name].folder.mkdir(exist_ok=True)
        (jobs[name].folder / "curves.csv").write_text("step,epoch,split,metric,value\n" + "".join(rows))
        return judge.verdict(jobs[name])

    assert judge.verdict(jobs["good"]) is None, "it has no curves yet"
    assert reach("good", 0.5, 0.6) is None
    assert reach("bad", 0.1) is None, "every trial has two epochs"
    assert reach("bad", 0.1, 0.2) == "its validation top1 of 0.2000 after epoch 2 is not among the best at that epoch"
    assert reach("late", 0.1, 0.7, 0.8) is None
    assert reach("good", 0.5, 0.6, 0.6, 0.1) is None, "it has finished"
    reported = {trial.number: sorted(trial.intermediate_values) for trial in study.trials}
    assert reported == {0: [1, 2, 3], 1: [1, 2], 2: [1, 2, 3]}


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True], ids=["whole", "killed"])
def test_trials_that_are_not_among_the_best_are_ended_and_count_once(
    sweep: Callable[..., Any], words: list[str], command: Callable[..., tuple[int, str, str]], is_killed: bool
) -> None:
    words += ["launcher=pool", "launcher.processes=2"]
    child, said = sweep(*words, breaks=SLOW), ""
    if is_killed:
        assert child.signal_when(lambda: "pruned" in child.log.read_text(), signal.SIGKILL) == -9
        said = child.log.read_text()
        child = sweep(*words, breaks=SLOW)
    assert child.wait() == 0, child.log.read_text()
    said += child.log.read_text()
    assert states().keys() == {"finished", "pruned"}, said
    assert states().total() == 5
    told = r"its validation top1 of 0\.\d+ after epoch \d is not among the best at that epoch"
    assert re.search(rf"pruned    lr-\S+: {told}", said), said
    assert "search: the best of 5 trials" in said

    before = {path: path.stat().st_mtime_ns for path in SWEEP.glob("*/record.json")}
    again = sweep(*words)
    assert again.wait() == 0, again.log.read_text()
    assert {path: path.stat().st_mtime_ns for path in SWEEP.glob("*/record.json")} == before
    code, out, _ = command("sweep", "status", str(SWEEP))
    assert code == 0
    assert re.search(rf"^pruned       lr-\S+: {told}$", out, re.MULTILINE), out


def test_a_launcher_that_cannot_end_a_run_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"sweep\.pruner needs a launcher that can end one run .* give launcher=pool"):
        Sweep(words)
    assert not SWEEP.exists()
