"""Build objects from a configuration: images, loaders, networks, losses. Only this module does so."""

import json
import logging
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import imgrec
from imgrec import initial
from imgrec.classifier import Classifier
from imgrec.config import origins, outside_errors, serialize
from imgrec.config.root import Config
from imgrec.data import sources
from imgrec.data.files import Files
from imgrec.data.resize import resized, side_at
from imgrec.data.scan import Listing
from imgrec.data.source import Images, Source
from imgrec.datamodule import ImageData
from imgrec.errors import UsageError, shown
from imgrec.initial import Weights
from imgrec.losses import DistilledLoss, LossFunction, balanced_weights
from imgrec.models import parts
from imgrec.models.build import build as build_network
from imgrec.models.build import runs_as
from imgrec.models.network import Network
from imgrec.optim.build import build_optimizer
from imgrec.optim.schedules import build_schedule
from imgrec.stored.meta import Meta
from imgrec.stored.position import RunPosition

log = logging.getLogger(__name__)

_TEACHER = "loss.teacher"
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
    _check_outside(config, built, loss, images)
    frozen = parts.frozen_in(config.model, built)
    if begins_with is not None:
        _begin_with(config, built, begins_with, images.classes)
    elif built.begins_from_data and not resumed:
        built.initialise(_sample(images.train, images.image_size))
    if frozen:
        _tell_frozen(config, built, frozen)
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
        teaching=_teaching(config, images),
        sam_rho=config.optimizer.sam_rho,
    )


def _teaching(config: Config, images: Source) -> tuple[Network, DistilledLoss] | None:
    """Return the network that teaches and the training loss that takes its logits; None without a teacher.

    Raises:
        UsageError: It was trained on other classes, or on images of another size.
        RunError: Its weights are not those that the configuration names.
    """
    if config.loss.teacher_run is None:
        return None
    name, digest = config.loss.teacher_run
    found = initial.read(name, expected=digest, key=_TEACHER)
    if found.config is None or found.image_size is None or found.channels is None:
        raise UsageError(f"{_TEACHER} must be the folder of a run, got {shown(name)}; name one")
    for what, theirs, ours in (
        ("classes", found.classes, tuple(images.classes)),
        ("side in pixels", found.image_size, images.image_size),
        ("channels", found.channels, images.channels),
    ):
        if theirs != ours:
            raise UsageError(
                f"{_TEACHER}={shown(name)} must have been trained on images like these, and their {what} differ:"
                f" {shown(str(theirs))} there, {shown(str(ours))} here; name another run, or give its data"
            )
    teacher = network(
        serialize.from_flat(dict(found.config)),
        classes=len(images.classes),
        image_size=found.image_size,
        channels=found.channels,
        mean=images.mean,
        std=images.std,
    )
    parts.put(teacher, found.tensors, but=())
    return teacher.eval().requires_grad_(False), config.loss.build_distilled()


def _class_weights(config: Config, images: Source) -> Tensor | None:
    """Return the weight of each class in the training loss (K,); None where all weigh alike."""
    given, classes = config.loss.class_weights, len(images.classes)
    if given == "none":
        return None
    if given == "balanced":
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


def frozen_at_first(config: Config, module: Classifier) -> frozenset[str]:
    """Return the names of the network's tensors that are frozen in the first epochs alone."""
    if not config.model.unfreeze_at:
        return frozenset()
    assert isinstance(module.network, Network)
    return parts.frozen_in(config.model, module.network)


def _tell_frozen(config: Config, built: Network, frozen: Collection[str]) -> None:
    sizes = {name: parameter.numel() for name, parameter in built.named_parameters()}
    kept, epochs = sum(sizes.get(name, 0) for name in frozen), config.model.unfreeze_at
    until = f"in the first {epochs} epochs" if epochs > 1 else "in the first epoch" if epochs else "throughout"
    log.info(
        "model.freeze=%s: %d of %d parameters are frozen %s", config.model.freeze, kept, sum(sizes.values()), until
    )


def check_frozen(config: Config) -> None:
    """Check that the network has the layers that `model.freeze` names. Only shapes are computed.

    Raises:
        UsageError: It has fewer.
    """
    with torch.device("meta"):
        outline = network(config, classes=2, image_size=config.data.side, channels=3, mean=[0.0] * 3, std=[1.0] * 3)
    parts.frozen_in(config.model, outline)


def check_initial(config: Config) -> None:
    """Check that the weights that `init_from` names are those of the network that `model` names.

    Only shapes are computed. The head does not count, as the classes of the images may not be known yet.

    Raises:
        UsageError: They are not.
        RunError: They cannot be read.
    """
    assert config.init_from is not None, "of a run that begins with other weights"
    found = initial.outline(config.init_from)
    channels = found.channels or 3
    with torch.device("meta"):
        outline = network(
            config,
            classes=2,
            image_size=config.data.side,
            channels=channels,
            mean=[0.0] * channels,
            std=[1.0] * channels,
        )
    _refuse_misfit(config, outline, found, but=parts.head_of(config.model, outline))


