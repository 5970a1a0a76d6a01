"""Compute a run's identity: the hash that distinguishes it from other runs, and its readable name."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from imgrec.config import listed
from imgrec.config.fields import default_of, is_identity
from imgrec.config.listed import LISTS
from imgrec.config.root import AXES, GROUPS, SECTIONS, Config
from imgrec.config.schemas import keys_outside_identity

SHORT = 8  # hexadecimal digits of the id in a folder's name
_PARTS = 2  # last parts of data.root in a folder's name; sibling folders often have an `images` each
LONGEST_NAME = 120  # characters before the hash; file systems end at 255 bytes
_SEED_AND_ID = re.compile(r"_?seed-\d+|(_take-\d+)?-[0-9a-f]{8}$")  # the parts of a folder's name that differ by seed
_APART = re.compile(r"[\s,=|\[\]]+")  # characters that a value of a table's --where cannot contain
_IN_RUN = ("record.json", "best.ckpt", "checkpoints")  # what a path to a run's best checkpoint may end with


def essence(config: Config) -> dict[str, Any]:
    """Return the chosen name of every axis, and every value that differs from its default, by dotted keys.

    Paths, workers, logging, the accelerator and keys that only steer the command are left out, so that the same
    experiment has the same id on every machine. A new key with a default changes no id of an old run.
    """
    rows: dict[str, Any] = {}
    for axis in AXES:
        section = getattr(config, axis)
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if field.name == "name":
                if axis != "trainer":  # cpu, gpu and ddp are the same experiment on other hardware
                    rows[f"{axis}.name"] = value
            elif is_identity(field) and value != default_of(field) and field.name not in section.idle:
                rows[f"{axis}.{field.name}"] = value
    for field in dataclasses.fields(config):
        if field.name not in SECTIONS and is_identity(field):
            value = getattr(config, field.name)
            if field.name == LISTS["callback"]:
                value = [name for name, each in config.callback.items() if not each.observes]
            if value != default_of(field):
                rows[field.name] = value
    for axis in ("protocol", "callback"):
        rows |= listed.essence(axis, getattr(config, axis))
    return rows


def run_id(config: Config, fingerprint: str, parent: str | None = None, begins_with: str | None = None) -> str:
    """Return the SHA-256 of the run's essence and its data's fingerprint, as 64 hexadecimal digits.

    Args:
        config: The run's configuration.
        fingerprint: The fingerprint of its images.
        parent: The id of the run that this one continues with changes. The result differs from that of a run without
            a parent.
        begins_with: The digest of the weights that a new network begins with, or the name of published ones; None if
            the configuration says it all.
    """
    rows = {"config": essence(config), "data": fingerprint}
    rows |= {"parent": parent} if parent else {}
    rows |= {"begins_with": begins_with} if begins_with else {}
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(config: Config, overrides: Sequence[str], identity: str) -> str:
    """Return a readable folder name: the overrides in the given order, the seed, and the first digits of the id.

    Overrides that are no part of the identity are left out. The end of a folder's root stays, which distinguishes
    images, and so does the name of the run or the file whose weights the run begins with. The name contains letters,
    digits, `.`, `_` and `-` only, so that shells and Hydra's grammar take it unquoted.
    """
    silent = {"seed", "trainer", "launcher", "sweep", *keys_outside_identity(), *_outside_identity(config)}
    parts = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "data.root" and config.data.named_by_root:
            value = "/".join(PurePath(config.data.place or "").parts[-_PARTS:])
        elif key == "init_from":
            value = "null" if config.init_from is None else source_name(config.init_from)
        elif key in silent or key.startswith("hydra."):
            continue
        elif key in LISTS.values() and value == "[]":
            value = "none"
        parts.append(f"{_plain(key.rpartition('.')[2])}-{_plain(value)}")
    seed = f"seed-{config.seed}"
    shown = "_".join(parts)[: LONGEST_NAME - len(seed) - 1].rstrip("_.-")  # a long command keeps the seed
    return "_".join(filter(None, (shown, seed))) + f"-{identity[:SHORT]}"


def without_seed(name: str) -> str:
    """Return the name of a run's folder without its seed and its id; "" if nothing is left."""
    return _SEED_AND_ID.sub("", name)


def source_name(path: str) -> str:
    """Return a short name of the run or the file that `init_from` names.

    A run's is that of its folder without seed and id, so that runs that begin with another seed's weights each have one
    name; if nothing is left, that of the folder around it.
    """
    parts = [part for part in PurePath(path).parts if part not in ("/", ".", "..", "~")]
    while len(parts) > 1 and parts[-1] in _IN_RUN:
        parts.pop()
    if len(parts) > 2 and parts[-2] == "checkpoints":  # last.ckpt, say
        *parts, _, leaf = parts
        return f"{source_name('/'.join(parts))}/{PurePath(leaf).stem}"
    names = [without_seed(part) for part in reversed(parts[-_PARTS:])]
    return _APART.sub("-", next(filter(None, names), "a-run"))


def _outside_identity(config: Config) -> set[str]:
    """Return the dotted keys of these choices that are no part of the run's identity."""
    roots = {field.name for field in dataclasses.fields(config) if field.name not in GROUPS and not is_identity(field)}
    fields = [(axis, field) for axis in GROUPS for field in getattr(config, axis).settings()]
    return roots | {f"{axis}.{field.name}" for axis, field in fields if not is_identity(field)}


def _plain(text: str) -> str:
    text = re.sub(r"(?<=\de)\+(?=\d)", "", text)  # 1e+30 is 1e30, and must not read as 1e-30
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "x"
