"""Test a grid of runs: started once, again, enlarged, and with failing runs."""

import contextlib
import gc
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_gpus
import pytest
from omegaconf import OmegaConf
from runs import one_line

from imgrec import execution, launch
from imgrec.classifier import Classifier
from imgrec.config import folders
from imgrec.errors import Interrupted, RunError, UsageError
from imgrec.job import Job
from imgrec.sweeps.jobs import Jobs, deaths, state
from imgrec.sweeps.run import Sweep
from imgrec.training import run as room

Said = tuple[int, str, str]
SWEEP = Path("outputs/default")


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer.max_epochs=1"]


def contents(folder: Path = SWEEP) -> dict[str, dict[str, bytes]]:
    """The files of each run of the sweep."""
    return {
        run.name: {str(path): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
        for run in folder.iterdir()
        if run.is_dir()
    }


def statuses() -> dict[int, str]:
    """The status of each seed's run."""
    rows = [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]
    return {row["config"]["seed"]: row["status"] for row in rows}


@contextlib.contextmanager
def breaking(seed: int, broken: Callable[[], Any]) -> Iterator[None]:
    """Let the run of that seed do this instead of training, while the block runs."""
    fit_and_read = room.fit_and_read

    def one_breaks(record: Any, job: Job, *rest: Any) -> None:
        if job.config.seed == seed:
            broken()
        fit_and_read(record, job, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "fit_and_read", one_breaks)
        yield


def full_disk() -> None:
    raise RunError(f"the disk is full; {'its log is long, ' * 10}free some")


@pytest.mark.long
def test_every_combination_is_run_once_and_told_of(command: Callable[..., Said], words: list[str]) -> None:
    code, out, err = command("train", "-m", *words, "seed=0,1", "loss=mse,hinge", "trainer.tensorboard=true")
    assert code == 0
    title, *rows, board = out.splitlines()
    assert title == f"4 runs in {SWEEP}:"
    assert [row.split("  ")[-1] for row in rows] == ["test top1 at best"] * 4
    names = [f"loss-{loss}_seed-{seed}" for seed in (0, 1) for loss in ("mse", "hinge")]
    assert [row.partition("  ")[0].rpartition("-")[0] for row in rows] == names, "what is the same in all stays out"
    assert board == f"tensorboard --logdir {SWEEP}"
    records = [json.loads(path.read_text()) for path in SWEEP.glob("*/record.json")]
    found = {(record["config"]["seed"], record["config"]["loss.name"]) for record in records}
    assert found == {(seed, loss) for seed in (0, 1) for loss in ("mse", "hinge")}
    assert "4 runs: 4 to do" in err
    assert err.count("] running ") == err.count("] finished ") == err.count("  val top1 at best") == 4
    assert "test top1" not in err, "who sees test scores while runs are left chooses by them"
    assert launch.train([*words, "loss=hinge", "seed=1"]).already, "a single run of the same words is the same run"


def test_the_same_command_again_touches_nothing_and_a_larger_grid_runs_what_is_new(
    command: Callable[..., Said], words: list[str]
) -> None:
    assert command("train", "-m", *words, "seed=0,1")[0] == 0
    before = contents()
    code, out, err = command("train", "-m", *words, "seed=0,1")
    assert (code, contents()) == (0, before)
    assert "2 runs: 2 finished" in err
    assert out.startswith("2 runs in ")

    code, out, err = command("train", "-m", *words, "seed=0,1,2", "optimizer=adam,sgd")
    assert code == 0
    after = contents()
    assert {name: files for name, files in after.items() if name in before} == before
    assert len(after) == 6
    assert "6 runs: 2 finished, 4 to do, about " in err
    assert err.count("] running ") == 4


@pytest.mark.long
def test_a_run_that_was_asked_for_twice_is_one(command: Callable[..., Said], words: list[str]) -> None:
    code, out, err = command("train", "-m", *words, "optimizer.lr=0.1,0.10")
    assert code == 0
    assert "1 run: 1 to do" in err
    assert out.startswith("1 run in ")


@pytest.mark.long
def test_a_failing_run_keeps_no_other_from_running_and_is_tried_again_on_request_only(
    command: Callable[..., Said], words: list[str]
) -> None:
    with breaking(1, full_disk):
        code, out, err = command("train", "-m", *words, "seed=0,1,2")
    assert code == 1
    assert statuses() == {0: "finished", 1: "failed", 2: "finished"}
    assert one_line(err) == (
        "imgrec: 1 of 3 runs failed; the same command with sweep.retry_failed=true tries again what failed"
    )
    (failed,) = SWEEP.glob("*seed-1-*")
    assert f"failed: {failed}: the disk is full; {'its log is long, ' * 10}free some" in err, "the whole reason, once"
    assert err.count("free some") == 1
    assert re.search(r"\] failed    seed-1\S+: the disk is full; its log is .* \.\.\.", err)
    assert re.search(r"^seed-1-\S+ +failed$", out, re.MULTILINE)
    assert "Traceback" in (failed / "train.log").read_text(), "where it failed is told in its folder"
    before = contents()
    code, _, err = command("train", "-m", *words, "seed=0,1,2")
    assert code == 1
    assert "3 runs: 2 finished, 1 failed" in err
    assert err.count("the disk is full") == 1
    assert contents() == before
    with breaking(1, full_disk):
        code, _, err = command("train", "-m", *words, "seed=0,1,2", "sweep.retry_failed=true")
    assert code == 1
    assert "3 runs: 2 finished, 1 to retry, about " in err
    assert one_line(err) == "imgrec: 1 of 3 runs failed; the same command tries again what failed"
    code, _, err = command("train", "-m", *words, "seed=0,1,2", "sweep.retry_failed=true")
    assert code == 0
    assert err.count("] running ") == 1
    assert set(statuses().values()) == {"finished"}


@pytest.mark.long
def test_on_error_stop_starts_no_more(command: Callable[..., Said], words: list[str]) -> None:
    with breaking(1, full_disk):
        code, out, err = command("train", "-m", *words, "seed=0,1,2", "sweep.on_error=stop")
    assert code == 1
    assert "val top1 at best" in out
    assert "test top1" not in out, "a run is left to do"
    assert statuses() == {0: "finished", 1: "failed"}
    assert one_line(err) == (
        "imgrec: 1 of 3 runs failed, 1 not begun;"
        " the same command with sweep.retry_failed=true goes on, and tries again what failed"
    )


@pytest.mark.long
def test_sys_exit_in_a_run_is_its_failure(command: Callable[..., Said], words: list[str]) -> None:
    with breaking(0, lambda: sys.exit(3)):
        code, _, err = command("train", "-m", *words, "seed=0,1")
    assert code == 1
    assert re.search(r"failed: \S+seed-0\S+: .*something in it called sys.exit\(3\)", err)
    assert statuses() == {0: "failed", 1: "finished"}


@pytest.mark.long
def test_an_interrupted_sweep_says_so_and_keeps_what_finished(command: Callable[..., Said], words: list[str]) -> None:
    def interrupt() -> None:
        raise Interrupted(signal.SIGINT)

    with breaking(1, interrupt):
        code, out, err = command("train", "-m", *words, "seed=0,1,2")
    assert code == 130
    assert statuses() == {0: "finished", 1: "interrupted"}
    assert out.startswith("2 runs in ")
    assert one_line(err) == "imgrec: interrupted by SIGINT: the same command goes on from here"
    assert re.fullmatch(r"3 runs: 1 finished, 1 to resume, 1 to do, about \d+ seconds?", err.splitlines()[-2])
    code, _, err = command("train", "-m", *words, "seed=0,1,2")
    assert code == 0
    assert "3 runs: 1 finished, 1 to resume, 1 to do" in err


@pytest.mark.long
def test_a_run_whose_process_died_comes_last_and_is_never_given_up_by_counting(
    sweep: Callable[..., Any], words: list[str]
) -> None:
    dies = {"breaks": "0:os._exit(7)"}
    assert sweep(*words, "seed=0,1", **dies).wait() == 7
    assert statuses() == {0: "running"}
    again = sweep(*words, "seed=0,1", **dies)
    assert again.wait() == 7
    assert statuses() == {0: "running", 1: "finished"}
    assert re.search(
        r"^seed-0\S+: its process ended without a word 1 time since its start: it comes last$",
        again.log.read_text(),
        re.MULTILINE,
    )
    (path,) = SWEEP.glob("*seed-0-*/record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "deaths": 99}))
    job = Jobs(SWEEP).job([*words, "seed=0"])
    assert (deaths(job), state(job, until=0.0)) == (100, "to resume")
    (job.folder / "checkpoints").mkdir()
    (job.folder / "checkpoints/last.ckpt.sha256").write_text("of a state that the last process reached")
    assert deaths(job) == 0


@pytest.mark.slow
@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), 11)", "os.kill(os.getpid(), 9)"])
def test_a_run_that_ends_its_process_again_and_again_fails_once_another_process_has_seen_it(
    sweep: Callable[..., Any], words: list[str], outcome: Callable[[str, str], None], end: str
) -> None:
    dies = {"breaks": f"0:{end}"}
    for _ in range(2):
        assert sweep(*words, "seed=0,1", **dies).wait() in (7, -11, -9)
    third = sweep(*words, "seed=0,1", **dies)
    assert third.wait() == 1, third.log.read_text()
    assert statuses() == {0: "failed", 1: "finished"}
    said = third.log.read_text()
    assert "without a word 2 times since its start: it comes last, in a process of its own" in said
    how = re.search(r"^failed: \S+seed-0\S+: (its process ended with .+ without a word); see ", said, re.MULTILINE)
    assert how, said
    assert sweep(*words, "seed=0,1", "sweep.retry_failed=true").wait() == 0
    assert set(statuses().values()) == {"finished"}
    outcome(f"a run of a basic sweep that does {end}", f"the others first; the third start goes on: {how[1]}")


