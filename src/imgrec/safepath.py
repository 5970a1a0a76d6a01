"""The search path of Python: no file of the working folder is run because it is named as a module is."""

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "PYTHONSAFEPATH"  # docs.python.org/3/using/cmdline.html; since Python 3.11


@contextlib.contextmanager
def for_processes() -> Iterator[None]:
    """Python processes that are started while the block runs search for modules in no working folder.

    `python -c` and `python -m` do so otherwise, before any code of the process can prevent it.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
