"""Fixtures of several test folders: drawn images, and runs that are started through the `imgrec` command."""

import atexit
import contextlib
import functools
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

# what images contain is remembered outside of the user's own cache
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="imgrec-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
os.environ.setdefault("MPLCONFIGDIR", os.path.expanduser("~/.cache/matplotlib"))  # noqa: PTH111 - its list of fonts
os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported: on busy cores its threads wait for each other

CLASSES = ("bars", "disc", "frame")


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """A folder with 3 classes of 12 drawn images each, 32x32 PNG: upright bars, a disc, a frame, in noise."""
    root = tmp_path / "images"
    draws = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(12):
            shift = int(draws.integers(-2, 3))
            shapes = {
                "bars": (columns + shift) // 4 % 2 == 0,
                "disc": (rows - 16 - shift) ** 2 + (columns - 16) ** 2 < 100,
                "frame": np.maximum(abs(rows - 16 - shift), abs(columns - 16)) > 9,
            }
            image = np.where(shapes[name], 200, 40)[:, :, None] + draws.integers(-30, 31, (32, 32, 3))
            Image.fromarray(image.astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


_TINY = (
    "data=folder",
    "data.image_size=8",
    "data.batch_size=8",
    "data.val_size=12",
    "data.test_size=12",
    "model.widths=[4,8]",
    "model.hidden=16",
    "optimizer=adam",
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.log_every=1",
    "trainer.progress=none",
    "trainer.tensorboard=false",
)


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 28 drawn 8x8 images: a bright row, column or diagonal, with noise. 60 train, 12 val, 12 test."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    masks = {"row": np.eye(8)[[3] * 8].T, "column": np.eye(8)[[3] * 8], "diagonal": np.eye(8)}
    for name, mask in masks.items():
        (root / name).mkdir()
        for k in range(28):
            pixels = 120 * mask + random.integers(0, 120, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).convert("RGB").save(root / name / f"{k:02}.png")
    return root


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no data of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGREC_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def tiny_words(tiny_images: Path) -> tuple[str, ...]:
    """The words of a run that takes a second: 8 steps an epoch."""
    return (*_TINY, f"data.root={tiny_images}")


@pytest.fixture
def tiny(tiny_words: tuple[str, ...], workplace: Path) -> list[str]:
    """The words of the tiny run, in an empty working folder."""
    return list(tiny_words)


@pytest.fixture(scope="session")
def undisturbed(tiny_words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`undisturbed(WORDS...)`: the folder of the finished tiny run with these words besides; not to be touched.

    It is trained in this process, once for all that compare with it.
    """
    from imgrec import launch

    @functools.cache
    def train(*words: str) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed") / "run"
        launch.train([*tiny_words, *words, f"hydra.run.dir={folder}"])
        return folder

    return train


@pytest.fixture(scope="session")
def one_run(undisturbed: Callable[..., Path]) -> Path:
    """A finished run of one epoch; not to be touched."""
    run = undisturbed("trainer.max_epochs=1")
    spare_the_collector()  # what the first run has imported
    return run


@pytest.fixture
def finished(one_run: Path, workplace: Path) -> Path:
    """A copy of that run in ./run, to be spoilt."""
    shutil.copytree(one_run, workplace / "run")
    return workplace / "run"


class Child:
    """An `imgrec` command in a process of its own, forked so that nothing is imported again."""

    def __init__(
        self, arguments: list[str], log: Path, *, group: bool = False, before: Callable[[], None] | None = None
    ) -> None:
        self.log = log
        self.log.touch()
        self._group = group
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the suite itself may run under nohup,
                signal.signal(signal.SIGINT, signal.default_int_handler)  # or behind a script's `&`
                if group:
                    os.setpgid(0, 0)
                with log.open("ab", buffering=0) as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # not pytest's
                forkserver._forkserver.__init__()  # type: ignore[attr-defined] # one that pytest started is no child
                sys.argv = ["imgrec", *arguments]
                if before is not None:
                    before()
                from imgrec.cli import main

                main()
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                try:
                    sys.stdout.flush()
                except OSError:
                    code = 120  # as Python itself ends then; of stderr it does not care
                with contextlib.suppress(OSError):
                    sys.stderr.flush()
                os._exit(code)

    def wait(self) -> int:
        """The exit code; the negated signal where one ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def signal_when(self, ready: Callable[[], bool], signum: int, *, patience: float = 60) -> int:
        """Send the signal as soon as `ready`, and wait."""

        def ready_and_running() -> bool:
            if ready():
                return True
            assert not self.ended(), self.log.read_text()
            return False

        wait_until(ready_and_running, log=self.log, pause=0.002, patience=patience)
        (os.killpg if self._group else os.kill)(self.pid, signum)
        return self.wait()


@pytest.fixture
def imgrec(workplace: Path, one_run: Path) -> Iterator[Callable[..., Child]]:
    """Start `imgrec ARGUMENTS...` in a child process; with group=True in a process group of its own.

    before: what the child does to itself first, such as to break something at a certain step. What the first training
    in a process takes longer than a later one, `one_run` has taken before it is forked.
    """
    started: list[Child] = []

    def start(*arguments: str, group: bool = False, before: Callable[[], None] | None = None) -> Child:
        log = workplace / f"child{len(started)}.log"
        started.append(Child(list(arguments), log, group=group, before=before))
        return started[-1]

    yield start
    for child in started:
        if not child.ended():  # of a test that has failed
            os.kill(child.pid, signal.SIGKILL)
            child.wait()


@pytest.fixture
def command(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `imgrec ARGUMENTS...` in this process; gives exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from imgrec.cli import main

        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["imgrec", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr()
        return (stop.value.code if isinstance(stop.value.code, int) else 0), said.out, said.err

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system: `disk("size=4m")`, or with other options of tmpfs. Skips where that takes root."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("a file system can be mounted by root only")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        # a process that was killed holds its files for a moment more
        wait_until(lambda folder=folder: subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0)


_OUTCOMES = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Enter a fault and what came of it into the table that `make test-faults` prints."""
    rows = request.config.stash.setdefault(_OUTCOMES, [])
    return lambda fault, what: rows.append((fault, " ".join(what.split())))


def pytest_collection_finish(session: pytest.Session) -> None:
    spare_the_collector()


def spare_the_collector() -> None:
    """Let it pass over what pytest and the libraries hold to the end: to go through it all takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto`: a worker more than there are cores, as one of them often waits for a child. 4 at most."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(len(os.sched_getaffinity(0)) + 1, 4)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", action="store_true", help="print the table of faults and their outcomes")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(_OUTCOMES, [])
    if rows and config.getoption("outcomes"):
        terminalreporter.section(f"{len(rows)} faults and their outcomes")
        for fault, what in rows:
            terminalreporter.write_line(f"{fault}  ->  {what}")


@pytest.fixture
def python(imgrec: Callable[..., Any]) -> Callable[[str], str]:
    """Runs code in a process of its own, which may load what it likes, and returns what that printed."""

    def run(code: str) -> str:
        def script() -> None:
            exec(textwrap.dedent(code), {})
            raise SystemExit(0)

        child = imgrec(before=script)
        assert child.wait() == 0, child.log.read_text()
        return str(child.log.read_text())

    return run
