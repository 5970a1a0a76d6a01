"""Load runs and their curves as pandas DataFrames, for the user's own analysis. Imports no torch; pandas on use."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from imgrec import curve_file
from imgrec.errors import RunError, StrPath, UsageError, shown
from imgrec.runfolder import CURVES
from imgrec.tables import factors, per_run
from imgrec.tables.gather import Run, gather, stands

if TYPE_CHECKING:
    import pandas as pd

_LISTED = 3  # runs that are named; the rest is counted


def load_runs(*places: StrPath) -> "pd.DataFrame":
    """Return a data frame with one row for each run, of every status, in the order of their paths.

    Runs are found as `imgrec table` finds them. The columns:
        run_id, name, folder, path: the run's id, its folder's name, its folder (missing for a record without a folder)
            and its record's file.
        status, error: finished, failed, interrupted or running; why it failed.
        study, experiment, seed, images: `images` identifies the data that a run was trained on.
        optimizer.name, ...: the keys that were varied, as `imgrec table` finds them.
        test_top1_last, ...: the scores as SPLIT_METRIC_AT, with _PROTOCOL at the end for protocols other than clean.
            Scores are fractions in [0, 1], losses are in nats. NaN where a run was not measured in this way, and for
            every run that has not finished. (Where there is no `best`, `imgrec table` shows `last`, but here `best` is
            NaN.)
        seconds, train_seconds, images_per_second, parameters, flops_per_image, ...: the cost as in its record;
            flops_per_image is for one forward pass, with a multiplication and an addition counted as two.
        optimizer.lr, ...: the rest of the configuration by dotted keys. A key that a run's choice does not have is
            missing. A list is its text, as a command takes it: `[32,64]`.
        began, ended: times in UTC.
        command: the run's words.
        parent_id: the id of the run that it continued from.
        commit, dirty, python, torch, torchvision, lightning, cpu, cores, gpu, threads: the environment.
        device, deterministic, driver, cudnn, tf32, shared: what the run trained on, and how (see
            `environment.of_device`); only columns that one of the records has, as older ones have none.

    Types are string, Int64, boolean, float64 and datetime64 in UTC; a column of mixed types is text.
    `frame.attrs["varied"]` names the columns of varied keys. A training that a sweep carried out twice (once to tune
    it) has two rows.

    Args:
        places: Run folders, folders that contain them at any depth, `records` folders, single records.

    Raises:
        UsageError: A place does not exist, or none contains a run.
        RunError: Pandas is not installed, or no record could be read.

    Warns:
        UserWarning: for each record that could not be read, for times that cannot be read, and for what was left out.
    """
    pandas = _pandas("load_runs")
    runs, said = _runs("load_runs", places)
    found = per_run.columns(runs, said)
    frame = pandas.DataFrame({name: _column(values) for name, values in found.items()})
    for name in ("began", "ended"):
        frame[name] = _times(name, found[name], runs, said)
    frame.attrs["varied"] = per_run.varied(runs)
    _warn(said)
    return frame


def load_curves(*places: StrPath) -> "pd.DataFrame":
    """Return what the runs logged during training: one row for each number, of runs of every status.

    The columns:
        run_id, name, seed: the run's.
        optimizer.name, ...: the columns of `load_runs` with the varied keys.
        step, epoch: optimizer steps taken so far; the epoch, from 1 on.
        split, metric, value: train or val; top1, loss, step_loss, lr, images_per_second, ... Shares are fractions in
            [0, 1], losses are in nats, images_per_second is over the last steps.

    Args:
        places: As for `load_runs`; records without a folder have no curves.

    Raises:
        UsageError: A place does not exist, or no run there has curves.
        RunError: Pandas is not installed, or no record could be read.

    Warns:
        UserWarning: for each file that could not be read, and for runs without curves.
    """
    pandas = _pandas("load_curves")
    runs, said = _runs("load_curves", places)
    found: list[tuple[Run, list[dict[str, str]]]] = []
    without: list[str] = []
    for run in runs:
        path = run.folder / CURVES if run.folder else None
        if path is None or not stands(path):
            without.append(shown(run.name))
            continue
        try:
            found.append((run, curve_file.read_curves(path)))
        except RunError as error:
            said.append(str(error))
    if not found:
        _warn(said)
        raise UsageError(
            f"load_curves needs runs with {CURVES}, and none of these {len(runs)} has a readable one; name the folders"
            " of the runs themselves"
        )
    if without:
        more = f" and {len(without) - _LISTED} more" if len(without) > _LISTED else ""
        said.append(f"no {CURVES}, so no rows: {', '.join(without[:_LISTED])}{more}")
    rows = [row for _, own in found for row in own]

    def repeated(values: Sequence[Any]) -> Any:
        """Repeat each run's value for all rows of the run."""
        return _column(values).repeat([len(own) for _, own in found]).reset_index(drop=True)

    columns = {
        "run_id": repeated([run.record.run_id for run, _ in found]),
        "name": repeated([run.name for run, _ in found]),
        "seed": repeated([run.seed for run, _ in found]),
        **{key: repeated([per_run.value_of(run, key) for run, _ in found]) for key in per_run.varied(runs)},
        "step": pandas.Series([int(row["step"]) for row in rows], dtype="Int64"),
        "epoch": pandas.Series([int(row["epoch"]) for row in rows], dtype="Int64"),
        "split": pandas.Series([row["split"] for row in rows], dtype="string"),
        "metric": pandas.Series([row["metric"] for row in rows], dtype="string"),
        "value": pandas.Series([float(row["value"]) for row in rows], dtype="float64"),
    }
    _warn(said)
    return pandas.DataFrame(columns)


