"""Find the factors of an experiment: the configuration keys that vary between its runs. Imports no torch."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from imgrec.config import listed
from imgrec.config.held_out import TEST_KEYS, VALIDATION_KEYS
from imgrec.config.identity import source_name, without_seed
from imgrec.config.root import AXES, GROUPS, MEASURED, SECTIONS, Config
from imgrec.config.schemas import keys_outside_identity
from imgrec.records import Record
from imgrec.tables import images
from imgrec.tables.gather import Run
from imgrec.tables.recorded_choices import defaults_in, keys_outside, observes

EXPERIMENT, DATA, ROOT, PARENT = "experiment", "data.name", "data.root", "parent"
INIT, TEACHER = "init_from", "loss.teacher"
SOURCES = (INIT, TEACHER)  # keys that name the run whose weights a run uses
_TEACHER_DIGEST = "loss.teacher_digest"  # says the same as TEACHER, in no words
DRAWN = {"test": TEST_KEYS, "val": (*VALIDATION_KEYS, *TEST_KEYS)}  # val is drawn after test
ABSENT = "–"  # the value of a key that the run's choice does not have
RESUMED = "resumed"  # the value of PARENT that says no more, where all parents have one name
_UNNAMED = "a run"  # the value of PARENT where the parent's folder is named by seed and id alone

Setting = tuple[str, ...]
"""The values of the factors as texts, in the factors' order."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The factors of a set of runs.

    A key that a choice sets to its own default is not reported. A key that a command set (a tuned rate, say), or that
    varies with another axis, is reported in `along`.

    Attributes:
        keys: The dotted keys that were varied.
        along: The keys that vary as well, but are fully determined by `keys`; each in words.
        parents: The names of the runs' parents as they are shown, as of `parents_of`.
    """

    keys: tuple[str, ...]
    along: tuple[str, ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)

    def setting(self, run: Run) -> Setting:
        values = {key: text(value_of(run.record, key)) for key in self.keys}
        return tuple(self.parents.get(value, value) if key == PARENT else value for key, value in values.items())


def short(key: str) -> str:
    """Return the key as the command line takes it: `optimizer` for `optimizer.name`."""
    return key.removesuffix(".name")


def full(key: str) -> str:
    """Return the dotted key of a record's configuration: `optimizer.name` for `optimizer`."""
    return f"{key}.name" if key in GROUPS else key


def value_of(record: Record, key: str) -> Any:
    """Return the run's value of a key.

    A record that is older than the key does not hold it. The value is then the default of the run's choice, or ABSENT
    where the choice has no such key.
    """
    if key == PARENT:
        return without_seed(Path(record.parent).name) or _UNNAMED if record.parent else ABSENT
    if key == EXPERIMENT:
        return record.experiment or "none"
    if key == ROOT:
        return images.named(record)
    if key in SOURCES:
        source = record.config.get(key)
        return (None if key == INIT else ABSENT) if source is None else source_name(str(source))
    if key in record.config:
        value = record.config[key]
        return [name for name in value if not observes(record, name)] if key == listed.LISTS["callback"] else value
    axis, _, leaf = key.rpartition(".")
    return defaults_in(record, axis).get(leaf, ABSENT)


def drawn(record: Record, split: str) -> Setting:
    """Return the values of the keys (`DRAWN`) that decide which images of the data set the split contains.

    The keys matter only where the split has no folder of its own. Records do not tell whether it has one, so all of
    these keys count.
    """
    return tuple(text(value_of(record, key)) for key in DRAWN.get(split, ()))


def text(value: Any) -> str:
    """Return the value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(text(inner) for inner in value)}]"
    return "null" if value is None else str(value)


def derive(runs: Sequence[Run]) -> Factors:
    """Return the keys whose values distinguish the runs' settings, without the seed.

    Recipes come first, then the choice of each axis, then single keys. A key is no factor of its own where its value is
    determined by the recipe, by the choice of its axis, or by recipe and choices together (a rate that was tuned for
    each, for example). The parent is no setting. It is a factor only where runs differ in nothing else, as a resumed
    run is no repetition of one that began anew.
    """
    varied = [key for key in keys_of(runs) if len(_values(runs, (key,))) > 1]
    names = [key for key in varied if key in (EXPERIMENT, ROOT) or key.endswith(".name")]
    choices = _choices(runs, names)
    keys, along = list(choices), list[str]()
    for key in varied:
        if key in names or key == PARENT:
            continue
        own = [known for known in keys if known == EXPERIMENT or is_setting_of(key, known)]
        if own and is_determined(runs, key, own):
            if _is_given(runs, key):  # else the choice itself says it
                along.append(_words_along(runs, key, own))
        elif choices and is_determined(runs, key, choices):
            along.append(_words_along(runs, key, choices))
        else:
            keys.append(key)
    parents = parents_of(runs)
    if PARENT in varied and keys and is_determined(runs, PARENT, keys):
        along.append(_words_of_resumed(runs, keys, parents))
    elif PARENT in varied:
        keys.append(PARENT)
    return Factors(keys=tuple(keys), along=tuple(along), parents=parents)


def parents_of(runs: Sequence[Run]) -> Mapping[str, str]:
    """Return the names of the runs' parents as tables show them: without the words that all of them share.

    A single name is shown as RESUMED.
    """
    names = dict.fromkeys(text(value_of(run.record, PARENT)) for run in runs if run.record.parent)
    if len(names) <= 1:
        return dict.fromkeys(names, RESUMED)
    shared = set.intersection(*(set(name.split("_")) for name in names))
    brief = {name: "_".join(word for word in name.split("_") if word not in shared) or _UNNAMED for name in names}
    return brief if len(set(brief.values())) == len(names) else {name: name for name in names}


def _choices(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Return the recipe, the axes' choices and the images, as far as the recipe does not determine them."""
    found: list[str] = []
    for name in names:
        # runs on different images are never one setting, even with the same recipe
        by = {DATA: [], ROOT: [DATA]}.get(name, [EXPERIMENT])
        if not (set(by) & set(found) and is_determined(runs, name, by)):
            found.append(name)
    return found


