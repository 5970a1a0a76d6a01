"""Measure `best` and `last` at the end of a run on validation and test images. The test set is read only here."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from imgrec import calibration, checkpoint, inference, measurement
from imgrec.checkpoint import BEST, LAST
from imgrec.config import origins
from imgrec.config.registry import components
from imgrec.config.root import Config
from imgrec.config.trainer import TRIED
from imgrec.data.source import Few, Images
from imgrec.diagnostics import matrix
from imgrec.errors import RunError
from imgrec.inference import Predictions
from imgrec.models import parts
from imgrec.models.network import Network
from imgrec.predictions import Place, Predicted
from imgrec.rebuilding import Trained, rebuild
from imgrec.records import Score
from imgrec.runfolder import CHECKPOINTS
from imgrec.training import figures, process_state
from imgrec.training.fitting import Fitting

if TYPE_CHECKING:
    from imgrec.config.protocol import Measure

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Reading:
    """The measurements at a run's end: scores, digests of the weights, diagnostics by place and split, predictions."""

    scores: list[Score] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[Place, Predicted] = field(default_factory=dict)


def read(config: Config, folder: Path, fitting: Fitting) -> Reading:
    """Measure the checkpoints `best` and `last` on validation and, unless test=false, on the test set."""
    splits: dict[str, Images] = {}
    if fitting.source.val is not None:
        splits["val"] = fitting.source.val
    if config.test and (test := fitting.source.open_test()) is not None:
        splits["test"] = test
    if config.trainer.fast_dev_run:
        splits = {split: Few(images, TRIED * config.data.eval_batch_size) for split, images in splits.items()}
    calibrates = config.test_calibration and config.loss.gives_probabilities
    if config.test_calibration and not calibrates:
        log.warning(
            "test_calibration measures nothing with loss=%s, whose outputs are no logits of probabilities",
            config.loss.name,
        )
    reading = Reading()
    shown: tuple[str, str, Predictions] | None = None
    for at, name in (("best", BEST), ("last", LAST)):
        path = folder / CHECKPOINTS / name
        if not path.exists():
            continue
        trained = rebuild(path, other_code=config.code in ("warn", "ignore"))
        loss = config.loss.build()  # this run's own loss, even if `best` is from a run that it continues
        reading.weights[at] = checkpoint.digest(trained.network.state_dict())
        probes = _learned(config, fitting, trained, at)
        temperatures: dict[str, float] = {}
        for split, images in splits.items():
            found = _predicted(config, fitting, trained, images, probes, split=split, at=at)
            for label, predictions in found.items():
                if calibrates and split == "val":  # val comes first
                    temperatures |= _temperature(predictions, label, at)
                predictions.temperature = temperatures.get(label)
                reading.predictions[split, label, at] = predictions.kept()
                reading.scores += measurement.measure(predictions, loss, split=split, protocol=label, at=at)
            first = next(iter(found.values()))
            reading.diagnostics.setdefault(at, {})[split] = measurement.diagnose(first, trained.classes)
            if shown is None or (split == "test" and shown[1] == "val"):
                shown = (at, split, first)
    if not reading.weights:
        raise RunError(
            f"{folder / CHECKPOINTS} must hold {BEST} or {LAST}, and holds neither: the training ended before a step"
            " was saved; a callback may have ended it"
        )
    _tell(fitting, reading, splits, shown)
    return reading


def try_protocols(config: Config, fitting: Fitting) -> None:
    """Run each outside protocol of the configuration on two training images, so that its errors come before training.

    The network, its mode and all random states are the same afterwards.

    Raises:
        RunError: A protocol returns anything else than logits of these images.
    """
    network, images = fitting.classifier.network, Few(fitting.source.train, 2)
    training, place = network.training, next(network.parameters()).device
    if fitting.device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call] # so that its random states can be restored
    for name, protocol in config.protocol.items():
        if origins.origin_of(type(protocol)) is None:
            continue
        log.info("trying protocol=%s on %d images", name, len(images))
        head = parts.head_of(config.model, cast(Network, network))
        common: dict[str, Any] = {
            "device": fitting.device,
            "batch_size": len(images),
            "channels_last": config.trainer.channels_last,
        }
        with process_state.random_states_kept():
            measured = None
            if protocol.learns:
                classes = len(fitting.source.classes)
                measured = inference.learned(network, images, protocol, head=head, classes=classes, **common)
            inference.predict(
                network,
                images,
                protocol,
                precision=config.test_precision,
                head=head,
                measured=measured,
                **common,
            )
        network.to(place).train(training)


def _predicted(
    config: Config,
    fitting: Fitting,
    trained: Trained,
    images: Images,
    probes: Mapping[str, "Measure"],
    *,
    split: str,
    at: str,
) -> dict[str, Predictions]:
    """Return the predictions for a split under each protocol, by label.

    Validation is also measured under `clean`, as in the curves, and under the protocols of the test set, so that a
    choice can be based on it.
    """
    protocols = dict(config.protocol)
    if split == "val":
        protocols = {"clean": protocols.get("clean") or components("protocol")["clean"](), **protocols}
    found: dict[str, Predictions] = {}
    for name, protocol in protocols.items():
        log.info("reading %s at %s, %s: %d images", split, at, name, len(images))
        found |= inference.predict(
            trained.network,
            images,
            protocol,
            device=fitting.device,
            batch_size=config.data.eval_batch_size,
            num_workers=config.data.num_workers,
            channels_last=config.trainer.channels_last,
            precision=config.test_precision,
            head=parts.head_of(config.model, trained.network),
            measured=probes.get(name),
        )
    return found


def _learned(config: Config, fitting: Fitting, trained: Trained, at: str) -> dict[str, "Measure"]:
    """Return what the protocols that learn have learned from the training images, by their names."""
    train = fitting.source.train
    if config.trainer.fast_dev_run:
        train = Few(train, TRIED * config.data.eval_batch_size)
    found: dict[str, Measure] = {}
    for name, protocol in config.protocol.items():
        if protocol.learns:
            log.info("fitting %s at %s: %d training images", name, at, len(train))
            found[name] = inference.learned(
                trained.network,
                train,
                protocol,
                head=parts.head_of(config.model, trained.network),
                classes=len(trained.classes),
                device=fitting.device,
                batch_size=config.data.eval_batch_size,
                num_workers=config.data.num_workers,
                channels_last=config.trainer.channels_last,
            )
    return found


def _temperature(predictions: Predictions, label: str, at: str) -> dict[str, float]:
    """Return the best temperature for these predictions by their label; empty, with a warning, if there is none."""
    fitted = calibration.fit_temperature(predictions.logits_nk, predictions.targets_n)
    if fitted is not None:
        return {label: fitted}
    log.warning(
        "no temperature is fitted at %s, %s: none is best for these %d validation images, as where all are right;"
        " there are no calibrated scores",
        *(at, label, len(predictions.targets_n)),
    )
    return {}


def _tell(
    fitting: Fitting, reading: Reading, splits: dict[str, Images], shown: tuple[str, str, Predictions] | None
) -> None:
    """Tell the loggers the scores, and show them figures of the first predictions."""
    loggers, step = fitting.loggers, fitting.saver.step
    loggers.log_scores(reading.scores, step=step)
    if shown is not None:
        at, split, predictions = shown
        diagnostics = reading.diagnostics[at][split]
        classes, title = diagnostics["classes"], f"{split}, {at}"
        loggers.log_figure("confusion", lambda: figures.confusion(matrix(diagnostics), classes, title=title), step=step)
        loggers.log_figure(
            "mistakes", lambda: figures.mistakes(splits[split], predictions, classes, title=title), step=step
        )
