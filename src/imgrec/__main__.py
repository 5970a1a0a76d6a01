"""`python -m imgrec` is the `imgrec` command."""

from imgrec.cli import main

if __name__ == "__main__":
    main()
