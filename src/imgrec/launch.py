"""`imgrec train`: from the words of the command to runs. Imports torch only when something has to be computed.

A single run's folder is looked into before Hydra, which would make it, sees the command.
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from imgrec import runfolder
from imgrec.config import plain, schemas
from imgrec.config.compose import compose, expand, typed
from imgrec.config.identity import essence
from imgrec.config.root import Config
from imgrec.errors import RunError, UsageError
from imgrec.records import Record
from imgrec.runfolder import RECORD

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a run lies, what it recorded, and whether it had been finished before the command came."""

    folder: Path
    record: Record
    already: bool = False


def train(overrides: Sequence[str], *, multirun: bool = False, flags: Sequence[str] = ()) -> list[Outcome]:
    """Carry out one run, or with `multirun` every combination, and return what came of each.

    overrides: `key=value` in Hydra's grammar. flags: options handed to Hydra as they are (`--cfg job`, ...).
    A finished run is not run again. Raises UsageError, RunError, or Interrupted.
    """
    if flags:
        _hand_to_hydra(["--multirun", *overrides] if multirun else list(overrides), flags)
        return []
    if multirun:
        within = _given(overrides, "hydra.sweep.dir")
        folders = []
        for job in expand(overrides):  # every run's configuration is checked before the first one starts
            config = compose(job)
            _check_hardware(config)
            folders.append(runfolder.locate(config, job, within=Path(within) if within else None))
        _hand_to_hydra(["--multirun", *overrides])
        return [Outcome(folder=folder, record=_record_of(folder)) for folder in folders]
    return [_single(overrides)]


def _single(overrides: Sequence[str]) -> Outcome:
    overrides, parent = _resumed(overrides)
    config = compose(overrides)
    own = runfolder.identity(config)
    given = _given(overrides, "hydra.run.dir")
    folder = Path(given) if given else runfolder.locate(config, overrides)
    if parent is not None:
        if own == _record_of(parent).run_id and given is None:
            folder, parent = parent, None
        elif folder.resolve() == parent.resolve():
            raise UsageError(f"{folder} holds the run that is resumed with changes; give another hydra.run.dir")
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        record = runfolder.look(folder)
        if record is not None and record.status == "finished" and record.run_id == own:
            return Outcome(folder=folder, record=record, already=True)
        runfolder.refuse_stranger(folder, own)
        _check_hardware(config)
        runfolder.prepare(folder)
    words = [text for text in overrides if not text.startswith("hydra.run.dir=")]
    if parent is not None:
        words.append(f"resume={_quoted(str(parent))}")
    _hand_to_hydra([*words, f"hydra.run.dir={_quoted(str(folder))}"])
    return Outcome(folder=folder, record=_record_of(folder))


def _resumed(overrides: Sequence[str]) -> tuple[list[str], Path | None]:
    """With resume=RUN: RUN's own command with the new words over it, checked against RUN's configuration."""
    run = _given(overrides, "resume")
    words = [text for text in overrides if _key(text) != "resume"]
    if run in (None, "null"):
        return words, None
    folder = Path(str(run))
    record = _record_of(folder)
    said = {_key(text) for text in words} | {"resume", "resume_override", "force"}
    merged = [text for text in record.command if _key(text) not in said] + words
    _refuse_changes(folder, plain.from_flat(record.config), compose(merged))
    return merged, folder


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _refuse_changes(folder: Path, before: Config, now: Config) -> None:
    """Refuse to go on as something else, unless the keys that changed are in resume_override."""
    old, new = essence(before), essence(now)
    then, today = plain.flat(before), plain.flat(now)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    refused = [key for key in changed if key not in now.resume_override]
    if refused:
        difference = ", ".join(f"{key} {then.get(key, 'absent')} -> {today.get(key, 'absent')}" for key in refused)
        raise UsageError(
            f"resume={folder} must keep its configuration, and this differs ({difference}); drop the change,"
            f" or allow it with 'resume_override=[{','.join(refused)}]'"
        )


