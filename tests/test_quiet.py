"""Test that a command prints no messages of libraries, on a terminal or in a pipe, with SLURM or without."""

import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs import steps_logged

RICH = (
    "trainer.max_epochs=2",
    "trainer.ema_decay=0.9",
    "trainer.early_stopping=3",
    "trainer.tensorboard=true",
    "trainer.log_graph=true",
    "trainer.progress=auto",
    "schedule=cosine",
    "data.prune=0.2",
    "data.num_workers=1",
)
FOREIGN = re.compile(r"site-packages|\w+Warning\b|srun|HINT|\bTip:|deprecated|[Ll]ightning|TensorFlow|[Mm]atplotlib")


def as_a_user(where: str = "pipe") -> Callable[[], None]:
    """Let this process show warnings as Python does unasked, have srun at hand, and with "pty" a terminal."""

    def arrange() -> None:
        def tell(message: Any, category: type[Warning], file: str, line: int, *_: Any) -> None:
            print(f"{file}:{line}: {category.__name__}: {message}", file=sys.stderr)

        warnings.showwarning = tell  # pytest collects them
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        Path("bin").mkdir(exist_ok=True)
        Path("bin/srun").write_text("#!/bin/sh\n")
        Path("bin/srun").chmod(0o755)
        os.environ["PATH"] = f"{Path('bin').resolve()}:{os.environ['PATH']}"
        if where == "pty":
            _on_a_terminal()

    return arrange


def _on_a_terminal() -> None:
    """Make stderr a terminal whose other end a process of its own writes into the file that it was before."""
    ours, theirs = os.openpty()
    if os.fork() == 0:
        os.close(theirs)
        while True:
            try:
                os.write(2, os.read(ours, 1 << 16) or os._exit(0))  # type: ignore[func-returns-value]
            except OSError:  # the last one who had the terminal is gone
                os._exit(0)
    os.close(ours)
    os.dup2(theirs, 2)
    os.close(theirs)


def said(child: Any, code: int = 0) -> str:
    assert child.wait() == code, child.log.read_text()
    text: str = child.log.read_text()
    assert not (found := FOREIGN.search(text)), text[max(0, found.start() - 300) : found.end() + 300]
    return text


@pytest.mark.long
def test_a_run_says_nothing_of_its_libraries(tiny: list[str], imgrec: Callable[..., Any]) -> None:
    assert "epoch 2/2" in said(imgrec("train", *tiny, *RICH, "hydra.run.dir=run", before=as_a_user()))


@pytest.mark.slow
def test_no_command_does(tiny: list[str], imgrec: Callable[..., Any], workplace: Path) -> None:
    run = Path("run")
    child = imgrec("train", *tiny, *RICH, f"hydra.run.dir={run}", before=as_a_user("pty"))
    child.signal_when(lambda: steps_logged(run) > 10, signal.SIGTERM)
    assert "Epoch 2/2" in said(imgrec("train", *tiny, *RICH, f"hydra.run.dir={run}", before=as_a_user("pty")))
    said(imgrec("evaluate", str(run), before=as_a_user()))
    said(imgrec("verify", str(run), before=as_a_user()))
    less = ["trainer.early_stopping=0", "trainer.max_epochs=3"]
    allowed = "resume_override=[trainer.early_stopping,trainer.max_epochs]"
    said(imgrec("train", f"resume={run}", *less, allowed, before=as_a_user()))
    said(imgrec("train", "-m", *tiny, *RICH, "seed=0,1", before=as_a_user("pty")))
    search = ["sweep=optuna", "sweep.trials=2", "optimizer.lr=interval(0.001,0.01)", "trainer.max_epochs=1"]
    said(imgrec("train", "-m", *tiny, *search, "hydra.sweep.dir=search", before=as_a_user()))
    processes = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    said(imgrec("train", *tiny, *processes, "hydra.run.dir=two", before=as_a_user()))


@pytest.mark.slow
def test_names_of_classes_that_no_font_has(tiny: list[str], imgrec: Callable[..., Any], workplace: Path) -> None:
    draws = np.random.default_rng(0)
    for name in ("猫", "$x^$", "größe"):
        (workplace / "pictures" / name).mkdir(parents=True)
        for k in range(12):
            Image.fromarray(draws.integers(0, 256, (8, 8, 3), np.uint8)).save(
                workplace / "pictures" / name / f"{k}.png"
            )
    words = [*tiny, "trainer.max_epochs=1", "trainer.tensorboard=true", "data.val_size=6", "data.test_size=6"]
    said(imgrec("train", *words, "data.root=pictures", "hydra.run.dir=run", before=as_a_user()))


@pytest.mark.slow
def test_a_fresh_process_without_a_home(tiny: list[str], workplace: Path) -> None:
    words = [*tiny, "trainer.max_epochs=1", "trainer.tensorboard=true", "hydra.run.dir=run"]
    variables = {**os.environ, "HOME": "/nowhere", "XDG_CONFIG_HOME": "/proc/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "imgrec", "train", *words], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    assert not FOREIGN.search(done.stderr), done.stderr
