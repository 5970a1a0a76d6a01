"""Two records of one run, with their curves: whether all is bit-equal, or where they part first. Imports no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgrec import codebase
from imgrec.records import Record

Row = tuple[int, int, str, str]
"""Step, epoch, split and metric of a number in curves.csv."""
Rows = dict[Row, str]
"""The numbers as they were written, in the order in which they were."""

_CLOCKS = ("_per_second", "seconds")  # how metrics end that measure time: no two runs share them
_COMMIT = 12  # digits that tell commits apart


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is compared of a run."""

    record: Record
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What was compared, how much of it, and what differs, in words and in the order of training.

    lone_rows: of metrics that only one of the two logged, which are not compared.
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
        """Where the two part first; None when they are bit-equal."""
        if self.rows:
            return self.rows[0]
        if self.weights:
            curves = "the curves agree" if self.common_rows else "no curve row is common"
            return f"{curves}, the weights differ at {_and(self.weights)}"
        return f"the weights agree, the scores differ: {self.scores[0]}" if self.scores else None

    def lines(self) -> list[str]:
        """The comparison for people."""
        if self.first is None:
            counts = f"{self.all_scores} scores, {self.common_rows} curve rows"
            told = [f"bit-equal: weights at {_and(self.places)}, {counts}"]
        else:
            numbers = (
                f"{len(self.rows)} of {self.common_rows} curve rows, {len(self.scores)} of {self.all_scores} scores"
            )
            agree = f"agree at {_and(self.places)}, only what was measured differs"
            told = [
                f"drifts first: {self.first}",
                f"weights: {f'differ at {_and(self.weights)}' if self.weights else agree}",
                f"differing: {numbers}",
            ]
        if self.lone_rows:
            told.append(f"not compared: {self.lone_rows} curve rows of metrics that only one of the two has")
        if self.environment or self.first:
            told.append(f"environment: {', '.join(self.environment) or 'the same'}")
        return told


def keyed(rows: Sequence[Mapping[str, str]]) -> Rows:
    """The rows of a curves.csv by what they measure, clocks left out. What stands there twice has both values."""
    found: Rows = {}
    for row in rows:
        if not row["metric"].endswith(_CLOCKS):
            key = (int(row["step"]), int(row["epoch"]), row["split"], row["metric"])
            found[key] = f"{found[key]} and {row['value']}" if key in found else row["value"]
    return found


def compare(before: Run, after: Run) -> Drift:
    """Hold `after` against `before`: the weights' digests, the scores, the rows of the metrics that both logged.

    What only one of the two has differs. Numbers are equal when their texts are, which are exact; NaN equals NaN.
    """
    old, new = before.record, after.record
    places = sorted(old.weights.keys() | new.weights.keys())
    scores, scores_now = _scores(old), _scores(new)
    logged = {row[2:] for row in before.rows} & {row[2:] for row in after.rows}
    together = dict.fromkeys([*before.rows, *after.rows])
    common = sorted((row for row in together if row[2:] in logged), key=lambda row: row[0])  # as a lone row would lie
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
            *_changes(_shown(old.environment), _shown(new.environment), list(old.environment | new.environment)),
            *_code(old, new),
        ],
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """What differs between the two, as `torch 2.14.0 -> 2.15.0`."""
    pairs = [(key, before.get(key, "absent"), after.get(key, "absent")) for key in keys]
    return [f"{key} {old} -> {new}" for key, old, new in pairs if old != new]


def _code(before: Record, after: Record) -> list[str]:
    """The modules that were other code in some part of the two runs, where both say."""
    if not before.code or not after.code:
        return []
    names = set(codebase.differing(before.code, after.code))
    names.update(name for record in (before, after) for part in record.code_since for name in part)
    return [f"code of {codebase.named(sorted(names))}"] if names else []


def _scores(record: Record) -> dict[str, str]:
    """Each score's name, and its value with the number of images."""
    named = {}
    for score in record.scores:
        settings = f" {json.dumps(score.settings, sort_keys=True)}" if score.settings else ""
        named[f"{score.split} {score.protocol} {score.metric} at {score.at}{settings}"] = (
            f"{score.value!r} (n={score.n})"
        )
    return named


def _shown(environment: Mapping[str, Any]) -> dict[str, str]:
    """The values as a line can show them."""
    texts = {}
    for key, value in environment.items():
        text = " + ".join(map(str, value)) if isinstance(value, list) else str(value)
        texts[key] = "none" if value in (None, []) else text[:_COMMIT] if key == "commit" else text
    return texts


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
