"""Test which modules the code of a run contains, and which changes make it other code."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgrec import codebase

ROOM = {
    "__init__": '"""A package."""\n__version__ = "1"\n',
    "run": "import json\nfrom room import loss\nfrom room.deep.part import piece\ndef go():\n    from . import late\n",
    "loss": '"""Losses."""\nimport math\n\n\ndef mse(x):\n    """Squared."""\n    return x**2  # as it is\n',
    "late": "try:\n    import room.odd\nexcept ImportError:\n    pass\n",
    "odd": "x = f'{1:>{2}}{3=}'\n",
    "table": "from room import loss\n",
    "hints": "",
    "deep/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room import hints\n",
    "deep/part": "from ..loss import mse\npiece = mse(2)\n",
}
RUN = ["room", "room.deep", "room.deep.part", "room.late", "room.loss", "room.odd", "room.run"]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with a package `room`, of which `run` is what is carried out."""
    for name, text in ROOM.items():
        path = tmp_path / "room" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def importable(top: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(top))
    yield top
    for name in [name for name in sys.modules if name.partition(".")[0] in ("room", "library")]:
        del sys.modules[name]


def change(top: Path, name: str, before: str, after: str) -> None:
    path = top / "room" / f"{name}.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def code(top: Path) -> codebase.Code:
    return codebase.of_run("room.run", top=top)


def test_a_run_is_what_its_module_imports_in_functions_too(top: Path) -> None:
    assert list(code(top)) == RUN


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("loss", "x**2", "x**3"),
        ("loss", "x**2", "abs(x)"),
        ("loss", "import math", "import cmath"),
        ("__init__", '"1"', '"2"'),
        ("odd", "{3=}", "{3}"),
        ("odd", "{2}", "{4}"),
        ("late", "pass", "raise"),
        ("run", "from . import late", "from . import late as last"),
        ("loss", "return x**2", "return x**2 +"),
    ],
    ids=lambda text: text,
)
def test_another_formula_is_other_code(top: Path, name: str, before: str, after: str) -> None:
    recorded = code(top)
    change(top, name, before, after)
    module = "room" if name == "__init__" else f"room.{name}"
    assert codebase.changed(recorded, top=top) == [module]
    if not after.endswith("+"):  # that one is no Python, so it is no code of another run
        assert codebase.differing(recorded, code(top)) == [module]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("loss", "  # as it is", ""),
        ("loss", "    return", "    # because\n\n    return"),
        ("loss", '    """Squared."""\n', ""),
        ("loss", "Losses.", "Losses of (N, C) outputs,\n\nwith sources."),
        ("loss", "x**2", "(\n        x ** 2\n    )"),
        ("odd", "f'{1:>{2}}{3=}'", 'f"{1:>{2}}" f"{3=}"'),
        ("table", "loss", "late"),
        ("hints", "", "raise SystemExit"),
    ],
    ids=lambda text: text,
)
def test_comments_docstrings_line_breaks_and_other_modules_are_not(
    top: Path, name: str, before: str, after: str
) -> None:
    recorded = code(top)
    change(top, name, before, after)
    assert codebase.changed(recorded, top=top) == []
    assert codebase.differing(recorded, code(top)) == []


def test_modules_that_come_and_go_are_told_of(top: Path) -> None:
    recorded = code(top)
    (top / "room/odd.py").unlink()
    assert codebase.changed(recorded, top=top) == ["room.odd"]
    assert codebase.differing(recorded, code(top)) == ["room.odd"]
    assert codebase.changed({"room.odd": ""}, top=top) == []
    change(top, "late", "room.odd", "room.table")
    assert codebase.changed(recorded, top=top) == ["room.late", "room.odd"]
    assert codebase.differing(recorded, code(top)) == ["room.late", "room.odd", "room.table"]


def test_a_process_runs_the_code_that_it_loaded(importable: Path) -> None:
    """The code counts as loaded until it is loaded again, as by IPython's autoreload after an edit."""
    module = importlib.import_module("room.loss")
    codebase.remember("room.run", top=importable)
    recorded = code(importable)
    change(importable, "loss", "x**2", "abs(x) + 3 * x")
    change(importable, "odd", "1", "5")
    assert codebase.changed(recorded, top=importable) == ["room.odd"], "loss has been loaded, odd not yet"
    assert module.mse(2) == 4
    assert importlib.reload(module).mse(2) == 8
    assert codebase.changed(recorded, top=importable) == ["room.loss", "room.odd"]


