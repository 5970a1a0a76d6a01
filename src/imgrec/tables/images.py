"""Which runs were trained on the same images, and what tells those of others apart. Imports no torch."""

import re
from collections.abc import Collection, Mapping, Sequence
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
    sizes that newer records know if their root is recorded as the same; else it stands by itself.
    """
    newer: dict[str, dict[str, set[str]]] = {}  # by names and sizes: the fingerprints, each with its roots
    for record in records:
        if sizes := record.images.get(SIZES):
            newer.setdefault(str(sizes), {}).setdefault(record.fingerprint, set()).add(_root(record))
    members: dict[str, list[Record]] = {}
    for record in records:
        members.setdefault(_key(record, newer.get(record.fingerprint, {})), []).append(record)
    paths = {key: _path(group[0]) for key, group in members.items()}
    for key, group in members.items():
        others = [path for other, path in paths.items() if other != key]
        for record in group:
            record.images[NAME] = _told_apart(paths[key], others, key)


def named(record: Record) -> str:
    """What the images are called: `photos`, `digits`."""
    return str(record.images.get(NAME) or _plain(_path(record)[-1:]))


def _key(record: Record, newer: Mapping[str, Collection[str]]) -> str:
    """The fingerprint that the record's images count under. newer: those of its names and sizes, with their roots."""
    if len(newer) == 1:
        ((fingerprint, roots),) = newer.items()
        if _root(record) in roots:
            return fingerprint
    return record.fingerprint


def _root(record: Record) -> str:
    """The root as the record says it; older records don't know the folder that a relative one starts from."""
    return str(record.config.get("data.root", ""))


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
