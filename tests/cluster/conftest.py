"""Fixtures of sweeps on a cluster: SLURM on this machine alone, and runs that are slow or fail on purpose."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_TRIAL = Path(__file__).parents[2] / "experiments/cluster/slurm.py"
# for the processes that carry out runs: each step takes a time, and the run of a seed fails if a file says so
_SITE = """
import importlib.abc, importlib.machinery, os, sys, time


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), PATCHES[name](module))
        return spec


def slow_down(module):
    training_step = module.Classifier.training_step

    def slow(self, batch, batch_idx):
        time.sleep(float(os.environ["IMGREC_TEST_STEP_SECONDS"]))
        return training_step(self, batch, batch_idx)

    module.Classifier.training_step = slow


def let_fail(module):
    fit_and_read = module.fit_and_read

    def fails(record, job, *rest):
        if os.path.exists(f"fails-{job.config.seed}"):
            raise RuntimeError("boom")
        fit_and_read(record, job, *rest)

    module.fit_and_read = fails


PATCHES = {"imgrec.classifier": slow_down, "imgrec.training.run": let_fail}
if os.environ.get("IMGREC_TEST_STEP_SECONDS"):
    sys.meta_path.insert(0, Finder())
"""


def _load_trial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trial_slurm", _TRIAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SLURM with two nodes of two CPUs, all of them this machine. Returns its configuration."""
    trial = _load_trial()
    if lacking := trial.missing():
        pytest.skip(f"SLURM is not installed: no {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        yield trial.start(folder)
    finally:
        trial.stop(folder)


@pytest.fixture
def steps_that_take(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let each training step of processes that start from now on take so many seconds more; 0: as without this."""
    (workplace / "site").mkdir()
    (workplace / "site" / "sitecustomize.py").write_text(_SITE)
    monkeypatch.setenv("PYTHONPATH", str(workplace / "site"))

    def arrange(seconds: float) -> None:
        monkeypatch.setenv("IMGREC_TEST_STEP_SECONDS", str(seconds) if seconds else "")

    return arrange


@pytest.fixture
def slurm(cluster: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Let imgrec find the cluster. `slurm(COMMAND, WORDS...)` calls a command of SLURM, without waiting for its end."""
    monkeypatch.setenv("SLURM_CONF", str(cluster))
    called: list[subprocess.Popen[bytes]] = []
    yield lambda *command: called.append(subprocess.Popen(command))
    for process in called:
        process.wait()
    subprocess.run(["scancel", "--me"], check=True, env={**os.environ, "SLURM_CONF": str(cluster)})


class FakeSlurm:
    """SLURM's commands as `fake_slurm.py` has them."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def jobs(self) -> dict[str, dict[str, Any]]:
        path = self.home / "jobs.json"
        rows = json.loads(path.read_text()) if path.exists() else []
        return {f"{row['array']}_{row['index']}": row for row in rows}

    def edit(self, **states: str) -> None:
        """Set the states of jobs, such as j1_0="TIMEOUT"; "forgotten" removes one."""
        rows = [
            {**row, "state": states.get(f"j{name}", row["state"]), "node": "n1"} for name, row in self.jobs().items()
        ]
        new = self.home / "edited"
        new.write_text(json.dumps([row for row in rows if row["state"] != "forgotten"]))
        new.replace(self.home / "jobs.json")

    def waits_for(self, reason: str) -> None:
        """Let squeue give this reason for all jobs that wait."""
        new = self.home / "edited"
        new.write_text(json.dumps([{**row, "reason": reason} for row in self.jobs().values()]))
        new.replace(self.home / "jobs.json")

    def says(self, command: str, text: str) -> None:
        """Let a command fail with this text, or not with an empty one; "done: ..." after it has done its work."""
        (self.home / f"{command}.says").write_text(text)

    def hold(self) -> None:
        """Let no job begin."""
        (self.home / "hold").touch()


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Put a stand-in for SLURM on the PATH, whose jobs are processes of this machine."""
    home = tmp_path / "fake_slurm"
    home.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
        (home / name).symlink_to(Path(__file__).with_name("fake_slurm.py"))
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    monkeypatch.setattr("imgrec.sweeps.slurm.launcher._ASKED", 0.1)
    monkeypatch.setattr("imgrec.sweeps.slurm.launcher._LOOK", 0.05)
    monkeypatch.setattr("imgrec.sweeps.slurm.followed.FORGET", 1.0)
    monkeypatch.setattr("imgrec.runfolder.SHOWN_AFTER", 1.0)
    return FakeSlurm(home)
