"""`python -m imgrec` is the `imgrec` command."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder: a file there must not be run because it is named as a module is

    from imgrec.cli import main

    main()