def _begin_with(config: Config, built: Network, found: Weights, classes: Sequence[str]) -> None:
    """Load weights into a new network, with the head if the classes are the same, and say which."""
    head = parts.head_of(config.model, built)
    same = None if found.classes is None else found.classes == tuple(classes)
    takes_head = parts.takes_head(built, found.tensors, head, same_classes=same)
    but = () if takes_head else head
    _refuse_misfit(config, built, found, but=but)
    parts.put(built, found.tensors, but=but)
    if takes_head:
        log.info("beginning with the weights of %s, the head included", shown(config.init_from or ""))
        return
    was = "" if found.classes is None else f" in place of {len(found.classes)} others"
    log.info(
        "beginning with the weights of %s; the head (%s) is new, as it is for %d classes%s",
        shown(config.init_from or ""),
        ", ".join(name.removeprefix("net.") for name in head),
        len(classes),
        was,
    )


def _refuse_misfit(config: Config, built: Network, found: Weights, *, but: Sequence[str]) -> None:
    if (difference := parts.misfit(built, found.tensors, but=but)) is None:
        return
    way_out = "give the model, and images of the side and the channels, that they were trained with"
    if found.config is not None:
        own = serialize.flat(config)
        keys = [key for key in found.config if key.startswith("model.")]
        others = [f"{_short(key)}={_plain(found.config[key])}" for key in keys if found.config[key] != own.get(key)]
        seen = f"images of {found.image_size} px and {found.channels} channels"
        way_out = f"the source has {seen}" + (f", and {', '.join(others)}" if others else "")
    raise UsageError(
        f"init_from={shown(config.init_from or '')} must hold the weights of model={config.model.name}, and"
        f" {difference}",
        way_out=way_out,
    )


def _short(key: str) -> str:
    return key.removesuffix(".name")


def _plain(value: object) -> str:
    """Return a value as a command gives it."""
    return json.dumps(value, separators=(",", ":")).replace('"', "")


def _check_outside(config: Config, network: Network, loss: LossFunction, images: Source) -> None:
    """Refuse a network or a loss of the user whose results have other shapes than those of imgrec's."""
    classes = len(images.classes)
    if origins.origin_of(type(config.model)) is not None:
        side, training = images.image_size, network.training
        with torch.no_grad():
            shape = tuple(network.eval()(torch.zeros(2, images.channels, side, side)).shape)
        network.train(training)
        if shape != (2, classes):
            raise UsageError(
                f"model={config.model.name} must give logits (N, {classes}), one a class, and gives {shape} for two"
                " images; take num_classes in build()"
            )
    if origins.origin_of(type(config.loss)) is not None:
        logits_nk, target = torch.zeros(2, classes), torch.arange(2) % classes
        for reduction, expected in (("mean", ()), ("none", (2,))):
            try:
                shape = tuple(loss(logits_nk, target, reduction=reduction).shape)
            except TypeError as error:
                if outside_errors.origin_of(error) is not None:  # raised in the loss, not by calling it
                    raise
                raise UsageError(
                    f"loss={config.loss.name} must take (logits, target, *, reduction), got: {error}"
                ) from error
            if shape != expected:
                raise UsageError(
                    f"loss={config.loss.name} must give shape {expected} for two images with reduction={reduction!r},"
                    f" got {shape}; imgrec.losses.reduced does so"
                )


def _sample(images: Images, image_size: int) -> Tensor:
    """Return images from all parts of a set, (N, C, H, W) in [0, 1], enough for statistics of patches."""
    count = min(len(images), max(1, _ENOUGH // image_size**2))
    spread = torch.linspace(0, len(images) - 1, count).long()  # a folder's images are sorted by class
    images_nchw, _ = images.read(spread)
    return images_nchw.float() / 255


def network(
    config: Config, *, classes: int, image_size: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Network:
    """Return the network that `model` names, without pretrained weights.

    Args:
        config: The configuration.
        classes: The number of classes.
        image_size: The side of the images, in pixels.
        channels: The channels of the images.
        mean: The mean of each channel of the training images.
        std: The deviation of each channel of the training images.
    """
    return build_network(
        config.model,
        num_classes=classes,
        image_size=image_size,
        channels=channels,
        mean=mean,
        std=std,
        fetch=False,
    )


def network_of(config: Config, meta: Meta) -> Network:
    """Return the network that `model` names, for the images of a checkpoint."""
    return network(
        config,
        classes=len(meta.classes),
        image_size=meta.image_size,
        channels=meta.channels,
        mean=meta.mean,
        std=meta.std,
    )


def normalises_single_values(config: Config, side: int) -> bool:
    """Return True if one image leaves some batch normalisation a single value per channel, which has no variance.

    A forward pass of shapes only determines this.

    Args:
        config: The configuration.
        side: The side of the image, in pixels.
    """
    alone = False

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal alone
        alone = alone or (layer.training and inputs[0][0, 0].numel() == 1)

    with torch.device("meta"), torch.no_grad():
        shapes = network(config, classes=2, image_size=side, channels=3, mean=[0.0] * 3, std=[1.0] * 3)
        for layer in shapes.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.register_forward_pre_hook(look)
        shapes.train()(torch.empty(2, 3, side, side))
    return alone
