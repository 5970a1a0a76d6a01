"""The table of what becomes of each key that a resumed run changes."""

from pathlib import Path

import pytest

from imgrec.config.changes import CHANGES, VERDICTS, changeable_keys, markdown

DOCS = Path(__file__).parents[2] / "docs/resuming.md"


def test_every_key_has_one_verdict() -> None:
    keys = list(changeable_keys())
    assert len(keys) == len(set(keys))
    assert set(CHANGES) == set(keys), "a new key needs a line in config/changes.py, and a removed one leaves it"
    assert {change.verdict for change in CHANGES.values()} == set(VERDICTS)
    assert all(change.says for change in CHANGES.values())


def test_the_documentation_has_this_table() -> None:
    assert DOCS.read_text().endswith(markdown()), (
        "print it with `.venv/bin/python -m imgrec.config.changes`, and put it at the end of docs/resuming.md"
    )


@pytest.mark.parametrize("key", ["model.freeze_backbone", "data.test_size", "optimizer.name"])
def test_a_refused_key_cannot_be_named(key: str) -> None:
    row = next(line for line in markdown().splitlines() if line.startswith(f"| `{key}` |"))
    assert row.startswith(f"| `{key}` | - | refused | ")
