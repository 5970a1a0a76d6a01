"""Test the download of CIFAR-10: over verified HTTPS, checked, unpacked and moved into place, or nothing is left."""

import hashlib
import io
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imgrec.components.data.cifar10 import Cifar10
from imgrec.data import cifar10_files, download, published
from imgrec.data.sources import load
from imgrec.errors import RunError


def config(root: Path, **changes: object) -> Cifar10:
    return Cifar10(root=str(root), **{"val_size": 20, **changes})


@pytest.fixture
def served(
    server: SimpleNamespace,
    cifar_contents: dict[str, bytes],
    pack: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> SimpleNamespace:
    """The server offers the small files as the official archive, and this process trusts it."""
    server.content = pack(cifar_contents)
    monkeypatch.setattr(cifar10_files, "URL", server.url)
    monkeypatch.setattr(cifar10_files, "ARCHIVE_SHA256", hashlib.sha256(server.content).hexdigest())
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    return server


def left_in(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} if root.exists() else set()


def refusal(root: Path, **changes: object) -> str:
    """The sentence, after checking that it is one line that names the way out, and that nothing was placed."""
    with pytest.raises(RunError) as caught:
        load(config(root, **changes))
    assert left_in(root) == set()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(", or choose data=digits, which needs no download")
    assert str(root / cifar10_files.FOLDER) in sentence
    return sentence


def test_downloads_when_absent(served: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "new" / "root"
    source = load(config(root))
    assert len(source.train) == 80
    test = source.open_test()
    assert test is not None
    assert len(test) == 20
    assert left_in(root) == {".cifar-10.lock", cifar10_files.FOLDER}
    assert left_in(root / cifar10_files.FOLDER) == set(cifar10_files.SHA256)
    out, err = capfd.readouterr()
    assert out == ""
    assert "CIFAR-10: downloading" in err
    assert "CIFAR-10: 100 %" in err
    load(config(root))
    assert len(served.requests) == 1


def test_follows_a_redirect_that_stays_on_https(served: SimpleNamespace, tmp_path: Path) -> None:
    served.redirects["/cifar-10-python.tar.gz"] = "/moved"
    load(config(tmp_path))
    assert served.requests == ["/cifar-10-python.tar.gz", "/moved"]


def test_refuses_a_redirect_to_plain_http(served: SimpleNamespace, tmp_path: Path) -> None:
    served.redirects["/cifar-10-python.tar.gz"] = "http://127.0.0.1:9/elsewhere"
    assert "a redirect must stay on https, got http://127.0.0.1:9/elsewhere;" in refusal(tmp_path / "root")


def test_refuses_plain_http(served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10_files, "URL", served.url.replace("https", "http"))
    assert "a download must use https;" in refusal(tmp_path / "root")
    assert served.requests == []


def test_refuses_an_archive_with_another_hash_before_opening_it(
    served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.content = served.content[:-1] + b"?"
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("opened an unchecked archive"))
    assert "its SHA-256 must be" in refusal(tmp_path / "root")


def test_refuses_an_answer_that_breaks_off(served: SimpleNamespace, tmp_path: Path) -> None:
    whole = len(served.content)
    served.content, served.announced = served.content[: whole // 2], whole
    assert f"must send {whole} bytes, got {whole // 2};" in refusal(tmp_path / "root")


def test_refuses_an_error_of_the_server(served: SimpleNamespace, tmp_path: Path) -> None:
    served.status = 404
    assert "the server must answer 200, got 404 Not Found;" in refusal(tmp_path / "root")


def test_refuses_a_certificate_that_nobody_vouches_for(
    served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(tmp_path / "root")


def test_without_network_says_where_the_files_belong(
    cifar_contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(cifar10_files, "URL", f"https://127.0.0.1:{port}/x")
    assert "cannot be downloaded ([Errno 111] Connection refused); place the official files" in refusal(tmp_path / "r")


def test_connecting_has_ten_seconds(
    cifar_contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def connect(address: object, timeout: object = None, *_: object, **__: object) -> None:
        seen.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "cannot be downloaded (timed out);" in refusal(tmp_path / "root")
    assert seen == [10.0]


def test_unpacks_the_expected_files_and_nothing_else(
    served: SimpleNamespace,
    cifar_contents: dict[str, bytes],
    pack: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evil(tar: tarfile.TarFile) -> None:
        for name in ("../escaped", str(tmp_path / "escaped-absolute"), f"{cifar10_files.FOLDER}/readme.html"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))

    served.content = pack(cifar_contents, extra=evil)
    monkeypatch.setattr(cifar10_files, "ARCHIVE_SHA256", hashlib.sha256(served.content).hexdigest())
    root = tmp_path / "root"
    load(config(root))
    assert left_in(root) == {".cifar-10.lock", cifar10_files.FOLDER}
    assert left_in(root / cifar10_files.FOLDER) == set(cifar10_files.SHA256)
    assert left_in(tmp_path) == {"root"}


def test_refuses_a_link_in_place_of_a_file(
    served: SimpleNamespace,
    cifar_contents: dict[str, bytes],
    pack: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def link(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(f"{cifar10_files.FOLDER}/test_batch")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)

    others = {name: content for name, content in cifar_contents.items() if name != "test_batch"}
    served.content = pack(others, extra=link)
    monkeypatch.setattr(cifar10_files, "ARCHIVE_SHA256", hashlib.sha256(served.content).hexdigest())
    assert "must hold the regular file cifar-10-batches-py/test_batch, and does not" in refusal(tmp_path / "root")


def test_two_at_once_download_once(served: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda: lengths.append(len(load(config(tmp_path / "root")).train))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [80] * 4
    assert len(served.requests) == 1


def test_many_that_fail_at_once_leave_nothing_and_download_one_by_one(
    served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, refused = threading.Lock(), []

    def fail(*_: object, **__: object) -> None:
        assert guard.acquire(blocking=False), "two at once"
        time.sleep(0.02)
        guard.release()
        raise RunError("no network")

    def ask() -> None:
        try:
            load(config(tmp_path / "new" / "root"))
        except RunError as error:
            refused.append(str(error))

    monkeypatch.setattr(published, "fetch", fail)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["no network"] * 8
    assert left_in(tmp_path) <= {"new"}, "a folder that another one has made may stay"
    assert left_in(tmp_path / "new" / "root") == set()


def test_what_a_killed_process_left_is_removed(served: SimpleNamespace, tmp_path: Path) -> None:
    stale = tmp_path / ".cifar-10-partial-abc"
    stale.mkdir()
    (stale / "archive.tar.gz").write_bytes(b"half")
    load(config(tmp_path))
    assert left_in(tmp_path) == {".cifar-10.lock", cifar10_files.FOLDER}


def test_an_interrupted_download_leaves_nothing(
    served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(config(tmp_path / "new" / "root"))
    assert left_in(tmp_path) == set()


def test_download_false_says_where_the_files_belong(cifar_contents: dict[str, bytes], tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "root", download=False)
    assert "CIFAR-10 must be there when data.download=false; set it to true, place the official files" in sentence


def test_a_root_that_cannot_be_written(cifar_contents: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"file/root: CIFAR-10 cannot be stored there \(Not a directory\); set data.root"
    ):
        load(config(tmp_path / "file" / "root"))


def test_a_terminal_shows_a_bar(
    served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load(config(tmp_path))
    out, err = capfd.readouterr()
    assert out == ""
    assert "CIFAR-10" in err
    assert "100 %" not in err


def test_a_full_disk_is_named(served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.open

    def full(path: Path, mode: str = "r", *rest: object, **named: object) -> object:
        file = whole(path, mode, *rest, **named)
        if path.name != "archive.tar.gz" or mode != "xb":
            return file
        file.close()
        return whole(Path("/dev/full"), "wb", buffering=0)

    monkeypatch.setattr(Path, "open", full)
    assert "archive.tar.gz: cannot be written (No space left on device); free space, place" in refusal(tmp_path / "r")


def test_a_file_system_without_locks_is_named(
    cifar_contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    assert "CIFAR-10 cannot be stored there (Operation not supported); set data.root" in refusal(tmp_path / "root")
