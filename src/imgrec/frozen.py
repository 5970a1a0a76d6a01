"""Say which tensors of a network a configuration keeps frozen (`model.freeze`, `model.unfreeze_at`)."""

import logging
from collections.abc import Collection

from imgrec import networks
from imgrec.config.root import Config
from imgrec.models import parts
from imgrec.models.network import Network

log = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Check that the network has the layers that `model.freeze` names. Only shapes are computed.

    Raises:
        UsageError: It has fewer.
    """
    parts.frozen_in(config.model, networks.outline(config))


def at_first(config: Config, network: Network) -> frozenset[str]:
    """Return the names of the network's tensors that are frozen in the first epochs alone."""
    return parts.frozen_in(config.model, network) if config.model.unfreeze_at else frozenset()


def tell(config: Config, built: Network, frozen: Collection[str]) -> None:
    """Log how many parameters are frozen, and how long."""
    sizes = {name: parameter.numel() for name, parameter in built.named_parameters()}
    kept, epochs = sum(sizes.get(name, 0) for name in frozen), config.model.unfreeze_at
    until = f"in the first {epochs} epochs" if epochs > 1 else "in the first epoch" if epochs else "throughout"
    log.info(
        "model.freeze=%s: %d of %d parameters are frozen %s", config.model.freeze, kept, sum(sizes.values()), until
    )