def _pandas(asked: str) -> ModuleType:
    try:
        import pandas
    except ImportError as error:
        raise RunError(
            f"imgrec.{asked} needs the package pandas, which is not installed; in the clone, pip install -e '.[paper]',"
            " or take `imgrec table DIR --runs`"
        ) from error
    module: ModuleType = pandas
    return module


def _runs(asked: str, places: Sequence[StrPath]) -> tuple[list[Run], list[str]]:
    """Return the runs, and sentences on what was left out."""
    if not places:
        raise UsageError(f'imgrec.{asked} must be given a folder of runs, got none; such as {asked}("outputs/digits")')
    found = gather([Path(place) for place in places])
    if not found.runs:
        raise RunError(f"none of the {len(found.problems)} records could be read, the first: {found.problems[0]}")
    return found.runs, [*found.problems, *found.notes]


def _warn(said: Sequence[str]) -> None:
    for line in said:
        warnings.warn(line, UserWarning, stacklevel=3)  # 3: the line that called load_runs or load_curves


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _times(name: str, values: Sequence[Any], runs: Sequence[Run], said: list[str]) -> Any:
    """Return the values as a column of times in UTC.

    A value that is no time is missing, and `said` gets a line about it.
    """
    import pandas

    times = pandas.to_datetime(pandas.Series(values, dtype=object), utc=True, format="ISO8601", errors="coerce")
    wrong = [
        f"{shown(run.path)} ({value!r})"
        for run, value, is_missing in zip(runs, values, times.isna(), strict=True)
        if is_missing and value is not None
    ]
    if wrong:
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        said.append(
            f"{name} must be a time in ISO 8601, and is none in {', '.join(wrong[:_LISTED])}{more}; it is missing there"
        )
    return times


def _column(values: Sequence[Any]) -> Any:
    """Return the values as a column of one type; None is missing."""
    import pandas

    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pandas.Series(values, dtype="boolean")
    if known and all(_is_number(value) for value in known):
        if any(isinstance(value, float) for value in known):
            return pandas.Series(values, dtype="float64")
        if all(-(2**63) <= value < 2**63 for value in known):
            return pandas.Series(values, dtype="Int64")
    return pandas.Series([None if value is None else factors.text(value) for value in values], dtype="string")
