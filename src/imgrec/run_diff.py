"""Compare two records of one run with their curves: are they bit-equal, or where do they first differ? No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgrec import codebase
from imgrec.curve_file import DEVICE
from imgrec.records import Record

Row = tuple[int, int, str, str]
"""Step, epoch, split and metric of a number in curves.csv."""
Rows = dict[Row, str]
"""The numbers as they were written, in their original order."""

_CLOCKS = ("_per_second", "seconds")  # endings of metrics that measure time, which always differ between runs
# values of environments that older records lack
_LATER = ("device", "devices", "deterministic", "driver", "cudnn", "tf32")
_TIME_ONLY = ("shared",)  # values of environments that change no number but times
_COMMIT = 12  # digits of a commit that are shown


@dataclass(frozen=True, kw_only=True)
class Run:
    """The parts of a run that are compared."""

    record: Record
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The result of a comparison. Differences are in words, in the order of training.

    Attributes:
        places: Where weights were compared (`best`, `last`).
        common_rows: How many curve rows were compared.
        lone_rows: How many curve rows were not compared, as only one run logged their metric.
        all_scores: How many scores were compared.
        rows: The curve rows that differ.
        weights: The places where weights differ.
        scores: The scores that differ.
        environment: The versions, hardware and code that differ.
    """

    places: list[str]
    common_rows: int
    lone_rows: int
    all_scores: int
    rows: list[str]
    weights: list[str]
    scores: list[str]
    environment: list[str]

    @property
    def first(self) -> str | None:
        """The first difference; None if the two are bit-equal."""
        if self.rows:
            return self.rows[0]
        if self.weights:
            curves = "the curves agree" if self.common_rows else "no curve row is common"
            return f"{curves}, the weights differ at {_joined(self.weights)}"
        return f"the weights agree, the scores differ: {self.scores[0]}" if self.scores else None

    def lines(self) -> list[str]:
        """Return the comparison as lines of text."""
        if self.first is None:
            counts = f"{self.all_scores} scores, {self.common_rows} curve rows"
            told = [f"bit-equal: weights at {_joined(self.places)}, {counts}"]
        else:
            numbers = (
                f"{len(self.rows)} of {self.common_rows} curve rows, {len(self.scores)} of {self.all_scores} scores"
            )
            agree = f"agree at {_joined(self.places)}, only what was measured differs"
            told = [
                f"drifts first: {self.first}",
                f"weights: {f'differ at {_joined(self.weights)}' if self.weights else agree}",
                f"differing: {numbers}",
            ]
        if self.lone_rows:
            told.append(f"not compared: {self.lone_rows} curve rows of metrics that only one of the two has")
        if self.environment or self.first:
            told.append(f"environment: {', '.join(self.environment) or 'the same'}")
        return told


def keyed(rows: Sequence[Mapping[str, str]]) -> Rows:
    """Return the rows of a curves.csv by what they measure. A repeated key has both values.

    Times and the use of the machine are left out.
    """
    found: Rows = {}
    for row in rows:
        if row["split"] != DEVICE and not row["metric"].endswith(_CLOCKS):
            key = (int(row["step"]), int(row["epoch"]), row["split"], row["metric"])
            found[key] = f"{found[key]} and {row['value']}" if key in found else row["value"]
    return found


def compare(before: Run, after: Run) -> Drift:
    """Compare `after` with `before`: the weights' digests, the scores, and the rows of metrics that both logged.

    A value that only one of the two has counts as a difference. Numbers are equal if their texts are, which are exact;
    NaN equals NaN.
    """
    old, new = before.record, after.record
    places = sorted(old.weights.keys() | new.weights.keys())
    scores, scores_now = _scores(old), _scores(new)
    logged = {row[2:] for row in before.rows} & {row[2:] for row in after.rows}
    together = dict.fromkeys([*before.rows, *after.rows])
    common = sorted((row for row in together if row[2:] in logged), key=lambda row: row[0])  # a lone row at its step
    return Drift(
        places=places,
        common_rows=len(common),
        lone_rows=len(together) - len(common),
        all_scores=len(scores.keys() | scores_now.keys()),
        rows=[
            f"step {step}, epoch {epoch}, {split} {metric} {before.rows.get(row, 'absent')} ->"
            f" {after.rows.get(row, 'absent')}"
            for row in common
            if before.rows.get(row) != after.rows.get(row)
            for step, epoch, split, metric in [row]
        ],
        weights=[at for at in places if old.weights.get(at) != new.weights.get(at)],
        scores=_changes(scores, scores_now, list(dict.fromkeys([*scores, *scores_now]))),
        environment=[
            *_changes(_shown(old.environment), _shown(new.environment), _compared(old.environment, new.environment)),
            *_code(old, new),
        ],
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """Return the differences between the two, in the form `torch 2.14.0 -> 2.15.0`."""
    pairs = [(key, before.get(key, "absent"), after.get(key, "absent")) for key in keys]
    return [f"{key} {old} -> {new}" for key, old, new in pairs if old != new]


def _compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys of two environments that are compared: all that may change a number and that both may have."""
    is_older = not ("device" in before and "device" in after)
    return [key for key in {**before, **after} if not (is_older and key in _LATER) and key not in _TIME_ONLY]


def _code(before: Record, after: Record) -> list[str]:
    """Return the modules whose code differs between any parts of the two runs, if both records name their code."""
    if not before.code or not after.code:
        return []
    names = set(codebase.differing(before.code, after.code))
    names.update(name for record in (before, after) for part in record.code_since for name in part)
    return [f"code of {codebase.named(sorted(names))}"] if names else []


def _scores(record: Record) -> dict[str, str]:
    """Return each score's name, and its value with the number of images."""
    named = {}
    for score in record.scores:
        settings = f" {json.dumps(score.settings, sort_keys=True)}" if score.settings else ""
        named[f"{score.split} {score.protocol} {score.metric} at {score.at}{settings}"] = (
            f"{score.value!r} (n={score.n})"
        )
    return named


def _shown(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as texts for one line."""
    texts = {}
    for key, value in environment.items():
        text = " + ".join(map(str, value)) if isinstance(value, list) else str(value)
        texts[key] = "none" if value in (None, []) else text[:_COMMIT] if key == "commit" else text
    return texts


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
