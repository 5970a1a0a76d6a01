"""Early stopping by validation top1, with the patience of the present configuration."""

from typing import Any

from lightning.pytorch.callbacks import early_stopping


class EarlyStopping(early_stopping.EarlyStopping):
    """Stops the training after `patience` epochs without a better validation top1.

    Lightning's own takes its patience from the checkpoint. Here the checkpoint brings the best top1 and the epochs
    since then alone. The class's name is part of the checkpoint's key, and stays Lightning's.

    comparable: False where a resumed state's top1 were measured on other images. Then the count begins anew.
    """

    def __init__(self, *, patience: int, comparable: bool) -> None:
        super().__init__("val/top1", mode="max", patience=patience)
        self._comparable = comparable

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._comparable:
            super().load_state_dict({**state_dict, "patience": self.patience})
