"""Collect what a report shows: the table of settings, data of charts, each run with a link, failures, commands."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from imgrec import records
from imgrec.config.root import GROUPS
from imgrec.config.schemas import choices
from imgrec.config.yaml_files import LABELLED
from imgrec.errors import shown
from imgrec.report.chart_data import ChartData, chart_data, name_of
from imgrec.tables.factors import ABSENT, short
from imgrec.tables.gather import RECORDS, Run
from imgrec.tables.grid import Grid, grid
from imgrec.tables.run_score import score_of
from imgrec.tables.sensitivity import Sensitivity
from imgrec.tables.table import Row, Table

_MOST_NAMES = 4  # folder names in the title


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A setting's mean seconds, and its mean score with its interval."""

    setting: str
    seconds: float
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A run in the report's list. link: from the page to the run's folder; None for a record without a folder."""

    cells: list[str]
    link: str | None
    status: str
    error: str | None


@dataclass(kw_only=True)
class ReportContext:
    """Everything that the page shows, in plain values.

    Attributes:
        when: The time from the first start to the last end.
        counts: The number of runs of each status.
        settings: The table of settings.
        settings_names: The names of the settings that are drawn.
        runs_header: The header of the list of runs.
        runs: The list of runs.
        score: The name of the first score.
        costs: The cost of each setting.
        chart_data: The data of the charts.
        reading: Which images the diagnostics were measured on.
        commands: Commands that repeat the runs.
        tunings: What the runs' sweeps tuned.
        problems: Files that could not be read.
    """

    title: str
    when: str
    counts: dict[str, int]
    settings: Grid
    settings_names: list[str]
    runs_header: list[str]
    runs: list[Lane]
    score: str
    costs: list[Cost] = field(default_factory=list)
    chart_data: ChartData = field(default_factory=ChartData)
    reading: str = ""
    commands: list[str] = field(default_factory=list)
    tunings: list[Sensitivity] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def report_context(table: Table, problems: Sequence[str], page: Path) -> ReportContext:
    """Read curves and diagnostics of the table's runs. page: the path of the report, for its links."""
    runs = [run for row in table.rows for run in row.runs]
    context = ReportContext(
        title=_title(runs),
        when=_when(runs),
        counts={status: n for status in records.STATUSES if (n := sum(run.record.status == status for run in runs))},
        settings=grid(table),
        settings_names=[],
        runs_header=[*(short(key) for key in table.factors.keys), "seed", "status"]
        + [column.label for column in table.columns]
        + ["seconds", "run"],
        runs=[_lane(table, row, run, page) for row in table.rows for run in row.runs],
        score=table.columns[0].label,
        commands=[command for row in table.rows for command in _commands(row)],
        tunings=table.tunings,
        reading=f"{table.columns[0].split} set, {table.at} checkpoint",
        problems=list(problems),
    )
    context.costs = [cost for row in table.rows if (cost := _cost(name_of(table, row), row)) is not None]
    context.chart_data = chart_data(table)
    drawn = {point.setting for points in context.chart_data.curves.values() for point in points}
    drawn |= {cost.setting for cost in context.costs} | {each.setting for each in context.chart_data.bins}
    context.settings_names = [name for row in table.rows if (name := name_of(table, row)) in drawn]
    context.problems += context.chart_data.problems
    return context


def _title(runs: Sequence[Run]) -> str:
    """Return the names of the folders that contain the runs, such as a sweep's; for a single run, its own name."""
    if len(runs) == 1:
        return shown(runs[0].name)
    names = list(dict.fromkeys(shown(_group(run).name) for run in runs))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _group(run: Run) -> Path:
    """Return the folder that contains the run's folder; for a record without a folder, the folder around `records`."""
    place = (run.folder or run.path).resolve().parent
    return place.parent if run.folder is None and place.name == RECORDS else place


def _when(runs: Sequence[Run]) -> str:
    """Return the time from the first start to the last end, in UTC, of the records that contain times."""
    began = sorted(run.record.began for run in runs if run.record.began)
    ended = sorted(run.record.ended for run in runs if run.record.ended)
    if not began or not ended:
        return "the records do not say when"
    return f"{_minute(began[0])} to {_minute(ended[-1])} UTC"


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _lane(table: Table, row: Row, run: Run, page: Path) -> Lane:
    values = []
    for column in table.columns:
        value = score_of(run, column, table.at)
        values.append(ABSENT if value is None else f"{value * column.scale:.{4 if column.scale == 1 else 2}f}")
    seconds = run.record.cost.get("seconds")
    link = None
    if run.folder is not None:
        link = quote(os.fsencode(os.path.relpath(run.folder.resolve(), page.resolve().parent))) + "/"
    return Lane(
        cells=[
            *row.setting,
            str(run.seed),
            run.record.state,
            *values,
            f"{seconds:.0f}" if isinstance(seconds, (int, float)) else ABSENT,
            shown(run.name),
        ],
        link=link,
        status=run.record.state,
        error=run.record.error,
    )


def _commands(row: Row) -> list[str]:
    """Return commands that repeat the setting's runs: one command for all seeds if their other words are the same.

    Runs of a study, and runs that continued from another run, get a command each, as `-m` would start more runs.
    """
    rest = {tuple(word for word in run.record.command if word.partition("=")[0] != "seed") for run in row.runs}
    studied = any(run.record.study or run.record.parent for run in row.runs)
    if len(rest) == 1 and len(row.runs) > 1 and not studied:
        seeds = ",".join(str(seed) for seed in sorted({run.seed for run in row.runs}))
        return [_shell(["imgrec", "train", *_own(row), *_folder(row), "-m", *next(iter(rest)), f"seed={seeds}"])]
    begins = ["imgrec", "train", *_own(row), *_folder(row)]
    return [
        _shell([*begins, *run.record.command, *(["hydra.mode=RUN"] if run.record.study else [])]) for run in row.runs
    ]


def _own(row: Row) -> list[str]:
    """Return the words that name the files of the user's own components; a record keeps a file's name alone."""
    parts = (part for run in row.runs for part in run.record.components.values())
    files = sorted({str(part["file"]) for part in parts if "file" in part})
    return [word for file in files for word in ("--components", file)]


def _folder(row: Row) -> list[str]:
    """Return the option for the folder of the user's own choices, if a run has one. No record keeps the folder."""
    for run in row.runs:
        for word in run.record.command:
            key, _, value = word.partition("=")
            if key in (*GROUPS, *LABELLED) and value not in choices(key) and word not in run.record.components:
                return ["--config-dir", "DIR"]
    return []


def _shell(words: Sequence[str]) -> str:
    """Return the command on one line, to be pasted."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    """Quote the word for bash, ksh and zsh, without any character that a terminal would interpret."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(plain)}'"


def _cost(setting: str, row: Row) -> Cost | None:
    seconds, summary = row.cost("seconds"), row.cells[0].summary
    if seconds is None or summary is None:
        return None
    return Cost(setting=setting, seconds=seconds, mean=summary.mean, low=summary.low, high=summary.high)
