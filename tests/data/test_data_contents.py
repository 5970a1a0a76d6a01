"""Test that folders of images are distinguished by names and every byte, whatever their sizes and times are."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec.components.data.folder import Folder
from imgrec.data import contents, inventory
from imgrec.data.inventory import check_unchanged, take
from imgrec.errors import RunError

Draw = Callable[..., list[Path]]
Outcome = Callable[[str, str], None]


@pytest.fixture
def root(tmp_path: Path, draw_images: Draw) -> Path:
    """Two classes of three images each, all of 600 bytes."""
    for name in ("ant", "bee"):
        for path in draw_images(tmp_path / "images" / name, 3):
            path.write_bytes(path.read_bytes().ljust(600, b"\0"))
    return tmp_path / "images"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, into which files go however young they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED", 0)
    return tmp_path / "cache" / "imgrec" / "contents"


def fingerprint(root: Path) -> str:
    return take(Folder(root=str(root))).fingerprint


def swap(one: Path, other: Path) -> None:
    """Exchange the bytes of two files and put their times back, as rsync and archives do."""
    bytes_of = [path.read_bytes() for path in (one, other)]
    for path, text in zip((one, other), reversed(bytes_of), strict=True):
        status = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: object) -> bytes:
        raise AssertionError("every image is remembered")

    monkeypatch.setattr(os, "read", read)


def test_images_that_changed_places_are_other_images(root: Path, cache: Path) -> None:
    before = take(Folder(root=str(root)))
    swap(root / "ant" / "00.png", root / "bee" / "00.png")
    after = take(Folder(root=str(root)))
    assert after.fingerprint != before.fingerprint
    assert before.older is not None
    assert after.older is not None
    assert after.older.fingerprint == before.older.fingerprint, "names and sizes do not tell"
    assert before.known_as(after.fingerprint) is None
    swap(root / "ant" / "00.png", root / "bee" / "00.png")
    assert fingerprint(root) == before.fingerprint


def test_a_folder_is_the_same_wherever_it_lies_and_whenever_it_was_copied(root: Path, cache: Path) -> None:
    before = fingerprint(root)
    moved = root.rename(root.with_name("moved"))
    for path in moved.rglob("*.png"):
        path.touch()
    assert fingerprint(moved) == before


def test_a_second_start_reads_no_image(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(root)
    reads_nothing(monkeypatch)
    assert fingerprint(root) == before
    (root / "bee" / "02.png").unlink()
    assert fingerprint(root) != before, "the others are still remembered"
    moved = root.rename(root.with_name("moved"))
    assert fingerprint(moved)


def test_only_the_image_that_changed_is_read(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint(root)
    (root / "bee" / "02.png").write_bytes(b"another")
    opened: list[str] = []
    real = os.open

    def notes(path: str, *more: int) -> int:
        opened.append(os.fspath(path))
        return real(path, *more)

    monkeypatch.setattr(os, "open", notes)
    fingerprint(root)
    assert [path for path in opened if path.endswith(".png")] == [str(root / "bee" / "02.png")]


def test_an_image_that_changed_a_moment_ago_is_not_remembered(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change within the same tick of the file system's clock would have the same ctime."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = fingerprint(root)
    assert not list((tmp_path / "cache").rglob("*"))
    assert fingerprint(root) == before


def spoil_half(place: Path) -> None:
    place.write_bytes(place.read_bytes()[:100])


def spoil_byte(place: Path) -> None:
    text = bytearray(place.read_bytes())
    text[-1] ^= 1
    place.write_bytes(text)


def spoil_link(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    place.symlink_to("elsewhere")


def spoil_pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def spoil_folder(place: Path) -> None:
    place.unlink()
    (place / "x").mkdir(parents=True)


SPOILT = {
    spoil_half: "is cut off",
    spoil_byte: "has another byte",
    spoil_link: "is a link",
    spoil_pipe: "is a named pipe",
    spoil_folder: "is a folder",
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_cache_that_is_damaged_is_not_believed(
    root: Path, cache: Path, spoil: Callable[[Path], None], outcome: Outcome
) -> None:
    before = fingerprint(root)
    (place,) = cache.iterdir()
    spoil(place)
    assert fingerprint(root) == before
    assert [path for path in cache.iterdir() if path.name.startswith(".")] == []
    outcome(f"the cache of digests {SPOILT[spoil]}", "each image is read anew, the fingerprint is the same")


@pytest.mark.parametrize("home", ["/dev/null/x", "/proc/nowhere", "relative"])
def test_a_cache_that_cannot_be_written_changes_nothing(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, home: str, outcome: Outcome
) -> None:
    before = fingerprint(root)
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert fingerprint(root) == before
    assert not Path("relative").exists()
    outcome(f"XDG_CACHE_HOME={home} and no home", "each image is read at each start, the fingerprint is the same")


def test_several_at_once_find_the_same(root: Path, cache: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(fingerprint(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [fingerprint(root)] * 4
    assert [path.name[0] for path in cache.iterdir()] != ["."]


def disturbing(root: Path, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let somebody write into an image while it is read, that often."""
    path, real, left = root / "ant" / "00.png", os.read, [times]

    def disturbed(descriptor: int, size: int) -> bytes:
        text = real(descriptor, size)
        if left[0] and os.fstat(descriptor).st_ino == path.stat().st_ino:
            left[0] -= 1
            with path.open("ab") as file:
                file.write(b"more")
        return text

    monkeypatch.setattr(os, "read", disturbed)


def test_an_image_that_changes_while_it_is_read_is_read_again(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbing(root, monkeypatch, times=1)
    found = fingerprint(root)
    assert found == fingerprint(root)


def test_an_image_that_goes_on_changing_is_refused(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    disturbing(root, monkeypatch, times=100)
    with pytest.raises(
        RunError, match=r"00\.png: must stay as it is while the folder is listed, .*; start again"
    ) as told:
        fingerprint(root)
    outcome("an image is written to while it is read, again and again", f"refused: {told.value}")


def test_an_image_that_cannot_be_read_is_left_to_its_decoding(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def broken(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == (root / "ant" / "00.png").stat().st_ino:
            raise OSError(5, "Input/output error")
        return real(descriptor, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", broken)
        seen = take(Folder(root=str(root)))
        assert seen.contents is not None
        assert seen.contents.brief_n()[0] == 0
    assert fingerprint(root) != seen.fingerprint, "a disk that failed once is asked again"


def test_images_that_change_later_are_named(root: Path, cache: Path, outcome: Outcome) -> None:
    seen = take(Folder(root=str(root)))
    (root / "ant" / "00.png").touch()
    check_unchanged(seen)
    swap(root / "ant" / "01.png", root / "bee" / "01.png")
    (root / "bee" / "02.png").unlink()
    with pytest.raises(
        RunError, match=r"images: the images must stay as they are .*, and ant/01\.png and 2 more have"
    ) as told:
        check_unchanged(seen)
    outcome("images are exchanged while a run trains", f"the run fails: {told.value}")
    check_unchanged(inventory.Inventory(fingerprint="0"))