@pytest.mark.long
def test_a_second_sweep_in_the_same_folder_is_refused(
    imgrec: Callable[..., Any], command: Callable[..., Said], words: list[str], workplace: Path
) -> None:
    def slow() -> None:
        fit_and_read = room.fit_and_read

        def waits(*rest: Any) -> None:
            (workplace / "begun").touch()
            time.sleep(60)
            fit_and_read(*rest)

        room.fit_and_read = waits

    first = imgrec("train", "-m", *words, "seed=0,1", before=slow)

    def second_was_refused() -> bool:
        if not (workplace / "begun").exists():
            return False
        code, _, err = command("train", "-m", *words, "seed=1,2")
        assert code == 1
        assert f"{SWEEP} is in use: process {first.pid} on {socket.gethostname()} runs it; wait for" in one_line(err)
        return True

    assert first.signal_when(second_was_refused, signal.SIGTERM) == 143
    assert set(statuses()) == {0}, "the refused sweep has begun nothing"


@pytest.mark.long
def test_a_sweep_can_be_moved(command: Callable[..., Said], words: list[str], workplace: Path) -> None:
    assert command("train", "-m", *words, "seed=0,1")[0] == 0
    SWEEP.rename("elsewhere")
    before = contents(Path("elsewhere"))
    code, _, err = command("train", "-m", *words, "seed=0,1", "hydra.sweep.dir=elsewhere")
    assert (code, contents(Path("elsewhere"))) == (0, before)
    assert "2 runs: 2 finished" in err


