"""Keep the working folder out of Python's search path, so that no file in it is imported instead of a module."""

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "PYTHONSAFEPATH"  # docs.python.org/3/using/cmdline.html; since Python 3.11


@contextlib.contextmanager
def for_processes() -> Iterator[None]:
    """Keep the working folder out of the search path of Python processes that the block starts.

    Otherwise `python -c` and `python -m` add it before any code of the process can prevent this.
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
