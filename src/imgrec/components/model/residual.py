"""Define the base class of the networks whose residual branches may be left out in training."""

from dataclasses import dataclass

from imgrec.config.fields import setting
from imgrec.config.model import Model
from imgrec.errors import UsageError


@dataclass(kw_only=True)
class Residual(Model):
    """A network of residual blocks, with stochastic depth (Huang et al. 2016)."""

    drop_path: float = setting(
        0.0,
        "stochastic depth: probability of leaving out the last block in training, falling linearly to the first",
        at_least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drop_path and self.freeze == "backbone" and self.stays_frozen:
            raise UsageError(
                f"model.drop_path={self.drop_path:g} leaves out blocks that train, and model.freeze=backbone trains"
                " none; leave one of the two out"
            )
