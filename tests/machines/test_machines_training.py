"""Test a run that is stopped on one machine and goes on on another: it ends as an undisturbed one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nodes import HERE
from runs import assert_same_run
from waiting import wait_until

WORDS = ("trainer.max_epochs=6", "trainer.checkpoint_every=1", "model.dropout=0.3", "augment=crop_flip")
LEASE = 4.0  # seconds
# each step takes so long that the run is stopped in its middle
SLOW = "import time; from imgrec.training.saver import Saver; end = Saver.on_train_batch_end; "
SLOW += "Saver.on_train_batch_end = lambda *words: (time.sleep(0.1), end(*words))[1]"


def files(folder: Path) -> dict[Path, bytes]:
    """The run's files. Whoever is stopped while it saves has a file of its own name there, and removes it later."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial"]
    return {path: path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("flock", ["refused", "local"])
def test_a_run_whose_machine_was_stopped_is_finished_by_another_and_not_touched_again(
    library: Path, tiny: list[str], undisturbed: Callable[..., Path], workplace: Path, flock: str
) -> None:
    folder = workplace / "run"
    started = []

    def train(host: str, *, slow: bool = False) -> subprocess.Popen[bytes]:
        script = (HERE / "train.py").read_text()
        words = [sys.executable, "-c", f"{SLOW}\n{script}" if slow else script, str(LEASE), "train", *tiny, *WORDS]
        environment = {**os.environ, "LD_PRELOAD": str(library), "FAKE_HOST": host, "FAKE_FLOCK": flock}
        with (workplace / f"{host}.log").open("wb") as log:
            started.append(subprocess.Popen([*words, f"hydra.run.dir={folder}"], stderr=log, env=environment))
        return started[-1]

    try:
        seven = train("node7", slow=True)
        wait_until((folder / "checkpoints/previous.ckpt").exists, patience=120)
        seven.send_signal(signal.SIGSTOP)
        assert train("node9").wait(200) == 0, (workplace / "node9.log").read_text()
        assert_same_run(undisturbed(*WORDS), folder)
        before = files(folder)
        seven.send_signal(signal.SIGCONT)
        assert seven.wait(60) == 1
        said = (workplace / "node7.log").read_text()
        assert "as another one has had it meanwhile, or its run.lock was removed: this process changes" in said, said
        assert files(folder) == before
    finally:
        for each in started:
            each.kill()
            each.wait()