@pytest.mark.long
def test_bad_words_are_refused_before_anything_is_written(command: Callable[..., Said], words: list[str]) -> None:
    for more, sentence in (
        (["optimizer.lr=0.1,-1"], "optimizer.lr must be > 0"),
        (["seed=0,1", "hydra.run.dir=x"], "hydra.run.dir has no effect on a sweep"),
        (["seed=0,1", "force=true"], "force does finished runs over, which a sweep never does"),
        (["seed=0,1", "launcher=basic,pool"], "launcher holds for a whole sweep"),
        (["study=tiny,losses"], "study must be one name, got study=tiny,losses"),
        (["experiment=demo,article"], "experiment=demo,article needs a folder of its own"),
        (["seed=0,1", "hydra.mode=RUN"], "hydra.mode asks for one run, and -m for several"),
        (["seed=0,1", "launcher=pol"], "launcher must be one of basic, joblib, pool, ray, slurm, got 'pol'"),
        (["seed=0,1", "sweep.on_error=ignore"], "sweep.on_error must be one of continue, stop"),
        (["optimizer.lr=interval(0.1,1)"], "intervals need sweep=optuna"),
        (["data.val_size=0", "sweep=tuned"], "sweep=tuned needs validation images"),
        (["seed=0,1", "--cfg", "job"], "--cfg prints the configuration of one run, and -m asks for several"),
        (["study=optimisers"], "study must be one of"),
    ):
        code, out, err = command("train", "-m", *words, *more)
        assert (code, out) == (2, ""), more
        assert sentence in one_line(err)
        assert not Path("outputs").exists()


