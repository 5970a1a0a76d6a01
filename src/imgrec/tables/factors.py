"""What differs between runs: the factors of an experiment, read from their configurations. Imports no torch."""

import dataclasses
import re
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from imgrec.config import listed
from imgrec.config.fields import default_of, nearest
from imgrec.config.registry import components
from imgrec.config.root import AXES, GROUPS, MEASURED, SECTIONS, Config
from imgrec.config.schemas import keys_outside_identity
from imgrec.errors import UsageError
from imgrec.records import Record
from imgrec.tables import images
from imgrec.tables.gather import Run

EXPERIMENT, DATA, ROOT, PARENT = "experiment", "data.name", "data.root", "parent"
_TEST_SIZE = "data.test_size"
DRAWN = {"test": (_TEST_SIZE,), "val": ("data.split_seed", "data.val_size", _TEST_SIZE)}  # val is drawn after test
ABSENT = "–"  # a key that the run's choice does not have
_SEED_AND_ID = re.compile(r"_?seed-\d+|(_take-\d+)?-[0-9a-f]{8}$")  # of a folder's name: what differs by seed

Setting = tuple[str, ...]
"""The values of the factors, in their order, as texts."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """keys: what was varied, as dotted keys. along: what differs as well, but goes with them, in words.

    That a choice has its own values is no news; what a command gave is (a tuned rate, say), or what goes with another
    axis.
    """

    keys: tuple[str, ...]
    along: tuple[str, ...] = ()

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
        return _SEED_AND_ID.sub("", Path(record.parent).name) or "a run" if record.parent else ABSENT
    if key == EXPERIMENT:
        return record.experiment or "none"
    if key == ROOT:
        return images.named(record)
    if key in record.config:
        value = record.config[key]
        return [name for name in value if not _observes(record, name)] if key == listed.LISTS["callback"] else value
    axis, _, leaf = key.rpartition(".")
    return _usual(record, axis).get(leaf, ABSENT)


def drawn(record: Record, split: str) -> Setting:
    """Values of the keys (`DRAWN`) that decide which images of the data set are in the split, where it has no folder.

    Records do not tell whether it has one, so all of these keys count.
    """
    return tuple(text(value_of(record, key)) for key in DRAWN.get(split, ()))


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

    Recipes first, then each axis' choice, then single keys. What has one value for each recipe, for each choice of its
    axis, or for each combination of recipe and choices (a rate that was tuned for each), is no factor of its own.
    """
    varied = [key for key in _keys(runs) if len(_values(runs, (key,))) > 1]
    names = [key for key in varied if key in (EXPERIMENT, ROOT) or key.endswith(".name")]
    keys: list[str] = []
    for name in names:
        # scores on different images are never one setting's, whatever the recipe
        by = {DATA: [], ROOT: [DATA]}.get(name, [EXPERIMENT])
        if not (set(by) & set(keys) and _determined(runs, name, by)):
            keys.append(name)
    choices = list(keys)
    along: list[str] = []
    for key in varied:
        if key in names:
            continue
        axis, dot, _ = key.rpartition(".")
        own = [known for known in keys if known == EXPERIMENT or (dot and known.startswith(f"{axis}."))]
        if own and _determined(runs, key, own):
            along += [_spoken(runs, key, own)] if _is_given(runs, key) else []
        elif choices and _determined(runs, key, choices):
            along.append(_spoken(runs, key, choices))
        else:
            keys.append(key)
    return Factors(keys=tuple(keys), along=tuple(along))


def chosen(runs: Sequence[Run], keys: Sequence[str]) -> Factors:
    """These keys as the factors. Raises UsageError for an unknown key, or where something else varies beside them."""
    derived = derive(runs)
    for key in keys:
        check_known(runs, key, as_factor=True)
        if list(keys).count(key) > 1:
            raise UsageError(f"{short(key)} must be named once, got it twice; it is a row or a column")
    for key in derived.keys:
        if key not in keys and not _determined(runs, key, keys):
            values = sorted({text(value_of(run.record, key)) for run in runs})
            one = shlex.quote(f"{short(key)}={values[0]}")
            raise UsageError(
                f"{short(key)} must be a factor of the table, as it varies ({', '.join(values)}) beside"
                f" {', '.join(map(short, keys))}; name it as well, or fix it with --where {one}"
            )
    return Factors(keys=tuple(keys), along=derived.along)


def matches(run: Run, key: str, values: Sequence[str]) -> bool:
    """Whether the run has one of the values, written as a command may write them: 1e-3 is 0.001."""
    owns = {text(value_of(run.record, key))}
    if key == ROOT:
        owns.add(str(run.record.config.get(ROOT)))
    return any(own == value or _number(own) == _number(value) is not None for own in owns for value in values)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def check_known(runs: Sequence[Run], key: str, *, as_factor: bool) -> None:
    """Raises UsageError for a key that no run has, or, as a factor, that is none of an experiment; names the near."""
    known = [short(name) for name in _keys(runs)]
    if not as_factor:
        known += [short(name) for run in runs for name in run.record.config]
    if short(key) not in known:
        guess = nearest(short(key), known)
        varied = ", ".join(map(short, derive(runs).keys)) or "their seeds alone"
        hint = f"did you mean {guess}?" if guess else f"the runs differ in {varied}"
        what = "be a factor of the runs" if as_factor else "be a key of the runs"
        raise UsageError(f"{short(key)} must {what}, and is none; {hint}")


