"""What a run *is*: the hash that tells two runs apart, and the name that a reader tells them apart by."""

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
_PARTS = 2  # of a folder's root in a name: siblings often hold an `images` each
LONGEST_NAME = 120  # characters before the hash; file systems end at 255 bytes


def essence(config: Config) -> dict[str, Any]:
    """Every axis' chosen name and every value that differs from its default, with dotted keys.

    Paths, workers, logging, the accelerator and what only steers the command stay out, so that the same experiment
    has the same id everywhere; a new option with a default renames no old run.
    """
    rows: dict[str, Any] = {}
    for axis in AXES:
        section = getattr(config, axis)
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if field.name == "name":
                if axis != "trainer":  # cpu, gpu and ddp are the same experiment on other hardware
                    rows[f"{axis}.name"] = value
            elif is_identity(field) and value != default_of(field):
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


def run_id(config: Config, fingerprint: str, parent: str | None = None) -> str:
    """SHA-256 over the run's essence and its data's fingerprint, as 64 hexadecimal digits.

    parent: the id of the run that this one went on from with changes: it is not the run that was trained straight.
    """
    rows = {"config": essence(config), "data": fingerprint, **({"parent": parent} if parent else {})}
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(config: Config, overrides: Sequence[str], identity: str) -> str:
    """A folder name that reads: the overrides in the order given, the seed, and the id's first digits last.

    Overrides that say where and how, not what, stay out of it, but for the end of a folder's root, which tells images
    apart.
    Letters, digits, `.`, `_` and `-` only, so that it survives any shell and Hydra's own grammar.
    """
    silent = {"seed", "trainer", "launcher", "sweep", *keys_outside_identity(), *_outside_identity(config)}
    parts = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "data.root" and config.data.named_by_root:
            value = "/".join(PurePath(config.data.place or "").parts[-_PARTS:])
        elif key in silent or key.startswith("hydra."):
            continue
        parts.append(f"{_plain(key.rpartition('.')[2])}-{_plain(value)}")
    seed = f"seed-{config.seed}"
    shown = "_".join(parts)[: LONGEST_NAME - len(seed) - 1].rstrip("_.-")  # a long command loses its end, not its seed
    return "_".join(filter(None, (shown, seed))) + f"-{identity[:SHORT]}"


def _outside_identity(config: Config) -> set[str]:
    """The dotted keys of these very choices that are no part of what the run is."""
    roots = {field.name for field in dataclasses.fields(config) if field.name not in GROUPS and not is_identity(field)}
    fields = [(axis, field) for axis in GROUPS for field in getattr(config, axis).settings()]
    return roots | {f"{axis}.{field.name}" for axis, field in fields if not is_identity(field)}


def _plain(text: str) -> str:
    text = re.sub(r"(?<=\de)\+(?=\d)", "", text)  # 1e+30 is 1e30, and must not read as 1e-30
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "x"
