"""Test the safe display of texts by others."""

import logging

import pytest

from imgrec.untrusted_text import Formatter, folded, for_spreadsheet, visible

ODD = "a\x1b[31m\tb\r\nc\u2028d\u202ee\x85f\udce9g\x00h"


def test_a_text_is_one_line_and_moves_no_cursor() -> None:
    assert folded(ODD) == r"a\x1b[31m b c d\u202ee f\udce9g\x00h"
    assert folded("größe 画像 \U0001f469\u200d\U0001f52c") == "größe 画像 \U0001f469\u200d\U0001f52c"
    folded("".join(map(chr, range(0x11000)))).encode()


def test_a_table_for_a_terminal_keeps_its_lines() -> None:
    assert visible("a\tb\n\x1b]0;title\x07c\n") == "a\tb\n\\x1b]0;title\\x07c\n"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1+1", "-nan(x)"])
def test_no_cell_begins_a_formula(text: str) -> None:
    assert for_spreadsheet(text) == f"'{folded(text)}"


@pytest.mark.parametrize("text", ["", "sgd", "-1", "+0.5", "-1e-3", "1=1", "[-1]", "–"])
def test_numbers_and_names_stay_as_they_are(text: str) -> None:
    assert for_spreadsheet(text) == text


def test_a_message_on_the_terminal_is_one_line() -> None:
    record = logging.LogRecord("imgrec", logging.ERROR, "", 0, "%s is damaged", ("a\nb\x1b[2J",), None)
    assert Formatter("%(message)s").format(record) == r"a b\x1b[2J is damaged"
