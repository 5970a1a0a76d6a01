"""Create runs as folders and records from given overrides and scores, and read tables back from their text."""

import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imgrec import records, text_files
from imgrec.config import serialize
from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.config.overrides import parsed
from imgrec.config.root import AXES, Config
from imgrec.config.schemas import written
from imgrec.records import STATUSES, Record, Score

PLACES = ("best", "last")
ENVIRONMENT = {
    "commit": "c0ffee" * 6 + "beef",
    "dirty": False,
    "imgrec": "0.8",
    "python": "3.11.7",
    "torch": "2.9.0",
    "torchvision": "0.24.0",
    "lightning": "2.6.0",
    "torchmetrics": "1.8.0",
    "cpu": "AMD EPYC",
    "cores": 2,
    "gpu": [],
}


def score(metric: str, value: float, *, split: str = "test", at: str = "last", protocol: str = "clean") -> Score:
    return Score(split=split, protocol=protocol, metric=metric, value=value, n=1000, at=at)


@cache
def _composed(*words: str) -> dict[str, Any]:
    return serialize.flat(compose(words))


@cache
def _choice(axis: str, name: str) -> dict[str, Any]:
    """The keys that a choice of an axis sets, its component's name included."""
    component, rows = written(axis, name)
    assert component is not None, name
    above = {f"{axis}.name": component.name} if component.is_choice else {}
    return above | {f"{axis}.{key}": value for key, value in rows.items()}


@cache
def _config(words: tuple[str, ...]) -> Config:
    """As compose(words), on the digits; without Hydra, which takes a while over each new command."""
    experiment = [word for word in words if word.startswith("experiment=")]
    rows = dict(_composed(*(experiment or ["data=digits"])))
    for override in parsed([word for word in words if word not in experiment]):
        key, value = override.key_or_group, override.value()
        if key in AXES:
            rows = {name: kept for name, kept in rows.items() if not name.startswith(f"{key}.")}
            rows |= _choice(key, str(value))
        else:
            rows[key] = value
    return serialize.from_flat(rows)


def run(words: str, *scores: Score, fingerprint: str = "f" * 64, **changes: Any) -> Record:
    """The record of the run that these words start, on the embedded digits where they name no data.

    environment: what differs from the usual one. config: keys that differ from what the words say; None: without it.
    """
    seed = [word for word in words.split() if word.startswith("seed=")]
    config = _config(tuple(word for word in words.split() if word not in seed))
    config = dataclasses.replace(config, seed=int(seed[0].removeprefix("seed=")) if seed else 0)
    rows = serialize.flat(config) | changes.pop("config", {})
    given: dict[str, Any] = {
        "run_id": run_id(config, fingerprint, changes.get("parent"), changes.get("init", {}).get("sha256")),
        "status": "finished",
        "experiment": config.experiment,
        "study": config.study,
        "command": words.split(),
        "config": {key: value for key, value in rows.items() if value is not None},
        "fingerprint": fingerprint,
        "scores": list(scores),
        "environment": ENVIRONMENT | changes.pop("environment", {}),
    }
    return Record(**given | changes)


def lay(place: Path, record: Record, name: str | None = None) -> Path:
    """Write the record as a run's folder in that place, or as a file of its own where the place is named records."""
    name = name or f"{'_'.join(re.sub('[^a-z0-9.]+', '-', word) for word in record.command)}-{record.run_id[:8]}"
    path = place / f"{name}.json" if place.name == "records" else place / name / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write(path, record)
    return path


def measure(
    folder: Path, owner: str, *scores: Score, name: str = "tta_flip-0.json", weights: str | None = None
) -> Path:
    """Write what `imgrec evaluate` writes."""
    path = folder / "evaluations" / name
    path.parent.mkdir(exist_ok=True)
    rows = {"schema": 1, "run_id": owner, "scores": [dataclasses.asdict(row) for row in scores]}
    text_files.write_json(path, rows if weights is None else rows | {"weights": weights})
    return path


