"""Carry out one run, from its configuration to its record: training, final measurements, record."""

import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path

from imgrec import (
    checkpoint,
    codebase,
    codechange,
    initial,
    predictions,
    ranks,
    records,
    run_lookup,
    runfolder,
    safepath,
    text_files,
)
from imgrec.codebase import Code
from imgrec.config import origins, serialize
from imgrec.config.root import Config
from imgrec.cores import cores
from imgrec.data import inventory, sources, workers
from imgrec.data.inventory import Inventory
from imgrec.data.sources import Load
from imgrec.environment import check_hardware, environment, hardware_warnings, of_device, of_machines, threads_of
from imgrec.errors import BrokenGpuError, Interrupted, LostFolderError, LostProcess, RunError, interruption_in, shown
from imgrec.job import Job
from imgrec.process_ends import Cause
from imgrec.records import Record
from imgrec.runfolder import CONFIG, DIAGNOSTICS, RECORD
from imgrec.training import companion, failures, final, threads, trained_images
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption
from imgrec.training.process_state import left_as_found

log = logging.getLogger(__name__)

codebase.remember()  # note the imported code now, as its files may change later


def train(job: Job, *, load: Load | None = None, interruption: Interruption | None = None, shared: int = 1) -> Record:
    """Carry out the run in `job.folder` to its end, from its own `last` if there is one, and return its record.

    A finished run is not repeated.

    Args:
        job: The run; its folder exists.
        load: Loads the images; None for `sources.load`, which reads them from disk.
        interruption: Notes the signals; None for a new one.
        shared: The number of runs at a time that share the GPU.

    Raises:
        RunError, UsageError: The run cannot be carried out; its record has the reason.
        Interrupted: The process was asked to end; the record says so.
    """
    check_hardware(job.config)
    with left_as_found(), safepath.for_processes():  # for processes of a distributed run, and of torch.compile
        threads.use(job.config.trainer)
        return _train(job, load or sources.load, interruption or _interruption(), shared)


def _interruption() -> Interruption:
    """Return what notes the signals of a run. torchrun passes on what SLURM sends to all processes anyway."""
    return Interruption(ignore_repeated=ranks.here().from_outside)


def _train(job: Job, load: Load, interruption: Interruption, shared: int) -> Record:
    config, folder, parent = job.config, job.folder, job.parent
    seen = _unchanged(inventory.take(config.data), job)  # a sweep's run may start hours after the command
    if ranks.rank() > 0:  # another process than the first of a distributed run
        companion.train_along(job, seen, load, interruption)
    runfolder.prepare(folder)
    runfolder.refuse_stranger(folder, job.run_id)
    with runfolder.lock(folder):
        before = records.read(folder / RECORD) if (folder / RECORD).is_file() else None
        if before is not None and before.status == "finished":
            return before
        if not seen.by_contents:
            log.warning("%s", run_lookup.unknown_contents(folder))
        begun = runfolder.newest_state(folder)  # lets a later process find out whether this one reached a checkpoint
        if before is not None and begun:
            # the order of sums stays the same, if the machine has the cores
            noted = threads_of(before.environment, config.trainer.processes)
            threads.use(config.trainer, noted if noted <= cores() else 0)
        code, code_since = _code(config, folder, before, parent)
        record = Record(
            run_id=job.run_id,
            status="running",
            experiment=config.experiment,
            study=config.study,
            command=list(job.command),
            config=serialize.flat(config),
            fingerprint=seen.fingerprint,
            environment=environment(before.environment if before is not None and begun else None),
            parent=str(parent) if parent else None,
            parent_id=_id_of(parent, before),
            cwd=run_lookup.start(config),
            progress={"from": begun},
            code=code,
            init=_init(job, before, begun=begun is not None),
            components=origins.used(config),
            code_since=code_since,
            deaths=_deaths(before, begun),
            images=trained_images.counted(seen, before),
            began=(before.began if before is not None else None) or _now(),
        )
        for warning in hardware_warnings(config):
            log.warning("%s", warning)
        foreign = checkpoint.unverified(runfolder.states(folder, parent))
        try:
            with interruption.watched():
                fit_and_read(record, job, seen, load, interruption, shared)
                interruption.raise_if_asked()  # Python drops what a handler raises in a weak reference's callback
        except (Exception, SystemExit, Interrupted) as raised:
            if cut := interruption_in(raised):
                _close_after(cut, record, folder)
                cut.saved = runfolder.has_state(folder)
                raise cut from None
            error = workers.told(raised, config.data.num_workers, runfolder.ahead(folder)) or failures.explained(
                raised, folder, foreign, shared=shared
            )
            _close_after(error, record, folder)
            if error is raised:
                raise
            raise error from raised
    return record


