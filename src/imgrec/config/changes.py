"""Define for each key how a resumed run can change it (`resume=RUN key=value resume_override=[key]`).

`python -m imgrec.config.changes` prints the table of docs/resuming.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imgrec.config.registry import components
from imgrec.config.root import GROUPS
from imgrec.config.schemas import keys_outside_identity, known_keys

EFFECTIVE, AT_EPOCH, REFUSED = "effective", "effective at an epoch's beginning", "refused"
VERDICTS = (EFFECTIVE, AT_EPOCH, REFUSED)


@dataclass(frozen=True)
class Change:
    """The verdict on a changed key, one of VERDICTS, and how it takes effect or why it is refused."""

    verdict: str
    says: str


_SHAPES = "the stored weights have the shapes, or the places, of the old value"
_STATE = "the stored state of the optimizer belongs to the old value"
_IMAGES = "images that were trained on would become validation or test images"
_TRAINED = "a run has the same training images and labels from its first step to its last"
_SWEEP = "it says how a sweep goes, and resume continues one run"
_WORKS = "changes how and where the run works, no result"
_NEXT = "from the next step on"
_PLACED = "the images that this epoch has shown could not be told from the others"

CHANGES: Mapping[str, Change] = {
    # the root
    "seed": Change(AT_EPOCH, "order, augmentation and dropout of the epochs to come; initial weights stay"),
    "init_seed": Change(REFUSED, "a new network alone begins with the weights that it draws"),
    "init_from": Change(REFUSED, "a new network alone begins with other weights"),
    "test": Change(EFFECTIVE, "the final reading follows it"),
    "test_protocols": Change(EFFECTIVE, "the final reading follows it"),
    "callbacks": Change(EFFECTIVE, "from the next step on; a callback that is new begins without a state"),
    "loggers": Change(EFFECTIVE, _WORKS),
    "test_precision": Change(EFFECTIVE, "the final reading follows it"),
    "test_calibration": Change(EFFECTIVE, "the final reading follows it"),
    "experiment": Change(EFFECTIVE, "a label; the choices that the recipe makes are changes of their own"),
    "study": Change(EFFECTIVE, "a label; the choices that the study makes are changes of their own"),
    "primary": Change(EFFECTIVE, "says what tables tell first"),
    "resume": Change(EFFECTIVE, "names the run to go on from"),
    "resume_override": Change(EFFECTIVE, "names the keys that may differ"),
    "force": Change(EFFECTIVE, "does a finished run over, in a new folder"),
    "code": Change(EFFECTIVE, "says whether a state of other code may be gone on from, for this command alone"),
    # data
    "data.name": Change(REFUSED, "another data set has other images, splits and classes"),
    "data.batch_size": Change(AT_EPOCH, "the learning rate follows the share of the training that is over"),
    "data.eval_batch_size": Change(EFFECTIVE, _WORKS),
    "data.num_workers": Change(EFFECTIVE, _WORKS),
    "data.resident": Change(EFFECTIVE, _WORKS),
    "data.labels": Change(REFUSED, "the network has an output for each class"),
    "data.padding": Change(REFUSED, "the images have another side"),
    "data.subset": Change(REFUSED, _TRAINED),
    "data.subset_seed": Change(REFUSED, _TRAINED),
    "data.imbalance": Change(REFUSED, _TRAINED),
    "data.label_noise": Change(REFUSED, _TRAINED),
    "data.noise_kind": Change(REFUSED, _TRAINED),
    "data.noise_seed": Change(REFUSED, _TRAINED),
    "data.sampler": Change(AT_EPOCH, "the images that an epoch visits are chosen as it begins"),
    "data.prune": Change(
        EFFECTIVE, "images are chosen anew in the next whole epoch; at an epoch's beginning where some are left out"
    ),
    "data.prune_after": Change(
        EFFECTIVE, "before that share of the epochs all images are visited; at an epoch's beginning where some are not"
    ),
    "data.root": Change(
        EFFECTIVE,
        "images that only lie elsewhere are the same; others must be named, have the same classes, begin with an"
        " epoch, and keep the normalisation of the first ones",
    ),
    "data.download": Change(EFFECTIVE, _WORKS),
    "data.image_size": Change(EFFECTIVE, f"{_NEXT}; a cnn fits one size, and refuses it"),
    "data.on_error": Change(EFFECTIVE, _NEXT),
    # augment
    "augment.name": Change(EFFECTIVE, "a label; what the choice sets are changes of their own"),
    "augment.sizes": Change(EFFECTIVE, "by the share of the training that is over"),
    "augment.sizes_until": Change(EFFECTIVE, "by the share of the training that is over"),
    # model
    "model.activation": Change(EFFECTIVE, _NEXT),
    "model.dropout": Change(EFFECTIVE, _NEXT),
    "model.drop_path": Change(EFFECTIVE, _NEXT),
    "model.residual": Change(EFFECTIVE, _NEXT),
    "model.norm_momentum": Change(EFFECTIVE, _NEXT),
    "model.pretrained": Change(REFUSED, "only a new network begins with these weights, or with others"),
    "model.freeze": Change(REFUSED, f"{_STATE}, and to the parameters that trained"),
    "model.unfreeze_at": Change(REFUSED, f"{_STATE}, and to its groups of parameters"),
    "model.freeze_backbone": Change(REFUSED, f"{_STATE}, and to the parameters that trained"),
    # optimizer
    "optimizer.name": Change(REFUSED, _STATE),
    "optimizer.decay_norm_and_bias": Change(REFUSED, f"{_STATE}, and to its groups of parameters"),
    "optimizer.layer_decay": Change(REFUSED, f"{_STATE}, and to its groups of parameters"),
    "optimizer.head_scale": Change(REFUSED, f"{_STATE}, and to its groups of parameters"),
    "optimizer.momentum": Change(EFFECTIVE, f"{_NEXT}; rmsprop refuses to begin with it: {_STATE}"),
    # loss
    "loss.class_weights": Change(EFFECTIVE, f"{_NEXT}; validation losses are not weighted"),
    # trainer
    "trainer.max_epochs": Change(
        EFFECTIVE, "schedule, augment.sizes and data.prune_after follow the share that is over; not below the position"
    ),
    "trainer.accelerator": Change(EFFECTIVE, _WORKS),
    "trainer.devices": Change(AT_EPOCH, "the learning rate follows the share of the training that is over"),
    "trainer.num_nodes": Change(AT_EPOCH, "the learning rate follows the share of the training that is over"),
    "trainer.strategy": Change(EFFECTIVE, _WORKS),
    "trainer.precision": Change(EFFECTIVE, _NEXT),
    "trainer.channels_last": Change(EFFECTIVE, _NEXT),
    "trainer.compile": Change(EFFECTIVE, _NEXT),
    "trainer.graphs": Change(EFFECTIVE, _NEXT),
    "trainer.deterministic": Change(EFFECTIVE, _NEXT),
    "trainer.accumulate": Change(AT_EPOCH, "the learning rate follows the share of the training that is over"),
    "trainer.gradient_clip": Change(EFFECTIVE, _NEXT),
    "trainer.ema_decay": Change(
        EFFECTIVE, f"{_NEXT}; an average may begin, and cannot end: best and last are the averaged weights"
    ),
    "trainer.swa_from": Change(
        EFFECTIVE, "by the share of the training that is over; an average may begin, and cannot end"
    ),
    "trainer.ema_statistics": Change(EFFECTIVE, "from the end of this epoch on"),
    "trainer.nonfinite_skips": Change(EFFECTIVE, "steps that were left out before count"),
    "trainer.early_stopping": Change(
        EFFECTIVE, "epochs without a better top1 that were counted before count; without it before, from here on"
    ),
    "trainer.log_every": Change(EFFECTIVE, _WORKS),
    "trainer.checkpoint_every": Change(EFFECTIVE, _WORKS),
    "trainer.async_save": Change(EFFECTIVE, _WORKS),
    "trainer.fast_dev_run": Change(REFUSED, "it begins anew and keeps nothing"),
    "trainer.progress": Change(EFFECTIVE, _WORKS),
    "trainer.tensorboard": Change(EFFECTIVE, _WORKS),
    "trainer.log_graph": Change(EFFECTIVE, "where the run's folder has no TensorBoard events yet"),
    "trainer.profiler": Change(EFFECTIVE, _WORKS),
    "trainer.threads": Change(EFFECTIVE, "the order of sums, and with it the last bits"),
}
"""The keys whose verdict is not that of their axis."""

OF_AXES: Mapping[str, Change] = {
    "data": Change(REFUSED, _IMAGES),
    "augment": Change(EFFECTIVE, "from the next batch on"),
    "model": Change(REFUSED, _SHAPES),
    "loss": Change(EFFECTIVE, f"{_NEXT}; `best` is chosen anew, as losses do not compare"),
    "optimizer": Change(EFFECTIVE, _NEXT),
    "schedule": Change(EFFECTIVE, "by the share of the training that is over"),
    "protocol": Change(EFFECTIVE, "the final reading follows it"),
    "callback": Change(EFFECTIVE, _NEXT),
    "logger": Change(EFFECTIVE, _WORKS),
    "launcher": Change(REFUSED, _SWEEP),
    "sweep": Change(REFUSED, _SWEEP),
}
"""The verdict on the other keys of an axis."""


def change_of(key: str) -> Change:
    """Return the verdict on a key that a resumed run changes."""
    return CHANGES.get(key) or OF_AXES[key.partition(".")[0]]


def changeable_keys() -> Iterator[str]:
    """Yield every key that a command can change: the axes' choices (`model.name`), then the keys of all choices."""
    yield from (f"{axis}.name" for axis in GROUPS if axis != "trainer")  # its choices only set keys
    yield from known_keys()


