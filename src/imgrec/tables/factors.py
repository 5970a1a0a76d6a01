"""What differs between runs: the factors of an experiment, read from their configurations. Imports no torch."""

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import MISSING

from imgrec.config.fields import default_of
from imgrec.config.root import AXES, GROUPS, Config
from imgrec.config.schemas import SCHEMAS, keys_outside_identity
from imgrec.errors import UsageError
from imgrec.records import Record
from imgrec.tables.gather import Run

EXPERIMENT, PARENT = "experiment", "parent"
_NO_FACTORS = ("seed", "test", "test_protocols")  # the repetition, and what is measured of it
ABSENT = "–"  # a key that the run's choice does not have

Setting = tuple[str, ...]
"""The values of the factors, in their order, as texts."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """keys: what was varied, as dotted keys. implied: what differs as well, but goes with one of the factors.

    given: of the implied ones, those that the runs' commands gave (a tuned rate, say), by factor and value.
    """

    keys: tuple[str, ...]
    given: tuple[str, ...] = ()

    def setting(self, run: Run) -> Setting:
        return tuple(text(value_of(run.record, key)) for key in self.keys)


def short(key: str) -> str:
    """The key as the command line takes it: `optimizer` for `optimizer.name`."""
    return key.removesuffix(".name")


def full(key: str) -> str:
    """The dotted key of a record's configuration: `optimizer.name` for `optimizer`."""
    return f"{key}.name" if key in GROUPS else key


def value_of(record: Record, key: str) -> Any:
    """The run's value of a key; where the record is older than the key its choice's default, ABSENT without one."""
    if key == PARENT:
        return "another run" if record.parent else ABSENT  # which one differs from seed to seed
    if key == EXPERIMENT:
        return record.experiment or "none"
    if key in record.config:
        return record.config[key]
    axis, _, leaf = key.rpartition(".")
    return _defaults(axis, str(record.config.get(f"{axis}.name"))).get(leaf, ABSENT)


def text(value: Any) -> str:
    """The value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(text(inner) for inner in value)}]"
    return "null" if value is None else str(value)


def derive(runs: Sequence[Run]) -> Factors:
    """The keys that tell the runs' settings apart, seeds aside.

    Recipes first, then each axis' choice, then single keys. What has one value for each recipe, or within its axis for
    each choice and the factors before it, is no factor of its own.
    """
    varied = [key for key in _keys(runs) if len(_values(runs, (key,))) > 1]
    keys: list[str] = []
    implied: list[str] = []
    for key in varied:
        axis, dot, leaf = key.rpartition(".")
        before = [EXPERIMENT] if EXPERIMENT in keys else []
        if leaf != "name":
            before += [f"{axis}.name"] if dot else []
            before += [known for known in keys if dot and known.rpartition(".")[0] == axis and known not in before]
        if before and _determined(runs, key, before):
            implied.append(key)
        else:
            keys.append(key)
    return Factors(keys=tuple(keys), given=tuple(_given(runs, implied, keys)))


def chosen(runs: Sequence[Run], keys: Sequence[str]) -> Factors:
    """These keys as the factors. Raises UsageError for an unknown key, or where something else varies beside them."""
    derived = derive(runs)
    known = set(_keys(runs))
    for key in keys:
        if key not in known:
            varied = ", ".join(map(short, derived.keys)) or "nothing"
            raise UsageError(
                f"{short(key)} must be a key of the runs' configuration, and is none; {varied} varies in them"
            )
    for key in derived.keys:
        if key not in keys and not _determined(runs, key, keys):
            values = sorted({text(value_of(run.record, key)) for run in runs})
            raise UsageError(
                f"{short(key)} must be a factor of the table, as it varies ({', '.join(values)}) beside"
                f" {', '.join(map(short, keys))}; name it as well, or fix it with --where {short(key)}={values[0]}"
            )
    return Factors(keys=tuple(keys), given=derived.given)


def order(setting: Setting) -> tuple[tuple[int, float, str], ...]:
    """A sort key: numbers by size, before texts."""
    keys = []
    for value in setting:
        try:
            keys.append((0, float(value), ""))
        except ValueError:
            keys.append((1, 0.0, value))
    return tuple(keys)


def _keys(runs: Sequence[Run]) -> list[str]:
    """Every key that may be a factor: recipe, axes' choices, then their keys, the root's, the parent's id."""
    axes = [f"{axis}.name" for axis in AXES if axis != "trainer"]  # cpu, gpu and ddp are the same experiment
    present = dict.fromkeys(key for run in runs for key in run.record.config)
    outside = keys_outside_identity() | {*_NO_FACTORS, "trainer.name"}
    ours = [key for key in present if key.partition(".")[0] in AXES or key in _roots()]
    return [*dict.fromkeys([EXPERIMENT, *axes, *(key for key in ours if key not in outside), PARENT])]


@cache
def _roots() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Config) if field.name not in GROUPS)


def _values(runs: Sequence[Run], keys: Sequence[str]) -> set[Hashable]:
    return {tuple(text(value_of(run.record, key)) for key in keys) for run in runs}


def _determined(runs: Sequence[Run], key: str, by: Sequence[str]) -> bool:
    return len(_values(runs, [*by, key])) == len(_values(runs, by))


def _given(runs: Sequence[Run], implied: Sequence[str], keys: Sequence[str]) -> list[str]:
    """What commands gave of the implied keys, as `optimizer.lr_scale: 3 with optimizer=sgd, 1 with optimizer=adam`."""
    told = []
    for key in implied:
        by = next((factor for factor in keys if _determined(runs, key, [factor])), None)
        words = (word.lstrip("+").partition("=")[0] for run in runs for word in run.record.command)
        if by is not None and short(key) in words:
            pairs = {text(value_of(run.record, by)): text(value_of(run.record, key)) for run in runs}
            told.append(
                f"{short(key)}: " + ", ".join(f"{value} with {short(by)}={owner}" for owner, value in pairs.items())
            )
    return told


@cache
def _defaults(axis: str, name: str) -> dict[str, Any]:
    schemas = SCHEMAS.get(axis, {})
    schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
    if schema is None:
        return {}
    return {field.name: default for field in dataclasses.fields(schema) if (default := default_of(field)) != MISSING}
