"""Check what a protocol gives: logits by the names of rows, for each batch.

N images, K classes.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from imgrec.config.protocol import Protocol
from imgrec.errors import RunError

_ROW = re.compile(r"[A-Za-z0-9_.+-]{0,64}")  # the name of a protocol's row


def rows(protocol: Protocol, found: object) -> Mapping[str, Tensor]:
    """Return what a protocol gave for a batch.

    Raises:
        RunError: It is no mapping from names to logits.
    """
    if not isinstance(found, Mapping) or not all(isinstance(row, str) for row in found):
        raise RunError(
            f"protocol={protocol.name} must give logits by the names of rows, such as {{'': logits}}, got"
            f" {type(found).__name__}; mend its build()"
        )
    return found


def label(protocol: Protocol, row: str, logits_nk: Tensor, shape: tuple[int, int]) -> str:
    """Return the name under which scores of this row are recorded.

    Raises:
        RunError: The row cannot be scored.
    """
    if _ROW.fullmatch(row) is None:
        raise RunError(
            f"protocol={protocol.name} must name its rows by at most 64 letters, digits and _ . + -, got {row[:80]!r};"
            " rename it"
        )
    count, classes = shape
    if (
        not isinstance(logits_nk, Tensor)
        or not logits_nk.is_floating_point()
        or logits_nk.ndim != 2
        or tuple(logits_nk.shape) != (count, classes or logits_nk.shape[1])
    ):
        got = (
            f"{tuple(logits_nk.shape)}, {logits_nk.dtype}"
            if isinstance(logits_nk, Tensor)
            else type(logits_nk).__name__
        )
        raise RunError(
            f"protocol={protocol.name} must give logits ({count}, {classes or 'K'}) of floating point, one a class, for"
            f" {count} images, got {got}; mend its build()"
        )
    return f"{protocol.name}:{row}" if row else protocol.name


def check(protocol: Protocol, logits: Mapping[str, Sequence[Tensor]], *, batches: int) -> None:
    """Check that each row has logits of each batch, and that no two values of a setting share a row.

    Raises:
        RunError: It does not hold.
    """
    if not logits:
        raise RunError(f"protocol={protocol.name} must give one row at least, and gives none; mend its settings")
    if short := [label for label, found in logits.items() if len(found) < batches]:
        raise RunError(
            f"protocol={protocol.name} must give the same rows for each batch, and {', '.join(short)} is not in all of"
            " them; mend its build()"
        )
    values = getattr(protocol, protocol.rows_from) if protocol.rows_from else None
    if isinstance(values, list) and len(values) != len(logits):
        raise RunError(
            f"protocol={protocol.name} must give a row for each value of {protocol.rows_from}, which are"
            f" {', '.join(map(str, values))}, got {', '.join(logits)}; name the rows so that they differ"
        )
