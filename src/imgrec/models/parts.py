"""Tell the head and the layers of a network apart, and let a network begin with the weights of another one."""

# N images, K classes

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from imgrec.config.model import Model
from imgrec.errors import RunError, UsageError
from imgrec.models.architecture import last_layer
from imgrec.models.network import Network

_CONSTANTS = ("mean", "std")  # of Network's normalisation
_PLAIN = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # of these types exactly, a list of layers
_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def head_of(cfg: Model, network: Network) -> tuple[str, ...]:
    """Return the names of the layers that give the classes, such as `net.fc`.

    Raises:
        UsageError: The network has no layer that could.
    """
    named = cfg.head(network.net)
    if not named:
        if not any(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in network.net.modules()):
            raise UsageError(
                f"model={cfg.name} must have a layer that gives the classes, and has no linear layer and no"
                " convolution; let its class name the layer: def head(self, net)"
            )
        named = (last_layer(network.net),)
    return tuple(f"net.{name}" if name else "net" for name in named)


def layers_of(cfg: Model, network: Network) -> dict[str, int]:
    """Return the depth of each tensor of a network, by its name: 0 for the first layer, and the most for the head.

    A layer is a linear layer or a convolution, with the normalisation after it, or a block: an item of a list of layers
    that has layers itself, as a residual block or one of a transformer. Tensors before the first layer, such as a class
    token, belong to it; others belong to the layer before them. For networks of timm it is timm's own grouping.
    """
    if own := cfg.layers(network.net):
        return {f"net.{name}": depth for name, depth in own.items()}
    groups = _Groups()
    groups.visit(network.net, "net", contained=True, root=True)
    head = head_of(cfg, network)
    bodies = [[name for name in group if not is_of(name, head)] for group in groups.found]
    ordered = [*filter(None, bodies), [name for name in network.state_dict() if is_of(name, head)]]
    return {name: depth for depth, group in enumerate(ordered) for name in group}


class _Groups:
    """The tensors of a network by layers, in its own order.

    Attributes:
        found: The names of the tensors of each layer.
    """

    def __init__(self) -> None:
        self.found: list[list[str]] = []
        self._before: list[str] = []  # tensors before the first layer

    def visit(self, module: nn.Module, name: str, *, contained: bool, root: bool = False) -> None:
        """Add the tensors of a module.

        Args:
            module: The module.
            name: Its name.
            contained: True if it is an item of a plain list.
            root: True for the network itself, which is never one layer if it contains some.
        """
        names = [f"{name}.{inner}" for inner in module.state_dict()]
        inner = [(key, each) for key, each in module.named_children() if each.state_dict()]
        if not names:
            return
        if not inner:
            self._add(names, begins=not isinstance(module, _NORMS))
            return
        plain = type(module) in _PLAIN
        if not (root or plain) and contained:
            self._add(names, begins=True)
            return
        within = {f"{name}.{key}.{tensor}" for key, each in inner for tensor in each.state_dict()}
        self._add([tensor for tensor in names if tensor not in within], begins=False)
        for key, each in inner:
            # a part such as `encoder`, with most of the parameters, is no layer but has layers
            self.visit(each, f"{name}.{key}", contained=plain or 2 * _size(each) <= _size(module))

    def _add(self, names: Sequence[str], *, begins: bool) -> None:
        if begins:
            self.found.append([*self._before, *names])
            self._before = []
        elif self.found:
            self.found[-1] += names
        else:
            self._before += names


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def frozen_in(cfg: Model, network: Network) -> frozenset[str]:
    """Return the names of the tensors that `model.freeze` keeps as they are.

    Raises:
        UsageError: The network has fewer layers, or nothing would train.
    """
    if cfg.freeze == "none":
        return frozenset()
    head = head_of(cfg, network)
    tensors = [name for name in network.state_dict() if name not in _CONSTANTS]
    if cfg.freeze == "backbone":
        return frozenset(name for name in tensors if not is_of(name, head))
    depths = layers_of(cfg, network)
    most = max(depths.values())
    if int(cfg.freeze) > most:
        raise UsageError(
            f"model.freeze must be at most {most}, as model={cfg.name} has {most + 1} layers with its head, got"
            f" {cfg.freeze}; give model.freeze=backbone to train the head alone"
        )
    return frozenset(name for name in tensors if depths[name] < int(cfg.freeze))


def is_of(name: str, layers: Iterable[str]) -> bool:
    """Return True if a tensor or a layer of that name belongs to one of the layers."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def takes_head(
    network: Network, found: Mapping[str, Tensor], head: Collection[str], *, same_classes: bool | None
) -> bool:
    """Return True if the network takes the head of these tensors as well, as it has the same classes.

    Args:
        network: The network.
        found: The tensors.
        head: The layers that give the classes.
        same_classes: True if both have the same classes; None if this is not known. The shapes then decide.
    """
    if same_classes is not None:
        return same_classes
    own = {name: value.shape for name, value in network.state_dict().items() if is_of(name, head)}
    return own == {name: value.shape for name, value in found.items() if is_of(name, head)}


def misfit(network: Network, found: Mapping[str, Tensor], *, but: Collection[str]) -> str | None:
    """Return why tensors do not fit a network, in words; None if they do.

    Args:
        network: The network.
        found: The tensors. Those of the normalisation may be missing.
        but: Layers that do not count.
    """
    own = network.state_dict()
    for name in (*own, *found):
        if is_of(name, but) or (name in _CONSTANTS and name not in found):
            continue
        here, there = (_shape(tensors.get(name)) for tensors in (own, found))
        if here != there:
            return f"{name} is {here} here and {there} there"
    return None


def put(network: Network, found: Mapping[str, Tensor], *, but: Sequence[str], key: str = "init_from") -> None:
    """Load tensors into all layers of a network but some. A normalisation that is missing stays the network's own.

    Args:
        network: The network.
        found: The tensors.
        but: Layers that keep their own.
        key: The key of the configuration that names the tensors, for the refusal.

    Raises:
        RunError: A tensor holds a value that is not finite.
    """
    taken = {name: value for name, value in found.items() if not is_of(name, but)}
    for name, value in taken.items():
        if not bool(torch.isfinite(value).all()):
            raise RunError(
                f"{key} must name finite weights, and {name} there has a value that is not; name another checkpoint"
            )
    state = network.state_dict()  # with the versions of its layers
    state.update(taken)
    network.load_state_dict(state)


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))
