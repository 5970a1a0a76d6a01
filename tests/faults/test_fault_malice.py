"""Test files and overrides that try to execute code: a file that such code creates must not appear."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import canaries
import pytest
import torch
from runs import Evil, one_line, tree

from imgrec.data import cifar10_files

Said = tuple[int, str, str]


@pytest.fixture
def canary(workplace: Path) -> Iterator[Path]:
    """A file that none of these may create; the test itself shows that it would have sung."""
    path = workplace / "canary"
    yield path
    assert not path.exists(), "something was executed"
    pickle.loads(pickle.dumps(Evil(path)))
    assert path.exists()


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("verified", [False, True])
def test_a_checkpoint_that_is_a_program(
    finished: Path,
    command: Callable[..., Said],
    canary: Path,
    outcome: Callable[[str, str], None],
    name: str,
    verified: bool,
) -> None:
    path = finished / "checkpoints" / name
    state = torch.load(path, weights_only=True)
    path.unlink()  # a hard link of the other one, perhaps
    torch.save({**state, "callbacks": Evil(canary)}, path)
    beside = path.with_name(f"{name}.sha256")
    beside.unlink()
    if verified:
        beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n")
    code, _, err = command("evaluate", str(path))
    assert code == 1
    assert f"{path} must be a checkpoint of tensors and plain containers" in one_line(err)
    outcome(f"a pickle bomb in {name}, SHA-256 {'right' if verified else 'absent'}: evaluate", one_line(err))
    code, _, err = command("train", "resume=run", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]")
    if name == "last.ckpt":
        assert code == 1
        assert "holds no whole checkpoint" in one_line(err)
        outcome("the same: resume", one_line(err))
    else:  # it is not what a run goes on from, but what is measured in the end, unless a better one replaced it
        assert code in (0, 1)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_data_file_that_is_a_program(
    command: Callable[..., Said],
    workplace: Path,
    canary: Path,
    outcome: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    folder = workplace / cifar10_files.FOLDER
    folder.mkdir()
    for each in cifar10_files.SHA256:
        (folder / each).write_bytes(pickle.dumps(Evil(canary)))
    code, _, err = command("train", "data=cifar10", f"data.root={workplace}", "trainer=cpu")
    assert code == 1
    assert "SHA-256" in one_line(err)
    # and even if its hash were the stated one
    digest = hashlib.sha256(pickle.dumps(Evil(canary))).hexdigest()
    for each in cifar10_files.SHA256:
        monkeypatch.setitem(cifar10_files.SHA256, each, digest)
    with pytest.raises(pickle.UnpicklingError, match=r"name no builtins\.exec"):
        cifar10_files.read_batch(folder, name) if name != "batches.meta" else cifar10_files.read_classes(folder)
    outcome(f"a pickle bomb as {name}", one_line(err))


TARGETS = [
    "+_target_=builtins.exec",
    "model._target_=builtins.exec",
    "+optimizer._target_=builtins.exec",
    "+data={_target_:builtins.exec}",
    "+hydra.callbacks.x={_target_:builtins.exec}",
    "hydra.sweeper._target_=builtins.exec",
    "hydra.launcher._target_=builtins.exec",
    "+hydra.job_logging.handlers.x={class:builtins.exec}",
    "hydra.searchpath=[file:///tmp]",
    "optimizer.lr='!!python/object/apply:builtins.exec [1]'",
    "optimizer.lr=${eval:1}",
    "experiment=../../etc/passwd",
    "model=../model/cnn",
    "hydra.sweep.subdir=../../elsewhere",
    "hydra.job.name=../../elsewhere",
]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("word", TARGETS)
def test_a_word_that_names_a_program(
    command: Callable[..., Said],
    workplace: Path,
    canary: Path,
    outcome: Callable[[str, str], None],
    word: str,
    many: bool,
) -> None:
    code, out, err = command("train", *(["-m"] if many else []), "data=digits", "trainer=cpu", word)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert list(workplace.iterdir()) == []
    if not many:
        outcome(word, f"exit 2: {one_line(err)}")


@pytest.mark.parametrize(
    ("key", "value"),
    [("model.name", "os.system"), ("optimizer._target_", "os.system"), ("loss.name", "../loss"), ("data.name", "x")],
)
def test_a_record_or_checkpoint_whose_configuration_names_a_program(
    finished: Path,
    command: Callable[..., Said],
    canary: Path,
    outcome: Callable[[str, str], None],
    key: str,
    value: str,
) -> None:
    record = json.loads((finished / "record.json").read_text())
    record["config"][key] = value
    (finished / "record.json").write_text(json.dumps(record))
    code, _, err = command("verify", "run")
    assert code in (1, 2)
    outcome(f"{key}={value} in a record: verify", f"exit {code}: {one_line(err)}")
    path = finished / "checkpoints/last.ckpt"
    state = torch.load(path, weights_only=True)
    state["imgrec"]["config"][key] = value
    path.unlink()
    torch.save(state, path)
    path.with_name("last.ckpt.sha256").unlink()
    code, _, err = command("evaluate", str(path))
    assert code in (1, 2)
    outcome(f"{key}={value} in a checkpoint: evaluate", f"exit {code}: {one_line(err)}")


WRITTEN = [
    *("record.json", "config.yaml", "curves.csv", "diagnostics.json", "run.lock", "train.log"),
    *("checkpoints", "evaluations", "tensorboard"),
]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_run_s_folder_whose_links_lead_elsewhere(
    finished: Path, tiny: list[str], command: Callable[..., Said], outcome: Callable[[str, str], None], name: str
) -> None:
    elsewhere = Path("elsewhere")
    if (finished / name).exists():
        (finished / name).rename(elsewhere)
    elif name in ("evaluations", "tensorboard"):
        elsewhere.mkdir()
    (finished / name).symlink_to(Path("..") / elsewhere)
    record = finished / "record.json"
    before = tree(Path("elsewhere")) if elsewhere.exists() else None
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    refusal = f"run/{name} must lie in its folder itself, as imgrec writes there, and is a link to ../elsewhere; put"
    code, _, err = command("train", *tiny, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert (code, refusal in one_line(err)) == (2, True), err
    if name == "evaluations":
        code, _, err = command("evaluate", "run", "--protocol", "tta_flip")
        assert (code, refusal in one_line(err)) == (2, True), err
    if name != "record.json":  # which this test itself has changed
        assert (tree(Path("elsewhere")) if elsewhere.exists() else None) == before
    outcome(f"{name} of a run's folder is a link elsewhere", one_line(err))


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device"])
@pytest.mark.parametrize("name", ["last.ckpt", "last.ckpt.sha256"])
def test_what_is_no_regular_file_in_a_checkpoint_s_place(
    finished: Path,
    tiny: list[str],
    command: Callable[..., Said],
    caplog: pytest.LogCaptureFixture,
    outcome: Callable[[str, str], None],
    name: str,
    kind: str,
) -> None:
    record, path = finished / "record.json", finished / "checkpoints" / name
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    (finished / "checkpoints/previous.ckpt").unlink(missing_ok=True)
    path.unlink()
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for words in (["evaluate", "run", "--at", "last"], ["train", *tiny, "trainer.max_epochs=1", "hydra.run.dir=run"]):
        code, _, err = command(*words)
        assert (code, "run/checkpoints holds no whole checkpoint; restore one" in one_line(err)) == (1, True)
        assert f"checkpoints/{name} cannot be read: it is {kind}, which is no regular file; name a" in caplog.text
        caplog.clear()
    outcome(f"{kind} in the place of {name}: evaluate, train", one_line(err))


def test_links_under_the_names_of_temporary_files(
    finished: Path, tiny: list[str], command: Callable[..., Said], outcome: Callable[[str, str], None]
) -> None:
    precious = Path("precious")
    precious.write_text("precious")
    record = finished / "record.json"
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    for name in ("record.json", "config.yaml", "curves.csv", "diagnostics.json", "checkpoints/last.ckpt"):
        path = finished / name
        path.with_name(f".{path.name}.partial").symlink_to(precious.resolve())
        path.with_name(f".{path.name}.sha256.partial").symlink_to(precious.resolve())
    assert command("train", *tiny, "trainer.max_epochs=1", "hydra.run.dir=run")[0] == 0
    assert command("evaluate", "run", "--protocol", "tta_flip")[0] == 0
    assert precious.read_text() == "precious"
    assert not list(finished.rglob("*.partial"))
    outcome("links elsewhere under the names of temporary files", "not followed, and removed")


@pytest.mark.long
def test_a_recorded_command_that_asks_for_a_secret(
    finished: Path,
    workplace: Path,
    command: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
    outcome: Callable[[str, str], None],
) -> None:
    monkeypatch.setenv("IMGREC_SECRET", "swordfish")
    path = finished / "record.json"
    rows = json.loads(path.read_text())
    root = rows["config"]["data.root"]
    words = [word for word in rows["command"] if not word.startswith("data.root=")]
    path.write_text(json.dumps({**rows, "command": [*words, "data.root=${oc.env:IMGREC_SECRET}"]}))
    code, out, err = command("train", "resume=run")
    assert (code, out.startswith("finished already: run")) == (0, True), err
    longer = ["trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"]
    assert command("train", "resume=run", *longer, "hydra.run.dir=longer")[0] == 0
    assert json.loads(Path("longer/record.json").read_text())["config"]["data.root"] == root
    assert not [each for each in workplace.rglob("*") if each.is_file() and b"swordfish" in each.read_bytes()]
    path.write_text(json.dumps({**rows, "command": [*words, f"data.root={root}", "loss=${oc.env:IMGREC_SECRET}"]}))
    code, _, err = command("train", "resume=run")
    assert (code, "swordfish" in err) == (2, False)
    assert "must have a command that refers to nothing, and it has 'loss=${oc.env:IMGREC_SECRET}'" in one_line(err)
    outcome("${oc.env:...} in a stranger's recorded command: resume", one_line(err))
    assert command("train", "resume=run", "loss=cross_entropy")[0] == 0, "the way out"


def carried_out(arguments: list[str], workplace: Path) -> subprocess.CompletedProcess[str]:
    """A command of its own, in the working folder, as a shell starts it."""
    surroundings = {**os.environ, "PYTHONPATH": ""}
    return subprocess.run(arguments, cwd=workplace, env=surroundings, capture_output=True, text=True, timeout=280)


@pytest.mark.long
def test_python_files_of_the_working_folder_are_no_modules(
    workplace: Path, outcome: Callable[[str, str], None]
) -> None:
    sung = canaries.plant(workplace)
    for how in (["-c", "import signal"], ["-c", "import random"]):
        carried_out([sys.executable, *how], workplace)
    assert sung.read_text() == "signal\nrandom\n", "they sing where nothing is done"
    sung.unlink()
    done = carried_out([sys.executable, "-m", "imgrec", "train", "data=digits", "--cfg", "job"], workplace)
    assert (done.returncode, sung.exists()) == (0, False), done.stderr
    outcome("python -m imgrec among torch.py, signal.py, random.py", "none of them is run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["launcher=basic"],
        ["launcher=pool", "launcher.processes=2"],
        ["launcher=pool", "launcher.processes=1", "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4"],
        ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4"],
        ["data.num_workers=2"],
    ],
    ids=["basic", "pool", "pool-ddp", "ddp", "workers"],
)
@pytest.mark.parametrize("start", ["imgrec", "python -m imgrec"])
def test_no_process_of_a_run_takes_modules_from_the_working_folder(
    tiny: list[str], workplace: Path, outcome: Callable[[str, str], None], words: list[str], start: str
) -> None:
    sung = canaries.plant(workplace)
    own = Path(sys.executable)
    begin = [str(own.with_name("imgrec"))] if start == "imgrec" else [str(own), "-m", "imgrec"]
    many = ["-m", "seed=0,1"] if words[0].startswith("launcher") else []
    done = carried_out([*begin, "train", *many, *tiny, "trainer.max_epochs=1", *words], workplace)
    assert (done.returncode, sung.exists()) == (0, False), done.stderr + (sung.read_text() if sung.exists() else "")
    outcome(f"{start} train {' '.join(words)} among torch.py, signal.py, random.py", "none of them is run")
