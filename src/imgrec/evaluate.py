"""Measure a trained network again, under another protocol or on other images. The run's own files do not change."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imgrec import (
    checkpoint,
    evaluation_images,
    gpus,
    inference,
    measurement,
    predictions,
    ranks,
    runfolder,
    text_files,
)
from imgrec.checkpoint import BEST, LAST
from imgrec.config import compose, listed, origins, outside
from imgrec.config.fields import choice
from imgrec.config.registry import components
from imgrec.config.root import TEST_PRECISIONS
from imgrec.config.trainer import ACCELERATORS
from imgrec.data.source import Images
from imgrec.environment import check_bfloat16, environment, of_device, refuse_without_gpu, slow_bfloat16, without_gpu
from imgrec.errors import RunError, StrPath, UsageError
from imgrec.models import parts
from imgrec.rebuilding import Trained, rebuild
from imgrec.records import Score
from imgrec.runfolder import CHECKPOINTS, EVALUATIONS, RECORD
from imgrec.training import lightning_trainer
from imgrec.training.process_state import left_as_found

log = logging.getLogger(__name__)

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of an evaluation.

    Attributes:
        scores: The scores.
        path: The file with the scores; None for a single checkpoint without `output`.
        text: The contents of the file.
        about: The number of images, and which images they are.
        remarks: Warnings that concern the scores.
    """

    scores: list[Score]
    path: Path | None
    text: str
    about: str
    remarks: list[str]


def load(run: StrPath, *, at: str | None = None) -> Trained:
    """Return the trained network of a run, on the CPU and in eval mode, with its loss, classes and configuration.

    Args:
        run: A run's folder or a checkpoint file.
        at: best or last; None for the folder's `best` if it exists, else its newest checkpoint.

    Raises:
        UsageError: There is no run.
        RunError: The checkpoint is damaged.
    """
    outside.load()
    path, _ = _checkpoint_of(Path(run), at)
    return rebuild(path)


def evaluate(
    run: StrPath,
    *,
    protocol: str = "clean",
    settings: Sequence[str] = (),
    at: str | None = None,
    split: str = "test",
    precision: str | None = None,
    device: str = "auto",
    data_root: str | None = None,
    allow_trained: bool = False,
    output: Path | None = None,
) -> Measured:
    """Measure the network of a run or of a checkpoint file, and store the scores.

    Args:
        run: A run's folder, finished or not (its `best`, else `last`, unless `at` is given), or a checkpoint file.
        protocol: The name of a protocol.
        settings: Its settings, such as `protocol.gaussian_noise.sigmas=[0.1]`; others have their defaults.
        at: "best" or "last".
        split: "test" or "val".
        precision: "32" or "bf16"; None for the run's test_precision.
        device: "cpu", "gpu", or "auto": the GPU where there is one.
        data_root: The present place of the run's images, whose own split is measured. Or a folder of other images,
            which are measured in full, or only their test/ (val/) if they have it.
        allow_trained: Measure other images even if the run was trained on some of them.
        output: A file instead of the run's evaluations/<protocol>-<hash of the settings>.json, whose settings include
            that a GPU measured. The predictions (.npz) are stored only beside the latter.

    Raises:
        UsageError: The request is invalid.
        RunError: The run's files or the images have changed, or are missing or damaged.
    """
    ranks.refuse_several("imgrec evaluate")
    outside.load()
    run, output = Path(run), None if output is None else Path(output)
    data_root = None if data_root is None else str(data_root)
    choice("--protocol", protocol, list(components("protocol")), "one of your own needs --components FILE")
    measured = compose.protocol(protocol, settings)
    choice("--split", split, ("test", "val"))
    if precision is not None:
        choice("--precision", precision, TEST_PRECISIONS)
    choice("--device", device, ACCELERATORS)
    if device == "gpu":
        refuse_without_gpu("--device=gpu", "use --device cpu")
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"-o {output}: {output.parent} must be a folder, and there is none; make it, or name another")
    path, place = _checkpoint_of(run, at)
    try:
        trained = rebuild(path)
    except RunError as error:
        if run.is_dir() and place == "best":
            raise RunError(f"{error}, or measure the run's end with --at last") from error
        raise
    weights = checkpoint.digest(trained.network.state_dict())
    if run.is_dir():
        _refuse_other_weights(run, path, place, weights)
    on = torch.device("cuda" if device != "cpu" and gpus.found().names else "cpu")
    if device == "auto" and (fallback := without_gpu("--device=auto")):
        log.warning("%s, or silence this with --device cpu", fallback)
    asked = "--precision=bf16" if precision else "the run's test_precision=bf16"
    precision = precision or trained.config.test_precision
    if precision == "bf16" and on.type == "cuda":
        check_bfloat16(asked, "--precision 32")
    elif precision == "bf16" and (warning := slow_bfloat16(asked, "--precision 32")):
        log.warning("%s", warning)
    chosen = evaluation_images.choose(run, trained, split, data_root, allow_trained)
    with left_as_found():
        if trained.config.trainer.threads:
            torch.set_num_threads(trained.config.trainer.threads)
        lightning_trainer.choose_algorithms(trained.config, on)
        head = parts.head_of(trained.config.model, trained.network)
        common: dict[str, Any] = {
            "device": on,
            "batch_size": trained.config.data.eval_batch_size,
            "channels_last": trained.config.trainer.channels_last,
        }
        probe = None
        if measured.learns:
            probe = inference.learned(
                trained.network,
                _train_images(chosen, run, protocol),
                measured,
                head=head,
                classes=len(trained.classes),
                **common,
            )
        found = inference.predict(
            trained.network, chosen.images, measured, precision=precision, head=head, measured=probe, **common
        )
        made_with = environment() | of_device(on, full_float32=True)
    scores = [
        score
        for label, each in found.items()
        for score in measurement.measure(each, trained.loss, split=split, protocol=label, at=place)
    ]
    conditions: dict[str, Any] = {"protocol": protocol, "at": place, "split": split, "step": trained.step}
    conditions |= {"data": chosen.fingerprint, **chosen.settings}
    if precision != "32":
        conditions["precision"] = precision
    if given := listed.changed(measured):
        conditions["protocol_settings"] = given
    if (origin := origins.origin_of(type(measured))) is not None:
        conditions["protocol_origin"] = origin
    if on.type != "cpu":  # a file of its own, as devices round differently; those of the CPU keep their older names
        conditions["device"] = "gpu"
    kept = {(split, label, place): each.kept() for label, each in found.items()}
    rows: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": trained.run_id,
        "settings": conditions,
        "weights": weights,
        "scores": [dataclasses.asdict(score) for score in scores],
        "environment": made_with,
    }
    target = output
    if target is None and run.is_dir():
        digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:8]
        target = run / EVALUATIONS / f"{protocol}-{digest}.json"
        runfolder.refuse_link(target.parent)
        runfolder.prepare(target.parent)
        predictions.write(target.with_suffix(".npz"), {trained.run_id: kept})
        rows["predictions"] = {predictions.key_of(told): each.digest() for told, each in kept.items()}
    if target is not None:
        text_files.write_json(target, rows)
    return Measured(
        scores=scores,
        path=target,
        text=json.dumps(rows, indent=1),
        about=f"{scores[0].n} images: {chosen.what}",
        remarks=chosen.remarks,
    )


