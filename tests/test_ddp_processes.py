"""Test which processes are companions of a run, and which are runs themselves."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line
from waiting import wait_until

from imgrec import ddp_processes, launch, ranks, runfolder
from imgrec.config.compose import compose
from imgrec.errors import LostProcess, RunError
from imgrec.job import Job

Said = tuple[int, str, str]


@pytest.mark.parametrize("name", ["LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK"])
def test_a_rank_that_another_program_gives_is_refused_before_anything_is_written(
    tiny: list[str],
    command: Callable[..., Said],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    outcome: Callable[[str, str], None],
) -> None:
    monkeypatch.setenv(name, "1")
    for words in (["train", *tiny], ["train", "-m", *tiny, "seed=0,1"]):
        code, _, err = command(*words)
        assert code == 2
        assert one_line(err).startswith(
            f"imgrec: {name} must not be set, as imgrec starts the processes of a run itself"
        )
        assert not Path("outputs").exists()
    outcome(f"{name}=1 from another program", one_line(err))


@pytest.mark.parametrize("value", ["0", "first", ""])
def test_the_first_of_another_program_s_processes_is_a_run_by_itself(
    tiny: list[str], one_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", value)
    monkeypatch.setenv("NODE_RANK", value)
    outcome = launch.train([*tiny, "trainer.max_epochs=1"])
    expected = json.loads((one_run / "record.json").read_text())
    assert outcome.record.weights == expected["weights"]
    assert (outcome.folder / "curves.csv").exists()
    assert (os.environ["LOCAL_RANK"], os.environ["NODE_RANK"]) == (value, value)


def test_only_a_process_that_the_first_one_started_is_a_companion(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "from imgrec import ranks; print(ranks.rank())"

    def rank_of_a_child(code: str = asked, **environment: str) -> str:
        told = {**os.environ, **environment}
        done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.rank() == 0
    assert rank_of_a_child() == "0"
    assert rank_of_a_child(IMGREC_STARTED_BY=str(os.getpid())) == "1"
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asked!r}])"
    told = rank_of_a_child(grandchild, IMGREC_STARTED_BY=str(os.getpid()))
    assert told == "0", "a run of a companion's own, or of one that its loader started"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON object with a job's version"),
        ("[]", "it is no JSON object with a job's version"),
        ('{"job": 2}', "it has version 2, and this one reads 1"),
        ('{"job": 1, "config": {}, "folder": 3}', "folder is 3"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_job_is_refused(
    command: Callable[..., Said], workplace: Path, text: str | None, reason: str
) -> None:
    if text is not None:
        Path("job.json").write_text(text)
    code, out, err = command("_job", "job.json")
    assert (code, out) == (2, "")
    assert one_line(err) == (
        f"imgrec: job.json must hold a job that imgrec wrote, and cannot be read: {reason}; start the run with imgrec"
        " train"
    )


@pytest.mark.long
def test_a_job_that_went_through_a_file_is_the_same_run(
    command: Callable[..., Said], tiny: list[str], one_run: Path, workplace: Path
) -> None:
    words = (*tiny, "trainer.max_epochs=1")
    config = compose(words)
    record = runfolder.record_of(one_run)
    job = Job(
        config=config, folder=Path("ä folder"), run_id=record.run_id, fingerprint=record.fingerprint, command=words
    )
    Path("job.json").write_text(job.to_json())
    assert Job.read(Path("job.json")) == dataclasses.replace(job, folder=Path("ä folder").absolute())
    code, _, err = command("_job", "job.json")
    assert code == 0, err
    again = runfolder.record_of(job.folder)
    assert (again.status, again.weights, again.command) == ("finished", record.weights, list(words))


@pytest.mark.slow
def test_lightning_s_own_idea_of_the_rank_does_not_silence_a_run(tiny: list[str], workplace: Path) -> None:
    """SLURM_PROCID, which Lightning reads at its import, would prevent writing curves.csv."""
    surroundings: dict[str, Any] = {**os.environ, "SLURM_PROCID": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "imgrec", "train", *tiny, "trainer.max_epochs=1", "hydra.run.dir=run"],
        env=surroundings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "val,top1" in Path("run/curves.csv").read_text()


@pytest.fixture
def as_companions(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let companions run this code instead of training along."""

    def arrange(code: str) -> None:
        popen = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", code], **options))

    return arrange


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def started(count: int = 3) -> Any:
    return ddp_processes.started(
        "the job",
        count=count,
        at_port=1,
        log=Path("train.log"),
        asked=lambda: None,
        give_up=lambda cause: pytest.fail(str(cause)),
    )


