"""Read and write what a run leaves behind: its record and its scores. JSON; imports no torch.

schema 1: tables, reports and later versions read these files, so fields may be added but never renamed.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgrec import text_files, value_checks
from imgrec.errors import RunError, StrPath

SCHEMA = 1
PRUNED = "Pruned"  # how the error of a run begins that a search has ended early
STATUSES = ("running", "finished", "failed", "interrupted")

_COUNTED = ("top1", "top5")  # shares of images
_ROUNDING = 1e-7  # records hold 7 decimals


@dataclass(kw_only=True)
class Score:
    """One measured number.

    Attributes:
        split: train, val or test.
        protocol: How it was measured (`clean`, `tta_flip`, ...).
        metric: Top1, top5, loss, iou, balanced_accuracy, macro_f1, ece, ...; all but loss are fractions in [0, 1].
        value: The number.
        n: The number of images.
        at: `best` or `last`.
        ci: 95 % interval where one is known (Wilson 1927, for proportions).
    """

    split: str
    protocol: str
    metric: str
    value: float
    n: int
    at: str
    settings: dict[str, Any] = field(default_factory=dict)
    ci: tuple[float, float] | None = None

    @property
    def exact(self) -> float:
        """The value without the rounding of records, where it is a count of images divided by n; else the value."""
        count = round(self.value * self.n) if self.metric in _COUNTED and math.isfinite(self.value) else None
        is_count = count is not None and abs(count / self.n - self.value) <= _ROUNDING
        return count / self.n if count is not None and is_count else self.value


@dataclass(kw_only=True)
class Record:
    """The content of record.json: the run's configuration, results, cost and environment.

    Attributes:
        status: One of STATUSES.
        experiment: The recipe.
        command: The words of the command.
        config: The configuration, by dotted keys.
        environment: Versions, hardware, threads and commit.
        weights: The digest of the weights at `best` and `last`.
        progress: How far it came.
        code: Digests of the modules that the run began with (`codebase.Code`), and of the outside protocols and
            loggers that it ended with; empty in older records.
        code_since: For each time that it continued with other code, the digests of the modules that had changed.
        deaths: How many processes in a row continued from the same state and ended without a report (killed, say).
        parent: The folder of the run that it continued from.
        parent_id: The id of that run. It decides which run is meant, as paths change.
        cwd: The working directory, if `config` has a path relative to it; None otherwise and in older records.
        began: When its first process started, in UTC (ISO 8601); None in older records.
        ended: When its last process ended, in UTC (ISO 8601); None in older records.
        error: Why it failed; of a run that a search ended early, PRUNED and the reason.
        images: For a folder, `sizes`: the fingerprint of names and sizes only, as in older records. For a run that
            continued with other images, `trained_on`: how many of its val and test images its parent was trained on.
            With data.label_noise, `changed_labels`: how many training images have a wrong label.
        predictions: The digest of the predictions in `predictions.npz` for each place (`test/clean/last`); empty in
            older records.
        init: For a run with `init_from`: `path` and `sha256` of the weights that its network began with, and of a run's
            the `run_id` and which checkpoint it was (`at`). Empty for all others.
        components: What is known of components from outside of imgrec, by `axis=name` (`config.origins.used`).
        schema: The version of the format.
    """

    run_id: str
    status: str
    experiment: str | None
    study: str | None
    command: list[str]
    config: dict[str, Any]
    fingerprint: str
    scores: list[Score] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    code_since: list[dict[str, str]] = field(default_factory=list)
    deaths: int = 0
    parent: str | None = None
    parent_id: str | None = None
    cwd: str | None = None
    began: str | None = None
    ended: str | None = None
    error: str | None = None
    images: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, str] = field(default_factory=dict)
    init: dict[str, str] = field(default_factory=dict)
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def is_pruned(self) -> bool:
        """True if a search has ended the run early, and nothing has continued it since."""
        return self.status == "interrupted" and (self.error or "").startswith(f"{PRUNED}: ")

    @property
    def state(self) -> str:
        """The status for people, who are told apart what was interrupted and what a search has ended: `pruned`."""
        return "pruned" if self.is_pruned else self.status

    def score(self, metric: str, *, split: str, at: str, protocol: str = "clean") -> Score | None:
        """Return the score of that name; None if it was not measured."""
        for score in self.scores:
            if (score.metric, score.split, score.at, score.protocol) == (metric, split, at, protocol):
                return score
        return None


_OPTIONAL = ("experiment", "study", "parent", "parent_id", "cwd", "began", "ended", "error")
_COSTS = ("seconds", "train_seconds", "images_per_second", "parameters", "flops_per_image")
_MOST_THREADS = 2**16
_MOST_SHARING = 2**16
_MOST_COMPONENTS = 64  # several times the axes
_LONGEST_MODULE = 200  # characters of a module's name


def read(path: StrPath) -> Record:
    """Read a record.

    Raises:
        RunError: The file is no record of a known schema.
    """
    path = Path(path)
    try:
        rows = value_checks.mapping(text_files.read_json(path), "a record")
        schema = rows.pop("schema")
        if schema != SCHEMA:
            raise RunError(
                f"{path}: schema must be {SCHEMA}, got {value_checks.brief(schema)}; read it with the version that"
                " wrote it"
            )
        known = {field.name for field in dataclasses.fields(Record)}  # a later version may have added fields
        record = Record(
            **{
                **{key: value for key, value in rows.items() if key in known},
                "scores": scores_of(rows["scores"]),
            }
        )
        _check(record)
        return record
    except text_files.UNREADABLE as error:
        raise RunError(
            f"{path} must be a record that imgrec wrote, got {text_files.reason(error)}; restore it or start anew"
        ) from error


def check_components(components: Any) -> None:
    """Check an account of outside components.

    Raises:
        ValueError: It is not valid.
    """
    if len(value_checks.mapping(components, "components")) > _MOST_COMPONENTS:
        raise ValueError(f"components must be at most {_MOST_COMPONENTS}, got {len(components)}")
    for key, row in components.items():
        axis, _, name = value_checks.text(key, "a component").partition("=")
        if not axis.isidentifier() or not name.isidentifier():
            raise ValueError(f"a component must read axis=name, got {value_checks.brief(key)}")
        value_checks.mapping(value_checks.mapping(row, key).get("defaults", {}), f"{key}'s defaults")
        if "distribution" not in row and "file" not in row:
            raise ValueError(f"{key} must come from a file or a distribution")
        for entry in ("distribution", "file", "sha256"):
            if entry in row:
                value_checks.text(row[entry], f"{key}'s {entry}")
        for field_name in value_checks.items(row.get("outside_identity", []), f"{key}'s outside_identity"):
            value_checks.text(field_name, f"{key}'s outside_identity")


def _check(record: Record) -> None:
    """Check that the record is one that `write` could have written.

    Raises:
        ValueError: It is JSON, but not such a record.
    """
    if record.status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {value_checks.brief(record.status)}")
    value_checks.name(record.run_id, "run_id")
    value_checks.name(record.fingerprint, "fingerprint")
    for key in _OPTIONAL:
        if getattr(record, key) is not None:
            value_checks.text(getattr(record, key), key)
    for key in ("config", "cost", "environment", "progress", "images"):
        value_checks.mapping(getattr(record, key), key)
    for key, value in value_checks.mapping(record.init, "init").items():
        value_checks.text(value, f"init's {key}")
    check_components(record.components)
    for word in value_checks.items(record.command, "command"):
        value_checks.text(word, "a word of the command")
    for name in value_checks.items(record.config.get("callbacks", []), "config's callbacks"):
        value_checks.text(name, "a name in config's callbacks")
    value_checks.integer(record.config.get("seed", 0), "config's seed", low=-(2**63), high=2**64)
    for key in _COSTS:
        if record.cost.get(key) is not None:
            value_checks.number(record.cost[key], f"cost's {key}", low=0)
    digests_by_place(record.weights, "weights")
    digests_by_place(record.predictions, "predictions")
    value_checks.integer(record.deaths, "deaths")
    value_checks.integer(record.environment.get("threads", 0), "environment's threads", high=_MOST_THREADS)
    value_checks.integer(record.environment.get("shared", 1), "environment's shared", high=_MOST_SHARING)
    if record.images.get("sizes") is not None:
        value_checks.name(record.images["sizes"], "images' sizes")
    value_checks.integer(record.images.get("changed_labels", 0), "images' changed_labels")
    if record.progress.get("from") is not None:
        value_checks.text(record.progress["from"], "progress' from")
    for part in (record.code, *value_checks.items(record.code_since, "code_since")):
        for module, digests in value_checks.mapping(part, "code").items():
            if not all(each.isidentifier() for each in module.split(".")) or len(module) > _LONGEST_MODULE:
                raise ValueError(f"code of {value_checks.brief(module)}, which is no module")
            value_checks.text(digests, f"code of {module}")


def digests_by_place(value: Any, what: str) -> dict[str, str]:
    """Return digests by place, checked.

    Args:
        value: What JSON holds.
        what: What is digested, for the error message.

    Raises:
        ValueError: It is no mapping, or a place or a digest is not valid.
    """
    for place, digest in value_checks.mapping(value, what).items():
        value_checks.name(place, f"a place of {what}")
        value_checks.name(digest, f"the digest of the {what} at {place}")
    return dict(value)


def scores_of(rows: Any) -> list[Score]:
    """Return the scores that these rows of JSON describe.

    Raises:
        KeyError: A field is missing.
        TypeError: A field has the wrong type.
        ValueError: A value is not valid, or a score appears twice.
    """
    scores = [_score_of(row) for row in value_checks.items(rows, "scores")]
    seen = set()
    for score in scores:
        key = (score.split, score.protocol, score.metric, score.at, json.dumps(score.settings, sort_keys=True))
        if key in seen:
            raise ValueError(f"the score {score.split} {score.protocol} {score.metric} at {score.at} twice")
        seen.add(key)
    return scores


def _score_of(row: Any) -> Score:
    given, known = value_checks.mapping(row, "a score"), {field.name for field in dataclasses.fields(Score)}
    value = given["value"]
    if not given.keys() <= known:
        raise ValueError(f"a score with {value_checks.brief(next(iter(given.keys() - known)))}")
    for key in ("split", "protocol", "metric", "at"):
        value_checks.name(given[key], f"a score's {key}")
    what = f"{given['split']} {given['metric']}"
    ends = given.get("ci")
    if ends is not None:
        ends = tuple(
            value_checks.number(end, f"ci of {what}") for end in value_checks.items(ends, f"ci of {what}", length=2)
        )
    return Score(
        **{
            **given,
            # JSON has no NaN: see `text_files.write_json`
            "value": math.nan if value is None else value_checks.number(value, what),
            "n": value_checks.integer(given["n"], f"n of {what}"),
            "settings": value_checks.mapping(given.get("settings", {}), f"settings of {what}"),
            "ci": ends,
        }
    )


def write(path: Path, record: Record) -> None:
    """Write the record completely or not at all."""
    text_files.write_json(path, dataclasses.asdict(record))