def test_packages_beside_it_are_no_code_of_a_run(importable: Path) -> None:
    """Other packages are installed beside it: libraries, of which one run imports thousands of modules."""
    change(importable, "run", "import json", "import library.deep, library_too")
    for name in ("library/__init__", "library/deep", "library_too"):
        path = importable / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("from room import table\n")
    assert list(code(importable)) == RUN
    read = set(codebase._loaded)
    importlib.import_module("library.deep")
    codebase.remember("room.run", top=importable)
    looked_at = {path.relative_to(importable).parts[0] for path in set(codebase._loaded) - read}
    assert looked_at == {"room"}


def test_files_that_stay_are_read_once(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand records are compared with the same files. An edited file is read again."""
    read: list[str] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.stem) or whole(path))  # type: ignore[func-returns-value]
    monkeypatch.setattr(codebase, "SETTLED", -1)  # as if the files were older
    recorded = code(top)
    read.clear()
    assert codebase.changed(recorded, top=top) == []
    assert codebase.changed(recorded, top=top) == []
    assert read == []
    change(top, "loss", "x**2", "x**3 + 1")
    assert codebase.changed(recorded, top=top) == ["room.loss"]
    assert read == ["loss"]


def test_a_file_written_this_moment_is_read_again(top: Path) -> None:
    """The clock of a file system is too coarse to distinguish two edits."""
    recorded = code(top)
    path = top / "room/loss.py"
    before = path.stat()
    path.write_text(path.read_text().replace("x**2", "x**3"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert codebase.changed(recorded, top=top) == ["room.loss"]


def test_without_source_nothing_is_known(tmp_path: Path) -> None:
    assert codebase.of_run("room.run", top=tmp_path) == {}


def test_the_code_of_a_run_is_what_computes_it() -> None:
    found = codebase.of_run()
    assert {"imgrec.losses", "imgrec.models.resnet", "imgrec.training.final", "imgrec.config.loss"} <= found.keys()
    ours = {"cli", "launch", "resuming", "remeasure", "verify", "drift", "reference", "summary", "statistics"}
    rooms = ("imgrec.tables", "imgrec.report", "imgrec.sweeps")
    assert not [name for name in found if name.startswith(rooms) or name.removeprefix("imgrec.") in ours]


def test_all_that_computes_a_runs_numbers_is_its_code() -> None:
    package = Path(codebase.__file__).parent
    rooms = [path for room in ("data", "models", "optim", "training") for path in (package / room).rglob("*.py")]
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts) for path in rooms}
    computing = {name.removesuffix(".__init__") for name in names} - codebase.COMPUTES_NOTHING.keys()
    singles = (
        "assembly",
        "checkpoint",
        "classifier",
        "cores",
        "datamodule",
        "cpu_features",
        "inference",
        "losses",
        "measurement",
    )
    settings = ("augment", "data", "loss", "model", "optimizer", "root", "schedule", "trainer")
    computing |= {f"imgrec.{name}" for name in (*singles, "scores", "records")}
    computing |= {f"imgrec.config.{name}" for name in settings}
    assert computing <= codebase.of_run().keys()


def test_modules_that_compute_nothing_are_no_code_of_a_run() -> None:
    """A changed error message must not prevent a run from continuing."""
    assert not codebase.of_run().keys() & codebase.COMPUTES_NOTHING.keys()
    top = Path(codebase.__file__).parents[1]
    assert all(codebase._file(name, top).is_file() for name in codebase.COMPUTES_NOTHING)
    other = dict.fromkeys(["imgrec.errors", "imgrec.losses"], "0" * 12 + " " + "1" * 12)
    assert codebase.changed(other) == ["imgrec.losses"]
    assert codebase.differing(other, {}) == ["imgrec.losses"]


@pytest.mark.parametrize(("count", "told"), [(1, "m0"), (4, "m0, m1, m2, m3"), (6, "m0, m1, m2, m3 and 2 more")])
def test_many_modules_are_counted(count: int, told: str) -> None:
    assert codebase.named([f"m{k}" for k in range(count)]) == told
