"""The processes of one distributed run: the first one starts the others, its companions, which train along.

Lightning tells a companion its rank by LOCAL_RANK. Other programs set that variable too, so a companion also carries
the number of the process that started it. Imports no torch.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from hydra.core.hydra_config import HydraConfig

from imgrec.errors import UsageError

_STARTED_BY = "IMGREC_STARTED_BY"
# how other programs tell a process that it is one of several; Lightning would believe them
_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK")


def rank() -> int:
    """This process' number among those of its run; 0 for the first one, and for a run of one process."""
    if os.environ.get(_STARTED_BY) != str(os.getppid()):
        return 0
    return int(os.environ.get("LOCAL_RANK", "0"))


def refuse_foreign_rank() -> None:
    """Refuse to be one of several processes that another program has started (torchrun, mpirun).

    Each of them would carry out the whole run.
    """
    if rank() > 0:
        return
    for name in _RANKS:
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            raise UsageError(
                f"{name} must not be set, as imgrec starts the processes of a run itself, got {name}={value}; unset it,"
                " and give trainer=ddp trainer.devices=N for several processes"
            )


def forget_foreign_rank() -> None:
    """Take what other programs say of ranks out of the environment: Lightning would wait for processes of theirs."""
    if rank() == 0:
        for name in _RANKS:
            os.environ.pop(name, None)


@contextlib.contextmanager
def started_as(words: Sequence[str]) -> Iterator[None]:
    """Let Lightning start the other processes of a run as `imgrec WORDS...` while the block runs."""
    main, hydra = sys.modules["__main__"], HydraConfig.instance()
    argv, spec, starter, composed = sys.argv, main.__spec__, os.environ.get(_STARTED_BY), hydra.cfg
    sys.argv, main.__spec__ = ["imgrec", *words], find_spec("imgrec.__main__")
    hydra.cfg = None  # Lightning would add words of the sweep, or of the program, that Hydra has composed last
    if rank() == 0:
        os.environ[_STARTED_BY] = str(os.getpid())
    try:
        yield
    finally:
        sys.argv, main.__spec__, hydra.cfg = argv, spec, composed
        if starter is None:
            os.environ.pop(_STARTED_BY, None)
        else:
            os.environ[_STARTED_BY] = starter
