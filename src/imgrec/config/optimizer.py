"""The optimizer axis: each choice with published values or the defaults of a named library."""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import above, at_least, below, setting
from imgrec.errors import UsageError


@dataclass(kw_only=True)
class Optimizer:
    """What every optimizer has."""

    name: str = MISSING
    lr: float = setting(MISSING, "peak learning rate")
    lr_scale: float = setting(1.0, "multiplies lr, so that one grid serves every optimizer")
    weight_decay: float = setting(0.0, "weight decay; L2 penalty, or decoupled in adamw and muon")
    decay_norm_and_bias: bool = setting(True, "whether weight decay reaches biases and normalisation layers")

    def __post_init__(self) -> None:
        above("optimizer.lr", self.lr, 0)
        above("optimizer.lr_scale", self.lr_scale, 0)
        at_least("optimizer.weight_decay", self.weight_decay, 0)


@dataclass(kw_only=True)
class Sgd(Optimizer):
    """Stochastic gradient descent without momentum."""

    name: str = "sgd"
    lr: float = setting(0.01, "learning rate; 0.01 is the documented default of Keras' SGD")


@dataclass(kw_only=True)
class Momentum(Optimizer):
    """SGD with momentum, as He et al. (2016, section 4.2) trained CIFAR-10."""

    name: str = "momentum"
    lr: float = setting(0.1, "peak learning rate (He et al. 2016, section 4.2)")
    momentum: float = setting(0.9, "weight of the past gradients (He et al. 2016, section 4.2)")
    nesterov: bool = setting(False, "look ahead along the momentum (Sutskever et al. 2013)")
    weight_decay: float = setting(1e-4, "L2 penalty (He et al. 2016, section 4.2)")

    def __post_init__(self) -> None:
        super().__post_init__()
        below("optimizer.momentum", self.momentum, 0, 1)
        if self.nesterov:
            above("optimizer.momentum", self.momentum, 0, "or set optimizer.nesterov=false")


@dataclass(kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1)."""

    name: str = "adam"
    lr: float = setting(1e-3, "peak learning rate (Kingma & Ba 2015, algorithm 1)")
    beta1: float = setting(0.9, "decay of the gradient's mean")
    beta2: float = setting(0.999, "decay of the gradient's square")
    eps: float = setting(1e-8, "keeps the division finite")

    def __post_init__(self) -> None:
        super().__post_init__()
        below("optimizer.beta1", self.beta1, 0, 1)
        below("optimizer.beta2", self.beta2, 0, 1)
        above("optimizer.eps", self.eps, 0)


@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: str = "adamw"
    weight_decay: float = setting(1e-2, "decoupled weight decay; 0.01 is PyTorch's default")


@dataclass(kw_only=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011)."""

    name: str = "adagrad"
    lr: float = setting(0.01, "peak learning rate; PyTorch's default")
    eps: float = setting(1e-10, "keeps the division finite; PyTorch's default")

    def __post_init__(self) -> None:
        super().__post_init__()
        above("optimizer.eps", self.eps, 0)


@dataclass(kw_only=True)
class RmsProp(Optimizer):
    """RMSprop (Hinton 2012, Coursera lecture 6e, which names no rate)."""

    name: str = "rmsprop"
    lr: float = setting(1e-3, "peak learning rate; Keras' default (PyTorch's is 0.01)")
    alpha: float = setting(0.9, "decay of the gradient's square (Hinton 2012, lecture 6e)")
    momentum: float = setting(0.0, "weight of the past updates")
    eps: float = setting(1e-8, "keeps the division finite; PyTorch's default")

    def __post_init__(self) -> None:
        super().__post_init__()
        below("optimizer.alpha", self.alpha, 0, 1)
        below("optimizer.momentum", self.momentum, 0, 1)
        above("optimizer.eps", self.eps, 0)


@dataclass(kw_only=True)
class Orthogonalised(Optimizer):
    """What the choices with Muon's rule share."""

    momentum: float = setting(0.95, "weight of the past gradients, Nesterov (Jordan et al. 2024)")
    ns_steps: int = setting(5, "Newton-Schulz iterations (Jordan et al. 2024)")

    def __post_init__(self) -> None:
        super().__post_init__()
        below("optimizer.momentum", self.momentum, 0, 1)
        at_least("optimizer.ns_steps", self.ns_steps, 1)


@dataclass(kw_only=True)
class Muon(Orthogonalised):
    """Muon (Jordan et al. 2024) for hidden matrices and filters; AdamW for biases, norms and the last layer."""

    name: str = "muon"
    lr: float = setting(0.02, "peak learning rate of the orthogonalised updates (Jordan et al. 2024)")
    constant_norm: bool = setting(
        False, "hold each hidden weight's Frobenius norm at rows^0.5: lr alone says how far a step turns it; no decay"
    )
    adamw_lr: float = setting(3e-4, "peak learning rate of the parameters that AdamW updates (Jordan et al. 2024)")
    adamw_beta1: float = setting(0.9, "AdamW's decay of the gradient's mean (Jordan et al. 2024)")
    adamw_beta2: float = setting(0.95, "AdamW's decay of the gradient's square (Jordan et al. 2024)")
    adamw_eps: float = setting(1e-10, "keeps AdamW's division finite (Jordan et al. 2024)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constant_norm and self.weight_decay:
            raise UsageError(
                f"optimizer.weight_decay must be 0 with optimizer.constant_norm=true, which undoes it,"
                f" got {self.weight_decay}; drop one of the two"
            )
        above("optimizer.adamw_lr", self.adamw_lr, 0)
        below("optimizer.adamw_beta1", self.adamw_beta1, 0, 1)
        below("optimizer.adamw_beta2", self.adamw_beta2, 0, 1)
        above("optimizer.adamw_eps", self.adamw_eps, 0)


@dataclass(kw_only=True)
class MuonSgd(Orthogonalised):
    """Muon on hidden weights of constant norm; SGD with Nesterov momentum for the rest (airbench94_muon, Jordan 2024).

    The defaults are for batches of 2000 images. SGD's rates are those of a mean loss, and follow the batch.
    """

    name: str = "muon_sgd"
    lr: float = setting(0.24, "peak learning rate of the orthogonalised updates, of weights of norm rows^0.5")
    momentum: float = setting(0.6, "weight of the past gradients, Nesterov, for the orthogonalised updates")
    ns_steps: int = setting(3, "Newton-Schulz iterations")
    bias_lr: float = setting(106.0, "peak rate of biases and normalisation layers; 0.053 an image of the batch")
    head_lr: float = setting(1340.0, "peak rate of the last layer; 0.67 an image of the batch")
    sgd_momentum: float = setting(0.85, "weight of the past gradients, Nesterov, for what SGD updates")
    weight_decay: float = setting(
        4e-3,
        "share of what SGD updates that a step at the peak rate takes away before momentum, which makes it"
        " 1 / (1 - sgd_momentum) as much",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        above("optimizer.bias_lr", self.bias_lr, 0)
        above("optimizer.head_lr", self.head_lr, 0)
        below("optimizer.sgd_momentum", self.sgd_momentum, 0, 1)
        above("optimizer.sgd_momentum", self.sgd_momentum, 0, "SGD looks ahead along it")
