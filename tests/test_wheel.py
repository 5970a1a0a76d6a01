"""Test the wheel, installed in another place: code and conf/ come from the wheel, not from the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from imgrec import records
from imgrec.config import schemas

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]


def _call(command: list[str], *, cwd: Path) -> str:
    """The command's stdout, run without this environment's PYTHON... and IMGREC_... variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "IMGREC_"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip wheel .` builds it; pip fetches the build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _call([*pip, "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(REPOSITORY)], cwd=folder)
    (built,) = folder.glob("imgrec-*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ of a new venv that holds the wheel alone; the dependencies are this environment's, by a path file.

    A path file inside a path that a path file names is not read, so this environment's editable imgrec stays unseen.
    """
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    _call([sys.executable, "-m", "venv", "--without-pip", str(venv)], cwd=venv.parent)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    _call([*pip, "install", "--no-deps", "--no-index", "--quiet", str(wheel)], cwd=venv.parent)
    packages = Path(_call([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=venv).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


def test_the_wheel_holds_every_choice_of_conf(wheel: Path) -> None:
    expected = {f"imgrec/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert expected
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def test_code_and_conf_come_from_the_wheel(scripts: Path, tmp_path: Path) -> None:
    code = (
        "import json, imgrec; from imgrec.config import folders;"
        " print(json.dumps([imgrec.__file__, str(folders.conf_dir())]))"
    )
    places = json.loads(_call([str(scripts / "python"), "-c", code], cwd=tmp_path))
    for place in places:
        assert Path(place).resolve().is_relative_to(scripts.parent.resolve())


def test_help_lists_the_recipes(scripts: Path, tmp_path: Path) -> None:
    shown = _call([str(scripts / "imgrec"), "train", "--help"], cwd=tmp_path)
    for recipe in schemas.choices("experiment"):
        assert recipe in shown


def test_a_study_runs_in_an_empty_folder(scripts: Path, tmp_path: Path) -> None:
    shown = _call([str(scripts / "imgrec"), "train", "study=tiny", "optimizer=adam"], cwd=tmp_path)
    assert shown.startswith("2 runs in ")
    assert len(list(tmp_path.glob("outputs/tiny/*/record.json"))) == 2


def test_the_demo_runs_in_an_empty_folder(scripts: Path, tmp_path: Path) -> None:
    shown = _call([str(scripts / "imgrec"), "train", "experiment=demo", "trainer.max_epochs=1"], cwd=tmp_path)
    (path,) = tmp_path.glob("outputs/demo/*/record.json")
    record = records.read(path)
    assert record.status == "finished"
    assert record.experiment == "demo"
    assert record.score("top1", split="test", at="last") is not None
    assert record.environment["commit"] is None  # a wheel is no checkout
    assert "imgrec.losses" in record.code
    assert {module.partition(".")[0] for module in record.code} == {"imgrec"}
    assert str(path.parent.relative_to(tmp_path)) in shown
    assert {entry.name for entry in tmp_path.iterdir()} == {"outputs"}
