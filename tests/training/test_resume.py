"""Test that an interrupted and resumed run ends with the same bits as an uninterrupted one."""

import contextlib
import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, folder_of, state, steps_logged, tree

from imgrec import launch
from imgrec.errors import Interrupted, LostProcess, RunError, UsageError, interruption_in
from imgrec.sweeps.run import Sweep
from imgrec.training.writer import Writer

RICH = ("trainer.max_epochs=4", "model.dropout=0.3", "augment=crop_flip", "trainer.ema_decay=0.8", "schedule=cosine")


@pytest.mark.long
def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_run(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    words = ["train", *tiny, *RICH, "data.num_workers=2"]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}", group=True)
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*RICH), cut)


@pytest.mark.parametrize(
    ("signum", "code", "workers"),
    [(signal.SIGTERM, 143, 0), (signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 2), (signal.SIGKILL, -9, 0)],
)
def test_an_interrupted_run_ends_as_the_undisturbed_one(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    signum: int,
    code: int,
    workers: int,
) -> None:
    words = ["train", *tiny, *RICH, f"data.num_workers={workers}"]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signum) == code  # 8 steps an epoch
    if signum != signal.SIGKILL:
        assert json.loads((cut / "record.json").read_text())["status"] == "interrupted"
        position = state(cut)["ImageData"]
        assert position["epoch"] == 1
        assert 3 <= position["batch"] < 8, "it should have been interrupted in the middle of the second epoch"
        assert "interrupted by SIG" in child.log.read_text().splitlines()[-1]
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*RICH), cut)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('echo "$@" > requeued', "SLURM job 17_3 is saved and requeued"),
        (
            "echo no such job >&2; exit 1",
            "SLURM job 17_3 is saved, but cannot be requeued: no such job; submit",
        ),
    ],
)
@pytest.mark.long
def test_slurm_s_warning_saves_and_requeues(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    said: str,
) -> None:
    scontrol = workplace / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\n{answer}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "20", "ARRAY_JOB_ID": "17", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    words = ["train", *tiny, *RICH, "hydra.run.dir=run"]
    child = imgrec(*words)
    assert child.signal_when(lambda: steps_logged(Path("run")) >= 11, signal.SIGUSR1) == 138, child.log.read_text()
    assert said in child.log.read_text()
    assert (workplace / "requeued").exists() == ("requeued" in answer)
    if "requeued" in answer:
        assert (workplace / "requeued").read_text() == "requeue 17_3\n"
    assert json.loads(Path("run/record.json").read_text())["status"] == "interrupted"
    assert imgrec(*words).wait() == 0


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")], ids=["run", "sweep"])
def test_slurm_s_warning_requeues_a_job_that_has_not_begun_its_run(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    sweep: tuple[str, ...],
) -> None:
    """The signal comes while the user's component is loaded, which stands for PyTorch and slow disks."""
    scontrol = workplace / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\necho "$@" >> requeued\n')
    scontrol.chmod(0o755)
    (workplace / "slow.py").write_text("import pathlib, time\npathlib.Path('loads').touch()\ntime.sleep(60)\n")
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    child = imgrec("train", "--components", "slow.py", *sweep, *tiny)
    assert child.signal_when(Path("loads").exists, signal.SIGUSR1) == 138, child.log.read_text()
    assert Path("requeued").read_text() == "requeue 17\n"
    assert child.log.read_text().splitlines()[-1].startswith("imgrec: interrupted by SIGUSR1")


@pytest.mark.long
def test_the_number_of_workers_may_change_when_a_run_goes_on(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    words = ["train", *tiny, *RICH]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}", "data.num_workers=2")
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143
    assert imgrec(*words, f"hydra.run.dir={cut}").wait() == 0
    assert_same_run(undisturbed(*RICH), cut)