def _record_of(folder: Path) -> Record:
    record = runfolder.look(folder)
    if record is None:
        raise RunError(f"{folder} must be a run's folder with a {RECORD}, and has none; name the folder of a run")
    return record


def _check_hardware(config: Config) -> None:
    from imgrec.environment import check_hardware  # imports torch

    check_hardware(config)


def _hand_to_hydra(arguments: Sequence[str], flags: Sequence[str] = ()) -> None:
    """Let Hydra compose, make the folder, open the log and call `_job`, for each run.

    A run that fails does not keep the others of a sweep from running; the first failure is raised at the end.
    """
    schemas.register()
    OmegaConf.register_new_resolver("imgrec.sweep_dir", _sweep_dir, replace=True)
    OmegaConf.register_new_resolver("imgrec.run_name", _run_name, replace=True)
    failures: list[Exception] = []

    def job(raw: DictConfig) -> float | None:
        try:
            return _job(raw)
        except Exception as error:  # Hydra would print a page about it, and keep the traceback from the job's log
            failures.append(error)
            log.debug("the run failed", exc_info=True)  # into train.log alone
            if "--multirun" in arguments:
                log.error("failed: %s", error)
            return None

    argv, sys.argv = sys.argv, ["imgrec", *flags, *arguments]
    handlers = list(logging.root.handlers)
    try:
        hydra.main(config_path=str(schemas.conf_dir()), config_name="config", version_base="1.3")(job)()
    finally:
        sys.argv = argv
        _close_log(handlers)
    if len(failures) > 1:
        raise RunError(f"{len(failures)} runs failed; the first: {failures[0]}") from failures[0]
    if failures:
        raise failures[0]


def _close_log(before: Sequence[logging.Handler]) -> None:
    """Take the run's train.log off the logging that it was put on: what comes later is not its own."""
    for handler in list(logging.root.handlers):
        if handler not in before:
            logging.root.removeHandler(handler)
            handler.close()


def _sweep_dir(*, _root_: DictConfig) -> str:
    """Hydra's ${imgrec.sweep_dir:}, the folder of a sweep's runs."""
    first, *_ = expand(_root_.hydra.overrides.task)  # where the sweep itself is composed, the words still hold lists
    return str(runfolder.group(compose(first)))


def _run_name(*, _root_: DictConfig) -> str:
    """Hydra's ${imgrec.run_name:}, the name of one run's folder in it."""
    words = list(_root_.hydra.overrides.task)
    return runfolder.locate(compose(words), words, within=Path(_root_.hydra.sweep.dir)).name


def _job(raw: DictConfig) -> float | None:
    """One run, inside Hydra. Returns its best validation top1 (else the last test top1), for optimizing sweepers."""
    from imgrec.training.run import train as carry_out  # imports torch

    own = HydraConfig.get()
    folder = Path(own.runtime.output_dir)
    config = typed(raw)
    if config.trainer.devices > 1:
        # Lightning starts the other processes with these words: this run alone, in this folder
        sys.argv = ["imgrec", "train", *own.overrides.task, f"hydra.run.dir={_quoted(str(folder))}", "hydra.mode=RUN"]
        sys.modules["__main__"].__spec__ = find_spec("imgrec.__main__")
    parent = Path(config.resume) if config.resume else None
    record = carry_out(config, folder, command=list(own.overrides.task), parent=parent)
    for split, at in (("val", "best"), ("test", "last"), ("val", "last")):
        if score := record.score("top1", split=split, at=at):
            return score.value
    return None


def _given(overrides: Sequence[str], key: str) -> str | None:
    """The value that the command gives `key`, the last one counting."""
    values = [text.partition("=")[2] for text in overrides if text.partition("=")[0] == key]
    return values[-1].strip("'\"") if values else None


def _quoted(text: str) -> str:
    """The text as a quoted value in Hydra's grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
