"""What lies in the class folders besides images, for a word about it. No torch, no file is opened."""

import os
from collections.abc import Iterator

from imgrec.data.scan import EXTENSIONS, Listing

_SHOWN = 3  # names in the line
_USUAL = ("thumbs.db", "desktop.ini")  # what Windows leaves in every folder; macOS' .DS_Store is hidden


def leftover(listing: Listing) -> str | None:
    """One line with the number of files of other kinds below the folders of `listing` and the first names; or None.

    Hidden files, what systems leave, and files beside the folders are not worth a word. Links to folders are not
    followed here.
    """
    names: list[str] = []
    count = 0
    for name in _others(listing):
        count += 1
        if count <= _SHOWN:
            names.append(repr(name))
    if not count:
        return None
    dots = ", ..." if count > _SHOWN else ""
    return f"{count} file{'s' if count > 1 else ''} of other kinds not read: {', '.join(names)}{dots}"


def _others(listing: Listing) -> Iterator[str]:
    top = str(listing.root)
    for folder, folders, files in os.walk(top):
        passed_over = listing.ignored if folder == top else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in passed_over)
        if folder == top:
            continue
        for name in sorted(files):
            extension = name.rpartition(".")[2].lower() if "." in name else ""
            if extension not in EXTENSIONS and not name.startswith(".") and name.lower() not in _USUAL:
                yield f"{folder[len(top) :].strip('/')}/{name}"