def test_companions_get_the_job_and_their_rank_and_end_by_themselves(
    as_companions: Callable[[str], None], tmp_path: Path
) -> None:
    as_companions(
        "import sys, time; from pathlib import Path; from imgrec import ddp_processes, ranks\n"
        "ddp_processes.say_ready()\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "Path(folder, str(ranks.rank())).write_text(f'{sys.stdin.read()} {ranks.here().port}')\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.01)"  # none ends before all are ready
    )
    before = children()
    with started() as companions:
        companions.wait_until_ready()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"1": "the job 1", "2": "the job 1"}
    assert children() == before


def test_companions_of_a_process_that_fails_are_killed(as_companions: Callable[[str], None]) -> None:
    as_companions("import time; time.sleep(600)")
    before = children()
    with pytest.raises(ValueError, match="diverged"), started():
        raise ValueError("diverged")
    assert children() == before


def test_companions_that_do_not_end_are_killed(
    as_companions: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_companions("import time; time.sleep(600)")
    monkeypatch.setattr(ddp_processes, "GRACE", 0.1)
    before = children()
    with started():
        pass
    assert children() == before


@pytest.mark.parametrize(
    ("end", "kind", "reason"),
    [
        ("raise ValueError('boom')", RunError, "process 1 of the run failed: ValueError: boom (<string>, line 3)"),
        ("raise RunError('no disk; free it')", RunError, "process 1 of the run failed: no disk; free it"),
        ("os.abort()", RunError, "process 1 of the run crashed with SIGABRT; its log is train.log"),
        (
            "os._exit(0)",
            RunError,
            "process 1 of the run ended with exit code 0 in the middle of the training, without a word; its log is"
            " train.log",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            LostProcess,
            "process 1 of the run was ended by SIGKILL, as the system does where memory runs out; its log is train.log",
        ),
        ("os._exit(143)", LostProcess, "process 1 of the run was ended by SIGTERM; its log is train.log"),
        ("raise Interrupted(signal.SIGHUP)", LostProcess, "process 1 of the run was ended by SIGHUP; its log is"),
    ],
)
def test_the_first_process_says_why_a_companion_has_ended(
    as_companions: Callable[[str], None], end: str, kind: type[BaseException], reason: str
) -> None:
    """The second companion only loses its connection, and is killed."""
    as_companions(
        "import os, signal, time; from imgrec import ddp_processes, process_ends, ranks; from imgrec.errors import *\n"
        "with process_ends.telling(ddp_processes.tell):\n"
        f"    if ranks.rank() == 1: {end}\n"
        "    raise process_ends.BrokenConnectionError('closed by peer')"
    )
    before = children()
    with pytest.raises(kind) as raised, started() as companions:
        companions.wait_until_ready()
    assert str(raised.value).startswith(reason)
    assert children() == before


@pytest.mark.parametrize(
    ("end", "asked", "code", "how"),
    [
        ("3", None, 1, "process 1 of the run ended with exit code 3 in the middle of the training, without a word"),
        ("143", None, 143, "process 1 of the run was ended by SIGTERM"),
        ("1", 2, 130, "interrupted by SIGINT before process 1 of the run could save"),
    ],
)
def test_a_process_that_waits_for_a_companion_that_has_failed_ends_and_says_so(
    end: str, asked: int | None, code: int, how: str
) -> None:
    script = f"""
import subprocess, sys, time
from pathlib import Path
from imgrec import ddp_processes, process_ends

popen = subprocess.Popen
subprocess.Popen = lambda _, **options: popen([sys.executable, "-c", "raise SystemExit({end})"], **options)
process_ends._LOOK = process_ends.SETTLE = 0.1
told = dict(log=Path("train.log"), asked=lambda: {asked}, give_up=print)
with ddp_processes.started("the job", count=2, at_port=1, **told):
    time.sleep(600)
"""
    done = subprocess.run([sys.executable, "-uc", script], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == f"{how}; its log is train.log\n"


@pytest.mark.long
def test_a_companion_ends_soon_after_the_first_process_was_killed(tmp_path: Path) -> None:
    """It would wait for a connection, here for ten minutes."""
    companion = (
        "import os, time; from pathlib import Path; from imgrec import ddp_processes;"
        f" ddp_processes.end_with_first(); Path({str(tmp_path)!r}, str(os.getpid())).touch(); time.sleep(600)"
    )
    script = f"""
import os, signal, subprocess, time
from pathlib import Path
from imgrec import ddp_processes

popen = subprocess.Popen
subprocess.Popen = lambda command, **options: popen([command[0], "-c", {companion!r}], **options)
with ddp_processes.started("the job", count=2, at_port=1, log=Path("log"), asked=lambda: None, give_up=print):
    while not list(Path({str(tmp_path)!r}).iterdir()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    (number,) = (path.name for path in tmp_path.iterdir())
    wait_until(lambda: not Path("/proc", number).exists() or " Z " in Path("/proc", number, "stat").read_text())
