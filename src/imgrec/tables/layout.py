"""Define a table's layout: which columns are shown, and the caption and label in LaTeX. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgrec.config.fields import nearest
from imgrec.errors import UsageError
from imgrec.untrusted_text import folded

HIDEABLE = ("n", "std", "interval", "new_images", "difference", "p", "published", "parameters", "flops", "seconds")
"""The columns that can be hidden; std is shown beside the mean. The number of failed runs is always shown."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of a table.

    Attributes:
        hide: The columns to hide, of HIDEABLE.
        caption: LaTeX's caption; None for the verdict.
        label: LaTeX's label.
        siunitx: True if siunitx aligns the numbers.
    """

    hide: frozenset[str] = frozenset()
    caption: str | None = None
    label: str | None = None
    siunitx: bool = False


def layout(*, hide: Sequence[str], caption: str | None, label: str | None, siunitx: bool, form: str) -> Layout:
    """Return the layout that a command's words describe.

    Raises:
        UsageError: The format cannot show it.
    """
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
    # folded to one line: an empty line inside \caption would start a paragraph, which LaTeX refuses there
    line = folded(caption) if caption is not None else None
    return Layout(hide=frozenset(hide), caption=line, label=label, siunitx=siunitx)