@pytest.mark.long
def test_a_slurm_job_is_put_back_into_the_queue_once_by_the_sweep(
    command: Callable[..., Said], words: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = workplace / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {workplace}/requeued\n')
    (programs / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with breaking(1, lambda: signal.raise_signal(signal.SIGUSR1)):
        assert command("train", "-m", *words, "seed=0,1,2")[0] == 138
    assert (workplace / "requeued").read_text() == "requeue 17\n"
    assert statuses() == {0: "finished", 1: "interrupted"}


@pytest.mark.long
def test_what_a_run_leaves_in_the_environment_is_not_the_next_one_s(
    command: Callable[..., Said], words: list[str]
) -> None:
    def started_as_the_second_process() -> None:
        os.environ["LOCAL_RANK"] = "1"
        raise RunError("a distributed run that leaves its variables")

    with breaking(0, started_as_the_second_process):
        code, _, err = command("train", "-m", *words, "seed=0,1")
    assert code == 1, err
    assert statuses() == {0: "failed", 1: "finished"}


@pytest.mark.parametrize("word", ["launcher=pool", "sweep=tuned", "sweep.retry_failed=true"])
def test_words_about_a_sweep_are_refused_for_one_run(command: Callable[..., Said], words: list[str], word: str) -> None:
    code, _, err = command("train", *words, word)
    assert code == 2
    assert f"{word} says how a sweep goes, and this is one run; add -m" in one_line(err)
    assert not Path("outputs").exists()


@pytest.mark.long
def test_a_study_asks_for_its_runs_by_itself_and_words_narrow_it(command: Callable[..., Said], workplace: Path) -> None:
    words = ["study=tiny", "trainer=cpu", "trainer.threads=1", "trainer.tensorboard=false"]
    words += ["model.widths=[4,8]", "model.hidden=16"]
    code, out, err = command("train", *words, "optimizer=adam")
    assert code == 0
    assert "2 runs: 2 to do" in err
    assert out.count("optimizer-adam") == 2
    code, _, err = command("train", *words)
    assert code == 0
    assert "4 runs: 2 finished, 2 to do" in err
    records = [json.loads(path.read_text()) for path in Path("outputs/tiny").glob("*/record.json")]
    assert {record["study"] for record in records} == {"tiny"}
    single = launch.train([*words, "optimizer=adam", "seed=0", "hydra.mode=RUN"])
    assert single.already


@pytest.mark.long
def test_a_reader_who_goes_away_ends_no_sweep(sweep: Callable[..., Any], words: list[str], workplace: Path) -> None:
    pipe = workplace / "pipe"
    os.mkfifo(pipe)
    child = sweep(*words, "seed=0,1", output=pipe)
    with pipe.open("rb", buffering=0) as reader:
        assert reader.read(7) == b"2 runs:"
    assert child.wait() == 0
    assert statuses() == {0: "finished", 1: "finished"}


@pytest.mark.long
def test_what_a_failed_run_held_is_free_before_the_next_begins(words: list[str], command: Callable[..., Said]) -> None:
    """On a GPU, a run that was too large would otherwise keep the memory of all later runs."""
    alive: list[int] = []
    carry_out = execution.run

    def counted(*arguments: Any, **options: Any) -> Any:
        alive.append(sum(type(thing) is Classifier for thing in gc.get_objects()))
        return carry_out(*arguments, **options)

    gc.collect()
    gc.disable()  # or chance would free it
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execution, "run", counted)
            patch.setattr(Classifier, "validation_step", lambda *_: full_disk())
            assert command("train", "-m", *words, "seed=0,1,2")[0] == 1
    finally:
        gc.enable()
    assert alive == [0, 0, 0]


@pytest.mark.long
def test_a_sweep_says_once_that_the_cpu_emulates_bfloat16(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch, workplace: Path
) -> None:
    from imgrec import environment

    monkeypatch.setattr(environment, "bfloat16_slowdown", lambda: 31.96)
    code, _, err = command("train", "-m", *words, "trainer.precision=bf16-mixed", "seed=0,1")
    told = "trainer.precision=bf16-mixed is slow here: a convolution takes 32.0 times as long"
    assert (code, err.count(told)) == (0, 1), err
    logs = sorted(workplace.glob("outputs/*/*/train.log"))
    assert [log.read_text().count(told) for log in logs] == [1, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("late", [False, True], ids=["in a run's end", "between two runs"])
@pytest.mark.long
def test_a_signal_whose_exception_python_drops_ends_the_sweep_all_the_same(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """The signal comes in the callback of a weak reference, where Python prints an exception and continues."""

    class Thing:
        """What a weak reference can point to."""

    def interrupt(*rest: Any) -> None:
        thing = Thing()
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert reference() is None

    owner, name = (launch, "show_on_board") if late else (room, "fit_and_read")
    original = getattr(owner, name)

    def then_interrupted(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(owner, name, original)  # a second signal would end the process at once
        original(*arguments, **options)
        interrupt()

    monkeypatch.setattr(owner, name, then_interrupted)
    code, _, err = command("train", "-m", *words, "seed=0,1")
    assert code == 130, err
    assert "2 runs: 1 finished, 1 to do" in err
    code, _, err = command("train", "-m", *words, "seed=0,1")
    assert (code, "2 runs: 1 finished, 1 to do" in err) == (0, True), err


@pytest.mark.long
def test_a_launcher_of_hydras_in_a_file_of_conf_is_refused_before_a_run(
    command: Callable[..., Said], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    shutil.copytree(folders.conf_dir(), folder)
    monkeypatch.setattr(folders, "conf_dir", lambda: folder)
    recipe = folder / "experiment/mine.yaml"
    recipe.write_text("# @package _global_\nexperiment: mine\ndefaults:\n  - override /hydra/launcher: mine\n")
    (folder / "hydra/launcher").mkdir(parents=True)
    (folder / "hydra/launcher/mine.yaml").write_text("_target_: os.system\n")
    code, _, err = command("train", "-m", *words, "experiment=mine", "seed=0,1")
    assert code == 2
    assert one_line(err) == (
        "imgrec: hydra/launcher must stay basic, as launcher= says how a sweep goes, got 'mine' in a file of conf/;"
        " remove it there"
    )
    assert not Path("outputs").exists()


@pytest.mark.long
def test_what_was_asked_for_is_kept_beside_the_runs(command: Callable[..., Said], words: list[str]) -> None:
    assert command("train", "-m", *words, "seed=0,1", "sweep.on_error=stop")[0] == 0
    kept = OmegaConf.load(SWEEP / "multirun.yaml")
    assert kept.hydra.overrides.task == [*words, "seed=0,1", "sweep.on_error=stop"]
    assert kept.hydra.mode == "MULTIRUN"
    assert kept.hydra.sweeper._target_ == "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    assert (kept.model.name, kept.sweep.on_error) == ("cnn", "stop")


@pytest.mark.long
def test_a_signal_before_a_run_of_a_sweep_trains_ends_it_at_once(
    command: Callable[..., Said], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example while a large folder is listed again."""
    take = room.inventory.take

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(room.inventory, "take", take)
        signal.raise_signal(signal.SIGTERM)
        return take(*arguments)

    sweep = Sweep([*words, "seed=0,1"])
    monkeypatch.setattr(room.inventory, "take", interrupted)
    with pytest.raises(Interrupted):
        sweep.run()
    assert not [status for status in statuses().values() if status == "finished"]
    assert command("train", "-m", *words, "seed=0,1")[0] == 0


@pytest.mark.long
def test_a_run_of_a_sweep_ends_where_it_began(words: list[str], workplace: Path) -> None:
    """The calling program may change its working folder while the sweep runs."""
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    with breaking(0, lambda: os.chdir(elsewhere)), contextlib.suppress(AssertionError):
        Sweep([*words, "seed=0", "hydra.sweep.dir=sweep"]).run()
    (record,) = (workplace / "sweep").glob("*/record.json")
    assert json.loads(record.read_text())["status"] == "finished"


@pytest.mark.long
def test_a_setting_that_only_some_of_the_choices_have_is_refused_with_the_commands_that_work(
    tiny: list[str], command: Callable[..., Said]
) -> None:
    words = [*tiny, "trainer.max_epochs=1"]
    code, out, err = command("train", "-m", *words, "loss=cross_entropy,focal", "loss.gamma=1,2")
    assert (code, out) == (2, "")
    rule, _, ways = one_line(err).partition("; ")
    assert rule == (
        "imgrec: loss.gamma must be a setting of each choice of the sweep, and is none of loss=cross_entropy"
    )
    for way in ways.partition(": ")[2].split(" and "):
        program, *asked = shlex.split(way)
        assert program == "imgrec"
        code, out, err = command(*asked)
        assert code == 0, err
    code, out, err = command("table", "outputs/default", "--format", "csv")
    assert code == 0, err
    assert [row.split(",")[0].split(" ")[0] for row in out.splitlines()[1:]] == ["cross_entropy", "focal", "focal"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["loss=cross_entropy,focal", "loss.gamma=3"],
            "; give two commands, whose runs share a folder: imgrec tr",
        ),
        (
            ["study=digits", "optimizer.momentum=0.5"],
            " study=digits optimizer.momentum=0.5 optimizer=momentum and imgrec tr",
        ),
        (
            ["loss=focal,label_smoothing", "loss.gamma=1,2", "loss.smoothing=0.1,0.2"],
            "-m data=digits loss=label_smoothing loss.smoothing=0.1,0.2 and imgrec train -m data=digits loss=focal"
            " loss.gamma=1,2",
        ),
        (["study=digits", "optimizer.momentum=0.5"], " -m data=digits study=digits optimizer=sgd,adam,adagrad"),
        (
            ["sweep=tuned", "sweep.tune=['loss.gamma=1,2']", "loss=focal,mse"],
            "and is none of loss=mse; tune loss=focal and loss=mse by two commands",
        ),
        (["loss=cross_entropy,mse", "loss.gamma=3"], "loss.gamma is not a key of this choice, only of loss=focal"),
    ],
)
def test_a_setting_of_some_of_the_choices_is_refused_whoever_names_it(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Sweep(["data=digits", *words])
    assert sentence in str(refusal.value)


@pytest.mark.long
def test_a_gpu_that_breaks_ends_the_sweep_and_fails_no_run(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpus.install(monkeypatch, tmp_path, "NVIDIA H200")

    def breaks() -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported")

    stopped = (
        "the GPU cannot be used: CUDA error: uncorrectable ECC error encountered; mend it, .* it goes on with what"
    )
    with breaking(0, breaks), pytest.raises(RunError, match=stopped):
        Sweep([*words, "seed=0,1"]).run()
    assert statuses() == {0: "interrupted"}
    assert "2 runs: 1 to resume, 1 to do" in capsys.readouterr().err
    monkeypatch.undo()
    Sweep([*words, "seed=0,1"]).run()
    assert statuses() == {0: "finished", 1: "finished"}


@pytest.mark.long
def test_an_error_after_which_cuda_fails_ends_the_sweep_and_fails_its_run(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed assertion on the device is the program's own fault; yet no later run of the process could train."""

    def fails(*rest: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def breaks() -> None:
        monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
        monkeypatch.setattr("torch.cuda.synchronize", fails)
        fails()

    stopped = (
        "CUDA has failed in this process, .* got: CUDA error: device-side assert triggered; start the same command"
    )
    with breaking(0, breaks), pytest.raises(RunError, match=stopped):
        Sweep([*words, "seed=0,1"]).run()
    assert statuses() == {0: "failed"}
