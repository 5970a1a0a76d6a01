"""Test runs that a program starts in the middle of its own work: its process is unchanged afterwards."""

import contextlib
import io
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase

from imgrec import launch, records, runfolder, runlog, verify
from imgrec.errors import RunError, UsageError
from imgrec.sweeps.run import Sweep


def footprint() -> dict[str, Any]:
    """What a program would notice if it had changed."""
    loggers = [name for name in logging.root.manager.loggerDict if not name.startswith("imgrec")]
    return {
        "root handlers": list(logging.root.handlers),
        "closed handlers": [getattr(handler, "_closed", False) for handler in logging.root.handlers],
        "levels": {name: logging.getLogger(name).level for name in ("", "imgrec", *loggers)},
        "handlers": {name: list(logging.getLogger(name).handlers) for name in ("imgrec", *loggers)},
        "exceptions of logging": logging.raiseExceptions,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "filled memory": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "benchmark": torch.backends.cudnn.benchmark,
        "tf32": torch.backends.cudnn.allow_tf32,
        "matmul": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "python's random state": random.getstate(),
        "numpy's random state": str(np.random.get_state()),
        "torch's random state": torch.get_rng_state().tolist(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals() if number not in (9, 19)},
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "environment": dict(os.environ),
        "warning filters": list(warnings.filters),
        "show of warnings": warnings.showwarning,
        "hydra": GlobalHydra.instance().hydra,
        "hydra's version": VersionBase.instance().getbase(),
        "hydra's job": JobRuntime.instance().get("name"),
        "hydra's configuration": HydraConfig.instance().cfg,
        "arguments": list(sys.argv),
        "main": sys.modules["__main__"].__spec__,
        "folder": Path.cwd(),
        "hook": sys.excepthook,
        "rank": getattr(lightning.pytorch.utilities.rank_zero_only, "rank", None),
        "living threads": {thread.name for thread in threading.enumerate()},
    }


@pytest.fixture
def host(tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program with settings of its own: gives the file that it logs to."""
    launch.compose(tiny)  # what is loaded once stays
    handler = logging.FileHandler("host.log", mode="w")
    logging.root.addHandler(handler)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    random.seed(5)
    (workplace / "own").mkdir()
    (workplace / "own/config.yaml").write_text("lr: 0.1\n")
    with warnings.catch_warnings(), initialize_config_dir(str(workplace / "own"), job_name="mine", version_base="1.2"):
        warnings.filterwarnings("ignore", message="the host's own")
        yield workplace / "host.log"
    torch.set_num_threads(threads)
    logging.root.removeHandler(handler)
    handler.close()


def assert_untouched(before: dict[str, Any]) -> None:
    after = footprint()
    for key in ("levels", "handlers"):  # what is imported on the way makes loggers of its own
        after[key] = {name: after[key][name] for name in before[key]}
    assert {key for key in before if before[key] != after[key]} == set()


def test_a_run_leaves_the_process_as_it_found_it(host: Path, tiny: list[str], one_run: Path) -> None:
    before = footprint()
    words = [*tiny, "trainer.max_epochs=1", "trainer.tensorboard=true", "trainer.progress=plain"]
    assert launch.train([*words, "trainer.threads=1", "model.dropout=0.1"]).record.status == "finished"
    assert_untouched(before)
    logging.getLogger("host").warning("still heard")
    assert host.read_text().splitlines()[-1] == "still heard"
    assert hydra_compose("config") == {"lr": 0.1}, "the program's own Hydra"
    (log,) = Path("outputs").glob("*/*/train.log")
    assert "still heard" not in log.read_text()
    assert launch.train([*words, "trainer.threads=1", "model.dropout=0.1"]).already
    assert_untouched(before)


@pytest.mark.parametrize(
    "word", ["optimizer.lr=1e30", "optimizer.lr=-1", "model=resnet5O", "data.root=nowhere"], ids=lambda word: word
)
def test_a_run_that_fails_leaves_the_process_as_it_found_it(host: Path, tiny: list[str], word: str) -> None:
    before = footprint()
    with pytest.raises((RunError, UsageError)):
        launch.train([*tiny, "trainer.max_epochs=1", word])
    assert_untouched(before)


@pytest.mark.long
def test_runs_of_several_threads_are_carried_out_one_after_the_other(tiny: list[str], one_run: Path) -> None:
    found: dict[int, launch.Outcome] = {}

    def train(seed: int) -> None:
        found[seed] = launch.train([*tiny, "trainer.max_epochs=1", f"seed={seed}"])

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 22)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, outcome in found.items():
        assert f"seed-{seed}" in outcome.folder.name
        assert (outcome.record.config["seed"], outcome.record.status) == (seed, "finished")
        assert (outcome.folder / "train.log").read_text().count("reading test at best") == 1
    assert found[0].record.weights == records.read(one_run / "record.json").weights
    assert found[22].record.weights != found[0].record.weights


@pytest.mark.parametrize(
    "work",
    [
        lambda: launch.train(["optimizer.lr=-1"]),
        lambda: verify.verify(Path("nowhere")),
        lambda: Sweep(["optimizer.lr=-1,-2"]),
        lambda: object.__new__(Sweep).run(),
    ],
    ids=["train", "verify", "a sweep's plan", "a sweep"],
)
def test_a_thread_waits_until_another_has_finished_its_work(workplace: Path, work: Callable[[], object]) -> None:
    def fail() -> None:
        with contextlib.suppress(UsageError, RunError, AttributeError):
            work()

    thread = threading.Thread(target=fail)
    with runfolder.in_turn():
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()


HOST = """
import logging, sys
import hydra
from imgrec import launch, records, runlog

log = logging.getLogger("host")

@hydra.main(config_path=None, version_base="1.3")
def main(config):
    log.info("before")
    outcome = launch.train(WORDS)
    log.info("after")
    assert outcome.record.status == "finished"
    assert hydra.core.hydra_config.HydraConfig.get().job.name == "program"

main()
"""


@pytest.mark.slow
def test_a_program_of_hydra_s_keeps_its_log(tiny: list[str], workplace: Path) -> None:
    Path("program.py").write_text(HOST.replace("WORDS", repr([*tiny, "trainer.max_epochs=1"])))
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said in (done.stdout, *(path.read_text() for path in Path("outputs").glob("*/*/program.log"))):
        assert [line for line in said.splitlines() if "[host]" in line][1].endswith("after")
        assert said.count("reading test at best") == 1


def test_a_run_of_a_sweep_says_nothing_on_the_terminal_whatever_a_live_view_makes_of_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, view = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", console)
    with runlog.shown():
        monkeypatch.setattr(sys, "stderr", view)  # as rich's live view does
        with runlog.kept(tmp_path, quiet=True):
            logging.getLogger("imgrec.training").info("reading val")
        logging.getLogger("imgrec.sweeps").info("told")
    assert (console.getvalue(), view.getvalue()) == ("", "told\n"), "it stands above the view"
    assert "reading val" in (tmp_path / runlog.LOG).read_text()
