"""Runs that leave the easiest training images out on their way."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, state, steps_logged

from imgrec import launch
from imgrec.training.pruning import Pruning

PRUNED = ("data.prune=0.4", "data.prune_at=0.5", "trainer.max_epochs=4", "augment=crop_flip", "model.dropout=0.3")


def pool_of(folder: Path) -> dict[str, Any]:
    pool: dict[str, Any] = state(folder)["ImageData"]["pool"]
    return pool


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
    pool = pool_of(outcome.folder)
    assert pool["since"] == 2
    assert set((~pool["kept"]).nonzero().flatten().tolist()) == set(easiest.tolist())
    said = "from epoch 3 on without the easiest 24 of 60 training images, whose loss is at most"
    assert f"{said} {noted[1, easiest[-1]]:.3f}" in (outcome.folder / "train.log").read_text()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("step", "signum", "code", "noting", "pruned"),
    [
        (9, signal.SIGKILL, -9, False, False),  # what is saved is the end of the first epoch
        (11, signal.SIGTERM, 143, True, False),  # the step at hand
        (17, signal.SIGKILL, -9, False, True),
        (19, signal.SIGTERM, 143, False, True),
    ],
)
def test_a_run_cut_around_its_choice_ends_as_the_undisturbed_one(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    workers: int,
    step: int,
    signum: signal.Signals,
    code: int,
    noting: bool,
    pruned: bool,
) -> None:
    """8 steps an epoch: losses are noted from step 9 to 16."""
    words = ["train", *tiny, *PRUNED, f"data.num_workers={workers}"]
    straight, cut = workplace / "straight", workplace / "cut"
    assert imgrec(*words, f"hydra.run.dir={straight}").wait() == 0
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= step, signum) == code, child.log.read_text()
    assert (state(cut)["callbacks"]["Pruning"]["losses"] is not None) == noting
    assert (pool_of(cut)["since"] == 2) == pruned
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(straight, cut)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixtures_have_losses_as_well(tiny: list[str], mix: str) -> None:
    outcome = launch.train([*tiny, *PRUNED, f"augment={mix}"])
    assert pool_of(outcome.folder)["since"] == 2
    assert int(pool_of(outcome.folder)["kept"].sum()) == 36


def test_two_processes_leave_out_what_one_would(tiny: list[str], imgrec: Callable[..., Any], workplace: Path) -> None:
    words = [*tiny, "optimizer=sgd", "optimizer.lr=0.1", "data.prune=0.4", "trainer.max_epochs=3"]
    one = imgrec("train", *words, "data.batch_size=12", "hydra.run.dir=one")
    assert one.wait() == 0, one.log.read_text()
    two = imgrec("train", *words, "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=6", "hydra.run.dir=two")
    assert two.wait() == 0, two.log.read_text()
    assert two.log.read_text().count("from epoch 3 on without the easiest 24 of 60") == 1, "one process speaks"
    alone, shared = (pool_of(workplace / name) for name in ("one", "two"))
    assert alone["since"] == shared["since"] == 2
    assert torch.equal(alone["kept"], shared["kept"])
    weights = [state(workplace / name)["state_dict"] for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_a_run_that_goes_on_with_pruning_takes_its_next_whole_epoch(tiny: list[str]) -> None:
    plain = launch.train([*tiny, "trainer.max_epochs=3"])
    words = [f"resume={plain.folder}", "trainer.max_epochs=6", "data.prune=0.4"]
    pruned = launch.train([*words, "resume_override=[trainer.max_epochs,data.prune]"])
    assert pool_of(pruned.folder)["since"] == 4
    without = launch.train(
        [
            f"resume={pruned.folder}",
            "trainer.max_epochs=7",
            "data.prune=0",
            "resume_override=[trainer.max_epochs,data.prune]",
        ]
    )
    assert "pool" not in state(without.folder)["ImageData"]
    assert json.loads((without.folder / "record.json").read_text())["status"] == "finished"


def test_losses_of_other_images_are_forgotten(
    tiny: list[str], imgrec: Callable[..., Any], command: Callable[..., tuple[int, str, str]], workplace: Path
) -> None:
    """A run that is cut in its second epoch, and goes on with 6 training images more, can judge in the third."""
    child = imgrec("train", *tiny, *PRUNED, "hydra.run.dir=cut")
    cut = workplace / "cut"
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    others = ["resume=cut", "data.val_size=6", "resume_override=[data.val_size]"]
    code, _, err = command("train", *others, "hydra.run.dir=others")
    assert code == 0, err
    pool = pool_of(workplace / "others")
    assert pool["since"] == 3
    assert int((~pool["kept"]).sum()) == int(0.4 * len(pool["kept"])) == 26
    code, _, err = command(
        "train",
        "resume=others",
        "data.val_size=12",
        "trainer.max_epochs=5",
        "resume_override=[data.val_size,trainer.max_epochs]",
    )
    assert code == 1
    assert "data.prune chose among 66 training images, and now there are 60; go on with the same" in err
