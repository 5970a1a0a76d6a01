"""Test `imgrec verify`: repeat a finished run in another process, and report differences."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imgrec.training.run  # noqa: F401 # imported before children are forked
from imgrec import launch
from imgrec.cli import main
from imgrec.curve_file import read_curves
from imgrec.verify import verify as verify_run

Said = tuple[int, str, str]


def by_other_code(rows: dict[str, Any]) -> None:
    rows["code"]["imgrec.losses"] = "0 1"


def files(folder: Path) -> dict[str, bytes]:
    """Every file there, to the byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` alter the record in that folder."""
    rows = json.loads((folder / "record.json").read_text())
    change(rows)
    (folder / "record.json").write_text(json.dumps(rows))


@pytest.fixture
def verify(workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call `imgrec verify ARGUMENTS...` in this process; gives exit code, stdout and stderr."""

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["imgrec", "verify", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    return run


@pytest.fixture(scope="module")
def pair(tiny_words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run, `run`, and its finished repetition, outputs/verify/run."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        patch.delenv("XDG_STATE_HOME", raising=False)
        launch.train([*tiny_words, "trainer.max_epochs=2", "hydra.run.dir=run"])
        assert verify_run(Path("run")).refusal is None
    return folder


@pytest.fixture
def verified(pair: Path, workplace: Path) -> Path:
    """The pair in the working folder, to be spoilt; gives the run's folder."""
    shutil.copytree(pair, workplace, dirs_exist_ok=True)
    return Path("run")


@pytest.fixture
def finished(verified: Path) -> Path:
    """The finished run alone."""
    shutil.rmtree("outputs")
    return verified


def test_a_run_comes_out_bit_equal_in_another_process_and_stays_untouched(
    tiny: list[str], imgrec: Callable[..., Any]
) -> None:
    words = [*tiny, "trainer.max_epochs=2", "augment=crop_flip", "model.dropout=0.3", "trainer.tensorboard=true"]
    assert imgrec("train", *words, "trainer.progress=plain", "hydra.run.dir=runs/one").wait() == 0
    before = files(Path("runs/one"))
    child = imgrec("verify", "runs/one")
    assert child.wait() == 0, child.log.read_text()
    *progress, verdict, where = child.log.read_text().splitlines()
    assert verdict == "bit-equal: weights at best and last, 24 scores, 56 curve rows"
    assert where == "run again in outputs/verify/one"
    assert any(line.startswith("epoch 2/2") for line in progress)
    assert "epoch 2/2" in Path("outputs/verify/one/train.log").read_text()
    assert files(Path("runs/one")) == before
    again = imgrec("verify", "runs/one")
    assert again.wait() == 0
    assert again.log.read_text().splitlines() == [
        verdict,
        "run again earlier in outputs/verify/one; remove it to run once more",
    ]
    assert files(Path("runs/one")) == before


@pytest.mark.long
def test_an_interrupted_verification_goes_on(tiny: list[str], imgrec: Callable[..., Any]) -> None:
    words = [*tiny, "trainer.max_epochs=4"]
    assert imgrec("train", *words, "hydra.run.dir=run").wait() == 0
    before = files(Path("run"))
    curves = Path("outputs/verify/run/curves.csv")
    child = imgrec("verify", "run")
    code = child.signal_when(lambda: curves.exists() and "\n11,2," in curves.read_text(), signal.SIGINT)
    assert code == 130, child.log.read_text()
    assert child.log.read_text().endswith("imgrec: interrupted by SIGINT: the same command goes on from here\n")
    assert json.loads(Path("outputs/verify/run/record.json").read_text())["status"] == "interrupted"
    again = imgrec("verify", "run")
    assert again.wait() == 0, again.log.read_text()
    assert "/outputs/verify/run/checkpoints/last.ckpt, step" in again.log.read_text()
    assert "bit-equal: weights at best and last" in again.log.read_text()
    assert files(Path("run")) == before


@pytest.mark.long
def test_a_run_that_was_interrupted_is_that_of_the_straight_repetition(
    tiny: list[str], imgrec: Callable[..., Any]
) -> None:
    words = ["train", *tiny, "trainer.max_epochs=4", "trainer.ema_decay=0.8", "hydra.run.dir=run"]
    curves = Path("run/curves.csv")
    child = imgrec(*words)
    assert child.signal_when(lambda: curves.exists() and "\n11,2," in curves.read_text(), signal.SIGTERM) == 143
    assert imgrec(*words).wait() == 0
    again = imgrec("verify", "run")
    assert again.wait() == 0, again.log.read_text()
    assert "going on" not in again.log.read_text()
    assert "bit-equal: weights at best and last" in again.log.read_text()


@pytest.mark.slow
def test_what_the_run_left_to_the_machine_is_taken_from_its_record(tiny: list[str], workplace: Path) -> None:
    def imgrec(*words: str, threads: int) -> None:  # not forked: OpenMP's threads do not survive that
        told = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-m", "imgrec", *words], env=told, check=True, capture_output=True)

    imgrec("train", *tiny, "trainer.threads=0", "trainer.max_epochs=1", "hydra.run.dir=run", threads=2)
    edit(Path("run"), lambda rows: rows["config"].update({"trainer.accelerator": "auto"}))
    edit(Path("run"), lambda rows: rows["environment"].update(gpu=[]))
    imgrec("verify", "run", threads=1)
    rows = json.loads(Path("outputs/verify/run/record.json").read_text())
    assert rows["environment"]["threads"] == rows["config"]["trainer.threads"] == 2
    assert rows["config"]["trainer.accelerator"] == "cpu"


@pytest.mark.long
def test_the_first_row_that_drifts_is_named(verify: Callable[..., Said], verified: Path) -> None:
    rows = read_curves(verified / "curves.csv")
    text = (verified / "curves.csv").read_text()
    for row in rows:
        if int(row["step"]) >= 11 and row["metric"] == "step_loss":
            text = text.replace(f",{row['value']}\n", ",0.5\n")
        if int(row["step"]) == 3 and row["metric"] == "images_per_second":
            text = text.replace(f",{row['value']}\n", ",1.0\n")
    (verified / "curves.csv").write_text(text)
    before = files(verified)
    (there,) = (row["value"] for row in rows if (row["step"], row["metric"]) == ("11", "step_loss"))
    code, out, err = verify("run")
    assert code == 1
    first = f"step 11, epoch 2, train step_loss 0.5 -> {there}"
    assert out.splitlines() == [
        f"drifts first: {first}",
        "weights: agree at best and last, only what was measured differs",
        "differing: 6 of 56 curve rows, 0 of 24 scores",
        "environment: the same",
        "run again earlier in outputs/verify/run; remove it to run once more",
    ]
    assert err == (
        f"imgrec: run must come out bit-equal, and drifts: {first}; the recorded environments agree, so look for"
        " changed files or code; remove outputs/verify/run to run once more\n"
    )
    assert files(verified) == before


@pytest.mark.long
def test_weights_that_differ_under_equal_curves_are_named(verify: Callable[..., Said], verified: Path) -> None:
    edit(verified, lambda rows: rows["weights"].update(last="0" * 64))
    code, out, err = verify("run")
    assert code == 1
    assert out.startswith("drifts first: the curves agree, the weights differ at last\nweights: differ at last\n")
    assert err.count("\n") == 1


def test_a_score_that_differs_is_named(verify: Callable[..., Said], verified: Path) -> None:
    edit(verified, lambda rows: rows["scores"][-1].update(value=0.125))
    code, out, _ = verify("run")
    assert code == 1
    assert "drifts first: the weights agree, the scores differ: test clean top1 at last" in out
    assert " 0.125 (n=12) -> " in out


def test_what_diverged_alike_is_equal(verify: Callable[..., Said], verified: Path) -> None:
    for folder in (verified, Path("outputs/verify/run")):
        edit(folder, lambda rows: rows["scores"][-1].update(value=None))  # NaN, which JSON does not have
    code, out, _ = verify("run")
    assert (code, out.partition(":")[0]) == (0, "bit-equal")


def test_rows_of_one_run_alone_are_not_compared(verify: Callable[..., Said], verified: Path) -> None:
    lines = (verified / "curves.csv").read_text().splitlines(keepends=True)
    (verified / "curves.csv").write_text("".join(line for line in lines if ",step_loss," not in line))
    code, out, _ = verify("run")
    assert code == 0
    assert "24 scores, 40 curve rows\nnot compared: 16 curve rows of metrics that only one of the two has\n" in out
    (verified / "curves.csv").unlink()
    edit(verified, lambda rows: rows["weights"].update(last="0" * 64))
    code, out, _ = verify("run")
    assert code == 1
    assert "drifts first: no curve row is common, the weights differ at last" in out


REMOVALS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("no score", lambda rows: rows.update(scores=[])),
    ("the first score", lambda rows: rows["scores"].pop(0)),
    ("the last score", lambda rows: rows["scores"].pop()),
    ("no weights", lambda rows: rows.update(weights={})),
]


@pytest.mark.parametrize("change", [change for _, change in REMOVALS], ids=[name for name, _ in REMOVALS])
@pytest.mark.parametrize("folder", ["run", "outputs/verify/run"])
def test_what_only_one_of_the_two_has_differs(
    verify: Callable[..., Said], verified: Path, folder: str, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(Path(folder), change)
    code, out, _ = verify("run")
    assert code == 1
    assert out.startswith("drifts first: ")
    assert "absent" in out or "the weights differ at best and last" in out


def test_a_row_that_only_one_of_the_two_has_differs(verify: Callable[..., Said], verified: Path) -> None:
    path = verified / "curves.csv"
    lines = path.read_text().splitlines(keepends=True)
    (gone,) = [line for line in lines if line.startswith("11,2,train,step_loss,")]
    path.write_text("".join(line for line in lines if line != gone))
    code, out, _ = verify("run")
    assert code == 1
    assert f"drifts first: step 11, epoch 2, train step_loss absent -> {gone.split(',')[-1]}" in out
    path.write_text("".join([*lines, "99,9,val,top1,1.0\n"]))
    code, out, _ = verify("run")
    assert code == 1
    assert "drifts first: step 99, epoch 9, val top1 1.0 -> absent\n" in out


def test_a_score_twice_is_refused_at_reading(
    verify: Callable[..., Said], command: Callable[..., Said], verified: Path
) -> None:
    edit(verified, lambda rows: rows["scores"].append({**rows["scores"][0], "value": 1.0}))
    for said in (verify("run"), command("table", "run")):
        code, out, err = said
        assert (code, out) == (1, "")
        assert (
            "run/record.json must be a record that imgrec wrote, got the score val clean balanced_accuracy at best"
            " twice" in err
        )


@pytest.mark.parametrize("state", ["finished", "interrupted", "without a record"])
@pytest.mark.long
def test_a_copy_is_no_repetition(verify: Callable[..., Said], finished: Path, state: str) -> None:
    copy = Path("outputs/verify/run")
    shutil.copytree(finished, copy)
    edit(finished, lambda rows: rows["scores"][-1].update(value=1.0))
    edit(copy, lambda rows: rows["scores"][-1].update(value=1.0))
    edit(copy, lambda rows: rows.update(status=state))
    if state == "without a record":
        (copy / "record.json").unlink()
    for token in (None, "0" * 32, "../../run/record"):
        if token is not None:
            (copy / ".verified").write_text(token)
        code, out, err = verify("run")
        assert (code, out) == (1, "")
        assert "must be a repetition that imgrec verify made on this account, and nothing here knows of it" in err
    shutil.rmtree(copy)  # the way out
    code, out, _ = verify("run")
    assert code == 1
    assert "drifts first: the weights agree, the scores differ: test clean top1 at last" in out


@pytest.mark.parametrize("lacking", ["a folder", "a home"])
@pytest.mark.long
def test_an_account_without_a_place_for_its_notes_verifies_all_the_same(
    verify: Callable[..., Said], finished: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "a folder":
        Path("nothing").write_text("")
        monkeypatch.setenv("XDG_STATE_HOME", str(Path("nothing").resolve()))
    else:  # as in a container that is run under a number that passwd does not know
        for name in ("XDG_STATE_HOME", "HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    code, out, err = verify("run")
    assert (code, out.partition(":")[0]) == (0, "bit-equal"), err
    assert "if this is interrupted it will have to begin anew" in err
    code, _, err = verify("run")
    assert (code, "remove it, and verify again" in err) == (1, True)


def test_another_environment_is_shown(verify: Callable[..., Said], verified: Path) -> None:
    edit(verified, lambda rows: rows["environment"].update(torch="1.0.0", threads=64, commit="0123456789abcdef"))
    there = json.loads(Path("outputs/verify/run/record.json").read_text())["environment"]
    code, out, _ = verify("run")
    assert code == 0, "it may well be bit-equal"
    for change in (
        f"torch 1.0.0 -> {there['torch']}",
        f"threads 64 -> {there['threads']}",
        "commit 0123456789ab -> ",
    ):
        assert change in out
    edit(verified, lambda rows: rows["weights"].update(best="0" * 64))
    code, _, err = verify("run")
    assert code == 1
    assert "restore the recorded environment, remove outputs/verify/run and verify again" in err


@pytest.mark.long
def test_it_is_said_where_bit_equality_is_not_promised(tiny: list[str], verify: Callable[..., Said]) -> None:
    launch.train([*tiny, "trainer.max_epochs=1", "trainer.deterministic=false", "hydra.run.dir=run"])
    code, out, _ = verify("run")
    assert code == 0
    assert "\nnote: trainer.deterministic=false promises no bit-equality\n" in out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "interrupted"}, "and is interrupted; finish it with imgrec train resume=run"),
        ({"status": "running"}, "and is interrupted; finish it with imgrec train resume=run"),
        ({"status": "failed"}, "and is failed; mend the cause and finish it with imgrec train resume=run"),
        ({"parent": "runs/first"}, "it went on from a state of runs/first that is not kept; verify runs/first, or"),
        ({"fingerprint": "0" * 64}, "names or contents have changed since (00000000 -> "),
        ({"run_id": "0" * 64}, "must hold the configuration of run 00000000, and this version makes run "),
        ({"config": {"seed": 0, "colour": "red"}}, "must hold a configuration that this version knows, got: colour"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_that_cannot_be_verified_is_refused(
    verify: Callable[..., Said], finished: Path, change: dict[str, Any], sentence: str
) -> None:
    edit(finished, lambda rows: rows.update(change))
    before = files(Path())
    code, out, err = verify("run")
    assert (code, out) == (1, ""), err
    assert err.count("\n") == 1
    assert err.startswith("imgrec: run")
    assert sentence in err
    assert files(Path()) == before


def test_what_is_no_run_is_refused(verify: Callable[..., Said], workplace: Path) -> None:
    code, out, err = verify("nowhere")
    assert (code, out) == (2, "")
    assert "nowhere must be a run's folder with a record.json, and has none" in err
    assert list(workplace.iterdir()) == []


def test_curves_that_cannot_be_read_are_refused(verify: Callable[..., Said], finished: Path) -> None:
    (finished / "curves.csv").write_text("step,epoch,split,metric,value\nfirst,1,train,lr,0.1\n")
    before = files(Path())
    code, out, err = verify("run")
    assert (code, out) == (1, "")
    assert (
        "run/curves.csv must be a table of step, epoch, split, metric, value, and cannot be read: invalid literal"
        in err
    )
    assert files(Path()) == before


def test_hardware_that_is_not_there_is_refused(
    verify: Callable[..., Said], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(finished, lambda rows: rows["environment"].update(gpu=["NVIDIA H200"]))
    edit(finished, lambda rows: rows["config"].update({"trainer.accelerator": "auto"}))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    before = files(Path())
    code, out, err = verify("run")
    assert (code, out) == (2, "")
    assert "trainer.accelerator=gpu needs a CUDA GPU and this machine has none; verify it on such a machine" in err
    assert files(Path()) == before


@pytest.mark.long
def test_images_that_moved_are_named(
    tiny: list[str], tiny_images: Path, verify: Callable[..., Said], workplace: Path
) -> None:
    shutil.copytree(tiny_images, "photos")
    launch.train([*tiny, "data.root=photos", "trainer.max_epochs=1", "hydra.run.dir=run"])
    Path("photos").rename("elsewhere")
    before = files(workplace)
    code, out, err = verify("run")
    assert (code, out) == (2, "")
    assert "got 'photos', which is nothing there; name their place with --data-root" in err
    assert files(workplace) == before
    code, out, err = verify("run", "--data-root", "elsewhere")
    assert (code, out.partition(":")[0]) == (0, "bit-equal"), err


def test_a_run_is_not_its_own_repetition(verify: Callable[..., Said], verified: Path) -> None:
    code, out, err = verify("outputs/verify/run")
    assert (code, out) == (2, "")
    assert "outputs/verify/run must stay untouched, and outputs/verify/run lies in it; name the run" in err


def test_another_runs_repetition_is_left_alone(verify: Callable[..., Said], verified: Path) -> None:
    edit(Path("outputs/verify/run"), lambda rows: rows.update(run_id="1" * 64))
    before = files(Path())
    code, out, err = verify("run")
    assert (code, out) == (2, "")
    assert "or none, and it holds run 11111111; move it away" in err
    assert files(Path()) == before


def test_other_code_is_named_and_never_refused(verify: Callable[..., Said], verified: Path) -> None:
    edit(verified, by_other_code)
    edit(verified, lambda rows: rows["config"].update(code="refuse"))
    code, out, _ = verify("run")
    assert code == 0
    assert "environment: code of imgrec.losses\n" in out


def test_an_old_verification_by_other_code_says_so(verify: Callable[..., Said], verified: Path) -> None:
    edit(Path("outputs/verify/run"), by_other_code)
    code, out, _ = verify("run")
    assert code == 0
    assert out.splitlines()[-1] == (
        "run again earlier in outputs/verify/run; remove it to run once more, with the code that is there now:"
        " imgrec.losses has changed since"
    )
