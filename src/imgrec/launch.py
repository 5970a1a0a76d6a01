"""Carry out `imgrec train`: turn the command's words into a run. Imports torch only when something is computed."""

import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from imgrec import codechange, execution, preflight, process_ends, ranks, resuming, run_lookup, runfolder, runlog
from imgrec.config import folders, listed, outside
from imgrec.config.compose import compose
from imgrec.config.listed import LISTS
from imgrec.config.overrides import given, key_of, literal, parsed, quoted
from imgrec.config.root import STEERING, Config, kept_to_folder
from imgrec.data import inventory
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, StrPath, UsageError, interruption_in, sentence, shown
from imgrec.hydra_runtime import plain_path, refuse_place
from imgrec.job import Job
from imgrec.records import Record
from imgrec.resuming import Resumption
from imgrec.run_lookup import Place
from imgrec.runfolder import SWEEP_LOCK

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of the command.

    Attributes:
        already: True if it had finished before the command.
        named: True if the command names the folder.
        tried: True for a trial run (trainer.fast_dev_run), whose folder is removed.
    """

    folder: Path
    record: Record
    already: bool = False
    named: bool = False
    tried: bool = False


def train(overrides: Sequence[str], *, config_dir: StrPath | None = None) -> Outcome:
    """Carry out one run and return its result. A finished run is not repeated.

    The process is left as it was found. Of several processes that torchrun or srun has started, the first one returns,
    and the others exit when the run is over. Calls from several threads are carried out one after the other.

    Args:
        overrides: `key=value` in Hydra's grammar.
        config_dir: A folder of the user's own choices, recipes and studies, in the form of conf/.

    Raises:
        UsageError: The run cannot be done as requested.
        RunError: It failed.
        Interrupted: A signal ended it, after its state was saved.
    """
    with runfolder.in_turn(), runlog.shown(), folders.also(config_dir):
        ranks.refuse_strays()
        start = ranks.here()
        if not start.from_outside:
            return _train_one(overrides)
        from imgrec.training import rendezvous  # imports torch

        if start.rank > 0:
            _train_along()
        with rendezvous.serving():
            return _train_one(overrides)


def carry_out(job: Job) -> Record:
    """Carry out a job of a sweep, alone or with the other processes that srun or torchrun has started.

    Raises:
        UsageError, RunError, Interrupted: As `execution.run`.
    """
    start = ranks.here()
    if not start.from_outside:
        return execution.run(job)
    from imgrec.training import rendezvous  # imports torch

    if start.rank > 0:
        _train_along()
    with rendezvous.serving():
        return execution.run(job)


def _train_along() -> NoReturn:
    """Train as another process than the first, and exit."""
    from imgrec.training import rendezvous

    try:
        if (job := rendezvous.received()) is not None:
            with process_ends.telling(rendezvous.tell):
                execution.run(Job.from_json(job, "the first process"))
    finally:
        rendezvous.leave()
    sys.exit(0)


def _train_one(overrides: Sequence[str]) -> Outcome:
    overrides = _checked_words(overrides)
    words = [text for text in overrides if key_of(text) != "resume"]
    folder, parent, resumed = _explicit_folder(words), None, None
    named = folder is not None
    run = given(overrides, "resume")
    if run is not None:
        resumed = resuming.resolve(Path(run), words)
        words = resumed.words
    config = compose(words)
    listed.refuse_idle(overrides, {axis: list(getattr(config, axis)) for axis in LISTS})
    seen = inventory.take(config.data)
    if config.trainer.fast_dev_run:
        return _try_out(words, config, seen, resumes=run is not None)
    if run is not None and resumed is not None:
        before = runfolder.record_of(Path(run))
        if resumed.changed or named or seen.known_as(before.fingerprint) is None:
            parent = Path(run)
        else:  # the same run, which may itself have continued from another
            parent = run_lookup.parent_of(Path(run), before)
            if not (config.force and before.status == "finished"):  # a repetition has a new folder
                folder = Path(run)
    found = run_lookup.place(config, words, seen, parent, folder=folder, resumes=resumed is not None)
    record = runfolder.look(found.folder)
    finished = record is not None and record.status == "finished" and record.run_id == found.run_id
    if not finished:
        _check(config, found, record, parent, resumed)
    if resumed is not None:
        resumed.refuse_unnamed(config.resume_override)
    if record is not None and finished:
        _tell_of_finished(config, found, record, named=named)
        return Outcome(folder=found.folder, record=record, already=True, named=named)
    if parent is not None:
        words.append(f"resume={quoted(str(parent.absolute()))}")
        config = replace(config, resume=str(parent.absolute()))
    job = _job(words, config, found)
    group = job.folder.resolve().parent
    try:
        record = execution.run(job)
    except Exception:
        show_on_board(group, test=not runfolder.is_locked(group, SWEEP_LOCK))
        raise
    show_on_board(group, test=not runfolder.is_locked(group, SWEEP_LOCK))
    near = Path(os.path.relpath(job.folder)) if job.folder.is_relative_to(Path.cwd()) else job.folder
    return Outcome(folder=near, record=record)


def _checked_words(overrides: Sequence[str]) -> list[str]:
    """Return the words of one run.

    Raises:
        UsageError: A word is not for a single run.
    """
    refuse_place()
    outside.load()
    overrides = literal(overrides)
    if given(overrides, "hydra.sweep.dir"):
        raise UsageError("hydra.sweep.dir has no effect without -m; give hydra.run.dir, or leave it out")
    for text in overrides:
        if key_of(text).partition(".")[0] in STEERING and given(overrides, "hydra.mode") is None:
            raise UsageError(f"{text} says how a sweep goes, and this is one run; add -m (imgrec train -m ...)")
    if given(overrides, "resume") == "":
        raise UsageError("resume must name a run's folder, got ''; give resume=RUN, or leave it out")
    if given(overrides, "resume") is None and given(overrides, "resume_override") is not None:
        raise UsageError(
            "resume_override names what may differ from the run of resume=, which is not given; add resume=RUN, or"
            " leave resume_override out"
        )
    return overrides


def _check(
    config: Config, found: Place, record: Record | None, parent: Path | None, resumed: Resumption | None
) -> None:
    """Refuse a run that cannot begin, or continue, in the folder that was found for it."""
    folder, seen = found.folder, found.seen
    runfolder.refuse_stranger(folder, found.run_id)
    anew = None if resumed is None else resumed.anew if resumed.changed else _restart_command(folder, resumed)
    preflight.check_code(folder, record, config.code, parent, anew=anew)
    begun = parent is not None or runfolder.newest_state(folder) is not None
    preflight.check(config, seen, folder, begun=begun)
    if parent is not None:
        preflight.check_parent(config, folder, parent, seen, resumed)


def _tell_of_finished(config: Config, found: Place, record: Record, *, named: bool) -> None:
    """Warn if a finished run has other code or unknown images.

    Raises:
        UsageError: It is to be repeated, and cannot be.
    """
    folder = found.folder
    if config.force and named:
        raise UsageError(
            f"force=true does a finished run over in a new folder, and hydra.run.dir={shown(folder)} names the"
            " finished one; give another hydra.run.dir"
        )
    if warning := codechange.of_finished(folder, record, config.code, named=named):
        log.warning("%s", warning)
    if not found.seen.by_contents:
        anew = "another hydra.run.dir" if named else "force=true"
        log.warning("%s", run_lookup.unknown_contents(folder, anew=anew))


def _job(words: Sequence[str], config: Config, found: Place) -> Job:
    return Job(
        config=config,
        folder=found.folder.absolute(),
        run_id=found.run_id,
        fingerprint=found.seen.fingerprint,
        begins_with=found.begins_with,
        command=tuple(text for text in words if not key_of(text).startswith("hydra.")),
        verbose=_verbose(words),
    )


def _try_out(words: Sequence[str], config: Config, seen: Inventory, *, resumes: bool) -> Outcome:
    """Run a few batches of everything in a temporary folder, which is removed with its content."""
    for key, is_given in (("resume", resumes), ("hydra.run.dir", given(words, "hydra.run.dir") is not None)):
        if is_given:
            raise UsageError(
                f"{key} has no effect on trainer.fast_dev_run=true, which begins anew and keeps nothing; leave out one"
            )
    with tempfile.TemporaryDirectory(prefix="imgrec-") as place:
        begins_with = run_lookup.begins_with(config, seen)
        run_id = run_lookup.identity(config, seen.fingerprint, begins_with=begins_with)
        found = Place(folder=Path(place) / "run", run_id=run_id, seen=seen, begins_with=begins_with)
        preflight.check(config, seen, found.folder)
        try:
            record = execution.run(_job(words, kept_to_folder(config), found))
        except BaseException as error:
            if cut := interruption_in(error):
                cut.resumable = False
            raise
    return Outcome(folder=found.folder, record=record, tried=True)


def _verbose(words: Sequence[str]) -> bool | tuple[str, ...]:
    """Return what hydra.verbose asks for: True for all log messages, or the names of loggers."""
    values: list[Any] = [override.value() for override in parsed(words) if override.key_or_group == "hydra.verbose"]
    asked = values[-1] if values else False
    return asked if isinstance(asked, bool) else tuple(map(str, asked if isinstance(asked, list) else [asked]))


def show_on_board(group: Path, *, test: bool, at_most_every: float = 0) -> None:
    """Write the columns of TensorBoard's HPARAMS table of these runs again. Any error becomes a warning.

    Args:
        group: The folder of the runs.
        test: As for `board.summarise`. While a sweep has runs left, only validation scores are shown.
        at_most_every: As for `board.summarise`.
    """
    try:
        from imgrec import board  # imports TensorBoard's messages

        board.summarise(group, test=test, at_most_every=at_most_every)
    except RunError as error:
        log.warning("%s", error)
    except Exception as error:  # this table must change neither a run's outcome nor the reason of its failure
        log.warning("TensorBoard's HPARAMS of %s stays as it was: %s", shown(group), sentence(error))


def _explicit_folder(words: Sequence[str]) -> Path | None:
    """Return the folder that hydra.run.dir names; None if it is not given."""
    path = given(words, "hydra.run.dir")
    return plain_path("hydra.run.dir", path) if path else None


def _restart_command(folder: Path, resumed: Resumption) -> str:
    """Return the command that starts the unchanged run again, in a folder where the present run is not found."""
    new = folder.with_name(f"{folder.name}-anew") if folder.exists() else folder
    return f"{resumed.anew} {shlex.quote(f'hydra.run.dir={quoted(str(new))}')}"
