"""Test trainer.fast_dev_run=true: a few batches of everything in a temporary folder, which is removed."""

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

from imgrec.config.compose import compose
from imgrec.config.identity import run_id

Said = tuple[int, str, str]
TRY = "trainer.fast_dev_run=true"


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = workplace / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.long
def test_it_goes_through_training_validation_and_test_and_leaves_nothing(
    command: Callable[..., Said], tiny: list[str], workplace: Path, place: Path
) -> None:
    words = [*tiny, "trainer.max_epochs=40", "schedule=cosine", "trainer.tensorboard=true", "data.eval_batch_size=2"]
    code, out, err = command("train", *words, "test_protocols=[clean,tta_flip]", TRY)
    assert code == 0
    assert out == (
        "tried out: 3 steps of training, then val clean, val tta_flip, test clean, test tta_flip; nothing is recorded"
        " (trainer.fast_dev_run)\n"
    )
    assert "reading test at best, clean: 6 images" in err
    assert list(place.glob("imgrec-*")) == []
    assert list(workplace.iterdir()) == [place]


def test_a_run_that_fails_leaves_nothing_either(
    command: Callable[..., Said], tiny: list[str], workplace: Path, place: Path
) -> None:
    code, out, err = command("train", *tiny, TRY, "optimizer=sgd", "optimizer.lr_scale=1e30")
    assert (code, out) == (1, "")
    assert "must be finite" in one_line(err)
    assert list(place.glob("imgrec-*")) == []
    assert list(workplace.iterdir()) == [place]


def test_one_that_is_interrupted_leaves_nothing_and_promises_nothing(
    imgrec: Callable[..., Any], tiny: list[str], workplace: Path, place: Path
) -> None:
    child = imgrec("train", *tiny, TRY, before=_interrupted_at_once)
    assert child.wait() == 143
    assert child.log.read_text().endswith("imgrec: interrupted by SIGTERM: nothing is recorded\n")
    assert list(place.glob("imgrec-*")) == []
    assert not (workplace / "outputs").exists()


def _interrupted_at_once() -> None:
    """Ask this process to end at its first training step."""
    from imgrec.classifier import Classifier

    step = Classifier.training_step

    def ends(self: Classifier, batch: Any, batch_idx: int) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    Classifier.training_step = ends  # type: ignore[method-assign]


def test_it_is_no_part_of_what_a_run_is() -> None:
    words = ["data=digits", "model.hidden=16"]
    assert run_id(compose(words), "f") == run_id(compose([*words, TRY]), "f")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-m", "seed=0,1"], "trainer.fast_dev_run tries one run out, and a sweep asks for several; leave out one"),
        (["hydra.run.dir=here"], "hydra.run.dir has no effect on trainer.fast_dev_run=true, which begins anew"),
        (["resume=run"], "resume has no effect on trainer.fast_dev_run=true, which begins anew"),
    ],
)
def test_it_does_not_go_with_sweeps_named_folders_and_runs_to_resume(
    command: Callable[..., Said], tiny: list[str], finished: Path, words: list[str], sentence: str
) -> None:
    base = [] if words[0].startswith("resume") else tiny
    code, out, err = command("train", *base, TRY, *words)
    assert (code, out) == (2, "")
    assert sentence in one_line(err)
    assert not Path("outputs").exists()
