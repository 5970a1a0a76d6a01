"""Test what the processes of a distributed run keep separate."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from imgrec.stored.position import RunPosition
from imgrec.training.interruption import Interruption
from imgrec.training.nan_guard import FiniteGuard, Refusals
from imgrec.training.progress import Speed
from imgrec.training.saver import Saver
from imgrec.training.writer import Writer


def dropped(rank: int, folder: Path) -> torch.Tensor:
    """Which of 1 000 units dropout takes in the first step of a process of two, whose run has seed 7."""
    torch.manual_seed(7)
    interruption = Interruption()
    refusals = Refusals(indices=lambda epoch, batch: [], last_good=lambda: None)
    saver = Saver(
        folder,
        run_id="run",
        position=RunPosition(),
        every=0,
        interruption=interruption,
        speed=Speed(every=1),
        guard=FiniteGuard(every=1, judges_losses=True, refusals=refusals),
        writer=Writer(in_background=False),
    )
    loop = SimpleNamespace(epoch_loop=SimpleNamespace())
    trainer: Any = SimpleNamespace(
        world_size=2, global_rank=rank, is_global_zero=rank == 0, global_step=0, fit_loop=loop
    )
    with interruption.watched():
        saver.on_train_start(trainer, lightning.LightningModule())
    return torch.nn.functional.dropout(torch.ones(1000)) == 0


def test_what_is_left_out_of_lightnings_steps_is_there() -> None:
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)


def test_each_process_drops_units_of_its_own_and_the_same_ones_each_time(tmp_path: Path) -> None:
    assert torch.equal(dropped(1, tmp_path), dropped(1, tmp_path))
    assert 400 < (dropped(0, tmp_path) == dropped(1, tmp_path)).sum() < 600
