"""Put the parts of a run together from its configuration: images, loaders, the module to train."""

import logging
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import imgrec
from imgrec import beginning, initial, outside_shapes, teacher
from imgrec.classifier import Classifier
from imgrec.config import origins, serialize
from imgrec.config.root import Config
from imgrec.data import sources
from imgrec.data.files import Files
from imgrec.data.resize import resized, side_at
from imgrec.data.scan import Listing
from imgrec.data.source import Images, Source
from imgrec.datamodule import ImageData
from imgrec.errors import UsageError
from imgrec.frozen import tell as tell_frozen
from imgrec.initial import Weights
from imgrec.losses import balanced_weights
from imgrec.models import parts
from imgrec.models.build import build as build_network
from imgrec.models.build import runs_as
from imgrec.models.network import Network
from imgrec.optim.build import build_optimizer
from imgrec.optim.schedules import build_schedule
from imgrec.stored.meta import Meta
from imgrec.stored.position import RunPosition

log = logging.getLogger(__name__)

_ENOUGH = 5000 * 32 * 32  # pixels of the images that Jordan 2024 (arXiv 2404.00498) used


def source(config: Config, listing: Listing | None = None) -> Source:
    """Return the images that `data` names.

    Args:
        config: The configuration.
        listing: The listing of a folder, where one was made already.
    """
    return sources.load(config.data, listing)


def images(config: Config, listing: Listing, files: Files) -> Images:
    """Return some of a folder's images, read as the run reads them. No other image is opened."""
    return config.data.some(listing, files)


def datamodule(config: Config, images: Source, *, position: RunPosition | None = None) -> ImageData:
    """Return the loaders of a run.

    Args:
        config: The configuration.
        images: The images.
        position: The position of a resumed run.
    """
    return ImageData(
        source=images,
        data=config.data,
        augment=config.augment,
        seed=config.seed,
        whole_epochs=config.data.pruned_after(config.trainer.max_epochs),
        position=position,
    )


def classifier(
    config: Config,
    images: Source,
    *,
    run_id: str,
    fingerprint: str,
    resumed: bool,
    begins_with: Weights | None = None,
    position: RunPosition | None = None,
) -> Classifier:
    """Return the module to train.

    Args:
        config: The configuration.
        images: The images.
        run_id: The run's id.
        fingerprint: The fingerprint of the images.
        resumed: True if a checkpoint will set the weights. None are then downloaded or computed from data.
        begins_with: The weights that `init_from` names, for a new network.
        position: The position of a resumed run.
    """
    built = build_network(
        config.model,
        num_classes=len(images.classes),
        image_size=images.image_size,
        channels=images.channels,
        mean=images.mean,
        std=images.std,
        fetch=not resumed,
    )
    loss = config.loss.build()
    outside_shapes.check(config, built, loss, images)
    frozen = parts.frozen_in(config.model, built)
    if begins_with is not None:
        initial.tell_other_splits(config, begins_with, fingerprint, named=config.init_from or "")
        beginning.begin_with(config, built, begins_with, images.classes)
    elif built.begins_from_data and not resumed:
        built.initialise(_sample(images.train, images.image_size))
    if frozen:
        tell_frozen(config, built, frozen)
    if config.model.stays_frozen:
        built.freeze(frozen)
    return Classifier(
        network=built,
        loss=loss,
        num_classes=len(images.classes),
        make_optimizer=lambda module: _optimizer(config, module, frozen),
        make_schedule=lambda optimizer, steps: build_schedule(config.schedule, optimizer, steps),
        resize=lambda images_nchw, progress: resized(images_nchw, side_at(config.augment, progress)),
        meta=Meta(
            version=imgrec.__version__,
            run_id=run_id,
            config=serialize.flat(config),
            fingerprint=fingerprint,
            classes=tuple(images.classes),
            image_size=images.image_size,
            channels=images.channels,
            mean=tuple(images.mean),
            std=tuple(images.std),
            components=origins.used(config),
        ),
        position=position,
        channels_last=config.trainer.channels_last,
        runs=runs_as(config, built, images.train),
        class_weights_k=_class_weights(config, images),
        teaching=teacher.teaching(config, images, fingerprint),
        sam_rho=config.optimizer.sam_rho,
    )


def _class_weights(config: Config, images: Source) -> Tensor | None:
    """Return the weight of each class in the training loss (K,); None where all weigh alike."""
    given, classes = config.loss.class_weights, len(images.classes)
    if given == "none":
        return None
    if given == "balanced":
        if config.data.sampler == "balanced":
            log.warning(
                "loss.class_weights=balanced and data.sampler=balanced each make up for rare classes, and together do"
                " so twice: a class of half as many images weighs twice as much; leave one of the two out"
            )
        try:
            return balanced_weights(images.train.labels, classes)
        except ValueError:
            images_k = images.train.labels.bincount(minlength=classes)
            raise UsageError(
                "loss.class_weights=balanced needs a training image of every class, got none of"
                f" {images.classes[int(images_k.argmin())]!r}; give a list of {classes} numbers, or leave it out"
            ) from None
    if len(given) != classes:
        raise UsageError(f"loss.class_weights must have a number for each of {classes} classes, got {len(given)}")
    return torch.tensor(given)


def _optimizer(config: Config, module: nn.Module, frozen: Collection[str]) -> Optimizer:
    """Return the optimizer of a network, some of whose tensors are frozen, for ever or at first."""
    assert isinstance(module, Network)
    depths, head = dict[str, int](), list[str]()
    if config.optimizer.scales_rates:
        depths = parts.layers_of(config.model, module)
        names = parts.head_of(config.model, module)
        head = [name for name in depths if parts.is_of(name, names)]
    later = frozen if config.model.unfreeze_at else ()
    return build_optimizer(config.optimizer, module, depths=depths, head=head, later=later)


def _sample(images: Images, image_size: int) -> Tensor:
    """Return images from all parts of a set, (N, C, H, W) in [0, 1], enough for statistics of patches."""
    count = min(len(images), max(1, _ENOUGH // image_size**2))
    spread = torch.linspace(0, len(images) - 1, count).long()  # a folder's images are sorted by class
    images_nchw, _ = images.read(spread)
    return images_nchw.float() / 255
