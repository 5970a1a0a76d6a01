"""Which runs were trained on the same images, and what tells those of others apart. Imports no torch."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from imgrec.config.identity import SHORT
from imgrec.records import Record

NAME, SIZES = "name", "sizes"  # of a record's `images`: what they are called here; how older records know them
_UNKNOWN = "unknown"
_APART = re.compile(r"[\s,=|\[\]]+")  # what a value of --where cannot hold


def name(records: Sequence[Record]) -> None:
    """Name each record's images by the end of their root that tells them from the others' (`images["name"]`).

    Images are the same where their fingerprint is; where one root held several, each name ends with its own:
    `photos@1a2b3c4d`. An older record, which knows names and sizes alone, counts to the only images of these names and
    sizes that newer records know, and stands by itself where there are several.
    """
    members: dict[str, list[Record]] = {}
    for record in records:
        members.setdefault(_key(record, records), []).append(record)
    paths = {key: _path(group[0]) for key, group in members.items()}
    for key, group in members.items():
        others = [path for other, path in paths.items() if other != key]
        for record in group:
            record.images[NAME] = _told_apart(paths[key], others, key)


def named(record: Record) -> str:
    """What the images are called: `photos`, `digits`."""
    return str(record.images.get(NAME) or _plain(_path(record)[-1:]))


def _key(record: Record, records: Sequence[Record]) -> str:
    newer = {other.fingerprint for other in records if other.images.get(SIZES) == record.fingerprint}
    return newer.pop() if len(newer) == 1 else record.fingerprint


def _path(record: Record) -> tuple[str, ...]:
    """The parts of the root that a folder's images have; of others their data set's name."""
    kind = str(record.config.get("data.name", _UNKNOWN))
    root = str(record.config.get("data.root", "")) if kind == "folder" else ""
    return tuple(part for part in PurePath(root).parts if part not in ("/", ".", "..", "~")) or (kind,)


def _told_apart(path: tuple[str, ...], others: Sequence[tuple[str, ...]], fingerprint: str) -> str:
    for length in range(1, len(path) + 1):
        found = _plain(path[-length:])
        if all(found != _plain(other[-length:]) for other in others):
            return found
    alike = [other for other in others if other[-1:] == path[-1:] and other != path]
    found = _plain(path if alike else path[-1:])
    return f"{found}@{fingerprint[:SHORT]}"


def _plain(parts: Sequence[str]) -> str:
    return _APART.sub("-", "/".join(parts))
