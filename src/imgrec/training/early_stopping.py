"""Stop a training early by its validation top1, with the patience of the present configuration."""

from typing import Any

from lightning.pytorch.callbacks import early_stopping


class EarlyStopping(early_stopping.EarlyStopping):
    """Stop the training after `patience` epochs without a better validation top1.

    Lightning's class restores its patience from the checkpoint. This class restores only the best top1 and the number
    of epochs since then. Its name is part of the checkpoint's key, and is therefore Lightning's.

    Args:
        patience: The number of epochs.
        comparable: False if the top1 of a resumed state were measured on other images. The count then starts again.
    """

    def __init__(self, *, patience: int, comparable: bool) -> None:
        super().__init__("val/top1", mode="max", patience=patience)
        self._comparable = comparable

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._comparable:
            super().load_state_dict({**state_dict, "patience": self.patience})
