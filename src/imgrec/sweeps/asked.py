"""Keep the list of the runs that a sweep's command asks for, so that any process can tell which have not begun."""

from collections.abc import Iterable
from pathlib import Path

from imgrec import text_files
from imgrec.errors import RunError, shown
from imgrec.job import Job
from imgrec.runfolder import ASKED


def note(sweep: Path, jobs: Iterable[Job], *, anew: bool) -> None:
    """Add runs to the list.

    Args:
        sweep: The sweep's folder.
        jobs: The runs.
        anew: True to begin the list, as a command does that may ask for others than the one before.

    Raises:
        RunError: The list cannot be written.
    """
    before = {} if anew else of(sweep)
    text_files.write_json(sweep / ASKED, before | {job.run_id: job.folder.name for job in jobs})


def of(sweep: Path) -> dict[str, str]:
    """Return the names of the runs' folders by the ids of the runs; none where no command has left a list.

    Raises:
        RunError: The list is damaged.
    """
    try:
        found = text_files.read_json(sweep / ASKED)
        return {str(run_id): str(name) for run_id, name in found.items()}
    except FileNotFoundError:
        return {}
    except (*text_files.UNREADABLE, AttributeError) as error:
        raise RunError(
            f"{shown(sweep / ASKED)} must list the sweep's runs, and cannot be read: {text_files.reason(error)}; remove"
            " it, and the sweep's command writes it again"
        ) from error
