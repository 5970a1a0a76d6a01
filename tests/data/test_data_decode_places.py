"""Test images in unusual places and with unusual names: pipes, links, other users' files, names of any bytes."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refusal

from imgrec.data.decode import decode


def draw(path: Path) -> None:
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path, "PNG")


# ---- what is no regular file


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "got: a named pipe, which is no regular file;" in refusal(tmp_path / "a.png")


def test_folders_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    assert "got: a folder, which is no regular file;" in refusal(tmp_path)
    assert "got: a device, which is no regular file;" in refusal(Path("/dev/zero"))
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/socket")
        assert "got: No such device or address;" in refusal(Path(folder) / "socket")


def test_links_to_nowhere_and_in_circles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    assert "got: Too many levels of symbolic links;" in refusal(tmp_path / "circle.png")
    assert "got: No such file or directory;" in refusal(tmp_path / "nowhere.png")


def test_a_file_of_another_user_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        draw(path)
        path.chmod(0)
        Path(folder).chmod(0o755)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # nobody: root reads everything
        try:
            assert "got: Permission denied;" in refusal(path)
        finally:
            os.seteuid(before)


@pytest.mark.long
def test_too_many_open_files_are_no_fault_of_the_image(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    code = (
        "import os, resource, sys, pathlib\n"
        "from imgrec.data.decode import ImageError, decode\n"
        f"path = pathlib.Path({str(tmp_path / 'a.png')!r})\n"
        "decode(path, 8)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1,) * 2)\n"
        "try:\n    decode(path, 8)\n"
        "except ImageError: sys.exit('skipped')\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"'{tmp_path / 'a.png'}': must be read, got: Too many open files; free")


def test_every_file_is_closed(tmp_path: Path) -> None:
    draw(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:45])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        decode(tmp_path / "good.png", 8)
        for path in (tmp_path / "bad.png", tmp_path):
            refusal(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# ---- names


@pytest.mark.parametrize("name", [b"two\nlines.png", b'it\'s "quoted".png', b"\xff\xfe.png", b"\x1b[31mred.png"])
def test_any_name_is_read_and_refused_on_one_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    draw(path)
    assert decode(path, 8).shape == (8, 8, 3)
    path.write_bytes(b"broken")
    refusal(path)
