"""The final reading of a run: validation and test scores of `best` and `last`, the test set opened once."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgrec import assembly, calibration, checkpoint, measurement
from imgrec.checkpoint import BEST, LAST
from imgrec.config.root import Config
from imgrec.config.trainer import TRIED
from imgrec.data.source import Few, Images
from imgrec.diagnostics import matrix
from imgrec.measurement import Predictions
from imgrec.predictions import Place, Predicted
from imgrec.records import Score
from imgrec.runfolder import CHECKPOINTS
from imgrec.training import tensorboard
from imgrec.training.fitting import Fitting

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Reading:
    """What a run's end measures: scores, digests of the weights, diagnostics by place and split, predictions."""

    scores: list[Score] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    predictions: dict[Place, Predicted] = field(default_factory=dict)


def read(config: Config, folder: Path, fitting: Fitting) -> Reading:
    """Measure `best` and `last`, as they lie on disk, on validation and, unless test=false, on the test set."""
    splits: dict[str, Images] = {}
    if fitting.source.val is not None:
        splits["val"] = fitting.source.val
    if config.test and (test := fitting.source.open_test()) is not None:
        splits["test"] = test
    if config.trainer.fast_dev_run:
        splits = {split: Few(images, TRIED * config.data.eval_batch_size) for split, images in splits.items()}
    # validation also as the curves have it, and as the test will be measured: so that a choice may rest on it
    protocols = {"test": config.test_protocols, "val": list(dict.fromkeys(["clean", *config.test_protocols]))}
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
        trained = assembly.trained(path)
        loss = config.loss.build()  # this run's own, also where `best` comes from a run that it went on from
        reading.weights[at] = checkpoint.digest(trained.network.state_dict())
        temperatures: dict[str, float] = {}
        for split, images in splits.items():
            for protocol in protocols[split]:
                log.info("reading %s at %s, %s: %d images", split, at, protocol, len(images))
                predictions = measurement.predict(
                    trained.network,
                    images,
                    protocol=protocol,
                    device=fitting.device,
                    batch_size=config.data.eval_batch_size,
                    num_workers=config.data.num_workers,
                    channels_last=config.trainer.channels_last,
                    precision=config.test_precision,
                )
                if calibrates and split == "val":  # the first of the splits
                    fitted = calibration.fit_temperature(predictions.logits_nk, predictions.targets_n)
                    if fitted is None:
                        log.warning(
                            "no temperature is fitted at %s, %s: none is best for these %d validation images, as where"
                            " all are right; there are no calibrated scores",
                            *(at, protocol, len(images)),
                        )
                    else:
                        temperatures[protocol] = fitted
                predictions.temperature = temperatures.get(protocol)
                reading.predictions[split, protocol, at] = predictions.kept()
                reading.scores += measurement.measure(predictions, loss, split=split, protocol=protocol, at=at)
                if protocol == protocols[split][0]:
                    reading.diagnostics.setdefault(at, {})[split] = measurement.diagnose(predictions, trained.classes)
                    if shown is None or (split == "test" and shown[1] == "val"):
                        shown = (at, split, predictions)
    if fitting.board is not None:
        _show(fitting, reading, splits, shown)
    return reading


def _show(
    fitting: Fitting, reading: Reading, splits: dict[str, Images], shown: tuple[str, str, Predictions] | None
) -> None:
    board = fitting.board
    assert board is not None
    step = fitting.saver.step
    protocol = fitting.config.test_protocols[0]
    tensorboard.close_hparams(board, reading.scores, protocol=protocol, step=step)
    if shown is not None:
        at, split, predictions = shown
        diagnostics = reading.diagnostics[at][split]
        classes, title = diagnostics["classes"], f"{split}, {at}"
        tensorboard.show_confusion(board, matrix(diagnostics), classes, title=title, step=step)
        tensorboard.show_mistakes(board, splits[split], predictions, classes, title=title, step=step)
    board.finalize("success")
