"""Texts that others wrote (a record's versions, a folder's name, a citation), as they may be shown."""

import logging
import re

# What moves a terminal's cursor or colours, ends a line, turns the direction of what follows, or is no character at all
# (half of a surrogate pair: Python's stand-in for a byte of a name that is not UTF-8).
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")  # how spreadsheets begin a formula, in full width too


def visible(text: str) -> str:
    r"""The text for a terminal: control characters as escapes (`\x1b`); tabs and line feeds stay."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def folded(text: str) -> str:
    """The text on one line: white space as single blanks, control characters as escapes."""
    return visible(" ".join(text.split()))


def for_spreadsheet(text: str) -> str:
    """A cell of text that no spreadsheet takes for a formula: after an apostrophe, unless it is a number."""
    line = folded(text)
    if not _FORMULA.match(line):
        return line
    try:
        float(line)
    except ValueError:
        return f"'{line}"
    return line


class Formatter(logging.Formatter):
    """What a run says on the terminal: a line each."""

    def format(self, record: logging.LogRecord) -> str:
        return folded(super().format(record))
