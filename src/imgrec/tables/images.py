"""Find which runs were trained on the same images, and name each set of images. Imports no torch."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

from imgrec.config.identity import SHORT
from imgrec.records import Record

NAME, SIZES = "name", "sizes"  # keys of a record's `images`: the name given here; the sizes that older records know
_UNKNOWN = "unknown"
_APART = re.compile(r"[\s,=|\[\]]+")  # characters that a value of --where cannot contain


def name(records: Sequence[Record]) -> None:
    """Name each record's images (`images["name"]`) by the shortest end of their root that no other images have.

    Images are the same if their fingerprints are equal. If one root held several sets of images, each name ends with
    the fingerprint: `photos@1a2b3c4d`. An older record knows only names and sizes of images. It counts to the images of
    newer records with these names and sizes if there is one such set and the recorded root is the same; otherwise its
    images are a set of their own.
    """
    newer: dict[str, dict[str, set[str]]] = {}  # names and sizes -> fingerprint -> roots
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
            record.images[NAME] = _distinct_name(paths[key], others, key)


def named(record: Record) -> str:
    """Return the name of the record's images: `photos`, `digits`."""
    return str(record.images.get(NAME) or _plain(_path(record)[-1:]))


def _key(record: Record, newer: Mapping[str, Collection[str]]) -> str:
    """Return the fingerprint under which the record's images are counted.

    Args:
        record: The record.
        newer: The fingerprints of newer records with the same names and sizes, each with its roots.
    """
    if len(newer) == 1:
        ((fingerprint, roots),) = newer.items()
        if _root(record) in roots:
            return fingerprint
    return record.fingerprint


def _root(record: Record) -> str:
    """Return the root as recorded. Older records do not contain the folder that a relative root starts from."""
    return str(record.config.get("data.root", ""))


def _path(record: Record) -> tuple[str, ...]:
    """Return the parts of the root of a folder's images; for other data, the name of the data set."""
    kind = str(record.config.get("data.name", _UNKNOWN))
    root = str(record.config.get("data.root", "")) if kind == "folder" else ""
    return tuple(part for part in PurePath(root).parts if part not in ("/", ".", "..", "~")) or (kind,)


def _distinct_name(path: tuple[str, ...], others: Sequence[tuple[str, ...]], fingerprint: str) -> str:
    for length in range(1, len(path) + 1):
        found = _plain(path[-length:])
        if all(found != _plain(other[-length:]) for other in others):
            return found
    alike = [other for other in others if other[-1:] == path[-1:] and other != path]
    found = _plain(path if alike else path[-1:])
    return f"{found}@{fingerprint[:SHORT]}"


def _plain(parts: Sequence[str]) -> str:
    return _APART.sub("-", "/".join(parts))
