"""Carry out a sweep for a program, as `imgrec train -m` does for the command line."""

from collections.abc import Sequence
from pathlib import Path

from imgrec import runfolder
from imgrec.config import folders
from imgrec.errors import StrPath, UsageError
from imgrec.launch import Outcome
from imgrec.runfolder import RECORD
from imgrec.sweeps.run import Sweep


def sweep(overrides: Sequence[str], *, config_dir: StrPath | None = None) -> list[Outcome]:
    """Carry out every combination of the values given after commas, or a study, and return the runs in their order.

    Runs that are finished are not repeated; a sweep that was interrupted goes on. While it works, it prints what it
    does, as the command does.

    Args:
        overrides: `key=value,value` in Hydra's grammar, or `study=NAME`.
        config_dir: A folder of the user's own choices, recipes and studies, as for `train`.

    Raises:
        UsageError: The runs cannot be done as requested.
        RunError: A run has failed, after all others were carried out; `imgrec.load_runs` reads these.
        Interrupted: A signal ended it, after its runs were saved.
    """
    with folders.also(config_dir):
        asked = Sweep(overrides)
        if asked.is_estimate:
            raise UsageError("sweep.estimate=true carries nothing out; give it to imgrec train -m, or leave it out")
        before = _finished(asked.folder)
        asked.run()
        return [
            Outcome(folder=folder, record=record, already=folder.resolve() in before)
            for folder, record in asked.outcomes
        ]


def _finished(group: Path) -> set[Path]:
    """Return the folders of the finished runs of a sweep's folder."""
    found = {path.parent.resolve(): runfolder.look(path.parent) for path in group.glob(f"*/{RECORD}")}
    return {folder for folder, record in found.items() if record is not None and record.status == "finished"}
