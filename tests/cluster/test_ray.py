"""Test sweeps on a Ray cluster of two nodes, which are this machine."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import one_line
from waiting import wait_until

from imgrec import records
from imgrec.config.compose import compose
from imgrec.errors import UsageError

SWEEP = Path("outputs/default")
_RAY = (sys.executable, "-c", "from ray.scripts.scripts import main; main()")
ON_CPU = ("trainer=cpu", "trainer.threads=1")


class Nodes:
    """The two nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = "127.0.0.2:6399"
        self.second: int | None = None

    def start(self) -> None:
        common = ["--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats"]
        self._call("--head", "--node-ip-address=127.0.0.2", "--port=6399", "--include-dashboard=false", *common)
        before = self._raylets()
        self._call(f"--address={self.address}", "--node-ip-address=127.0.0.3", *common)
        (self.second,) = self._raylets() - before

    def kill_second(self) -> None:
        assert self.second is not None
        os.kill(self.second, signal.SIGKILL)

    def stop(self) -> None:
        """End the processes of this cluster alone, as others may run on the machine."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if any(mark in path.read_bytes() for mark in (os.fsencode(self.folder), self.address.encode())):
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def _call(self, *words: str) -> None:
        words = ("start", *words, f"--temp-dir={self.folder}") if "--head" in words else ("start", *words)
        subprocess.run([*_RAY, *words], check=True, capture_output=True, text=True)

    @staticmethod
    def _raylets() -> set[int]:
        found = set[int]()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().split(b"\0")[0].endswith(b"raylet/raylet"):
                    found.add(int(path.parent.name))
        return found


@pytest.fixture
def nodes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    folder = Path("/tmp") / f"imgrec-ray-{os.getpid()}"  # Ray's sockets need a short path
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = Nodes(folder)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def statuses() -> dict[int, str]:
    found = [records.read(path) for path in SWEEP.glob("*/record.json")]
    return {record.config["seed"]: record.status for record in found}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_loses_nothing_when_a_node_and_the_command_are_killed(
    nodes: Nodes,
    steps_that_take: Callable[[float], None],
    imgrec: Callable[..., Any],
    command: Callable[..., tuple[int, str, str]],
    tiny: list[str],
    workplace: Path,
) -> None:
    steps_that_take(0.3)
    Path("fails-2").touch()
    words = ["train", "-m", *tiny, *ON_CPU, "trainer.max_epochs=4", "seed=0,1,2,3,4,5"]
    on_ray = [*words, "launcher=ray", f"launcher.address={nodes.address}"]
    child = imgrec(*on_ray, group=True)
    code = child.signal_when(lambda: list(statuses().values()).count("running") >= 2, signal.SIGKILL, patience=300)
    assert code == -9

    child = imgrec(*on_ray, group=True)
    wait_until(lambda: child.log.read_text().count("] running ") >= 3 or child.ended(), log=child.log, patience=400)
    nodes.kill_second()
    wait_until(child.ended, log=child.log, patience=500, pause=0.5)
    said = child.log.read_text()
    assert child.wait() == 1, said
    assert "its worker on the Ray cluster was lost" in said, said
    assert "1 of 6 runs failed" in said, said
    assert statuses() == {seed: "failed" if seed == 2 else "finished" for seed in range(6)}

    steps_that_take(0)
    Path("fails-2").unlink()
    code, _, err = command(*words, "hydra.sweep.dir=local")
    assert code == 0, err
    for path in SWEEP.glob("*/record.json"):
        record = records.read(path)
        if record.status == "finished":
            other = records.read(Path("local") / path.parent.name / "record.json")
            assert (record.weights, record.scores) == (other.weights, other.scores)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_with_a_pruner_that_is_killed_ends_with_as_many_trials_as_asked_for(
    nodes: Nodes, steps_that_take: Callable[[float], None], imgrec: Callable[..., Any], tiny: list[str], workplace: Path
) -> None:
    steps_that_take(0.2)
    space = "optimizer.lr=tag(log,interval(1e-9,0.1))"
    search = ["sweep=optuna", "sweep.trials=6", "sweep.pruner=asha", "sweep.reduction_factor=2"]
    words = ["train", "-m", *tiny, *ON_CPU, "trainer.max_epochs=4", space, *search]
    words += ["launcher=ray", f"launcher.address={nodes.address}"]
    child = imgrec(*words, group=True)
    assert child.signal_when(lambda: "pruned" in child.log.read_text(), signal.SIGKILL, patience=300) == -9
    child = imgrec(*words, group=True)
    assert child.wait() == 0, child.log.read_text()
    found = [records.read(path) for path in SWEEP.glob("*/record.json")]
    assert Counter("pruned" if record.is_pruned else record.status for record in found).keys() == {"finished", "pruned"}
    assert len(found) == 6
    assert "search: the best of 6 trials" in child.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cluster_that_does_not_answer_or_has_too_little_is_told(
    nodes: Nodes, imgrec: Callable[..., Any], tiny: list[str], workplace: Path
) -> None:
    words = ["train", "-m", *tiny, *ON_CPU, "seed=0,1", "launcher=ray"]
    child = imgrec(*words, "launcher.address=127.0.0.2:6398")
    assert child.wait() == 1
    said = one_line(child.log.read_text().splitlines()[-1])
    assert said.startswith("imgrec: launcher.address=127.0.0.2:6398 must be a Ray cluster that answers, got: ")
    assert said.endswith("; start one with ray start, or leave launcher.address out")

    child = imgrec(*words, f"launcher.address={nodes.address}", "launcher.num_cpus=3")
    wait_until(lambda: "they wait" in child.log.read_text() or child.ended(), log=child.log, patience=200)
    assert (
        "no node of the Ray cluster has 3 CPUs for a run: they wait until one joins; give less launcher.num_cpus or"
        " launcher.num_gpus" in child.log.read_text()
    )
    assert child.signal_when(lambda: True, signal.SIGINT) == 130
    child = imgrec(*words, f"launcher.address={nodes.address}", "launcher.num_cpus=2")
    assert child.wait() == 0, child.log.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trainer.accelerator=gpu"], "launcher.num_gpus must be as many GPUs as a run needs, got 0 with"),
        (
            ["trainer.accelerator=cpu", "trainer.strategy=ddp", "trainer.devices=2", "trainer.num_nodes=2"],
            "trainer.num_nodes must be 1 with launcher=ray",
        ),
    ],
)
def test_settings_that_ray_could_not_take_are_refused(tiny: list[str], words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compose([*tiny, "launcher=ray", *words])