def _unchanged(seen: Inventory, job: Job) -> Inventory:
    """Return the images under the fingerprint that they had when the run was requested.

    Raises:
        RunError: The images have changed.
    """
    known = seen.known_as(job.fingerprint)
    if known is None:
        root = shown(job.config.data.place or job.config.data.name)
        raise RunError(
            f"data.root={root} must hold the images that it held when the command began, of which"
            f" {shown(job.name)} is the run, and names or contents have changed since; restore them and start the"
            " same command again, which does what is left, or start it over the new images, which makes other runs"
        )
    return known


def _id_of(parent: Path | None, before: Record | None) -> str | None:
    """Return the parent's id, from the run's own record if the parent no longer exists."""
    if parent is None:
        return None
    found = runfolder.look(parent)
    return found.run_id if found is not None else before.parent_id if before is not None else None


def _init(job: Job, before: Record | None, *, begun: bool) -> dict[str, str]:
    """Return what the record tells of the weights that the run, or the run that it continues, began with."""
    if job.config.init_from is None:
        return {}
    if before is not None and begun:
        return before.init
    if job.parent is None:
        return initial.told(job.config.init_from, job.begins_with)
    parent = runfolder.look(job.parent)
    return parent.init if parent is not None else before.init if before is not None else {}


def _code(config: Config, folder: Path, before: Record | None, parent: Path | None) -> tuple[Code, list[Code]]:
    """Return the code that the run began with, and its later changes, as in `Record`.

    A change causes a warning or an error, according to config.code.
    """
    now = {**codebase.of_run(), **origins.code(origins.used(config))}
    if before is not None and runfolder.has_state(folder):
        place, record = folder, before
    elif parent is not None:
        place, record = parent, runfolder.record_of(parent)
    else:
        return now, []
    if warning := codechange.of_state(place, record, config.code):
        log.warning("%s", warning)
    return codechange.continued(record, now)


def _deaths(before: Record | None, begun: str | None) -> int:
    """Return how many processes in a row continued from this state and ended without recording their end.

    They were killed, or called os._exit. The number alone does not show that the run is the cause: a preempted machine
    ends processes as well.
    """
    if before is None or before.status != "running" or before.progress.get("from") != begun:
        return 0
    return before.deaths + 1


def fit_and_read(
    record: Record, job: Job, seen: Inventory, load: Load, interruption: Interruption, shared: int
) -> None:
    """Train the network of the job, measure it, and write the run's files, the record last."""
    config, folder = job.config, job.folder
    text_files.write_text(folder / CONFIG, serialize.to_yaml(config))
    records.write(folder / RECORD, record)
    fitting = Fitting(job, seen, load=load, interruption=interruption)
    with fitting.loggers.ended():
        record.environment |= of_device(fitting.device, devices=config.trainer.devices, shared=shared)
        trained_images.tell_choice(record, config, fitting.source)
        if record.progress["from"] is None:
            trained_images.note(record, config, folder, fitting.source, seen, job.parent)
            records.write(folder / RECORD, record)  # the counts of images may have changed
        if not fitting.is_over:
            final.try_protocols(config, fitting)
        try:
            fitting.run(give_up=lambda cause: _give_up(cause, record, folder))
        finally:
            if config.trainer.num_nodes > 1 and fitting.other_devices:
                record.environment |= of_machines(fitting.device, fitting.other_devices)
        reading = final.read(config, folder, fitting)
        inventory.check_unchanged(seen)
        record.scores = reading.scores
        record.weights = reading.weights
        record.cost = fitting.cost()
        record.progress = fitting.progress()
        record.deaths = 0
        record.predictions = {predictions.key_of(place): found.digest() for place, found in reading.predictions.items()}
        text_files.write_json(folder / DIAGNOSTICS, reading.diagnostics)
        predictions.write(folder / predictions.NAME, {record.run_id: reading.predictions})
    close(record, folder, "finished")


def close(record: Record, folder: Path, status: str) -> None:
    """Write the record of a run that has ended, with the status finished, interrupted or failed."""
    record.status = status
    record.ended = _now()
    records.write(folder / RECORD, record)


def _give_up(cause: Cause, record: Record, folder: Path) -> None:
    """Close the record of a run whose process ends at once, as it waits for ever for another one."""
    _close_after(failures.explained(cause, folder, None), record, folder)
    log.error("%s", cause)


def _close_after(error: BaseException, record: Record, folder: Path) -> None:
    """Close the record after an error, which counts. A full disk may make this fail as well.

    A record that belongs to another process now stays as it is.
    """
    if isinstance(error, LostFolderError):
        return
    if isinstance(error, (Interrupted, BrokenGpuError)):
        status = "finished" if record.status == "finished" else "interrupted"
    else:
        status = "failed"
    if status == "failed" or (status == "interrupted" and isinstance(error, (LostProcess, BrokenGpuError))):
        record.error = f"{type(error).__name__}: {error}"
    try:
        close(record, folder, status)
    except RunError as error:
        with contextlib.suppress(OSError):  # of train.log, if the whole folder was removed
            log.error("%s", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
