"""Test that every notebook runs from top to bottom, and that its stored outputs have the form of new ones."""

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
EPOCHS = "trainer.max_epochs=6"
SHORT = 'trainer.max_epochs=1", "model.widths=[8]", "model.hidden=16'  # in the place of EPOCHS, inside its quotes


def code_of(path: Path) -> list[Any]:
    """The code cells as they are stored."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def pictures(cell: Any) -> list[str]:
    """The cell's PNGs, in base64."""
    return [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]


def said(cell: Any, stream: str) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == stream)


def form(text: str) -> list[list[str]]:
    """The lines' words, with each number as a 0."""
    return [re.sub(r"\d+(?:\.\d+)?", "0", line).split() for line in text.splitlines()]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran_small_and_without_traces_of_a_machine(path: Path) -> None:
    cells = code_of(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    texts = "".join(said(cell, stream) for cell in cells for stream in ("stdout", "stderr"))
    assert texts
    assert not re.search(r"warning|traceback|(?<![\w.])/\w", texts, re.IGNORECASE)
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    drawn = [base64.b64decode(picture) for cell in cells for picture in pictures(cell)]
    assert drawn, "it should show figures"
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert sum(map(len, drawn)) < 150_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.long
def test_a_notebook_runs_and_its_stored_outputs_have_the_form_of_fresh_ones(path: Path, tmp_path: Path) -> None:
    """It runs one epoch of a small network, so that numbers differ, but words, lines and figures do not."""
    notebook = nbformat.read(path, as_version=4)
    trains = [cell for cell in notebook.cells if cell.cell_type == "code" and EPOCHS in cell.source]
    assert trains, f"{EPOCHS} is what is shortened"
    for cell in trains:
        cell.source = cell.source.replace(EPOCHS, SHORT)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    fresh = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for stored, new in zip(code_of(path), fresh, strict=True):
        assert form(said(stored, "stdout")) == form(said(new, "stdout")), stored.source
        assert form(said(stored, "stderr")) == form(said(new, "stderr")), stored.source
        assert len(pictures(stored)) == len(pictures(new)), stored.source
