"""Find out whether processes of this machine can meet in sockets of the temporary folder."""

import os
import tempfile

LONGEST = 70  # bytes of the folder's path: that of a socket has at most 103, of which multiprocessing adds 32


def unusable() -> str | None:
    """Return the temporary folder, as TMPDIR gives it, if its path is too long for a socket; else None."""
    place = tempfile.gettempdir()
    return place if len(os.fsencode(place)) > LONGEST else None