def is_setting_of(key: str, other: str) -> bool:
    """Return True if both are keys of one axis, such as `optimizer.lr` and `optimizer.name`."""
    axis, dot, _ = key.rpartition(".")
    if axis.startswith("callback."):  # the settings of a component that the list names
        return other == listed.LISTS["callback"]
    return bool(dot) and other.startswith(f"{axis}.")


def order(setting: Setting) -> tuple[tuple[int, float, str], ...]:
    """Return a sort key for a setting: numbers by size, before texts."""
    keys = []
    for value in setting:
        try:
            keys.append((0, float(value), ""))
        except ValueError:
            keys.append((1, 0.0, value))
    return tuple(keys)


def training(record: Record) -> list[tuple[str, str]]:
    """Return every key and value that determine how the network was trained, sorted, with the seed.

    Keys that only say what was measured or where the run was carried out are left out.
    """
    outside = {*keys_outside_identity(), *keys_outside(record), *MEASURED, "trainer.name"}
    found = []
    for key, value in record.config.items():
        axis, _, leaf = key.rpartition(".")
        usual = defaults_in(record, axis) if leaf != "name" else {}
        if key == listed.LISTS["callback"]:
            value = value_of(record, key)  # without those that only observe
        if (
            (axis in AXES or axis.startswith("callback.") or key in _roots())
            and key not in outside
            and value != usual.get(leaf, ABSENT)
        ):
            found.append((key, text(value)))  # skips defaults, as an older record may lack the key
    return sorted(found)


def keys_of(runs: Sequence[Run]) -> list[str]:
    """Return every key that may be a factor.

    The order is: recipe, choices of the axes, images, keys of the axes, keys of the root, the run or the file whose
    weights it began with, the parent's id.
    """
    axes = [f"{axis}.name" for axis in AXES if axis != "trainer"]  # cpu, gpu and ddp are the same setting
    axes.insert(axes.index(DATA) + 1, ROOT)  # ROOT names the images, which are identified by their fingerprint
    present = dict.fromkeys(key for run in runs for key in run.record.config)
    silent = {key for run in runs for key in keys_outside(run.record)}
    silent -= {key for run in runs for key in silent & run.record.config.keys() if key not in keys_outside(run.record)}
    outside = keys_outside_identity() | silent | {*MEASURED, "seed", "trainer.name", _TEACHER_DIGEST}
    ours = [key for key in present if key.partition(".")[0] in (*AXES, "callback") or key in _roots()]
    return [*dict.fromkeys([EXPERIMENT, *axes, *(key for key in ours if key not in outside), *SOURCES, PARENT])]


@cache
def _roots() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Config) if field.name not in SECTIONS)


def _values(runs: Sequence[Run], keys: Sequence[str]) -> set[Hashable]:
    return {tuple(text(value_of(run.record, key)) for key in keys) for run in runs}


def is_determined(runs: Sequence[Run], key: str, by: Sequence[str]) -> bool:
    return len(_values(runs, [*by, key])) == len(_values(runs, by))


def _words_of_resumed(runs: Sequence[Run], by: Sequence[str], parents: Mapping[str, str]) -> str:
    """Return in words which settings went on from another run, by the first factor that tells it, or else by all."""
    owners = next(([one] for one in by if is_determined(runs, PARENT, [one])), list(by))
    found = {
        " ".join(f"{short(owner)}={text(value_of(run.record, owner))}" for owner in owners): run.record
        for run in runs
        if run.record.parent
    }
    names = {owner: parents[text(value_of(record, PARENT))] for owner, record in found.items()}
    told = [owner if name == RESUMED else f"{owner} from {name}" for owner, name in names.items()]
    return f"resumed from another run: {', '.join(told)}"


def _is_given(runs: Sequence[Run], key: str) -> bool:
    """Return True if a command gave the key a value."""
    return any(word.lstrip("+").partition("=")[0] == short(key) for run in runs for word in run.record.command)


def _words_along(runs: Sequence[Run], key: str, by: Sequence[str]) -> str:
    """Return the key's values by the factor that determines them.

    An example is `optimizer.lr_scale: 3 with optimizer=sgd, 1 with optimizer=adam`. The text uses the first factor that
    determines the key by itself, or else all factors.
    """
    owners = next(([one] for one in by if is_determined(runs, key, [one])), list(by))
    pairs = {
        " ".join(f"{short(owner)}={text(value_of(run.record, owner))}" for owner in owners): text(
            value_of(run.record, key)
        )
        for run in runs
    }
    return f"{short(key)}: {', '.join(f'{value} with {owner}' for owner, value in pairs.items())}"
