"""What the processes of a distributed run keep apart."""

from types import SimpleNamespace
from typing import Any

import lightning
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from imgrec.training import saving


def dropped(rank: int) -> torch.Tensor:
    """Which of 1 000 units dropout takes in the first step of a process of two, whose run has seed 7."""
    torch.manual_seed(7)
    saver: Any = saving.Saver.__new__(saving.Saver)
    saver._interruption = SimpleNamespace(install=lambda: None)
    saver.best = None
    loop = SimpleNamespace(epoch_loop=SimpleNamespace())
    trainer: Any = SimpleNamespace(
        world_size=2, global_rank=rank, is_global_zero=rank == 0, global_step=0, fit_loop=loop
    )
    saver.on_train_start(trainer, lightning.LightningModule())
    return torch.nn.functional.dropout(torch.ones(1000)) == 0


def test_what_is_left_out_of_lightnings_steps_is_there() -> None:
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)


def test_each_process_drops_units_of_its_own_and_the_same_ones_each_time() -> None:
    assert torch.equal(dropped(1), dropped(1))
    assert 400 < (dropped(0) == dropped(1)).sum() < 600
