"""Test the command line's refusals: one line with key, rule, value and advice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_gpus
import pytest
from PIL import Image
from runs import tree

from imgrec import checkpoint, networks
from imgrec.config import serialize
from imgrec.config.compose import compose
from imgrec.config.schemas import choices
from imgrec.data.cifar10_files import ARCHIVE_SHA256

Said = tuple[int, str, str]


@pytest.fixture
def imgrec(command: Callable[..., Said], outcome: Callable[[str, str], None]) -> Callable[..., Said]:
    """As `command`; what is refused enters the table of faults."""

    def run(*arguments: str) -> Said:
        code, out, err = command(*arguments)
        if code:
            last = err.splitlines()[-1]
            outcome(f"imgrec {' '.join(arguments[:1])} ... {' '.join(arguments[-1:])}", f"exit {code}: {last}")
        return code, out, err

    return run


@pytest.fixture
def photos(tiny_images: Path, workplace: Path) -> Path:
    """A copy of the tiny images, to be spoilt."""
    shutil.copytree(tiny_images, workplace / "photos")
    return workplace / "photos"


MODELS = ", ".join(choices("model"))
CONFIGURATION = [
    (
        "model=resnet5O",
        f"model must be one of {MODELS}, got 'resnet5O'; did you mean model=resnet50?",
    ),
    ("optimizer.lr=-1", "optimizer.lr must be > 0 and finite, got -1.0"),
    ("optimizer.lr=0", "optimizer.lr must be > 0 and finite, got 0.0"),
    ("optimizer.lr=inf", "optimizer.lr must be > 0 and finite, got inf"),
    ("optimizer.lr=nan", "optimizer.lr must be > 0 and finite, got nan"),
    ("optimizer.lr=abc", "optimizer.lr: value 'abc' could not be converted to Float"),
    ("optimizer.learning_rate=0.1", "optimizer.learning_rate is not a key; did you mean optimizer.lr?"),
    ("data.batch_size=0", "data.batch_size must be >= 1 and finite, got 0"),
    ("data.val_size=50000", "data.val_size must lie in [0, 50000), got 50000; CIFAR-10 has 50000 training images"),
    ("data.val_size=60000", "data.val_size must lie in [0, 50000), got 60000"),
    ("data.val_size=4999", "data.val_size must be a multiple of 10 for CIFAR-10 (a class-balanced split), got 4999"),
    ("trainer.max_epochs=0", "trainer.max_epochs must lie in [1, 1000000], got 0"),
    ("trainer.max_epochs=-3", "trainer.max_epochs must lie in [1, 1000000], got -3"),
    ("trainer.max_epochs=1.5", "trainer.max_epochs: value '1.5' could not be converted to Integer"),
    ("trainer.devices=4", "trainer.devices=4 needs trainer.strategy=ddp; choose trainer=ddp, or trainer.devices=1"),
    ("trainer.precision=8", "trainer.precision must be one of 32, bf16-mixed, 16-mixed, got '8'"),
    ("experiment=aritcle", "experiment must be one of"),
    ("augment=cut_mix", "did you mean augment=cutmix?"),
    ("loss=crossentropy", "did you mean loss=cross_entropy?"),
    ("epochs=5", "epochs is not a key; did you mean trainer.max_epochs?"),
    ("+extra=1", "extra is not a key"),
    ("optimizer._target_=os.system", "optimizer._target_ is not a key"),
    ("+_target_=os.system", "_target_ is not a key"),
    ("+model._target_=os.system", "model._target_ is not a key"),
    (
        "+data={_target_:os.system}",
        "data must be one of arrays, cifar10, cifar100, digits, eurosat, fashion_mnist, folder, huggingface,"
        " imagenette, kmnist, mnist, stl10, svhn, tiny_imagenet, got",
    ),
    ("hydra.sweeper._target_=os.system", "hydra.sweeper._target_=os.system is no setting of imgrec; of Hydra's own"),
    ("+hydra.callbacks.x={_target_:os.system}", "is no setting of imgrec; of Hydra's own, a command may give"),
    ("hydra.searchpath=[file:///tmp]", "hydra.searchpath=[file:///tmp] is no setting of imgrec"),
    ("hydra.job_logging.handlers.file.filename=x.log", "is no setting of imgrec"),
    ("hydra.sweep.subdir=../../x", "hydra.sweep.subdir=../../x is no setting of imgrec"),
    ("hydra.job.name=../../x", "hydra.job.name=../../x is no setting of imgrec"),
    ("hydra.output_subdir=../x", "hydra.output_subdir=../x is no setting of imgrec"),
    ("hydra.mode=MULTIRUN", "hydra.mode=MULTIRUN is no setting of imgrec"),
    ("hydra.sweep.dir=x", "hydra.sweep.dir has no effect without -m; give hydra.run.dir"),
    ("hydra={run:{dir:x}}", "is no setting of imgrec"),
    (
        "hydra/launcher=joblib",
        "hydra/launcher=joblib is no setting of imgrec; launcher=basic|joblib|pool|ray|slurm says how a sweep goes",
    ),
    (
        "hydra/sweeper=optuna",
        "hydra/sweeper=optuna is no setting of imgrec; sweep=grid|optuna|tuned says how a sweep goes",
    ),
    ("~hydra.run.dir", "~hydra.run.dir is no setting of imgrec"),
    ("~optimizer", "optimizer cannot be deleted (~optimizer); choose one of"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2 asks for several runs; add -m"),
    (
        "nonsense",
        "an override must read key=value, got 'nonsense'; quote a value that has blanks, and put none after a comma",
    ),
    ("optimizer=sgd,", "optimizer must have a value after each comma, without blanks between, got 'sgd,'"),
    ("experiment=a=b", "experiment must have a value that Hydra's grammar can read, got 'a=b'; quote it"),
    ("data=folder", "data.root must be given, it has no default"),
    ("resume_override=${seed}", "resume_override names what may differ"),
    ("model.widths=${seed}", "model.widths must "),
    ("optimizer.lr=${experiment}", "optimizer.lr"),
    ("seed=-1", "seed must lie in [0, 4294967295], got -1"),
    (
        "test_protocols=[tta]",
        "test_protocols must be one of clean, gaussian_noise, knn, linear_probe, tta_flip, tta_flip_shift, got 'tta'",
    ),
    ("trainer.precision=16-mixed", "trainer.precision=16-mixed needs a CUDA GPU; use bf16-mixed, or 32"),
    ("trainer.graphs=true", "trainer.graphs=true needs a CUDA GPU; give trainer.graphs=false"),
    (
        "callback.gradient_norm.every=3",
        "callback.gradient_norm.every=3 has no effect without callbacks=[gradient_norm]",
    ),
    ("augment.mix_alpha=0.3", "augment.mix_alpha=0.3 has no effect without augment.mix=mixup or cutmix"),
    ("augment.mix_probability=0.3", "augment.mix_probability=0.3 has no effect without augment.mix=mixup or cutmix"),
    ("hydra.run.dir=runs/${seed}", "hydra.run.dir must be a plain path, got 'runs/${seed}'"),
    ("--config-path=/tmp", "--config-path=/tmp is no option of imgrec train"),
    ("resume=nowhere", "nowhere must be a run's folder with a record.json, and has none"),
]


@pytest.mark.parametrize(("word", "sentence"), CONFIGURATION, ids=[word for word, _ in CONFIGURATION])
def test_a_bad_word_is_refused_before_anything_is_written(
    imgrec: Callable[..., Said], workplace: Path, word: str, sentence: str
) -> None:
    code, out, err = imgrec("train", word)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("imgrec: ")
    assert sentence in err
    assert list(workplace.iterdir()) == []


def test_a_bad_value_in_a_sweep_is_refused_before_the_first_run(imgrec: Callable[..., Said], workplace: Path) -> None:
    code, out, err = imgrec("train", "-m", "experiment=demo", "seed=0,1", "optimizer.lr=0.1,-1")
    assert (code, out) == (2, "")
    assert "optimizer.lr must be > 0" in err
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer=gpu"], "trainer.accelerator=gpu needs a CUDA GPU and this machine has none; use trainer=cpu"),
        (["trainer=ddp"], "trainer.accelerator=gpu needs a CUDA GPU"),
        (["trainer=ddp", "trainer.devices=4"], "trainer.accelerator=gpu needs a CUDA GPU"),
    ],
)
def test_hardware_that_is_not_there_is_refused(
    imgrec: Callable[..., Said], workplace: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code, out, err = imgrec("train", "experiment=demo", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert list(workplace.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(imgrec: Callable[..., Said], workplace: Path) -> None:
    code, out, err = imgrec("train", "data=folder", "data.root=/nowhere")
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1
    assert "data.root" in err
    assert "/nowhere" in err
    assert list(workplace.iterdir()) == []


def test_an_empty_class_folder_is_refused(
    imgrec: Callable[..., Said], tiny: list[str], photos: Path, workplace: Path
) -> None:
    (photos / "nobody").mkdir()
    before = tree(workplace)
    code, out, err = imgrec("train", *tiny, f"data.root={photos}")
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1
    assert "nobody" in err
    assert tree(workplace) == before


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.long
def test_a_truncated_picture_is_named_and_can_be_skipped(
    imgrec: Callable[..., Said], tiny: list[str], photos: Path, workers: int
) -> None:
    broken = photos / "row" / "broken.jpg"
    Image.new("RGB", (64, 64), (200, 30, 30)).save(broken, quality=95)
    broken.write_bytes(broken.read_bytes()[:-200])
    words = [*tiny, f"data.root={photos}", f"data.num_workers={workers}", "trainer.max_epochs=1"]
    code, out, err = imgrec("train", *words)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert str(broken) in last
    assert "data.on_error=skip" in last
    assert "Traceback" not in err
    (record,) = [json.loads(path.read_text()) for path in Path("outputs").rglob("record.json")]
    assert record["status"] == "failed"
    assert str(broken) in record["error"]
    code, out, err = imgrec("train", *words, "data.on_error=skip")
    assert code == 0, err
    assert "finished" in out
    assert str(broken) in err, "what is left out is said"


def test_a_tampered_data_file_is_named(imgrec: Callable[..., Said], workplace: Path) -> None:
    folder = workplace / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"not what Krizhevsky wrote")
    code, out, err = imgrec("train", f"data.root={workplace / 'data'}", "data.download=false")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert "SHA-256" in last
    assert str(folder) in last


def test_data_that_are_not_there_name_the_embedded_ones(imgrec: Callable[..., Said], workplace: Path) -> None:
    code, out, err = imgrec("train", f"data.root={workplace / 'empty'}", "data.download=false")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert str(workplace / "empty") in last
    assert "data=digits" in last


def test_a_truncated_checkpoint_is_refused(imgrec: Callable[..., Said], finished: Path) -> None:
    path = finished / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:-100])
    before = tree(finished)
    for target in (finished, path):
        code, out, err = imgrec("evaluate", str(target))
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert f"{path} must have the SHA-256 in best.ckpt.sha256" in err
    (finished / "checkpoints" / "best.ckpt.sha256").unlink()
    code, out, err = imgrec("evaluate", str(path))
    assert code == 1
    assert "damaged" in err.splitlines()[-1]
    del before["checkpoints/best.ckpt.sha256"], before["checkpoints"]
    after = tree(finished)
    del after["checkpoints"]
    assert after == before


@pytest.mark.long
def test_a_checkpoint_of_another_architecture_is_refused(
    imgrec: Callable[..., Said], tiny: list[str], finished: Path, workplace: Path
) -> None:
    wide = [*tiny, "model.hidden=24", "trainer.max_epochs=2"]
    assert imgrec("train", *wide, "hydra.run.dir=wide")[0] == 0
    record = json.loads((workplace / "wide/record.json").read_text())
    record["status"] = "interrupted"
    (workplace / "wide/record.json").write_text(json.dumps(record))
    checkpoint.link_or_copy(finished / "checkpoints/last.ckpt", workplace / "wide/checkpoints/last.ckpt")
    code, out, err = imgrec("train", *wide, "hydra.run.dir=wide")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert "must hold a network of this run's architecture: network.net." in last
    assert "is (24, 32) here and (16, 32) there" in last


def test_a_folder_with_another_run_is_refused(imgrec: Callable[..., Said], tiny: list[str], finished: Path) -> None:
    before = tree(finished)
    code, out, err = imgrec("train", *tiny, "trainer.max_epochs=1", "seed=5", "hydra.run.dir=run")
    assert (code, out) == (2, "")
    assert "run must hold this run or none" in err
    assert tree(finished) == before


def test_a_read_only_output_folder_is_refused(
    imgrec: Callable[..., Said], tiny: list[str], disk: Callable[[str], Path]
) -> None:
    read_only = disk("ro,size=1m")
    code, out, err = imgrec("train", *tiny, f"hydra.run.dir={read_only / 'run'}")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"{read_only / 'run'} must be a folder that can be written to" in err
    assert "hydra.run.dir" in err


def test_a_file_in_the_place_of_the_output_folder_is_refused(
    imgrec: Callable[..., Said], tiny: list[str], workplace: Path
) -> None:
    (workplace / "outputs").write_text("mine")
    code, out, err = imgrec("train", *tiny)
    assert (code, out) == (1, "")
    assert "must be a folder that can be written to" in err
    assert (workplace / "outputs").read_text() == "mine"


@pytest.mark.long
def test_a_finished_run_is_said_to_be_finished(imgrec: Callable[..., Said], tiny: list[str], workplace: Path) -> None:
    words = ["train", *tiny, "trainer.max_epochs=1"]
    code, first, _ = imgrec(*words)
    assert code == 0
    before = tree(workplace)
    code, second, err = imgrec(*words)
    assert (code, err) == (0, "")
    assert "finished already" in second
    assert first.splitlines()[2:] == second.splitlines()[2:], "the same scores"
    assert tree(workplace) == before
    code, third, _ = imgrec(*words, "force=true")
    assert code == 0
    assert "_take-2-" in third
    assert {path: when for path, when in tree(workplace).items() if path in before and "." in path} == {
        path: when for path, when in before.items() if "." in path
    }


def test_evaluate_measures_again_and_leaves_the_run_alone(imgrec: Callable[..., Said], finished: Path) -> None:
    before = tree(finished)
    code, out, _ = imgrec("evaluate", str(finished), "--protocol", "tta_flip", "--at", "last")
    assert code == 0
    (path,) = (finished / "evaluations").glob("tta_flip-*.json")
    rows = json.loads(path.read_text())
    assert rows["schema"] == 1
    assert rows["run_id"] == json.loads((finished / "record.json").read_text())["run_id"]
    assert {row["protocol"] for row in rows["scores"]} == {"tta_flip"}
    assert {row["at"] for row in rows["scores"]} == {"last"}
    assert str(path.relative_to(finished)) in out
    after = {name: when for name, when in tree(finished).items() if not name.startswith("evaluations")}
    assert after == before


def test_evaluate_clean_gives_the_numbers_of_the_record(imgrec: Callable[..., Said], finished: Path) -> None:
    imgrec("evaluate", str(finished))
    (path,) = (finished / "evaluations").glob("clean-*.json")
    again = {row["metric"]: row["value"] for row in json.loads(path.read_text())["scores"]}
    record = json.loads((finished / "record.json").read_text())
    recorded = {
        row["metric"]: row["value"] for row in record["scores"] if (row["split"], row["at"]) == ("test", "best")
    }
    assert again == recorded


@pytest.mark.long
def test_evaluate_measures_in_the_precision_that_is_asked_for(imgrec: Callable[..., Said], finished: Path) -> None:
    for precision in ("32", "bf16"):
        assert imgrec("evaluate", str(finished), "--precision", precision)[0] == 0
    measured = [json.loads(path.read_text()) for path in (finished / "evaluations").glob("clean-*.json")]
    used = sorted(row["settings"]["precision"] for rows in measured for row in rows["scores"][:1])
    assert used == ["32", "bf16"]


def test_evaluate_does_not_ask_a_gpu_for_bfloat16_that_only_emulates_it(
    imgrec: Callable[..., Said], finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_gpus.install(monkeypatch, tmp_path, "Tesla T4", capability=(7, 5))
    before = tree(finished)
    code, out, err = imgrec("evaluate", str(finished), "--precision", "bf16")
    assert (code, out) == (2, "")
    assert "--precision=bf16 needs a GPU of compute capability 8.0" in err
    assert err.endswith("use --precision 32\n")
    assert tree(finished) == before


def test_a_lone_checkpoint_goes_to_stdout_or_a_file(imgrec: Callable[..., Said], finished: Path) -> None:
    path = finished / "checkpoints" / "last.ckpt"
    code, out, _ = imgrec("evaluate", str(path))
    assert code == 0
    assert json.loads(out)["settings"]["protocol"] == "clean"
    code, out, _ = imgrec("evaluate", str(path), "-o", "scores.json")
    assert code == 0
    assert json.loads(Path("scores.json").read_text())["scores"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere must be a run's folder or a checkpoint file"),
        (["run", "--protocol", "tta_flop"], "did you mean tta_flip?"),
        (["run", "--at", "first"], "--at must be one of best, last, got 'first'"),
        (["run", "--precision", "8"], "--precision must be one of 32, bf16, got '8'"),
        (["run", "--split", "train"], "--split must be one of test, val, got 'train'"),
        (["run/checkpoints/last.ckpt", "--at", "best"], "leave --at out"),
        (
            ["."],
            ". must be a run's folder or a checkpoint file, and is neither; name one of the runs in it, such as run",
        ),
        (["run/checkpoints"], "and is neither; name run"),
        (["nothing"], "and is neither; name the folder of a run"),
        ([], "Missing argument 'RUN'"),
    ],
)
def test_evaluate_refuses(imgrec: Callable[..., Said], finished: Path, arguments: list[str], sentence: str) -> None:
    Path("nothing").mkdir()
    code, out, err = imgrec("evaluate", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err


@pytest.mark.long
def test_evaluate_away_from_the_images_names_their_option(
    imgrec: Callable[..., Said], tiny: list[str], photos: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert imgrec("train", *tiny, "data.root=photos", "trainer.max_epochs=1", "hydra.run.dir=run")[0] == 0
    photos.rename(workplace / "moved")
    (workplace / "away").mkdir()
    monkeypatch.chdir(workplace / "away")
    before = tree(workplace)
    for arguments, root in (([], "photos"), (["--data-root", "/nope"], "/nope")):
        code, out, err = imgrec("evaluate", "../run", *arguments)
        assert (code, out) == (2, "")
        assert err == (
            f"imgrec: ../run needs its images: data.root must be a folder of images, got {root!r}, which is nothing"
            " there; name their place with --data-root\n"
        )
    assert tree(workplace) == before
    assert imgrec("evaluate", "../run", "--data-root", "../moved")[0] == 0


def test_evaluate_downloads_nothing(
    imgrec: Callable[..., Said], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*arguments: object, **more: object) -> None:
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr("imgrec.data.published.fetch", fetched)
    config = compose(["data=cifar10", f"data.root={workplace / 'gone'}", "model.widths=[2]", "model.hidden=2"])
    meta: dict[str, Any] = {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3, "image_size": 32}
    meta |= {
        "config": serialize.flat(config),
        "classes": list("abcdefghij"),
        "run_id": "x",
        "fingerprint": ARCHIVE_SHA256,
    }
    shape = {key: meta[key] for key in ("channels", "mean", "std", "image_size")}
    network = networks.network(config, classes=10, **shape).state_dict()
    state = {"imgrec": meta, "state_dict": {f"network.{name}": value for name, value in network.items()}}
    checkpoint.save({**state, "global_step": 1}, workplace / "lone.ckpt")
    before = tree(workplace)
    for arguments, root in (([], workplace / "gone"), (["--data-root", str(workplace / "nope")], workplace / "nope")):
        code, out, err = imgrec("evaluate", "lone.ckpt", *arguments)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert f"{root}/cifar-10-batches-py must hold the official CIFAR-10 files, and does not" in err
        assert "with --data-root" in err
    assert tree(workplace) == before


def test_no_traceback_unless_asked(
    imgrec: Callable[..., Said], tiny: list[str], monkeypatch: pytest.MonkeyPatch, workplace: Path
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("imgrec.training.final.read", fail)
    code, _, err = imgrec("train", *tiny, "trainer.max_epochs=1")
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "imgrec: ZeroDivisionError: a mistake of ours (IMGREC_DEBUG=1 shows where)"
    (log,) = workplace.glob("outputs/default/*/train.log")
    assert "Traceback" in log.read_text()
    monkeypatch.setenv("IMGREC_DEBUG", "1")
    assert "Traceback" in imgrec("train", *tiny, "trainer.max_epochs=1")[2]


def test_the_configuration_can_be_printed_without_a_run(imgrec: Callable[..., Said], workplace: Path) -> None:
    code, out, _ = imgrec("train", "--cfg", "job", "experiment=demo")
    assert code == 0
    assert "name: digits" in out
    assert list(workplace.iterdir()) == []


def test_version(imgrec: Callable[..., Said]) -> None:
    import imgrec as package

    assert imgrec("--version")[1] == f"imgrec {package.__version__}\n"


@pytest.mark.long
def test_images_that_changed_since_the_run_are_not_measured_as_its_test_set(
    imgrec: Callable[..., Said], tiny: list[str], photos: Path
) -> None:
    words = [*tiny, f"data.root={photos}", "trainer.max_epochs=1", "hydra.run.dir=run"]
    assert imgrec("train", *words)[0] == 0
    Image.new("RGB", (8, 8)).save(photos / "row" / "late.png")
    code, out, err = imgrec("evaluate", "run")
    assert (code, out) == (1, "")
    assert "names or contents have changed since" in err
    named = imgrec("evaluate", "run", "--data-root", str(photos))
    assert (named[0], named[2]) == (1, err), "the same images under their own name are no others"
    shutil.copytree(photos, photos.parent / "others")
    code, out, err = imgrec("evaluate", "run", "--data-root", str(photos.parent / "others"))
    assert (code, out) == (2, "")
    assert "60 of 85 are among its training images" in err


def test_an_output_without_a_folder_is_refused_before_anything_is_measured(
    imgrec: Callable[..., Said], finished: Path
) -> None:
    code, out, err = imgrec("evaluate", "run", "-o", "nowhere/scores.json")
    assert (code, out) == (2, "")
    assert "nowhere must be a folder" in err


def test_alone_it_shows_its_help(imgrec: Callable[..., Said]) -> None:
    code, _, err = imgrec()
    assert code == 2
    assert "\n  train " in err


def test_what_a_run_says_on_stderr_is_the_message_alone(
    tiny: list[str], command: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = command("train", *tiny, "trainer.max_epochs=1")
    assert code == 0
    assert "reading val at best, clean: 12 images" in err.splitlines()
