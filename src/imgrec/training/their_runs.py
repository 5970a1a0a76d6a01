"""Keep in a run's folder which runs of other programs belong to it, so that a resumed run goes on in the same ones.

The run's id alone does not tell them: a run may be repeated in another folder, and is another run there.
"""

from collections.abc import Mapping
from pathlib import Path

from imgrec import text_files, value_checks
from imgrec.errors import RunError
from imgrec.runfolder import THEIR_RUNS


def kept(folder: Path, program: str) -> Mapping[str, str]:
    """Return what was noted of a program's run; empty if nothing was.

    Args:
        folder: The run's folder.
        program: The program, such as `mlflow`.

    Raises:
        RunError: The file cannot be read.
    """
    path = folder / THEIR_RUNS
    if not path.exists():
        return {}
    try:
        found = value_checks.mapping(text_files.read_json(path), THEIR_RUNS)
        noted = value_checks.mapping(found.get(program, {}), program)
        return {str(key): str(value) for key, value in noted.items()}
    except text_files.UNREADABLE as error:
        raise RunError(
            f"{path} must name the runs of other programs that belong to this one, and cannot be read:"
            f" {text_files.reason(error)}; restore it, or remove it, and new ones begin there"
        ) from error


def keep(folder: Path, program: str, noted: Mapping[str, str]) -> None:
    """Note a program's run, beside those of other programs."""
    path = folder / THEIR_RUNS
    others = value_checks.mapping(text_files.read_json(path), THEIR_RUNS) if path.exists() else {}
    text_files.write_json(path, {**others, program: dict(noted)})
