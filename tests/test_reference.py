"""`imgrec train --help` shows every choice and key, each with its own default."""

import dataclasses
import re

import pytest
import yaml

from imgrec.config.fields import default_of, help_of
from imgrec.config.root import GROUPS
from imgrec.config.schemas import SCHEMAS, choices, conf_dir, known_keys
from imgrec.reference import reference

PAGE = reference()
ONE_LINE = re.sub(r"\n {3,}", " ", PAGE)  # wrapped lines joined again


@pytest.mark.parametrize("axis", ["experiment", "study", *GROUPS])
def test_every_choice_is_listed_with_the_first_line_of_its_file(axis: str) -> None:
    rows = dict(re.findall(rf"^  {axis}=(\w+) +(.*)$", ONE_LINE, re.MULTILINE))
    assert list(rows) == choices(axis)
    for name, text in rows.items():
        first, second, *_ = (conf_dir() / axis / f"{name}.yaml").read_text().splitlines()
        assert f"# {text}" == (second if "@package" in first else first)
        assert text.endswith((".", "?", ")")), "a sentence of its own"


def test_every_key_has_a_row() -> None:
    rows = re.findall(r"^  ([a-z0-9_.]+) {2,}\S", PAGE, re.MULTILINE)
    assert set(known_keys()) <= set(rows)
    assert {row for row in rows if "." in row or row == "seed"} <= set(known_keys())


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis in GROUPS for name in SCHEMAS[axis]])
def test_a_key_is_shown_with_the_help_and_the_default_of_each_choice_that_has_it(axis: str, name: str) -> None:
    """optimizer.lr is 0.1 in momentum and 0.001 in adam: one row for both would lie about one of them."""
    for field in dataclasses.fields(SCHEMAS[axis][name]):
        if field.name == "name":
            continue
        rows = re.findall(rf"^  {axis}\.{field.name} +(.*) \((.*)\)$", ONE_LINE, re.MULTILINE)
        own = []
        for text, shown in rows:
            owners = re.search(r" \[([a-z0-9_, ]+)\]$", text)
            if owners is None or name in owners[1].split(", "):
                own.append((text.removesuffix(owners[0]) if owners else text, shown))
        assert len(own) == 1
        text, shown = own[0]
        assert text == help_of(field)
        default = default_of(field)
        assert shown == "required" if default == "???" else yaml.safe_load(shown) == pytest.approx(default)


def test_no_line_is_too_long_for_a_terminal_and_the_page_opens_with_the_usage() -> None:
    assert max(len(line) for line in PAGE.splitlines()) <= 120
    assert PAGE.startswith("Usage: imgrec train [-m] [key=value ...]\n")
