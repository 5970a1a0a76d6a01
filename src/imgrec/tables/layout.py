"""How a table is set: what of it is shown, and what LaTeX wraps around it. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgrec.config.fields import nearest
from imgrec.errors import UsageError
from imgrec.untrusted_text import folded

HIDEABLE = ("n", "std", "interval", "new_images", "difference", "p", "published", "parameters", "flops", "seconds")
"""The columns that a table may go without; std stands beside the mean. How many runs failed always stays."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """hide: of HIDEABLE. caption, label: of LaTeX; without a caption, the verdict. siunitx: numbers aligned by it."""

    hide: frozenset[str] = frozenset()
    caption: str | None = None
    label: str | None = None
    siunitx: bool = False


def layout(*, hide: Sequence[str], caption: str | None, label: str | None, siunitx: bool, form: str) -> Layout:
    """What the words of a command ask for. Raises UsageError for what the format has no place for."""
    for name in hide:
        if name not in HIDEABLE:
            guess = nearest(name, HIDEABLE)
            hint = f"; did you mean {guess}?" if guess else ""
            raise UsageError(f"--hide must be of {', '.join(HIDEABLE)}, got {name!r}{hint}")
    if hide and form == "csv":
        raise UsageError("--hide is for tables that people read, and csv has every number; choose columns in a program")
    given = {"--caption": caption is not None, "--label": label is not None, "--siunitx": siunitx}
    for option, is_given in given.items():
        if is_given and form != "latex":
            raise UsageError(f"{option} is of --format latex, and this is {form}; leave it out, or give -o table.tex")
    if caption is not None and not caption.strip():
        raise UsageError(f"--caption must have words, got {caption!r}; leave it out for the verdict")
    if label is not None and not (label and all(mark.isalnum() or mark in "-_:./" for mark in label)):
        raise UsageError(f"--label must be of letters, digits and -_:./, got {label!r}; such as tab:optimizers")
    # a line: an empty one inside \caption would be a new paragraph, which LaTeX refuses there
    line = folded(caption) if caption is not None else None
    return Layout(hide=frozenset(hide), caption=line, label=label, siunitx=siunitx)
