"""Test the data sets that are published as files: downloaded, verified, read, split, and trained on."""

import gzip
import hashlib
import io
import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn import NAMES, WITH_TEST_FILES, Drawn, cifar100_batch, draw, idx_bytes, jpegs, tarred, zipped
from scipy.io import savemat

from imgrec.config.registry import components
from imgrec.data import cifar100_files, eurosat_files, stl10_files
from imgrec.data.choose import counts
from imgrec.data.inventory import take
from imgrec.data.source import Source, channel_statistics
from imgrec.data.sources import load
from imgrec.errors import RunError, UsageError

CLASSES = {name: {"cifar100": 100, "tiny_imagenet": 200}.get(name, 10) for name in NAMES}


@pytest.fixture(params=NAMES)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return draw(request.param, monkeypatch)


def pixels(source: Source, part: str = "train") -> np.ndarray:
    images = source.open_test() if part == "test" else getattr(source, part)
    return images.read(torch.arange(len(images)))[0].numpy()


def refusal(drawn: Drawn, root: Path, **changes: object) -> str:
    with pytest.raises(RunError) as caught:
        load(drawn.config(root, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_placed_by_hand_are_split_and_keep_pixels_and_labels(drawn: Drawn, tmp_path: Path) -> None:
    drawn.place(tmp_path)
    whole = load(drawn.config(tmp_path, val_size=0, **({"padding": 0} if "mnist" in drawn.name else {})))
    assert whole.val is None
    assert np.array_equal(pixels(whole), drawn.train_nchw)
    assert np.array_equal(whole.train.labels, drawn.train_n)
    assert (whole.name, len(whole.classes)) == (drawn.name, CLASSES[drawn.name])
    config = drawn.config(tmp_path)
    source = load(config)
    test = source.open_test()
    assert source.val is not None
    assert test is not None
    assert np.array_equal(test.labels, drawn.test_n)
    assert (source.channels, source.image_size) == (drawn.train_nchw.shape[1], config.side)
    assert test.read(torch.tensor([0]))[0].shape == (1, source.channels, config.side, config.side)
    sizes_k = np.bincount(drawn.train_n)
    share = drawn.val_size / len(drawn.train_n)
    assert np.abs(source.val.labels.bincount(minlength=len(sizes_k)).numpy() - share * sizes_k).max() < 1
    assert (source.mean, source.std) == channel_statistics(source.train)
    split = [*pixels(source), *pixels(source, "val")]
    expected = pixels(load(drawn.config(tmp_path, val_size=0)))
    assert sorted(map(bytes, split)) == sorted(map(bytes, expected))


def test_the_split_is_fixed_and_varied_by_its_seed(drawn: Drawn, tmp_path: Path) -> None:
    drawn.place(tmp_path)
    one, again, other = (pixels(load(drawn.config(tmp_path, split_seed=seed)), "val") for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_folds_are_all_training_images_and_the_test_images_stay(drawn: Drawn, tmp_path: Path) -> None:
    drawn.place(tmp_path)
    default = components("data")[drawn.name].default_val_size()  # type: ignore[attr-defined]
    sources = [load(drawn.config(tmp_path, val_size=default, folds=3, fold=fold)) for fold in range(3)]
    everything = sorted(map(bytes, pixels(load(drawn.config(tmp_path, val_size=0)))))
    assert sorted(bytes(image) for source in sources for image in pixels(source, "val")) == everything
    for source in sources:
        assert sorted(map(bytes, [*pixels(source), *pixels(source, "val")])) == everything
        assert source.val is not None
        assert abs(len(source.val) - len(everything) / 3) < 1
        test = source.open_test()
        assert test is not None
        assert np.array_equal(test.labels, drawn.test_n)


def test_counts_are_known_before_the_files_are_there(drawn: Drawn, tmp_path: Path) -> None:
    default = components("data")[drawn.name].default_val_size()  # type: ignore[attr-defined]
    folds = [{"val_size": default, "folds": 3, "fold": fold} for fold in range(3)]
    settings = [{}, {"val_size": 0}, {"subset": 0.7}, {"imbalance": 0.5}, *folds]
    told = [counts(drawn.config(tmp_path, **changes)) for changes in settings]
    drawn.place(tmp_path)
    for changes, (train, val) in zip(settings, told, strict=True):
        source = load(drawn.config(tmp_path, **changes))
        assert (len(source.train), 0 if source.val is None else len(source.val)) == (train, val)


def test_downloads_when_absent_once(
    drawn: Drawn,
    server: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    server.files = drawn.served(monkeypatch, server.url.rpartition("/")[0])
    root = tmp_path / "new"
    assert len(load(drawn.config(root)).train) == len(drawn.train_n) - drawn.val_size
    assert sorted(server.requests) == sorted(server.files)
    folder = root / drawn.published.folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == drawn.contents
    assert {path.name for path in root.iterdir()} == {
        f".{drawn.published.key}.lock",
        drawn.published.folder.split("/")[0],
    }
    assert f"{drawn.published.title}" in capfd.readouterr().err
    load(drawn.config(root))
    assert len(server.requests) == len(server.files)


@pytest.mark.parametrize("fault", ["tampered", "cut", "announced", "gone", "closed"])
def test_a_download_that_is_not_the_official_one_is_refused_and_leaves_nothing(
    drawn: Drawn, fault: str, server: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    server.files = drawn.served(monkeypatch, server.url.rpartition("/")[0])
    last = list(server.files)[-1]
    content = server.files[last]
    if fault == "tampered":
        server.files[last] = content[:-1] + bytes([content[-1] ^ 1])
    elif fault == "cut":
        server.files[last] = content[: len(content) // 2]
    elif fault == "announced":
        server.announced = 10**6 + len(content)
    elif fault == "gone":
        server.status = 404
    else:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            drawn.served(monkeypatch, f"https://127.0.0.1:{closed.getsockname()[1]}")
    root = tmp_path / "new"
    sentence = refusal(drawn, root)
    told = {
        "tampered": "its SHA-256 must be",
        "cut": "its SHA-256 must be",
        "announced": "must send",
        "gone": "the server must answer 200, got 404",
        "closed": "cannot be downloaded",
    }
    assert told[fault] in sentence
    assert sentence.endswith(", or choose data=digits, which needs no download")
    assert not root.exists()
    drawn.place(root)  # the way out
    load(drawn.config(root))


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:-1] + b"?"])
def test_refuses_a_placed_file_that_is_not_the_official_one(
    drawn: Drawn, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder = drawn.place(tmp_path)
    path = folder / next((name for name in drawn.contents if "train" in name), next(iter(drawn.contents)))
    good = path.read_bytes()
    path.write_bytes(change(good))
    sentence = refusal(drawn, tmp_path)
    value = hashlib.sha256(good).hexdigest()
    assert sentence.startswith(f"{path}: its SHA-256 must be {value} (the official file), got ")
    assert sentence.endswith(f"restore it, or delete {folder} and run again to download it anew")
    path.write_bytes(good)  # the way out
    load(drawn.config(tmp_path))


@pytest.mark.parametrize("drawn", WITH_TEST_FILES, indirect=True)
def test_refuses_a_missing_file(drawn: Drawn, tmp_path: Path) -> None:
    folder = drawn.place(tmp_path)
    last = list(drawn.contents)[-1]
    (folder / last).unlink()
    sentence = refusal(drawn, tmp_path)
    assert sentence.startswith(
        f"{folder / last}: missing, and {drawn.published.title} needs {', '.join(drawn.contents)}; restore it"
    )
    (folder / last).write_bytes(drawn.contents[last])  # the way out
    load(drawn.config(tmp_path))


@pytest.mark.parametrize("drawn", WITH_TEST_FILES, indirect=True)
def test_test_files_are_opened_only_when_asked_for(drawn: Drawn, tmp_path: Path) -> None:
    folder = drawn.place(tmp_path)
    name = next(name for name in drawn.contents if name.startswith(("test", "t10k")))
    (folder / name).write_bytes(b"tampered")
    source = load(drawn.config(tmp_path))
    with pytest.raises(RunError, match=rf"{name}: its SHA-256 must be .* got .* over 8 bytes; restore it, or"):
        source.open_test()


def test_without_download_says_where_the_files_belong(drawn: Drawn, tmp_path: Path) -> None:
    sentence = refusal(drawn, tmp_path, download=False)
    folder = tmp_path / drawn.published.folder
    assert f"{drawn.published.title} must be there when data.download=false; set it to true, place the" in sentence
    assert str(folder) in sentence
    with pytest.raises(RunError, match=r"must hold the official .* files, and does not .* with --data-root"):
        drawn.config(tmp_path).at_hand()
    drawn.place(tmp_path)
    load(drawn.config(tmp_path, download=False).at_hand())


def test_sizes_of_the_validation_split_are_refused_by_name(drawn: Drawn, tmp_path: Path) -> None:
    drawn.place(tmp_path)
    count = len(drawn.train_n)
    with pytest.raises(
        UsageError, match=rf"data.val_size must be < {count} \(the training images of .*\), got {count}"
    ):
        drawn.config(tmp_path, val_size=count)
    with pytest.raises(UsageError, match=r"data.val_size must be .* got 7"):
        drawn.config(tmp_path, val_size=7)
    with pytest.raises(UsageError, match=r"data.split_seed=1 varies the validation split, and data.val_size=0"):
        drawn.config(tmp_path, val_size=0, split_seed=1)


def test_each_data_set_has_a_fingerprint_of_its_own_without_its_files() -> None:
    found = {name: take(components("data")[name](root="/nowhere")).fingerprint for name in (*NAMES, "cifar10")}
    assert len(set(found.values())) == len(found)
    assert all(len(value) == 64 for value in found.values())


def test_checksums_without_sha256_are_those_of_torchvision() -> None:
    from torchvision.datasets import CIFAR100, STL10

    published = cifar100_files.PUBLISHED
    theirs = dict([*CIFAR100.train_list, *CIFAR100.test_list, (CIFAR100.meta["filename"], CIFAR100.meta["md5"])])
    assert {name: each.value for name, each in published.files.items()} == theirs
    assert published.archive is not None
    assert (published.folder, published.archive[0]) == (CIFAR100.base_folder, CIFAR100.url)
    theirs = dict([*STL10.train_list, *STL10.test_list])
    assert {name: each.value for name, each in stl10_files.PUBLISHED.files.items()}.items() <= theirs.items()


@pytest.mark.long
def test_an_epoch_on_each_ends_with_scores(drawn: Drawn, workplace: Path, command: Callable[..., tuple]) -> None:
    drawn.place(workplace / "sets")
    words = ["data.root=sets", f"data={drawn.name}", f"data.val_size={drawn.val_size}", "data.batch_size=32"]
    words += ["model.widths=[4,4]", "model.hidden=8", "trainer=cpu", "trainer.threads=1", "trainer.max_epochs=1"]
    words += ["trainer.progress=none", "loggers=[]", "hydra.run.dir=run", "augment=crop_flip"]
    code, _, err = command("train", *words)
    assert code == 0, err
    record = json.loads((workplace / "run/record.json").read_text())
    assert record["status"] == "finished"
    assert record["fingerprint"] == drawn.published.fingerprint
    found = {score["split"]: score["n"] for score in record["scores"] if score["metric"] == "top1"}
    assert found == {"val": drawn.val_size, "test": len(drawn.test_n)}
    assert command("evaluate", "run", "--split", "val")[0] == 0


# ---- CIFAR-100


@pytest.fixture
def cifar100(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return draw("cifar100", monkeypatch)


def test_coarse_labels_are_those_above_the_fine_ones(cifar100: Drawn, tmp_path: Path) -> None:
    cifar100.place(tmp_path)
    fine, coarse = (load(cifar100.config(tmp_path, labels=labels)) for labels in ("fine", "coarse"))
    assert coarse.classes == tuple(f"coarse {number}" for number in range(20))
    assert fine.classes == tuple(f"fine {number}" for number in range(100))
    assert torch.equal(coarse.train.labels, fine.train.labels // 5)
    for part in ("train", "val", "test"):
        assert np.array_equal(pixels(fine, part), pixels(coarse, part)), "one split for both"
    assert coarse.open_test().labels.tolist() == (cifar100.test_n // 5).tolist()
    assert cifar100.config(tmp_path, labels="coarse").class_counts() == ([10] * 20, 100)


@pytest.mark.parametrize("file", ["train", "test"])
def test_a_fine_class_in_two_coarse_ones_is_refused(
    cifar100: Drawn, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels_n = cifar100.train_n if file == "train" else np.repeat(np.arange(100), 2)
    coarse_n = labels_n // 5
    coarse_n[np.flatnonzero(labels_n == 7)[0]] = 3
    images = np.zeros((len(labels_n), 3, 32, 32), np.uint8)
    cifar100.rewrite(monkeypatch, file, cifar100_batch(images, labels_n, coarse_n))
    path = cifar100.place(tmp_path) / file
    with pytest.raises(RunError) as caught:
        load(cifar100.config(tmp_path)).open_test()
    assert str(caught.value).startswith(
        f"{path}: each fine class must lie in one coarse class, and class 7 lies in 1 and in 3; restore"
    )


def test_a_test_file_with_other_coarse_classes_is_refused(
    cifar100: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.zeros((100, 3, 32, 32), np.uint8)
    cifar100.rewrite(monkeypatch, "test", cifar100_batch(images, cifar100.test_n, cifar100.test_n % 20))
    cifar100.place(tmp_path)
    with pytest.raises(RunError, match=r"test: its fine classes must lie in the coarse classes of train, and some do"):
        load(cifar100.config(tmp_path)).open_test()


def test_unpickles_nothing_but_arrays(cifar100: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar100.rewrite(monkeypatch, "train", b"cos\nsystem\n(S'true'\ntR.")
    cifar100.place(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=r"CIFAR-100 files name no os\.system"):
        load(cifar100.config(tmp_path))


def test_an_archive_that_lacks_a_file_is_refused(
    cifar100: Drawn, server: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    del cifar100.contents["test"]
    server.files = cifar100.served(monkeypatch, server.url.rpartition("/")[0])
    assert "must hold the regular file cifar-100-python/test, and does not;" in refusal(cifar100, tmp_path / "new")


# ---- files of another form, which could be official by their checksums alone


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no gzip", "Not a gzipped file"),
        (gzip.compress(idx_bytes(np.zeros((3, 28, 28))))[:-9], "end-of-stream marker"),
        (gzip.compress(idx_bytes(np.zeros((3, 28, 28)))[:-1]), "cannot reshape array"),
        (gzip.compress(idx_bytes(np.zeros(3))), "the header 00000801"),
        (gzip.compress(b"\0\0"), "requires a buffer of at least 4 bytes"),
        (gzip.compress(idx_bytes(np.zeros((3, 28, 28)))), "must hold 120 images of 28x28"),
    ],
    ids=["no gzip", "cut", "short", "dimensions", "header", "count"],  # gzip's bytes contain the time
)
def test_an_idx_file_of_another_form_is_refused(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw("mnist", monkeypatch)
    drawn.rewrite(monkeypatch, "train-images-idx3-ubyte.gz", content)
    drawn.place(tmp_path)
    sentence = refusal(drawn, tmp_path)
    assert "train-images-idx3-ubyte.gz: must " in sentence
    assert told in sentence
    assert "; restore the official file" in sentence


@pytest.mark.parametrize(
    "values", [None, {"y": np.ones((3, 1))}, {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}]
)
def test_a_mat_file_of_another_form_is_refused(
    values: dict[str, np.ndarray] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, stream = draw("svhn", monkeypatch), io.BytesIO(b"MATLAB" * 100)
    if values is not None:
        stream = io.BytesIO()
        savemat(stream, values)
    drawn.rewrite(monkeypatch, "train_32x32.mat", stream.getvalue())
    drawn.place(tmp_path)
    sentence = refusal(drawn, tmp_path)
    assert "train_32x32.mat: must hold X, uint8 (32, 32, 3, N), and y, N labels, as a MATLAB file, got: " in sentence
    assert sentence.endswith("; restore the official file")


def test_bytes_that_are_no_whole_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw("stl10", monkeypatch)
    drawn.rewrite(monkeypatch, "train_X.bin", bytes(100))
    drawn.place(tmp_path)
    assert "train_X.bin: must hold 40 images of 3x96x96 bytes, as train_y.bin has so many labels, got 100" in refusal(
        drawn, tmp_path
    )


@pytest.mark.parametrize(
    ("name", "files", "told"),
    [
        ("eurosat", {"2750/River/a.jpg": jpegs(1)[0]}, "must hold a folder of images for each of AnnualCrop, Forest, "),
        (
            "eurosat",
            {f"2750/{name}/a.jpg": b"no image" for name in eurosat_files.CLASSES},
            "must be a whole image, got",
        ),
        ("eurosat", None, "must be a whole archive, got: File is not a zip file; restore the official file"),
        ("imagenette", None, "must be a whole archive, got: not a gzip file; restore the official file"),
        ("imagenette", {}, "train must hold a folder of images for each of n01440764, "),
        ("tiny_imagenet", {}, "must hold 200 classes in train, got 0; restore the official file"),
    ],
)
def test_an_archive_with_other_files_is_refused(
    name: str, files: dict[str, bytes] | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw(name, monkeypatch)
    pack = tarred if name == "imagenette" else zipped
    if files is not None and "a.jpg" in str(files) and len(files) > 1:
        files = {path.replace("a.jpg", f"{place}.jpg"): image for path, image in files.items() for place in range(5)}
    content = b"damaged" if files is None else pack(files)
    drawn.rewrite(monkeypatch, next(iter(drawn.contents)), content)
    drawn.place(tmp_path)
    assert told in refusal(drawn, tmp_path)


def test_classes_of_tiny_imagenet_that_share_a_word_are_called_by_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw("tiny_imagenet", monkeypatch)
    drawn.place(tmp_path)
    assert load(drawn.config(tmp_path)).classes[:3] == ("n10000000", "n10000001", "10000002")


@pytest.mark.parametrize("size", [16, 64])
def test_imagenette_is_resized(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw("imagenette", monkeypatch)
    drawn.place(tmp_path)
    assert pixels(load(drawn.config(tmp_path, image_size=size, val_size=0))).shape == (40, 3, size, size)


def test_mnist_is_framed_in_black(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw("mnist", monkeypatch)
    drawn.place(tmp_path)
    framed = pixels(load(drawn.config(tmp_path, val_size=0)))
    assert framed.shape == (120, 1, 32, 32)
    assert np.array_equal(framed[:, :, 2:-2, 2:-2], drawn.train_nchw)
    assert framed.sum() == drawn.train_nchw.sum(dtype=np.int64)
