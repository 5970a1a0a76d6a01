"""Check that a run can begin here: its machine, images, code and parent, before a folder is made."""

from pathlib import Path

from imgrec import codechange, ranks, runfolder
from imgrec.config import origins
from imgrec.config.root import Config
from imgrec.data import choose
from imgrec.data.inventory import Inventory
from imgrec.errors import UsageError
from imgrec.records import Record
from imgrec.resuming import Resumption


def check(
    config: Config,
    seen: Inventory,
    folder: Path,
    *,
    chooses: str | None = None,
    begun: bool = False,
    elsewhere: bool = False,
) -> None:
    """Refuse a run that this machine or these images do not allow, before the run's folder is made.

    Args:
        config: The configuration.
        seen: The images.
        folder: The run's folder.
        chooses: What else needs validation images, for the error message.
        begun: True if the run continues from a checkpoint.
        elsewhere: True if another machine carries it out, which checks its own hardware.

    Raises:
        UsageError: The run cannot begin.
    """
    from imgrec.environment import check_hardware

    for part in (*config.protocol.values(), *config.callback.values(), *config.logger.values()):
        part.check_here()
    training, validation = choose.counts(config.data, seen.listing)
    for callback in config.callback.values():
        callback.check_images(training)
    if not elsewhere:
        ranks.refuse(config.trainer.devices, config.trainer.num_nodes)
        check_hardware(config)
    if config.trainer.processes > 1 and (own := origins.of_program(config)):
        key = "devices" if config.trainer.devices > 1 else "num_nodes"
        raise UsageError(
            f"trainer.{key}={getattr(config.trainer, key)} needs processes that have {', '.join(own)} too, and a"
            " program defines it; put it into a file that imgrec.config.outside.load or IMGREC_COMPONENTS names"
        )
    runfolder.refuse_among(folder, seen)
    check_network(config, begun=begun)
    asks = chooses
    if config.trainer.early_stopping:
        asks = "trainer.early_stopping"
    elif config.test_calibration:
        asks = "test_calibration"
    if not validation and asks:
        raise UsageError(f"{asks} needs validation images; give data.val_size, or leave {asks} out")
    _refuse_single_image(config, seen)


def check_network(config: Config, *, begun: bool = False) -> None:
    """Refuse a network that these images do not fit, or that a new run cannot start with.

    Args:
        config: The configuration.
        begun: True if the run continues from a checkpoint.

    Raises:
        UsageError: It is one, or its weights are not of this network.
        RunError: Its weights cannot be read.
    """
    if not begun:
        _check_beginning(config)
    config.model.check_images(config.data.side, resizable=config.data.resizable)


def _check_beginning(config: Config) -> None:
    """Refuse a network that a new run cannot start with, and weights that are not of this network.

    Raises:
        UsageError: It cannot, or they are not.
        RunError: The weights cannot be read.
    """
    if config.model.freeze != "none":
        from imgrec import frozen  # imports torch

        frozen.check(config)
    if config.init_from is not None:
        from imgrec import beginning  # imports torch

        beginning.check(config)
        return
    config.model.check_beginning()
    if config.model.stays_frozen and not config.model.is_pretrained:
        raise UsageError(
            f"model.freeze={config.model.freeze} needs layers that have learned something, and these would begin and"
            " stay random; give init_from=RUN, or model.pretrained=true where the network has it, or model.unfreeze_at"
        )


def _refuse_single_image(config: Config, seen: Inventory) -> None:
    """Refuse a last batch of one image if a batch normalisation would have only one value for each channel."""
    size = config.data.batch_size
    images = -(-choose.counts(config.data, seen.listing)[0] // config.trainer.processes)
    if images > 1 and size > 1 and images % size != 1:
        return
    side = min([*config.augment.sizes, config.data.side])
    from imgrec import networks  # imports torch

    if networks.normalises_single_values(config, side):
        other = next((other for other in range(size + 1, images + 2) if images % other != 1), None)
        way_out = f"give data.batch_size={other}" if images > 1 else "add images"
        raise UsageError(
            f"data.batch_size={size} leaves a batch of one image, of {images} training images on each device, and"
            f" model={config.model.name} at {side} px has batch normalisation over one value a channel there, which has"
            f" no variance; {way_out}"
        )


def check_code(
    folder: Path, record: Record | None, rule: str, parent: Path | None = None, *, anew: str | None = None
) -> None:
    """Refuse to continue from a checkpoint that other code has made, if the rule says so. Warnings come in training.

    Args:
        folder: The run's folder.
        record: The run's record, if there is one.
        rule: The value of `code`.
        parent: The folder of the run that it continues from, if any.
        anew: How to start a run without that checkpoint, for the error message.
    """
    if record is not None and runfolder.has_state(folder):
        codechange.of_state(folder, record, rule, anew=anew)
    elif parent is not None:
        codechange.of_state(parent, runfolder.record_of(parent), rule, anew=anew)


def check_parent(config: Config, folder: Path, parent: Path, seen: Inventory, resumed: Resumption | None) -> None:
    """Refuse a configuration that cannot continue from the parent's newest checkpoint.

    See `resume_point.check_parent`.
    """
    from imgrec.training import resume_point  # imports torch

    if resumed is None:
        resume_point.check_parent(config, folder, parent, seen)
    else:
        resume_point.check_parent(config, folder, parent, seen, changed=resumed.changed, anew=resumed.anew)
