"""Make texts by others safe to show: a record's versions, a folder's name, a citation."""

import logging
import re

# Characters that move a terminal's cursor, change its colours, end a line or change the direction of the text; and
# half surrogate pairs, with which Python represents bytes that are not UTF-8.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")  # the beginnings of a formula in spreadsheets, also in full width


def visible(text: str) -> str:
    r"""Return the text for a terminal: control characters as escapes (`\x1b`); tabs and line feeds stay."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def folded(text: str) -> str:
    """Return the text on one line: white space as single blanks, control characters as escapes."""
    return visible(" ".join(text.split()))


def for_spreadsheet(text: str) -> str:
    """Return the text as a cell that is no formula: with an apostrophe before it if needed, unless it is a number."""
    line = folded(text)
    if not _FORMULA.match(line):
        return line
    try:
        float(line)
    except ValueError:
        return f"'{line}"
    return line


class Formatter(logging.Formatter):
    """Format each log message of a run as one line on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return folded(super().format(record))
