"""Fixtures of small data: a folder of images, files in CIFAR-10's format, and a local HTTPS server."""

import hashlib
import io
import os
import shutil
import ssl
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imgrec.data import cifar10_files

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def draw_images() -> Callable[..., list[Path]]:
    """Writes n images of noise into a folder."""

    def draw(folder: Path, count: int, *, suffix: str = "png", size: tuple[int, int] = (12, 10)) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(os.fsencode(folder.name)).digest()[:4], "big")
        noise = np.random.default_rng(seed)
        paths = [folder / f"{number:02}.{suffix}" for number in range(count)]
        for path in paths:
            Image.fromarray(noise.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
        return paths

    return draw


def official_pickle(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2's cPickle wrote the official ones."""
    pixels = images.tobytes()
    return b"".join(
        (
            b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05(",
            b"".join(b"K" + bytes([label]) for label in labels),
            b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08",
            b"K\x00\x85U\x01b\x87Rq\t(K\x01J" + struct.pack("<i", len(images)) + b"M\x00\x0c\x86cnumpy\ndtype\nq\n",
            b"U\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            struct.pack("<I", len(pixels)) + pixels + b"tbu.",
        )
    )


def official_meta() -> bytes:
    names = b"".join(b"U" + bytes([len(name)]) + name.encode() for name in CLASSES)
    return b"\x80\x02}q\x01(U\x0blabel_namesq\x02]q\x03(" + names + b"eu."


def archive_of(contents: dict[str, bytes], *, extra: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    """The contents as a tar.gz, with whatever `extra` adds."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{cifar10_files.FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if extra:
            extra(tar)
    return stream.getvalue()


@pytest.fixture
def pack() -> Callable[..., bytes]:
    return archive_of


@pytest.fixture
def cifar_contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Seven small files in the official format, which the code takes for the official ones: 20 images a batch."""
    noise = np.random.default_rng(0)
    contents = {"batches.meta": official_meta()}
    for name in (*cifar10_files.TRAIN_BATCHES, cifar10_files.TEST_BATCH):
        images = noise.integers(0, 256, (20, 3072), dtype=np.uint8)
        contents[name] = official_pickle(images, [*range(10), *range(10)])
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(cifar10_files, "SHA256", hashes)
    return contents


@pytest.fixture
def cifar_root(cifar_contents: dict[str, bytes], tmp_path: Path) -> Path:
    """The small files, placed by hand."""
    folder = tmp_path / "placed" / cifar10_files.FOLDER
    folder.mkdir(parents=True)
    for name, content in cifar_contents.items():
        (folder / name).write_bytes(content)
    return folder.parent


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate of the test server, and is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[SimpleNamespace]:
    """An HTTPS server on the loopback interface: its answers (`files` at their paths), and the requests."""
    state = SimpleNamespace(
        url="", certificate=certificate[0], content=b"", announced=None, status=200, redirects={}, requests=[], files={}
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            if target := state.redirects.get(self.path):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
                return
            content = state.files.get(self.path, state.content)
            self.send_response(state.status)
            self.send_header("Content-Length", str(state.announced or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        http.handle_error = lambda *_: None  # clients that refuse us are the point
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        state.url = f"https://127.0.0.1:{http.server_port}/cifar-10-python.tar.gz"
        yield state
        http.shutdown()
        thread.join()
