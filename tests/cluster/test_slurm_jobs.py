"""Test what launcher=slurm makes of the answers of SLURM's commands, with a stand-in for them."""

import dataclasses
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import run
from runs import one_line
from waiting import wait_until

from imgrec import records
from imgrec.config.compose import compose
from imgrec.config.serialize import from_flat
from imgrec.errors import UsageError

SWEEP = Path("outputs/default")
Said = tuple[int, str, str]


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer=cpu", "trainer.threads=1", "trainer.max_epochs=1", "launcher=slurm"]


@pytest.fixture
def two_waiting_jobs(fake_slurm: Any, words: list[str], imgrec: Callable[..., Any]) -> Callable[[], Any]:
    """Start a sweep of two runs, and wait until both are in the queue, where they stay."""

    def start() -> Any:
        fake_slurm.hold()
        child = imgrec("train", "-m", *words, "seed=0,1")
        wait_until(lambda: len(fake_slurm.jobs()) == 2 or child.ended(), log=child.log)
        return child

    return start


def submitted() -> list[Path]:
    return sorted(SWEEP.glob("slurm/*/submitted.json"))


@pytest.mark.slow
def test_a_run_is_carried_out_and_one_whose_job_fails_before_it_is_told_with_its_log(
    fake_slurm: Any, words: list[str], command: Callable[..., Said], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    setup = 'launcher.setup=["[ $SLURM_ARRAY_TASK_ID = 0 ] || { echo no module cuda; (exit 3); }"]'
    code, out, err = command("train", "-m", *words, "seed=0,1", setup, "launcher.time=1:00:00", "launcher.mem=2G")
    assert code == 1
    (token,) = (path.parent for path in submitted())
    assert "2 runs submitted as SLURM job 1; scripts and logs are in" in err
    assert re.search(r"\[0/2\] running   seed-0-\S+  \(SLURM job 1_0 on n1\)", err)
    assert (
        f"SLURM job 1_1 on n1 ended as FAILED, with exit code 3; {token.absolute()}/1.log ends with: no module cuda"
        in err
    )
    assert "1 of 2 runs failed" in err
    script = (token / "script.sh").read_text()
    for option in ("--time=1:00:00", "--mem=2G", "--requeue", "--signal=USR1@90", "--cpus-per-task=1", "--array=0-1"):
        assert f"#SBATCH {option}\n" in script
    record = json.loads(next(SWEEP.glob("seed-0-*/record.json")).read_text())
    alone = json.loads((undisturbed("trainer.max_epochs=1") / "record.json").read_text())
    assert (record["status"], record["weights"]) == ("finished", alone["weights"])
    code, out, _ = command("sweep", "status", str(SWEEP))
    assert code == 0
    assert out.splitlines()[:2] == [
        "2 runs in outputs/default: 1 finished, 1 not begun",
        "the sweep's command does not run at present",
    ]


@pytest.mark.long
def test_runs_that_sbatch_refuses_are_not_begun_and_may_be_submitted_again(
    fake_slurm: Any,
    words: list[str],
    command: Callable[..., Said],
    workplace: Path,
    outcome: Callable[[str, str], None],
) -> None:
    code, _, err = command("train", "-m", *words, "seed=0,1", "launcher.partition=nowhere")
    assert code == 1
    told = one_line(err.splitlines()[-1])
    assert told == (
        "imgrec: sbatch refused: invalid partition specified: nowhere; Batch job submission failed: Invalid partition"
        " name specified; 2 runs are not submitted: correct the setting of launcher that sbatch names, and give the"
        " command again"
    )
    outcome("a partition that SLURM does not have", told)
    fake_slurm.hold()
    fake_slurm.says("squeue", "Unable to contact slurm controller")
    code, _, err = command("train", "-m", *words, "seed=0,1")
    assert (code, "squeue refused: Unable to contact slurm controller" in err) == (1, True)
    assert not fake_slurm.jobs(), "as runs may be in the queue already"


@pytest.mark.long
def test_an_interrupted_sweep_leaves_its_jobs_and_goes_on_with_them_or_cancels_them(
    fake_slurm: Any, words: list[str], imgrec: Callable[..., Any], command: Callable[..., Said], workplace: Path
) -> None:
    fake_slurm.hold()
    fake_slurm.says("sbatch", "done: Socket timed out on send/recv operation")
    words = ["train", "-m", *words, "seed=0,1"]
    child = imgrec(*words)
    code = child.signal_when(lambda: "submitted as" in child.log.read_text(), signal.SIGINT)
    said = child.log.read_text()
    assert code == 130
    assert "2 runs submitted as SLURM job 1;" in said, "SLURM had taken them before its answer was lost"
    assert "2 runs left to SLURM, where the jobs go on: the same command follows again, and imgrec sweep cancel" in said
    assert "2 runs: 2 queued" in said
    code, out, _ = command("sweep", "status", str(SWEEP))
    assert out.splitlines()[0] == "2 runs in outputs/default: 2 queued"
    assert re.search(r"^queued       seed-0-\S+  SLURM job 1_0 is PENDING, as SLURM says: Priority$", out, re.MULTILINE)

    again = imgrec(*words, "sweep.cancel=true", "launcher.time=5", "launcher.setup=[module load cuda]")
    code = again.signal_when(lambda: "attached" in again.log.read_text(), signal.SIGINT)
    said = again.log.read_text()
    assert code == 130
    assert "2 runs of an earlier command in SLURM's queue: attached, not submitted again" in said
    assert (
        "2 runs keep what they were submitted with: their scripts would now get --time=5, module load cuda; imgrec"
        f" sweep cancel {SWEEP.absolute()}, then this command, submits them anew" in said
    )
    assert "2 runs cancelled" in said
    assert "2 runs: 2 to resume" in said
    assert {job["state"] for job in fake_slurm.jobs().values()} == {"CANCELLED"}
    assert len(fake_slurm.jobs()) == 2
    code, out, _ = command("sweep", "cancel", str(SWEEP))
    assert (code, "has no jobs in SLURM's queue" in out) == (0, True)


@pytest.mark.long
def test_a_job_s_end_from_outside_leaves_its_run_to_do_and_any_other_is_its_failure(
    fake_slurm: Any, words: list[str], imgrec: Callable[..., Any], command: Callable[..., Said], workplace: Path
) -> None:
    fake_slurm.hold()
    child = imgrec("train", "-m", *words, "seed=0,1,2,3")  # arrays of three, as this cluster allows
    wait_until(lambda: len(fake_slurm.jobs()) == 4 or child.ended(), log=child.log)
    fake_slurm.says("squeue", "Unable to contact slurm controller")
    wait_until(lambda: "SLURM is asked again" in child.log.read_text() or child.ended(), log=child.log)
    fake_slurm.says("squeue", "")
    fake_slurm.edit(j1_0="OUT_OF_MEMORY", j1_1="NODE_FAIL", j1_2="TIMEOUT", j2_0="forgotten")
    assert child.wait() == 1
    said = child.log.read_text()
    assert said.count("SLURM is asked again") == 1
    assert re.search(
        r"seed-0-\S+: SLURM job 1_0 on n1 ended as OUT_OF_MEMORY, with exit code 0; its record is awaited for a minute",
        said,
    )
    assert re.search(
        r"failed: seed-0-\S+: SLURM job 1_0 on n1 ended as OUT_OF_MEMORY, with exit code 0; it has no", said
    )
    assert "running   seed-0" not in said, "as it never ran"
    assert re.search(r"interrupted  seed-1-\S+: SLURM job 1_1 on n1 ended as NODE_FAIL", said)
    assert re.search(r"interrupted  seed-2-\S+: SLURM job 1_2 on n1 ended as TIMEOUT", said)
    assert re.search(r"interrupted  seed-3-\S+: SLURM job 2_0 is not in SLURM's queue any more", said)
    assert "1 of 4 runs failed, 3 to resume" in said
    _, out, _ = command("sweep", "status", str(SWEEP))
    assert out.splitlines()[0] == "4 runs in outputs/default: 4 not begun"
    assert re.search(
        r"^not begun    seed-0-\S+: its job has ended and left no record; it has no log \S+/0.log$", out, re.MULTILINE
    )


@pytest.mark.long
def test_why_jobs_wait_is_told_with_what_helps(
    fake_slurm: Any, two_waiting_jobs: Callable[[], Any], command: Callable[..., Said], workplace: Path
) -> None:
    child = two_waiting_jobs()
    fake_slurm.waits_for("PartitionTimeLimit")
    wait_until(lambda: "says why" in child.log.read_text() or child.ended(), log=child.log)
    why = (
        "PartitionTimeLimit: a job may not run so long; imgrec sweep cancel DIR, then the sweep's command with less"
        " launcher.time"
    )
    assert f"2 runs in SLURM's queue, which says why: {why}" in child.log.read_text()
    _, out, _ = command("sweep", "status", str(SWEEP))
    assert f"SLURM job 1_0 is PENDING, as SLURM says: {why}" in out
    fake_slurm.edit(j1_0="CANCELLED", j1_1="CANCELLED")
    assert child.wait() == 1


@pytest.mark.long
def test_a_run_that_is_queued_again_and_again_without_a_step_is_given_up(
    fake_slurm: Any, two_waiting_jobs: Callable[[], Any], workplace: Path
) -> None:
    child = two_waiting_jobs()
    for times in range(1, 4):
        fake_slurm.edit(j1_0="RUNNING", j1_1="CANCELLED")
        wait_until(lambda times=times: child.log.read_text().count("running ") == times or child.ended(), log=child.log)
        fake_slurm.edit(j1_0="PENDING")
        wait_until(
            lambda times=times: child.log.read_text().count("given back ") == times or child.ended(), log=child.log
        )
    assert child.wait() == 1
    assert (
        "SLURM job 1_0 on n1 was started 3 times without a step that was saved, and is cancelled"
        in child.log.read_text()
    )
    assert fake_slurm.jobs()["1_0"]["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("sweep=optuna", "launcher.array_parallelism must say how many trials of a search run at a time"),
        (
            'launcher.sbatch=["--array=0-3"]',
            "launcher.sbatch must not hold --array, which imgrec gives itself or has a key for",
        ),
        ('launcher.sbatch=["mem=3G"]', "launcher.sbatch must hold options as --name=value, got 'mem=3G'; write it so"),
        ("launcher.time=2h", "launcher.time must be minutes, or [days-]hours:minutes:seconds, got '2h'"),
        ("launcher.gpus_per_node=true", "launcher.gpus_per_node must be a number of GPUs, or TYPE:NUMBER, got 'True'"),
        ("launcher.account=''", "launcher.account must name something, got ''"),
        ('launcher.srun=["--ntasks=3"]', "launcher.srun must not hold --ntasks"),
        (
            "trainer.accelerator=gpu",
            "launcher.gpus_per_node must say how many GPUs a job gets, as trainer.accelerator=gpu",
        ),
    ],
)
def test_settings_that_sbatch_could_not_take_are_refused(words: list[str], word: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        compose([*words, word])


@pytest.mark.long
def test_a_node_refuses_other_code_than_the_run_was_submitted_with(
    fake_slurm: Any, words: list[str], imgrec: Callable[..., Any], command: Callable[..., Said], workplace: Path
) -> None:
    fake_slurm.hold()
    child = imgrec("train", "-m", *words, "seed=0,1")
    child.signal_when(lambda: bool(submitted()), signal.SIGINT)
    path = submitted()[0].with_name("0.json")
    job = json.loads(path.read_text())
    assert len(job["code"]) > 50
    job["code"]["imgrec.losses"] = "0 0"
    path.write_text(json.dumps(job))
    code, _, err = command("_job", str(path))
    assert code == 1
    assert "the code with which it was submitted, and imgrec.losses has changed since; restore the code, or" in err
    assert not Path(job["folder"]).exists()


@pytest.mark.long
def test_what_an_earlier_job_has_written_is_not_told_as_the_end_of_this_one(
    fake_slurm: Any, two_waiting_jobs: Callable[[], Any], words: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    child = two_waiting_jobs()
    first = {path: json.loads(path.read_text()) for path in SWEEP.glob("slurm/*/[01].json")}
    for job in first.values():  # as if both had begun, and one had failed
        config = from_flat(job["config"])
        record = run(f"seed={config.seed}", status="failed" if config.seed == 0 else "interrupted")
        record = dataclasses.replace(record, run_id=job["run_id"], error="RuntimeError: boom")
        Path(job["folder"]).mkdir(parents=True, exist_ok=True)
        records.write(Path(job["folder"]) / "record.json", record)
    fake_slurm.edit(j1_0="FAILED", j1_1="CANCELLED")
    assert child.wait() == 1
    assert re.search(r"failed: \S+seed-0-\S+: boom$", child.log.read_text(), re.MULTILINE)

    again = imgrec("train", "-m", *words, "seed=0,1", "sweep.retry_failed=true")
    wait_until(lambda: len(fake_slurm.jobs()) == 4 or again.ended(), log=again.log)
    fake_slurm.edit(j2_0="FAILED", j2_1="FAILED")
    assert again.wait() == 1
    said = again.log.read_text()
    for seed in (0, 1):
        assert re.search(
            rf"failed: \S+seed-{seed}-\S+: SLURM job 2_\d on n1 ended as FAILED, with exit code 0", said
        ), said


@pytest.mark.long
def test_arrays_that_slurm_does_not_take_yet_are_submitted_as_others_end(
    fake_slurm: Any, words: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    fake_slurm.hold()
    (fake_slurm.home / "most").write_text("2")  # jobs of a user at a time
    child = imgrec("train", "-m", *words, "seed=0,1,2", "launcher.array_size=1")
    wait_until(lambda: "as others end" in child.log.read_text() or child.ended(), log=child.log)
    assert len(fake_slurm.jobs()) == 2
    assert "sbatch refused: QOSMaxSubmitJobPerUserLimit: 1 run submitted as others end" in child.log.read_text()
    fake_slurm.edit(j1_0="CANCELLED")
    wait_until(lambda: len(fake_slurm.jobs()) == 3 or child.ended(), log=child.log)
    fake_slurm.edit(j2_0="CANCELLED", j3_0="CANCELLED")
    assert child.wait() == 1
    assert "3 to resume" in child.log.read_text()
    assert len(submitted()) == 3, "what was refused leaves nothing"


@pytest.mark.long
def test_what_the_user_s_environment_says_does_not_change_what_is_asked_for(
    fake_slurm: Any, words: list[str], imgrec: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SBATCH_TIMELIMIT", "SBATCH_NO_REQUEUE", "SLURM_MEM_PER_CPU", "SQUEUE_PARTITION", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "7")
    fake_slurm.hold()
    child = imgrec("train", "-m", *words, "seed=0,1", "launcher.time=10")
    child.signal_when(lambda: bool(submitted()), signal.SIGINT)
    seen = json.loads((fake_slurm.home / "environment.json").read_text())
    assert seen["sbatch"] == {"SBATCH_ACCOUNT": "7"}, "as launcher.account leaves it open"
    assert seen["squeue"] == {}


def test_without_slurm_nothing_is_begun(words: list[str], command: Callable[..., Said], monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = command("train", "-m", *words, "seed=0,1")
    assert code == 2
    assert one_line(err).startswith("imgrec: launcher=slurm needs SLURM's commands, and sbatch is not on the PATH")
    assert not SWEEP.exists()
