"""`imgrec train`: from the words of the command to runs. Imports torch only when something has to be computed."""

import contextlib
import logging
import os
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgrec import admission, codechange, companions, resuming, runfolder, runlog, whereabouts
from imgrec.config.compose import compose
from imgrec.config.root import STEERING, Config
from imgrec.config.words import given, key_of, literal, parsed, quoted
from imgrec.data import inventory
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, interruption_in, sentence, shown
from imgrec.hydra_runtime import plain_path, refuse_place, refusing_disk
from imgrec.records import Record
from imgrec.resuming import Resumption
from imgrec.runfolder import SWEEP_LOCK

log = logging.getLogger(__name__)

_RENEWED = 30.0  # seconds between two looks at all records, for the columns of HPARAMS while a sweep goes on


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a run lies, what it recorded, and whether it had been finished before the command came.

    named: True if the command names the folder. tried: it was only tried out (trainer.fast_dev_run), and its folder is
    gone.
    """

    folder: Path
    record: Record
    already: bool = False
    named: bool = False
    tried: bool = False


def train(overrides: Sequence[str]) -> Outcome:
    """Carry out one run and return what came of it; a finished one is not run again.

    overrides: `key=value` in Hydra's grammar. The process is left as it was found. Calls of several threads are served
    one after the other. Raises UsageError, RunError, or Interrupted.
    """
    with runfolder.in_turn(), runlog.shown():
        return _trained(overrides)


def _trained(overrides: Sequence[str]) -> Outcome:
    refuse_place()
    overrides = literal(overrides)
    if given(overrides, "hydra.sweep.dir"):
        raise UsageError("hydra.sweep.dir has no effect without -m; give hydra.run.dir, or leave it out")
    companions.refuse_foreign_rank()
    own_folder = _explicit_folder([text for text in overrides if key_of(text) == "hydra.run.dir"])
    if companions.rank() > 0 and own_folder is not None:  # the first process of this run has settled its words
        return carry_out(overrides, own_folder, compose(overrides))
    for text in overrides:
        if key_of(text).partition(".")[0] in STEERING and given(overrides, "hydra.mode") is None:
            raise UsageError(f"{text} says how a sweep goes, and this is one run; add -m (imgrec train -m ...)")
    words = [text for text in overrides if key_of(text) != "resume"]
    folder, parent, resumed = _explicit_folder(words), None, None
    named = folder is not None
    if (run := given(overrides, "resume")) is not None:
        if not run:
            raise UsageError("resume must name a run's folder, got ''; give resume=RUN, or leave it out")
        resumed = resuming.resolve(Path(run), words)
        words = resumed.words
    elif given(overrides, "resume_override") is not None:
        raise UsageError(
            "resume_override names what may differ from the run of resume=, which is not given; add resume=RUN, or"
            " leave resume_override out"
        )
    config = compose(words)
    seen = inventory.take(config.data)
    if config.trainer.fast_dev_run and companions.rank() == 0:
        return _try_out(words, config, seen, resumes=run is not None)
    if run and resumed is not None:
        before = runfolder.record_of(Path(run))
        if resumed.changed or folder is not None or seen.known_as(before.fingerprint) is None:
            parent = Path(run)
        else:  # the very same run, which may itself have gone on from another
            parent = whereabouts.parent_of(Path(run), before)
            if not (config.force and before.status == "finished"):  # done over, it lies in a new folder
                folder = Path(run)
    found = whereabouts.place(config, words, seen, parent, folder=folder)
    folder, own, seen = found.folder, found.run_id, found.seen
    if companions.rank() == 0:
        record = runfolder.look(folder)
        finished = record if record is not None and record.status == "finished" and record.run_id == own else None
        if finished is None:
            runfolder.refuse_stranger(folder, own)
            anew = None if resumed is None else resumed.anew if resumed.changed else _anew_beside(folder, resumed)
            admission.check_code(folder, record, config.code, parent, anew=anew)
            admission.check(
                config, seen, folder, begun=parent is not None or runfolder.newest_state(folder) is not None
            )
            if parent is not None:
                admission.check_parent(config, folder, parent, seen, resumed)
        if resumed is not None:
            resumed.refuse_unnamed(config.resume_override)
        if finished is not None:
            if config.force and named:
                raise UsageError(
                    f"force=true does a finished run over in a new folder, and hydra.run.dir={shown(folder)} names the"
                    " finished one; give another hydra.run.dir"
                )
            if warning := codechange.of_finished(folder, finished, config.code, named=named):
                log.warning("%s", warning)
            if not seen.by_contents:
                anew = "another hydra.run.dir" if named else "force=true"
                log.warning("%s", whereabouts.unknown_contents(folder, anew=anew))
            return Outcome(folder=folder, record=finished, already=True, named=named)
    words = [text for text in words if key_of(text) != "hydra.run.dir"]
    if parent is not None:
        words.append(f"resume={quoted(str(parent.absolute()))}")
        config = replace(config, resume=str(parent.absolute()))
    return carry_out(words, folder, config, fingerprint=seen.fingerprint)


def _try_out(words: Sequence[str], config: Config, seen: Inventory, *, resumes: bool) -> Outcome:
    """A few batches of everything in a temporary folder, which is removed with all that the run wrote."""
    for key, is_given in (("resume", resumes), ("hydra.run.dir", given(words, "hydra.run.dir") is not None)):
        if is_given:
            raise UsageError(
                f"{key} has no effect on trainer.fast_dev_run=true, which begins anew and keeps nothing; leave out one"
            )
    with tempfile.TemporaryDirectory(prefix="imgrec-") as place:
        admission.check(config, seen, Path(place) / "run")
        try:
            outcome = carry_out(words, Path(place) / "run", config)
        except BaseException as error:
            if cut := interruption_in(error):
                cut.resumable = False
            raise
    return replace(outcome, tried=True)


def carry_out(
    words: Sequence[str], folder: Path, config: Config, *, fingerprint: str | None = None, quiet: bool = False
) -> Outcome:
    """The one run that these words ask for, in this folder: anew, or on from its own `last`.

    config: what the words compose. fingerprint: what the command took the images for. quiet: it is one of a sweep, and
    what it says goes into its train.log alone. Raises as `train`.
    """
    from imgrec.training.run import train as run  # imports torch

    if companions.rank() == 0:
        runfolder.prepare(folder)
    folder = folder.absolute()
    command = [text for text in words if not key_of(text).startswith("hydra.")]
    if quiet and config.trainer.progress != "none":
        config = replace(config, trainer=replace(config.trainer, progress="plain"))  # no bar: others run beside it
    before = runfolder.look(folder)
    again = ["train", *command, f"hydra.run.dir={quoted(str(folder))}", "hydra.mode=RUN"]  # this run alone, there
    others = companions.started_as(again) if config.trainer.devices > 1 else contextlib.nullcontext()
    try:
        with refusing_disk(), runlog.kept(folder, quiet=quiet, verbose=_verbose(words)), others:
            parent = Path(config.resume) if config.resume else None
            record = run(config, folder, command=command, parent=parent, fingerprint=fingerprint)
    except Exception:
        _show_on_board(folder.resolve().parent, swept=quiet)
        raise
    _show_on_board(folder.resolve().parent, swept=quiet)
    own_path = Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
    return Outcome(folder=own_path, record=record, already=before is not None and before.status == "finished")


def _verbose(words: Sequence[str]) -> bool | list[str]:
    """What hydra.verbose asks for: everything that is said at all, or what loggers of these names say."""
    values: list[Any] = [override.value() for override in parsed(words) if override.key_or_group == "hydra.verbose"]
    asked = values[-1] if values else False
    return asked if isinstance(asked, bool) else list(map(str, asked if isinstance(asked, list) else [asked]))


def _show_on_board(group: Path, *, swept: bool) -> None:
    """As `show_on_board`, when a run ends. swept: it is one of a sweep, which renews them at its own end in any case.

    Each time all records are read, which is too much to do after each run of a large sweep.
    """
    if swept:
        show_on_board(group, test=False, at_most_every=_RENEWED)
    else:
        show_on_board(group, test=not runfolder.is_locked(group, SWEEP_LOCK))


def show_on_board(group: Path, *, test: bool, at_most_every: float = 0) -> None:
    """Renew the columns of TensorBoard's HPARAMS table of these runs; whatever goes wrong becomes a warning.

    test, at_most_every: as for `board.summarise`. While a sweep has runs left, validation alone is shown.
    """
    try:
        from imgrec import board  # imports TensorBoard's messages

        board.summarise(group, test=test, at_most_every=at_most_every)
    except RunError as error:
        log.warning("%s", error)
    except Exception as error:  # neither a run's outcome nor the reason why it failed depends on this table
        log.warning("TensorBoard's HPARAMS of %s stays as it was: %s", shown(group), sentence(error))


def _explicit_folder(words: Sequence[str]) -> Path | None:
    """The folder that hydra.run.dir names, if it does."""
    path = given(words, "hydra.run.dir")
    return plain_path("hydra.run.dir", path) if path else None


def _anew_beside(folder: Path, resumed: Resumption) -> str:
    """How to start the unchanged run once more, as a command to paste: in a folder in which it is not found."""
    new = folder.with_name(f"{folder.name}-anew") if folder.exists() else folder
    return f"{resumed.anew} {shlex.quote(f'hydra.run.dir={quoted(str(new))}')}"
