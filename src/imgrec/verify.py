"""Carry out `imgrec verify`: repeat a finished run from its record, without changing the run's own files."""

import dataclasses
import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec import codebase, codechange, execution, initial, ranks, run_diff, run_lookup, runfolder, runlog
from imgrec.config import origins, outside, serialize
from imgrec.config.identity import SHORT, run_id
from imgrec.config.root import Config, elsewhere, kept_to_folder
from imgrec.curve_file import read_curves
from imgrec.disk import content
from imgrec.environment import threads_of
from imgrec.errors import RunError, StrPath, UsageError, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.runfolder import CURVES, RECORD, VERIFICATIONS
from imgrec.text_files import write_text
from imgrec.untrusted_text import folded

log = logging.getLogger(__name__)

_TOKEN = ".verified"  # file in the folder of a repetition
_WAYS_OUT = {
    "running": "wait for its end",
    "interrupted": "finish it with imgrec train resume={run}",
    "failed": "mend the cause and finish it with imgrec train resume={run}",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result in a few lines, and, if the runs are not bit-equal, a sentence with the reason and the remedy."""

    text: str
    refusal: str | None


@runfolder.in_turn()
def verify(run: StrPath, *, data_root: StrPath | None = None) -> Verdict:
    """Repeat the finished run in that folder, in outputs/verify, and compare weights, scores and curves.

    An interrupted verification is continued, and a finished one is only compared again. Neither is done in a folder
    that no verification of this account made, as it may be a copy of the run.

    Args:
        run: The run's folder.
        data_root: The present place of the images, if it has changed.

    Raises:
        UsageError: The run cannot be verified.
        RunError: The run cannot be verified.
        Interrupted: A signal ended it, as in training.
    """
    run, data_root = Path(run), None if data_root is None else str(data_root)
    ranks.refuse_several("imgrec verify")
    outside.load()
    record = _finished(run)
    origins.refuse_other(record.components, shown(run))
    folder = _folder(run)
    config = _config(run, record, data_root, folder)
    present = _earlier_record(folder, record)
    _refuse_unknown(folder)
    before = run_diff.Run(record=record, rows=_rows(run))
    already = present is not None and present.status == "finished"
    if not already:
        _check_hardware(run, config)
        _run_again(record, config, folder)
    after = runfolder.record_of(folder)
    found = run_diff.compare(before, run_diff.Run(record=after, rows=_rows(folder)))
    stale = codechange.modules(after) if already else []
    return _verdict(run, folder, found, _why_not_bit_equal(config), already=already, stale=stale)


def _finished(run: Path) -> Record:
    """Return the run's record.

    Raises:
        RunError: The run is not finished, or it continued from another run's checkpoint.
    """
    record = runfolder.record_of(run)
    if record.status != "finished":
        way_out = _WAYS_OUT[record.status].format(run=run)
        raise RunError(f"{run} must be a finished run to be verified, and is {record.status}; {way_out}")
    if record.parent:
        raise RunError(
            f"{run} must have begun with a new network to be verified, and it went on from a state of {record.parent}"
            f" that is not kept; verify {_oldest(run, record)}, or train the changed configuration straight and verify"
            " that"
        )
    return record


def _oldest(run: Path, record: Record) -> str:
    """Return the run that began with a new network and that this run, directly or indirectly, continued from."""
    folder, seen = run, set[Path]()
    while folder not in seen and record.parent:
        seen.add(folder)
        try:
            folder = run_lookup.parent_of(folder, record) or folder
        except RunError:  # it is not found: only its recorded name is known
            return str(record.parent)
        record = runfolder.look(folder) or record
    return str(folder)


def _config(run: Path, record: Record, data_root: str | None, folder: Path) -> Config:
    """Return the recorded configuration, with the accelerator and the number of threads of the run.

    Raises:
        UsageError: The images are not there.
        RunError: The configuration or the images are not those of the run.
    """
    try:
        config = serialize.from_flat(record.config)
    except UsageError as error:
        version = record.environment.get("imgrec", "the version that wrote it")
        raise RunError(
            f"{run / RECORD} must hold a configuration that this version knows, got: {error}; use imgrec {version}"
        ) from error
    config = kept_to_folder(dataclasses.replace(config, code="ignore"))  # a verification may run other code
    config = run_lookup.settled(run, record, config) if data_root is None else elsewhere(config, data_root)
    seen = runfolder.images(run, config)
    known = seen.known_as(record.fingerprint)
    if known is None:
        raise RunError(
            f"{run} must be verified with the images that it was trained on, and names or contents have changed since"
            f" ({record.fingerprint[:SHORT]} -> {seen.fingerprint[:SHORT]}); restore them, or name their place with"
            " --data-root"
        )
    runfolder.refuse_among(folder, known)
    begins_with = record.init.get("sha256") or config.model.published()
    own = run_id(config, known.fingerprint, begins_with=begins_with)
    if own != record.run_id:
        raise RunError(
            f"{run / RECORD} must hold the configuration of run {record.run_id[:SHORT]}, and this version makes run"
            f" {own[:SHORT]} of it; restore the record, or use the version that wrote it"
        )
    if config.init_from is not None:
        config = initial.settled(config, record)
        initial.read(config.init_from or "", expected=begins_with)
    return _as_recorded(config, record)


def _as_recorded(config: Config, record: Record) -> Config:
    """Fix what the run left to the machine, as another number of threads sums in another order.

    As many processes on this machine repeat a run over several machines: their number alone decides the sums.
    """
    trainer, found = config.trainer, record.environment
    if trainer.accelerator == "auto" and "gpu" in found:
        trainer = dataclasses.replace(trainer, accelerator="gpu" if found["gpu"] else "cpu")
    if not trainer.threads:
        trainer = dataclasses.replace(trainer, threads=threads_of(found, trainer.processes))
    if trainer.num_nodes > 1:
        trainer = dataclasses.replace(trainer, devices=trainer.processes, num_nodes=1)
    return dataclasses.replace(config, trainer=trainer)


def _folder(run: Path) -> Path:
    """Return the folder of the repetition: outputs/verify/<name of the run's folder>."""
    folder = Path("outputs") / VERIFICATIONS / run.resolve().name
    if folder.resolve().is_relative_to(run.resolve()):
        raise UsageError(
            f"{run} must stay untouched, and {folder} lies in it; name the run that was verified there, or call"
            " imgrec from another folder"
        )
    return folder


def _earlier_record(folder: Path, record: Record) -> Record | None:
    """Return the record of an earlier verification of that run, if there is one."""
    present = runfolder.look(folder)
    if present is not None and present.run_id != record.run_id:
        raise UsageError(
            f"{folder} must hold the verification of run {record.run_id[:SHORT]} or none, and it holds run"
            f" {present.run_id[:SHORT]}; move it away"
        )
    return present


def _refuse_unknown(folder: Path) -> None:
    """Refuse a folder that is not empty and that `_mark_own` has not marked for this account."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        token = content(folder / _TOKEN, most=100).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    tokens = _tokens()
    if not token.isalnum() or tokens is None or not (tokens / token).is_file():
        raise RunError(
            f"{folder} must be a repetition that imgrec verify made on this account, and nothing here knows of it:"
            " a mere copy of the run would be bit-equal to it; remove it, and verify again"
        )


def _mark_own(folder: Path) -> None:
    """Record, in the folder and in this account, that this account made the repetition."""
    if (folder / _TOKEN).exists():
        return
    token, tokens = secrets.token_hex(16), _tokens()
    if tokens is None:
        log.warning("there is no home folder for notes; if this is interrupted it will have to begin anew")
        return
    try:
        tokens.mkdir(parents=True, exist_ok=True)
        (tokens / token).touch()
        write_text(folder / _TOKEN, f"{token}\n")
    except OSError as error:
        log.warning(
            "%s cannot be written: %s; if this is interrupted it will have to begin anew", tokens, error.strerror
        )


def _tokens() -> Path | None:
    """Return where this account records its verifications; None without a home.

    Whoever wrote a run's folder cannot write there.
    """
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"  # the XDG base directory specification, 0.8
    try:
        return Path(state).expanduser() / "imgrec" / "verifications"
    except RuntimeError:  # a user without an entry in passwd, and no HOME
        return None


def _check_hardware(run: Path, config: Config) -> None:
    from imgrec.environment import check_hardware  # imports torch

    try:
        check_hardware(config)
    except UsageError as error:
        raise UsageError(
            f"{run} needs the hardware that it ran on: {error.reason}", way_out="verify it on such a machine"
        ) from error


def _rows(folder: Path) -> run_diff.Rows:
    path = folder / CURVES
    return run_diff.keyed(read_curves(path)) if path.exists() else {}


def _run_again(record: Record, config: Config, folder: Path) -> None:
    runfolder.prepare(folder)
    with runlog.shown():
        _mark_own(folder)
    job = Job(
        config=config,
        folder=folder,
        run_id=record.run_id,
        fingerprint=record.fingerprint,
        begins_with=record.init.get("sha256"),
        command=tuple(record.command),
    )
    execution.run(job)


def _why_not_bit_equal(config: Config) -> str | None:
    """Return why bit-equality is not promised for the run; None if it is."""
    trainer = config.trainer
    if trainer.deterministic == "false":
        return "trainer.deterministic=false promises no bit-equality"
    if trainer.deterministic == "auto" and trainer.accelerator != "cpu":
        return "trainer.deterministic=auto promises bit-equality on the CPU only"
    return None


def _verdict(
    run: Path, folder: Path, found: run_diff.Drift, unpromised: str | None, *, already: bool, stale: Sequence[str]
) -> Verdict:
    where = f"run again earlier in {folder}; remove it to run once more" if already else f"run again in {folder}"
    if stale:
        where += f", with the code that is there now: {codebase.changed_since(stale)}"
    text = "\n".join([*map(folded, found.lines()), *([f"note: {unpromised}"] if unpromised else []), where])
    if found.first is None:
        return Verdict(text=text, refusal=None)
    if found.environment:
        way_out = f"restore the recorded environment, remove {folder} and verify again"
    elif unpromised:
        way_out = f"{unpromised}, so train with trainer.deterministic=true what has to be verified"
    else:
        way_out = (
            f"the recorded environments agree, so look for changed files or code; remove {folder} to run once more"
        )
    return Verdict(text=text, refusal=f"{run} must come out bit-equal, and drifts: {found.first}; {way_out}")