def _train_images(chosen: evaluation_images.Chosen, run: Path, protocol: str) -> Images:
    """Return the run's training images.

    Raises:
        UsageError: Other images are measured, and these are not at hand.
    """
    if chosen.train is None:
        raise UsageError(
            f"--protocol={protocol} learns from the training images of {run}, and --data-root names others; leave"
            " --data-root out, or choose another protocol"
        )
    return chosen.train


def _checkpoint_of(run: Path, at: str | None) -> tuple[Path, str]:
    """Return the checkpoint to measure, and its place: best or last."""
    if at is not None:
        choice("--at", at, ("best", "last"))
    if run.is_file():
        if at is not None:
            raise UsageError(f"--at={at} chooses in a run's folder, and {run} is one file; leave --at out")
        return run, "best" if run.name == BEST else "last"
    if not run.is_dir():
        raise UsageError(f"{run} must be a run's folder or a checkpoint file, and does not exist; check the path")
    folder = run / CHECKPOINTS
    if not folder.is_dir() and runfolder.look(run) is None:
        raise UsageError(
            f"{run} must be a run's folder or a checkpoint file, and is neither; {runfolder.name_one(run)}"
        )
    if at != "last" and (folder / BEST).exists():
        return folder / BEST, "best"
    _refuse_without_best(run, folder / BEST, at)
    newest = checkpoint.newest(folder)
    if newest is None:
        raise RunError(f"{folder} holds no checkpoint ({LAST}); the run has not saved one yet, train it first")
    return newest[0], "last"


def _refuse_without_best(run: Path, path: Path, at: str | None) -> None:
    """Refuse to measure another checkpoint than the best, if the best was requested or the run's record names one.

    Only warn if the run itself lost its best checkpoint and finished with its last state.
    """
    progress = record.progress if (record := runfolder.look(run)) is not None else {}
    if at != "last" and isinstance(progress.get("best"), dict):
        raise RunError(
            f"{path} does not exist, and {run / RECORD} tells of it: it is gone; restore it, or measure the run's end"
            " with --at last"
        )
    if at == "best":
        raise RunError(f"{path} does not exist: the run has no validation, or no epoch yet; use --at last")
    if at is None and progress.get("best_lost"):
        log.warning("%s was lost while the run went on: the last state is measured in its place", path)


def _refuse_other_weights(run: Path, path: Path, place: str, weights: str) -> None:
    """Refuse a checkpoint whose weights are not those that the run's record names."""
    record = runfolder.look(run)
    noted = record.weights.get(place) if record is not None and record.status == "finished" else None
    if noted is not None and noted != weights:
        raise RunError(
            f"{path} must hold the weights that {run / RECORD} names, {noted[:12]}..., got {weights[:12]}...: it is of"
            f" another run, or of another moment; restore the run's own, or measure the file as it is: imgrec evaluate"
            f" {path}"
        )
