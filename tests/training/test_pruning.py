"""Test runs that leave out the easiest training images."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import assert_same_run, state, steps_logged

from imgrec import launch
from imgrec.training.pruning import Pruning

PRUNED = ("data.prune=0.4", "data.prune_after=0.5", "trainer.max_epochs=4", "augment=crop_flip", "model.dropout=0.3")


def subset_of(folder: Path) -> dict[str, Any]:
    subset: dict[str, Any] = state(folder)["ImageData"]["subset"]
    return subset


@pytest.mark.long
def test_the_images_with_the_smallest_losses_in_the_epoch_before_are_left_out(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = torch.full((2, 60), torch.nan)  # by epoch and image, as this test has it
    visited: list[list[int]] = [[], [], [], []]
    note = Pruning.on_train_batch_end

    def watched(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        epoch = trainer.current_epoch
        places = trainer.datamodule.indices(epoch, batch_idx)
        visited[epoch] += places
        if epoch < 2:
            noted[epoch, places] = -outputs["logits"].log_softmax(1)[range(len(places)), batch[1]]
        note(self, trainer, module, outputs, batch, batch_idx)

    monkeypatch.setattr(Pruning, "on_train_batch_end", watched)
    outcome = launch.train([*tiny, *PRUNED])
    easiest = noted[1].argsort(stable=True)[:24]
    assert sorted(visited[0]) == sorted(visited[1]) == list(range(60))
    late = visited[2] + visited[3]
    assert len(late) == 120
    assert set(late) == set(range(60)) - set(easiest.tolist())
    assert sorted(late[:36]) == sorted(late[36:72]) == sorted(set(late))
    subset = subset_of(outcome.folder)
    assert subset["since"] == 2
    assert set((~subset["kept"]).nonzero().flatten().tolist()) == set(easiest.tolist())
    said = "from epoch 3 on without the easiest 24 of 60 training images, whose loss is at most"
    assert f"{said} {noted[1, easiest[-1]]:.3f}" in (outcome.folder / "train.log").read_text()


@pytest.mark.parametrize(
    ("step", "signum", "code", "workers", "noting", "pruned"),
    [
        (9, signal.SIGKILL, -9, 0, False, False),  # what is saved is the end of the first epoch
        (11, signal.SIGTERM, 143, 2, True, False),  # the step at hand
        (17, signal.SIGKILL, -9, 2, False, True),
        (19, signal.SIGTERM, 143, 0, False, True),
    ],
)
@pytest.mark.long
def test_a_run_cut_around_its_choice_ends_as_the_undisturbed_one(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    step: int,
    signum: signal.Signals,
    code: int,
    workers: int,
    noting: bool,
    pruned: bool,
) -> None:
    """An epoch has 8 steps: losses are noted from step 9 to 16."""
    words = ["train", *tiny, *PRUNED, f"data.num_workers={workers}"]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= step, signum) == code, child.log.read_text()
    assert (state(cut)["callbacks"]["Pruning"]["losses"] is not None) == noting
    assert ("subset" in state(cut)["ImageData"]) == pruned
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*PRUNED), cut)


@pytest.mark.slow
def test_a_distributed_run_cut_while_it_notes_losses_ends_as_the_undisturbed_one(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4")
    words = ["train", *tiny, *PRUNED, *ddp]
    assert imgrec(*words, "hydra.run.dir=straight").wait() == 0
    child = imgrec(*words, "hydra.run.dir=cut")
    cut = workplace / "cut"
    code = child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM)
    assert code == 143, child.log.read_text()
    losses = state(cut)["callbacks"]["Pruning"]["losses"]
    assert 20 <= int((~losses.isnan()).sum()) < 60, "of both processes, 8 images a step"
    again = imgrec(*words, "hydra.run.dir=cut")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(workplace / "straight", cut)


@pytest.mark.long
def test_a_pruned_run_is_verified_bit_for_bit(tiny: list[str], command: Callable[..., tuple[int, str, str]]) -> None:
    rest = ("trainer.ema_decay=0.8", "trainer.accumulate=2", "trainer.nonfinite_skips=2", "loss=hinge")
    outcome = launch.train([*tiny, *PRUNED, *rest])
    assert subset_of(outcome.folder)["since"] == 2
    code, out, err = command("verify", str(outcome.folder))
    assert code == 0, out + err


def test_a_class_of_which_no_image_is_left_is_named(caplog: pytest.LogCaptureFixture) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    source = SimpleNamespace(train=SimpleNamespace(labels=labels), classes=("ape", "bear", "cat"))
    callback = Pruning(SimpleNamespace(source=source), share=0.6, after=1, seed=0)  # type: ignore[arg-type]
    kept = torch.tensor([False, False, True, True, False])
    with caplog.at_level("INFO"):
        callback._tell(torch.tensor([0.1, 0.2, 0.4, 0.5, 0.3]), kept, epoch=3)
    assert [message for _, _, message in caplog.record_tuples] == [
        "from epoch 3 on without the easiest 3 of 5 training images, whose loss is at most 0.300",
        "data.prune=0.6 leaves no image of ape, cat",
    ]


def resumed(run: Path, *words: str) -> list[str]:
    named = ",".join(word.partition("=")[0] for word in words)
    return [f"resume={run}", *words, f"resume_override=[{named}]"]


@pytest.mark.long
def test_a_run_that_goes_on_with_pruning_takes_its_next_whole_epoch(tiny: list[str]) -> None:
    plain = launch.train([*tiny, "trainer.max_epochs=3"])
    pruned = launch.train(resumed(plain.folder, "trainer.max_epochs=6", "data.prune=0.4"))
    assert subset_of(pruned.folder)["since"] == 4
    without = launch.train(resumed(pruned.folder, "trainer.max_epochs=7", "data.prune=0"))
    assert "subset" not in state(without.folder)["ImageData"]
    more = launch.train(resumed(pruned.folder, "trainer.max_epochs=8", "data.prune=0.5"))
    assert subset_of(more.folder)["since"] == 7
    assert int(subset_of(more.folder)["kept"].sum()) == 30
    late = launch.train(resumed(plain.folder, "trainer.max_epochs=4", "data.prune=0.4"))
    assert "subset" not in state(late.folder)["ImageData"]
    said = "data.prune=0.4 leaves nothing out: it needs a whole epoch before the last"
    assert said in (late.folder / "train.log").read_text()


@pytest.mark.long
def test_what_was_noted_before_a_change_is_forgotten(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    child = imgrec("train", *tiny, *PRUNED, "hydra.run.dir=cut")
    cut = workplace / "cut"
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    other = launch.train(resumed(cut, "trainer.max_epochs=9"))
    subset = subset_of(other.folder)
    assert subset["since"] == 5  # half of which: what was noted in the second is too early
    assert int((~subset["kept"]).sum()) == int(0.4 * len(subset["kept"]))


@pytest.mark.long
def test_images_are_not_left_out_of_others_than_they_were_chosen_from(
    tiny: list[str],
    tiny_images: Path,
    undisturbed: Callable[..., Path],
    workplace: Path,
    command: Callable[..., tuple[int, str, str]],
) -> None:
    photos = workplace / "photos"
    shutil.copytree(tiny_images, photos)
    shutil.copy(photos / "row" / "00.png", photos / "row" / "000.png")
    change = ("trainer.max_epochs=5", f"data.root={photos}")
    code, _, err = command("train", *resumed(undisturbed(*PRUNED), *change), "hydra.run.dir=others")
    assert code == 2
    assert "data.prune=0.4 has left images out in" in err
    assert "and now there are others; restore them, or give data.prune=0, or another share to choose anew, with" in err
    assert not Path("others").exists()
    anew = launch.train(resumed(undisturbed(*PRUNED), *change, "data.prune=0.2"))
    assert "subset" not in state(anew.folder)["ImageData"]  # the one epoch that is left is the last
