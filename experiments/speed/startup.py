"""How long a command takes to answer and to start, beside importing lightning and torchvision whole."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ratios import Row, ratio

from imgrec.errors import RunError

IMGREC = str(Path(sys.executable).with_name("imgrec"))
HELP = (IMGREC, "--help")
TORCH = (sys.executable, "-c", "import torch")
LIBRARIES = (sys.executable, "-c", "import lightning, torchvision")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
# one batch, and a line at its end: what is read from stderr is the first step
FIRST_STEP = (
    *(IMGREC, "train", "data=digits", "data.batch_size=64", "trainer.log_every=1", "trainer.max_epochs=1"),
    *("trainer=cpu", "test=false", "trainer.tensorboard=false"),
)


def seconds(command: Sequence[str]) -> float:
    """The wall time of the command, from the start of its process to its end."""
    began = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ONE_THREAD)
    took = time.perf_counter() - began
    if done.returncode:
        raise RunError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
    return took


def first_step() -> float:
    """From the start of `imgrec train` on the embedded digits to the first row of curves.csv, written after a step."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = subprocess.Popen(
            [*FIRST_STEP, f"hydra.run.dir={folder}/run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=ONE_THREAD,
        )
        curves = Path(folder, "run", "curves.csv")
        try:
            while not (curves.exists() and curves.read_text().count("\n") > 1):
                if run.poll() is not None:
                    said = run.communicate()[1].decode()
                    raise RunError(f"{' '.join(FIRST_STEP)} ended before its first step: {said}")
                time.sleep(0.002)
            return time.perf_counter() - began
        finally:
            run.kill()
            run.communicate()


def measure(rounds: int) -> list[Row]:
    for command in (HELP, TORCH, LIBRARIES):
        seconds(command)  # the disk's cache and the compiled modules
    figures = [(first_step(), seconds(LIBRARIES), seconds(HELP), seconds(TORCH)) for _ in range(rounds)]
    step, libraries, answer, torch = (
        Row(name=name, values=values, unit="s")
        for name, values in zip(
            ("imgrec train to its first step", "import lightning, torchvision", "imgrec --help", "import torch"),
            zip(*figures, strict=True),
            strict=True,
        )
    )
    return [
        ratio("first step / import lightning, torchvision", step, libraries, aim="<= 1.3"),
        ratio("--help / import torch", answer, torch, aim="<= 0.5"),
        *(step, libraries, answer, torch),
    ]
