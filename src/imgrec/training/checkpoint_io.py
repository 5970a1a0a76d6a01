"""Let Lightning read and write checkpoints with imgrec's functions."""

import os
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from imgrec.checkpoint import check_plain, load, save_generation, snapshot
from imgrec.training.writer import Writer


class DurableIO(CheckpointIO):
    """Save durably in two generations, `last` and `previous`, and load verified files without executing code."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        for key, state in checkpoint["callbacks"].items():
            check_plain(state, f"the callback {key}")
        for key, value in checkpoint.items():  # a callback's on_save_checkpoint may have put anything here
            if key != "callbacks":
                check_plain(value, f"{key} of a checkpoint", mend="the callback whose on_save_checkpoint adds it")
        if self._writer.in_background:
            self._writer.wait()  # keep at most one copy of a state in memory
            checkpoint = snapshot(checkpoint)
        self._writer.do(save_generation, checkpoint, Path(path).parent)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return load(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)
