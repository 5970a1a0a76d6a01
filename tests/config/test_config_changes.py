"""Test the table of what happens to each key that a resumed run changes."""

from pathlib import Path

import pytest

from imgrec.config.changes import CHANGES, OF_AXES, VERDICTS, change_of, changeable_keys, markdown

DOCS = Path(__file__).parents[2] / "docs/resuming.md"


def test_every_key_has_one_verdict() -> None:
    keys = list(changeable_keys())
    assert len(keys) == len(set(keys))
    assert set(CHANGES) <= set(keys), "a removed key leaves config/changes.py"
    assert {change_of(key).verdict for key in keys} == set(VERDICTS)
    assert all(change_of(key).says for key in keys)
    assert all(CHANGES[key] != OF_AXES.get(key.partition(".")[0]) for key in CHANGES)


def test_the_documentation_has_this_table() -> None:
    assert DOCS.read_text().endswith(markdown()), (
        "print it with `.venv/bin/python -m imgrec.config.changes`, and put it at the end of docs/resuming.md"
    )


@pytest.mark.parametrize("key", ["model.freeze_backbone", "data.test_size", "optimizer.name"])
def test_a_refused_key_cannot_be_named(key: str) -> None:
    row = next(line for line in markdown().splitlines() if line.startswith(f"| `{key}` |"))
    assert row.startswith(f"| `{key}` | - | refused | ")
