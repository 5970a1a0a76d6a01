"""Name factors, values and scores for print: as the command line does, or by a file of names."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgrec.errors import RunError, UsageError, shown
from imgrec.tables.column import Column
from imgrec.tables.factors import Factors, Setting, full, short
from imgrec.untrusted_text import folded

_METRICS = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "iou": "mean IoU",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "ece": "ECE",
    "ece_debiased": "debiased ECE",
    "ece_calibrated": "ECE after temperature scaling",
    "ece_calibrated_debiased": "debiased ECE after temperature scaling",
    "nll": "negative log-likelihood",
    "nll_calibrated": "negative log-likelihood after temperature scaling",
}
_SPLITS = {"test": "Test", "val": "Validation", "train": "Training"}


class Names:
    """Names for print, by what they name: `optimizer`, `optimizer=sgd`, `test top1`.

    The key is shown if there is no name.
    """

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self._given = dict(given or {})

    def __bool__(self) -> bool:
        return bool(self._given)

    def factor(self, key: str) -> str:
        """Return the name of a factor: `Optimizer` for `optimizer.name`."""
        return self._given.get(short(key)) or self._given.get(key) or short(key)

    def value(self, key: str, value: str) -> str:
        """Return the name of a factor's value for use under a heading that names the factor."""
        return self._lookup(key, value) or value

    def words(self, key: str, value: str) -> str:
        """Return the name of a factor's value for use in a sentence; without a name, as the command line takes it."""
        return self._lookup(key, value) or f"{self.factor(key)}={value}"

    def label(self, metric: str, split: str) -> str | None:
        """Return the name that the file gives a score; None if it gives none."""
        return self._given.get(f"{split} {metric}") or self._given.get(metric)

    def spoken(self, key: str, value: str) -> str:
        """Return the name of a factor's value for use by itself: `sgd` for a choice, `lr=0.1` for a key."""
        named = self._lookup(key, value)
        if named or "." not in short(key):
            return named or value
        known = self._given.get(key)
        return f"{known} = {value}" if known else f"{key.rpartition('.')[2]}={value}"

    def setting(self, keys: Sequence[str], values: Sequence[str], between: str = ", ") -> str:
        """Return the name of a setting."""
        parts = [self.spoken(key, value) for key, value in zip(keys, values, strict=True)]
        return between.join(parts) or "all runs"

    def score(self, column: Column) -> str:
        """Return the name of a score with its unit: `Test top-1 accuracy (%)`."""
        if given := column.named or self.label(column.metric, column.split):
            return given
        under = "" if column.measured == "clean" else f", {column.measured}"
        unit = "" if column.scale == 1 else " (%)"
        split = _SPLITS.get(column.split, column.split)
        return f"{split} {_METRICS.get(column.metric, column.metric)}{under}{unit}"

    def check_apart(self, factors: Factors, settings: Sequence[Setting], columns: Sequence[Column]) -> None:
        """Check that the names of a table are different.

        Raises:
            UsageError: Two factors, two values of a factor or two scores have the same name.
        """
        _refuse_same({short(key): self.factor(key) for key in factors.keys})
        for place, key in enumerate(factors.keys):
            values = dict.fromkeys(setting[place] for setting in settings)
            _refuse_same({f"{short(key)}={value}": self.value(key, value) for value in values})
        _refuse_same({f"{column.split} {column.metric}": self.score(column) for column in columns})

    def _lookup(self, key: str, value: str) -> str | None:
        return self._given.get(f"{short(key)}={value}") or self._given.get(f"{full(key)}={value}")


def read(path: Path) -> Names:
    """Read the names of a TOML file.

    Raises:
        RunError: The file has another form.
    """
    try:
        return Names(dict(_flat(tomllib.loads(path.read_text("utf-8")))))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"{shown(path)} must be a TOML file of names, got: {reason}; a line of it is such as"
            ' "optimizer=sgd" = "SGD"'
        ) from error


def _refuse_same(named: Mapping[str, str]) -> None:
    """Refuse two equal names.

    Args:
        named: For each key of a file of names, the name as a table shows it.
    """
    owners: dict[str, str] = {}
    for each, name in named.items():
        other = owners.setdefault(folded(name), each)
        if other != each:
            raise UsageError(
                f"--names must leave a table's names different, and {other} and {each} are both called {name!r}; change"
                f' one of them, such as "{each}" = "{name} (2)"'
            )


def _flat(rows: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return the names by their keys. TOML reads a dotted key without quotes as a table."""
    found = []
    for key, value in rows.items():
        if isinstance(value, dict):
            found += _flat(value, f"{above}{key}.")
        elif isinstance(value, str):
            found.append((f"{above}{key}", value))
        else:
            raise ValueError(f"{above}{key} = {value!r}, which is no text in quotes")
    return found