def order(setting: Setting) -> tuple[tuple[int, float, str], ...]:
    """A sort key: numbers by size, before texts."""
    keys = []
    for value in setting:
        try:
            keys.append((0, float(value), ""))
        except ValueError:
            keys.append((1, 0.0, value))
    return tuple(keys)


def training(record: Record) -> list[tuple[str, str]]:
    """Everything that says how a network was trained, its seed included: not what was measured of it, nor where."""
    outside = {*keys_outside_identity(), *_silent(record), *MEASURED, "trainer.name"}
    found = []
    for key, value in record.config.items():
        axis, _, leaf = key.rpartition(".")
        usual = _usual(record, axis) if leaf != "name" else {}
        if (
            (axis in AXES or axis.startswith("callback.") or key in _roots())
            and key not in outside
            and value != usual.get(leaf, ABSENT)
        ):
            found.append((key, text(value)))  # an older record may lack what has its default
    return sorted(found)


def _keys(runs: Sequence[Run]) -> list[str]:
    """Every key that may be a factor: recipe, axes' choices, images, then their keys, the root's, the parent's id."""
    axes = [f"{axis}.name" for axis in AXES if axis != "trainer"]  # cpu, gpu and ddp are the same experiment
    axes.insert(axes.index(DATA) + 1, ROOT)  # named by it: images are told apart by their fingerprint
    present = dict.fromkeys(key for run in runs for key in run.record.config)
    silent = {key for run in runs for key in _silent(run.record)}
    silent -= {key for run in runs for key in silent & run.record.config.keys() if key not in _silent(run.record)}
    outside = keys_outside_identity() | silent | {*MEASURED, "seed", "trainer.name"}
    ours = [key for key in present if key.partition(".")[0] in (*AXES, "callback") or key in _roots()]
    return [*dict.fromkeys([EXPERIMENT, *axes, *(key for key in ours if key not in outside), PARENT])]


@cache
def _roots() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Config) if field.name not in SECTIONS)


def _values(runs: Sequence[Run], keys: Sequence[str]) -> set[Hashable]:
    return {tuple(text(value_of(run.record, key)) for key in keys) for run in runs}


def _determined(runs: Sequence[Run], key: str, by: Sequence[str]) -> bool:
    return len(_values(runs, [*by, key])) == len(_values(runs, by))


def _is_given(runs: Sequence[Run], key: str) -> bool:
    """Whether a command gave the key a value."""
    return any(word.lstrip("+").partition("=")[0] == short(key) for run in runs for word in run.record.command)


def _spoken(runs: Sequence[Run], key: str, by: Sequence[str]) -> str:
    """`optimizer.lr_scale: 3 with optimizer=sgd, 1 with optimizer=adam`, by the first factor that does, else by all."""
    owners = next(([one] for one in by if _determined(runs, key, [one])), list(by))
    pairs = {
        " ".join(f"{short(owner)}={text(value_of(run.record, owner))}" for owner in owners): text(
            value_of(run.record, key)
        )
        for run in runs
    }
    return f"{short(key)}: {', '.join(f'{value} with {owner}' for owner, value in pairs.items())}"


def _usual(record: Record, axis: str) -> Mapping[str, Any]:
    """The defaults of a run's choice of an axis, or of the root; of an outside component, as the run kept them."""
    name = str(record.config.get(f"{axis}.name"))
    place = f"{axis}={name}" if "." not in axis else axis.replace(".", "=", 1)  # callback.NAME is one in a list
    kept = record.components.get(place)
    return _defaults(axis, name) if kept is None else kept.get("defaults", {})


def _silent(record: Record) -> set[str]:
    """The keys of a run's outside components that are no part of what the run is."""
    found = set()
    for choice, kept in record.components.items():
        axis = choice.partition("=")[0]
        place = choice.replace("=", ".") if axis in listed.LISTS else axis
        observed = kept.get("defaults", {}) if kept.get("observes") else kept.get("outside_identity", [])
        found |= {f"{place}.{name}" for name in observed}
    return found


def _observes(record: Record, name: str) -> bool:
    """True if a callback changes no result, so that a run without it is of the same setting."""
    kept = record.components.get(f"callback={name}")
    return bool(kept.get("observes") if kept else getattr(components("callback").get(name), "observes", False))


@cache
def _defaults(axis: str, name: str) -> dict[str, Any]:
    """The defaults of an axis' choice; of the root, for no axis."""
    schemas: Mapping[str, type] = components(axis) if axis else {"": Config}
    if "." in axis and (found := listed.schema_of(axis)) is not None:
        schemas = {"": found}
    schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
    if schema is None:
        return {}
    return {field.name: default for field in dataclasses.fields(schema) if (default := default_of(field)) != MISSING}
