"""Test a `best.ckpt` that is missing, damaged or of another run: it is reported, never scored, and a retry goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import state

from imgrec import launch, runfolder
from imgrec.errors import RunError
from imgrec.stored.best import Best
from imgrec.stored.resume_state import best_of
from imgrec.training import best_checkpoint, run

SLOW = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def past_its_best(tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A run of four epochs whose first is the best, which ended before its final reading; its words."""

    def train(*words: str) -> list[str]:
        said = [*tiny, "optimizer=sgd", "optimizer.lr=1e-9", "trainer.max_epochs=4", "hydra.run.dir=run", *words]
        with monkeypatch.context() as patched:
            patched.setattr(run.final, "read", _fail)
            patched.setattr(Best, "is_better_than", lambda now, other: now.epoch == 1)  # its validation gets worse
            with pytest.raises(RunError, match="the disk went away"):
                launch.train(said)
        return said

    return train


def _fail(*arguments: Any) -> Any:
    raise OSError("the disk went away")


def spoil(how: str, one_run: Path) -> None:
    path = Path("run/checkpoints/best.ckpt")
    if how == "gone":
        path.unlink()
    elif how == "damaged":
        content = path.read_bytes()
        path.unlink()  # the generations may be one file
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
        shutil.copy(one_run / "checkpoints/best.ckpt", path)
        shutil.copy(one_run / "checkpoints/best.ckpt.sha256", f"{path}.sha256")


@pytest.mark.parametrize(
    ("how", "why", "words"),
    [
        ("gone", "is gone", ("trainer.async_save=true",)),
        ("another run's", "is of another run, or of another moment", ()),
        pytest.param("damaged", "is damaged", (), marks=SLOW),
    ],
)
@pytest.mark.long
def test_a_best_that_is_not_the_run_s_own_is_said_and_not_scored(
    past_its_best: Callable[..., list[str]], one_run: Path, command: Command, how: str, why: str, words: tuple[str, ...]
) -> None:
    said = past_its_best(*words)
    noted = state(Path("run"))["callbacks"]["Saver"]["best_file"]
    assert noted["sha256"] == Path("run/checkpoints/best.ckpt.sha256").read_text().split()[0]
    assert noted["run_id"] == runfolder.record_of(Path("run")).run_id
    spoil(how, one_run)
    code, out, err = command("train", *said)
    assert code == 0, err
    assert f"best.ckpt {why}" in err
    assert "of epoch 1 with a validation top1 of" in err
    assert f"the best of epoch 1 is lost: best.ckpt {why}" in out
    record = runfolder.record_of(Path("run"))
    assert record.progress["best"] is None
    assert record.progress["best_lost"]["epoch"] == 1
    assert {score.at for score in record.scores} == {"last"}
    assert Path("run/checkpoints/best.lost.ckpt").exists() == (how != "gone")
    code, out, err = command("table", "run")
    assert code == 0
    assert "at the last epoch (best.ckpt was lost)" in out
    assert f"best.ckpt of epoch 1 {why}; scored at the last" in " ".join(out.split())


@pytest.mark.long
def test_a_best_that_previous_or_last_still_hold_is_restored(
    past_its_best: Callable[..., list[str]], one_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = past_its_best("trainer.max_epochs=2")
    for how in ("gone", "another run's"):
        spoil(how, one_run)
        folder = Path("run/checkpoints")
        best = best_of(state(Path("run")))
        assert best is not None
        assert best_checkpoint.strange(folder / "best.ckpt", best, None) is not None
        assert best_checkpoint.restored(folder, best, 16)
        assert best_checkpoint.strange(folder / "best.ckpt", best, None) is None
    assert {score.at for score in launch.train(said).record.scores} == {"best", "last"}


@pytest.mark.long
def test_a_state_without_the_digest_goes_on_with_its_best(
    past_its_best: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version wrote the state, so that the description in the file itself has to agree."""
    from imgrec.training.saver import Saver

    older = Saver.state_dict
    with monkeypatch.context() as patched:
        patched.setattr(Saver, "state_dict", lambda self: {**older(self), "best_file": None})
        said = past_its_best()
    assert {score.at for score in launch.train(said).record.scores} == {"best", "last"}


@pytest.mark.slow
def test_a_run_that_goes_on_without_its_best_chooses_another(
    past_its_best: Callable[..., list[str]], one_run: Path
) -> None:
    past_its_best()
    spoil("another run's", one_run)
    longer = launch.train(["resume=run", "trainer.max_epochs=6", "resume_override=[trainer.max_epochs]"])
    assert longer.record.progress["best"]["epoch"] > 4
    assert longer.record.progress["best_lost"]["epoch"] == 1


@pytest.mark.long
def test_evaluate_measures_no_other_file_in_the_place_of_the_best(
    finished: Path, undisturbed: Callable[..., Path], command: Command
) -> None:
    other = undisturbed("trainer.max_epochs=2", "schedule=cosine") / "checkpoints"
    for name in ("best.ckpt", "best.ckpt.sha256"):
        (finished / "checkpoints" / name).unlink()
        shutil.copy(other / name, finished / "checkpoints" / name)
    code, _, err = command("evaluate", "run")
    assert code == 1
    assert "it is of another run, or of another moment; restore the run's own, or measure the file as it is: " in err
    assert command("evaluate", err.split()[-1])[0] == 0
    (finished / "checkpoints/best.ckpt").write_bytes(b"damaged")
    code, _, err = command("evaluate", "run")
    assert code == 1
    assert err.rstrip().endswith("or measure the run's end with --at last")
    (finished / "checkpoints/best.ckpt").unlink()
    code, _, err = command("evaluate", "run")
    assert code == 1
    assert "record.json tells of it: it is gone; restore it, or measure the run's end with --at last" in err
    assert command("evaluate", "run", "--at", "last")[0] == 0
    record = json.loads((finished / "record.json").read_text())
    record["weights"]["last"] = "0" * 64
    (finished / "record.json").write_text(json.dumps(record))
    assert command("evaluate", "run", "--at", "last")[0] == 1