def test_a_signal_that_ends_in_an_error_of_the_code_that_it_cut_is_no_failure(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    """For example, it comes while OmegaConf creates an object, and the clean-up fails on the incomplete object."""
    from imgrec.training import run

    def cut(*arguments: Any) -> Any:
        try:
            try:
                raise Interrupted(signal.SIGTERM)
            finally:
                None.clear_up()  # type: ignore[attr-defined]
        except AttributeError as error:
            raise RunError(f"a file that cannot be read: {error}") from error

    read = run.final.read
    monkeypatch.setattr(run.final, "read", cut)
    words = [*tiny, "trainer.max_epochs=1"]
    code, _, err = command("train", *words)
    assert code == 143
    assert err.splitlines()[-1] == "imgrec: interrupted by SIGTERM: the same command goes on from here"
    assert json.loads((folder_of(words) / "record.json").read_text())["status"] == "interrupted"
    code, _, err = command("train", "-m", *words, "seed=0,1")
    assert code == 143
    assert "2 runs: 1 to resume, 1 to do" in err.splitlines()[-2]
    monkeypatch.setattr(run.final, "read", read)
    assert command("train", *words)[0] == 0


ENDS = {
    "a signal": lambda: Interrupted(signal.SIGTERM),
    "a process that is lost": lambda: LostProcess(signal.SIGKILL, "process 1 of the run was ended by SIGKILL"),
    "a full disk": lambda: OSError(errno.ENOSPC, "No space left on device", "curves.csv"),
    "a broken GPU": lambda: RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    "a worker": lambda: RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed."),
}


@pytest.mark.long
def test_a_run_without_a_checkpoint_is_said_to_begin_again(
    tiny: list[str], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgrec.gpus.broken", lambda error: str(error) if "ECC" in str(error) else None)
    words = ["train", *tiny, "trainer.max_epochs=1"]

    def said(end: Callable[[], BaseException]) -> str:
        def cut(*_: Any, **__: Any) -> Any:
            raise end()

        with monkeypatch.context() as patched:
            patched.setattr("imgrec.training.fitting.Fitting.run", cut)
            err = str(command(*words)[2])
        return err.splitlines()[-1].rpartition("the same command ")[2]

    for name, end in ENDS.items():
        whole = "the run" if name in ("a signal", "a process that is lost") else "it"
        assert said(end) == f"begins {whole} again, as it has no checkpoint yet", name
    with monkeypatch.context() as patched:
        patched.setattr("imgrec.training.run.final.read", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert command(*words)[0] == 143
    for name, end in ENDS.items():
        place = {"a signal": "here", "a process that is lost": "the last checkpoint"}.get(name, "its last checkpoint")
        assert said(end) == f"goes on from {place}", name
    assert command(*words)[0] == 0


def test_an_interruption_is_found_in_any_chain_of_errors() -> None:
    cut, alone = Interrupted(signal.SIGINT), ValueError("alone")
    both = RunError("both")
    both.__cause__, both.__context__ = alone, cut
    alone.__cause__ = alone  # OmegaConf's do so
    assert interruption_in(alone) is None
    assert interruption_in(both) is cut
    assert interruption_in(cut) is cut


@pytest.mark.long
def test_a_run_goes_on_with_the_threads_it_began_with(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgrec.training import run

    words = [word for word in tiny if not word.startswith("trainer.threads")]
    read = run.final.read

    def fail(*arguments: Any) -> Any:
        raise OSError("the disk went away")

    alone = torch.get_num_threads()
    monkeypatch.setattr(run.final, "read", fail)
    with pytest.raises(RunError, match="the disk went away"):
        launch.train([*words, "trainer.max_epochs=1"])
    monkeypatch.setattr(run.final, "read", read)
    torch.set_num_threads(alone + 1)
    try:
        kept = launch.train([*words, "trainer.max_epochs=1"]).record
        anew = launch.train([*words, "trainer.max_epochs=1", "seed=1"]).record
        assert torch.get_num_threads() == alone + 1, "and no other run does"
    finally:
        torch.set_num_threads(alone)
    assert kept.environment["threads"] == alone
    assert anew.environment["threads"] == alone + 1


@pytest.mark.long
def test_saving_beside_the_training_changes_nothing(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    cut = workplace / "cut"
    words = ["train", *tiny, *RICH, "trainer.async_save=true", "trainer.checkpoint_every=2", f"hydra.run.dir={cut}"]
    child = imgrec(*words)
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    assert imgrec(*words).wait() == 0
    assert_same_run(undisturbed(*RICH), cut)


def test_best_stays_where_the_save_before_its_copy_failed(tmp_path: Path) -> None:
    writer, done = Writer(in_background=True), []

    def fail() -> None:
        raise RunError("no room")

    writer.do(fail)
    with contextlib.suppress(RunError):  # refused at once, where the first is quick
        writer.do(done.append, "copied")
    with pytest.raises(RunError, match="no room"):
        writer.wait()
    with pytest.raises(RunError, match="no room"):
        writer.do(done.append, "copied")
    writer.close()
    assert done == []


@pytest.mark.long
def test_the_thread_that_saves_ends_with_the_run(tiny: list[str], workplace: Path) -> None:
    launch.train([*tiny, "trainer.max_epochs=1", "trainer.async_save=true"])
    assert not [thread.name for thread in threading.enumerate() if "imgrec" in thread.name]


@pytest.mark.long
def test_a_run_interrupted_between_two_checkpoints_goes_on_from_a_step(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    words = ["train", *tiny, *RICH, "trainer.accumulate=2", "trainer.checkpoint_every=3"]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 7, signal.SIGKILL) == -9
    again = imgrec(*words, f"hydra.run.dir={cut}")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*RICH, "trainer.accumulate=2"), cut)


def test_resume_names_the_run_and_needs_no_other_word(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    child = imgrec("train", *tiny, *RICH)
    folder = folder_of([*tiny, *RICH])
    assert child.signal_when(lambda: steps_logged(folder) >= 11, signal.SIGTERM) == 143
    outcome = launch.train([f"resume={folder}"])
    assert outcome.folder == folder
    assert outcome.record.status == "finished"
    assert outcome.record.progress["steps"] == 32


@pytest.mark.long
def test_a_changed_configuration_is_refused_with_the_difference(finished: Path, workplace: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    with pytest.raises(UsageError, match=r"optimizer\.lr 0\.001 -> 0\.1, .*\); drop the change, or allow it with"):
        launch.train([f"resume={finished}", "optimizer.lr=0.1", "trainer.max_epochs=2"])
    with pytest.raises(UsageError, match=r"loss\.name cross_entropy -> focal, "):
        launch.train([f"resume={finished}", "loss=focal", "trainer.max_epochs=2"])
    assert {path: path.stat().st_mtime_ns for path in workplace.rglob("*")} == before


@pytest.mark.long
def test_an_allowed_change_goes_on_in_a_new_folder(tiny: list[str], workplace: Path) -> None:
    short = launch.train([*tiny, "trainer.max_epochs=2"])
    longer = launch.train([f"resume={short.folder}", "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"])
    straight = launch.train([*tiny, "trainer.max_epochs=3"])
    assert longer.folder != short.folder
    assert longer.record.parent == str(short.folder.absolute())
    assert longer.record.progress["steps"] == 24
    # it was not trained straight, so it is another run; at a constant rate it arrives at the same weights
    assert straight.folder != longer.folder
    assert not straight.already
    assert straight.record.weights["last"] == longer.record.weights["last"]
    again = launch.train([f"resume={short.folder}", "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"])
    assert again.already
    assert again.folder == longer.folder
    itself = launch.train([f"resume={longer.folder}"])
    assert itself.folder == longer.folder
    assert json.loads((short.folder / "record.json").read_text())["progress"]["steps"] == 16


@pytest.mark.long
def test_a_changed_rate_and_decay_take_effect_when_they_are_allowed(finished: Path) -> None:
    other = launch.train(
        [
            f"resume={finished}",
            "trainer.max_epochs=2",
            "optimizer.lr=0.5",
            "optimizer.weight_decay=0.25",
            "resume_override=[trainer.max_epochs,optimizer.lr,optimizer.weight_decay]",
        ]
    )
    (group,) = state(other.folder)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.5
    assert group["weight_decay"] == 0.25


@pytest.mark.long
def test_a_run_whose_training_is_over_only_reads_its_scores(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgrec.training import run

    read = run.final.read

    def fail(*arguments: Any) -> Any:
        raise OSError("the disk went away")

    monkeypatch.setattr(run.final, "read", fail)
    with pytest.raises(RunError, match="the disk went away; free the disk"):
        launch.train([*tiny, "trainer.max_epochs=1"])
    monkeypatch.setattr(run.final, "read", read)
    folder = folder_of([*tiny, "trainer.max_epochs=1"])
    record = launch.runfolder.look(folder)
    assert record is not None
    assert record.status == "failed"
    assert record.error is not None
    assert "the disk went away" in record.error
    weights = (folder / "checkpoints/last.ckpt").read_bytes()
    outcome = launch.train([*tiny, "trainer.max_epochs=1"])
    assert outcome.record.status == "finished"
    assert outcome.record.error is None
    assert (folder / "checkpoints/last.ckpt").read_bytes() == weights


@pytest.mark.parametrize("epoch", [1, 2], ids=["epoch 1 of 2", "the last epoch"])
@pytest.mark.long
def test_a_crash_between_the_two_saves_of_an_epochs_end_costs_no_best(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path, epoch: int
) -> None:
    """Each epoch of this run improves the loss, so that `best` is saved after each `last`."""
    from imgrec.training import saver

    words = ["train", *tiny, "trainer.max_epochs=2"]

    def crash_before_the_best() -> None:
        copies, copy = 0, saver.link_or_copy

        def counted(source: Path, target: Path) -> str:
            nonlocal copies
            copies += target.name == "best.ckpt"
            if copies == epoch:
                os._exit(9)
            return copy(source, target)

        saver.link_or_copy = counted

    assert imgrec(*words, "hydra.run.dir=cut", before=crash_before_the_best).wait() == 9
    again = imgrec(*words, "hydra.run.dir=cut")
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed("trainer.max_epochs=2"), workplace / "cut")


@pytest.mark.long
def test_what_the_stored_state_belongs_to_cannot_change(tiny: list[str], workplace: Path) -> None:
    base = launch.train([*tiny, "trainer.max_epochs=1", "trainer.ema_decay=0.9"])
    for words, why in (
        (["optimizer=sgd", "resume_override=[optimizer.name]"], "the stored state of the optimizer belongs to"),
        (["trainer.ema_decay=0", "resume_override=[trainer.ema_decay]"], "best and last so far are the averaged"),
    ):
        with pytest.raises(UsageError, match=why):
            launch.train([f"resume={base.folder}", *words])
    with pytest.raises(UsageError, match="resume continues one run, and a sweep asks for several"):
        Sweep([f"resume={base.folder}", "seed=1,2"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("model.hidden=24", r"cannot change model\.hidden 16 -> 24 \(the stored weights have the shapes"),
        ("data.image_size=16", r"network\.net\..* is \(16, 128\) here and \(16, 32\) there; drop the change"),
    ],
)
def test_another_network_is_refused_before_anything_is_written(
    finished: Path, workplace: Path, change: str, sentence: str
) -> None:
    before = tree(workplace)
    allowed = f"resume_override=[{change.partition('=')[0]},trainer.max_epochs]"
    with pytest.raises(UsageError, match=sentence):
        launch.train([f"resume={finished}", change, "trainer.max_epochs=2", allowed])
    assert tree(workplace) == before


@pytest.mark.long
def test_fewer_epochs_than_were_trained_are_refused_before_anything_is_written(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    base = launch.train([*tiny, "trainer.max_epochs=3"])
    cut = workplace / "cut"
    child = imgrec("train", *tiny, *RICH, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 11, signal.SIGTERM) == 143  # in the second epoch
    before = tree(workplace)
    for folder, epochs, begun in ((base.folder, 2, 3), (cut, 1, 2)):
        with pytest.raises(UsageError, match=rf"trainer\.max_epochs must be at least {begun}, .* got {epochs}; "):
            launch.train([f"resume={folder}", f"trainer.max_epochs={epochs}", "resume_override=[trainer.max_epochs]"])
    assert tree(workplace) == before
    with pytest.raises(UsageError, match=r"trainer\.max_epochs must be more than 3, .* nothing is left to train"):
        launch.train([f"resume={base.folder}", "optimizer.lr=0.01", "resume_override=[optimizer.lr]"])
    assert tree(workplace) == before


def test_a_parent_without_a_checkpoint_is_refused_before_anything_is_written(finished: Path, workplace: Path) -> None:
    for path in (finished / "checkpoints").iterdir():
        path.unlink()
    before = tree(workplace)
    with pytest.raises(RunError, match="holds no checkpoint to go on from; start a new run: imgrec train data=folder "):
        launch.train([f"resume={finished}", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"])
    assert tree(workplace) == before


@pytest.mark.long
def test_a_change_that_leaves_the_weights_their_shape_is_allowed(finished: Path) -> None:
    other = launch.train(
        [
            f"resume={finished}",
            "model.dropout=0.2",
            "trainer.max_epochs=2",
            "resume_override=[model.dropout,trainer.max_epochs]",
        ]
    )
    assert other.record.progress["steps"] == 16


@pytest.mark.long
def test_best_is_not_compared_across_losses(tiny: list[str], workplace: Path) -> None:
    base = launch.train([*tiny, "trainer.max_epochs=3", "optimizer.lr_scale=10"])
    other = launch.train(
        [
            f"resume={base.folder}",
            "loss=mse",
            "optimizer.lr=1e-9",
            "trainer.max_epochs=4",
            "resume_override=[loss.name,optimizer.lr,trainer.max_epochs]",
        ]
    )
    assert other.record.progress["best"]["epoch"] == 4, "the cross-entropy epochs do not count"
