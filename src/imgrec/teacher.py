"""Rebuild the trained network that teaches another one (`loss=distillation`)."""

from imgrec import initial, networks
from imgrec.config import serialize
from imgrec.config.root import Config
from imgrec.data.source import Source
from imgrec.errors import UsageError, shown
from imgrec.losses import DistilledLoss
from imgrec.models import parts
from imgrec.models.network import Network

_KEY = "loss.teacher"


def teaching(config: Config, images: Source, fingerprint: str) -> tuple[Network, DistilledLoss] | None:
    """Return the network that teaches and the training loss that takes its logits; None without a teacher.

    Args:
        config: The configuration.
        images: The images to train on.
        fingerprint: Their fingerprint.

    Raises:
        UsageError: It was trained on other classes or images of another size, or cannot take augment.sizes.
        RunError: Its weights are not those that the configuration names.
    """
    if config.loss.teacher_run is None:
        return None
    name, digest = config.loss.teacher_run
    found = initial.read(name, expected=digest, key=_KEY)
    if found.config is None or found.image_size is None or found.channels is None:
        raise UsageError(f"{_KEY} must be the folder of a run, got {shown(name)}; name one")
    for what, theirs, ours in (
        ("classes", found.classes, tuple(images.classes)),
        ("side in pixels", found.image_size, images.image_size),
        ("channels", found.channels, images.channels),
    ):
        if theirs != ours:
            raise UsageError(
                f"{_KEY}={shown(name)} must have been trained on images like these, and their {what} differ:"
                f" {shown(str(theirs))} there, {shown(str(ours))} here; name another run, or give its data"
            )
    initial.tell_other_splits(config, found, fingerprint, key=_KEY, named=name)
    trained_as = serialize.from_flat(dict(found.config))
    smallest = trained_as.model.smallest
    if config.augment.sizes and (smallest is None or min(config.augment.sizes) < smallest):
        takes = "one size" if smallest is None else f"{smallest} px and more"
        raise UsageError(
            f"augment.sizes={config.augment.sizes} needs a teacher that takes them, and {shown(name)} is"
            f" model={trained_as.model.name}, which takes {takes}; choose another augment, or another teacher"
        )
    teacher = networks.network(
        trained_as,
        classes=len(images.classes),
        image_size=found.image_size,
        channels=found.channels,
        mean=images.mean,
        std=images.std,
    )
    parts.put(teacher, found.tensors, but=(), key=_KEY)
    return teacher.eval().requires_grad_(False), config.loss.build_distilled()