Outcome = float | Mapping[str, float] | str | None
"""A run's top1, or its scores by metric; a status where it has none; None for no run."""


def lay_sweep(place: Path, outcomes: Mapping[str, Sequence[Outcome]], *, split: str = "test", **changes: Any) -> None:
    """Lay a run for each outcome of these words; its place is its seed. changes: of all records."""
    for words, row in outcomes.items():
        for seed, outcome in enumerate(row):
            named = f"{words} seed={seed}"
            if isinstance(outcome, str):
                assert outcome in STATUSES
                lay(place, run(named, status=outcome, **changes))
            elif outcome is not None:
                values = outcome if isinstance(outcome, Mapping) else {"top1": outcome}
                rows = [score(name, value, split=split, at=at) for name, value in values.items() for at in PLACES]
                lay(place, run(named, *rows, **changes))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A table as people read it. rows: texts by their column's name; notes: what stands below; verdict: what above."""

    header: list[str]
    rows: list[dict[str, str]]
    notes: list[str]
    verdict: str

    def row(self, *begins: str) -> dict[str, str]:
        """The one row that begins with these texts."""
        (found,) = [row for row in self.rows if tuple(row.values())[: len(begins)] == begins]
        return found

    def note(self, begins: str) -> str:
        """The one note that begins so."""
        (found,) = [note for note in self.notes if note.startswith(begins)]
        return found


def _shown(header: list[str], rows: list[list[str]], notes: list[str], verdict: str) -> Shown:
    names = [f"{name} {header[:k].count(name) + 1}" if name in header[:k] else name for k, name in enumerate(header)]
    return Shown(header=names, rows=[dict(zip(names, row, strict=True)) for row in rows], notes=notes, verdict=verdict)


def of_markdown(text: str) -> Shown:
    """Read a table and its notes; a name that comes again is numbered (`p`, `p 2`)."""
    verdict, empty, *lines = text.splitlines()
    assert verdict.endswith("."), "a sentence"
    assert empty == ""
    table = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines if line.startswith("| ")]
    header, rule, *rows = [[re.sub(r"\\(?=[|<`(:\[])", "", cell) for cell in line] for line in table]
    assert set(rule) <= {"---", "---:"}
    notes = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert len(table) + len(notes) + 1 == len(lines), "a table, an empty line, its notes"
    return _shown(header, rows, notes, re.sub(r"\\(?=[<`(:\[])", "", verdict))


_SIGNS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textbar{}": "|",
    r"$\pm$": "±",
    r"$\Delta$": "Δ",
    r"$<$": "<",
    r"$>$": ">",
    r"$\le$": "≤",
    r"$\ge$": "≥",
    "{[}": "[",
    "{}": "",
    r"\textendash{}": "–",
    "$-$": "-",
    "{*}": "*",
    **{f"\\{mark}": mark for mark in "&%$#_{}"},
}


def of_latex(text: str) -> Shown:
    """Read a table as LaTeX would set it, as Markdown writes it.

    The verdict is its caption; the notes are those below the table, then the comments.
    """

    def plain(cell: str) -> str:
        cell = re.sub(r"^\\textbf\{(.*)\}$", r"**\1**", cell)
        return re.sub("|".join(map(re.escape, _SIGNS)), lambda found: _SIGNS[found[0]], cell)

    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line.strip().removesuffix(r" \\") for line in body.splitlines() if line.endswith(r" \\")]
    header, *rows = [[plain(cell) for cell in line.split(" & ")] for line in lines]
    (caption,) = re.findall(r"^ *\\caption\{(.*)\}$", text, re.MULTILINE)
    below = re.findall(r"^ *\\item (.*)$", text, re.MULTILINE)
    comments = [line.removeprefix("% ") for line in text.partition("end{table}")[2].splitlines() if line]
    return _shown(header, rows, [*map(plain, below), *comments], plain(caption))


def of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), strict=True))