def why_refused(changed: list[str], then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys among `changed` that no resumed run can change in this way, each with the reason.

    Args:
        changed: The dotted keys that differ.
        then: The flat configuration before.
        now: The flat configuration after.
    """
    refused = {key: change_of(key).says for key in changed if change_of(key).verdict == REFUSED}
    for key in ("trainer.ema_decay", "trainer.swa_from"):
        if then.get(key) and not now[key]:
            refused[key] = "best and last so far are the averaged weights, and no others are kept"
    optimizer = components("optimizer").get(then["optimizer.name"])
    for name in getattr(optimizer, "kept", ()):
        if (key := f"optimizer.{name}") in changed:
            refused[key] = "the weights that train lie by it between the average and the weights of the steps"
    for name in getattr(optimizer, "begins_with", ()):
        if (key := f"optimizer.{name}") in changed and not then[key]:
            refused[key] = _STATE
    return refused


def needs_whole_epoch(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differing keys that take effect only at the beginning of an epoch.

    A key that only one of the configurations has does not count.
    """
    differ = [key for key in then if key in now and then[key] != now[key]]
    return [key for key in differ if change_of(key).verdict == AT_EPOCH]


def markdown() -> str:
    """Return the table as Markdown, one row per key."""
    outside = keys_outside_identity()
    rows = ["| Key | Named in resume_override | A change is | How, or why |", "| --- | --- | --- | --- |"]
    for key in sorted(changeable_keys()):
        change = change_of(key)
        named = "-" if change.verdict == REFUSED else "no" if key in outside else "yes"
        rows.append(f"| `{key}` | {named} | {change.verdict} | {change.says} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
