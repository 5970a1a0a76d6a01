"""Build timm's optimizers. timm is an optional package."""

from typing import Any, cast

from torch.optim import Optimizer

from imgrec.errors import RunError


def timm_optimizer(name: str, groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
    """Return an optimizer of `timm.optim`.

    Args:
        name: The class.
        groups: The parameter groups.
        settings: The settings of the class.

    Raises:
        RunError: timm is not installed.
    """
    try:
        import timm.optim
    except ImportError as error:
        raise RunError(
            f"optimizer={name.lower()} needs the package timm, which is not installed; in the clone,"
            " pip install -e '.[timm]', or choose optimizer=adamw"
        ) from error
    return cast(Optimizer, getattr(timm.optim, name)(groups, **settings))
