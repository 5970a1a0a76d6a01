"""Test that checkpoints are saved durably, verified when loaded, and never executed."""

import contextlib
import errno
import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Evil

from imgrec import checkpoint
from imgrec.checkpoint import LAST, PREVIOUS
from imgrec.errors import RunError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # PyTorch's word on foreign files


def state(number: int, *, size: int = 1000) -> dict[str, Any]:
    return {"number": number, "state_dict": {"weight": torch.full((size,), float(number))}, "rows": [1, None, "a"]}


def number(path: Path) -> int:
    return int(checkpoint.load(path)["number"])


def beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def visible_and_hidden(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def last(tmp_path: Path) -> Path:
    path = tmp_path / LAST
    checkpoint.save(state(1), path)
    return path


def test_a_state_comes_back_equal_with_a_hash_that_sha256sum_checks(last: Path) -> None:
    loaded = checkpoint.load(last)
    assert loaded["rows"] == [1, None, "a"]
    assert torch.equal(loaded["state_dict"]["weight"], torch.ones(1000))
    assert beside(last).read_text() == f"{hashlib.sha256(last.read_bytes()).hexdigest()}  {LAST}\n"
    assert visible_and_hidden(last.parent) == [LAST, f"{LAST}.sha256"]


def test_a_save_makes_its_folder(tmp_path: Path) -> None:
    checkpoint.save(state(1), tmp_path / "a" / "b" / LAST)
    assert number(tmp_path / "a" / "b" / LAST) == 1


class Killed(BaseException):
    """The process ends here: nothing after it happens, not even cleaning up on an error."""


def steps(monkeypatch: pytest.MonkeyPatch, stop_at: int) -> list[str]:
    """Let every call that changes the disk count, and none from the `stop_at`-th one on be carried out."""
    seen: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            seen.append(name)
            if len(seen) > stop_at:
                raise Killed(name)
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(os, "link", watched("link", os.link))
    monkeypatch.setattr(Path, "replace", watched("replace", Path.replace))
    monkeypatch.setattr(Path, "unlink", watched("unlink", Path.unlink))
    return seen


@pytest.mark.parametrize("stop_at", range(30))
def test_a_crash_at_any_step_leaves_a_whole_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    checkpoint.save_generation(state(1), tmp_path)
    checkpoint.save_generation(state(2), tmp_path)
    with monkeypatch.context() as patch:
        seen = steps(patch, stop_at)
        with contextlib.suppress(Killed):
            checkpoint.save_generation(state(3), tmp_path)
            assert 10 < len(seen) <= stop_at  # every step was stopped at, in one of these tests
    newest, _ = checkpoint.newest(tmp_path) or (None, None)
    assert newest is not None
    assert newest.name == LAST
    assert number(newest) in (2, 3)
    # and going on from there works, over whatever the crash left
    checkpoint.save_generation(state(4), tmp_path)
    assert number(tmp_path / LAST) == 4
    assert number(tmp_path / PREVIOUS) in (2, 3)
    assert visible_and_hidden(tmp_path) == [LAST, f"{LAST}.sha256", PREVIOUS, f"{PREVIOUS}.sha256"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_refused_step_leaves_the_old_checkpoint_whole(last: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), refused)
        with pytest.raises(RunError) as refusal:
            checkpoint.save(state(2), last)
    assert str(refusal.value) == (
        f"{last} cannot be saved: Input/output error; the checkpoints saved before it are whole, free the disk and"
        " start the same command again"
    )
    assert number(last) == 1
    assert not [name for name in visible_and_hidden(last.parent) if name.endswith(".partial")]


def test_a_full_disk_is_named_and_costs_no_checkpoint(disk: Callable[[str], Path]) -> None:
    small_disk = disk("size=256k")
    checkpoint.save_generation(state(1), small_disk)
    checkpoint.save_generation(state(2), small_disk)
    for size in (200_000, 70_000):
        with pytest.raises(RunError, match=r"last\.ckpt cannot be saved: No space left on device"):
            checkpoint.save_generation(state(3, size=size), small_disk)
    assert (number(small_disk / LAST), number(small_disk / PREVIOUS)) == (2, 2)
    assert not [name for name in visible_and_hidden(small_disk) if name.endswith(".partial")]
    checkpoint.save_generation(state(4), small_disk)
    assert number(small_disk / LAST) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_a_read_only_folder_is_named(last: Path) -> None:
    last.parent.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot be saved: Permission denied"):
            checkpoint.save(state(2), last)
    finally:
        last.parent.chmod(0o700)


def test_a_file_in_the_folder_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(RunError, match=r"checkpoints/last\.ckpt cannot be saved: (File exists|Not a directory)"):
        checkpoint.save(state(1), tmp_path / "checkpoints" / LAST)


def test_an_older_generation_is_kept(tmp_path: Path) -> None:
    for k in (1, 2, 3):
        checkpoint.save_generation(state(k), tmp_path)
    assert (number(tmp_path / LAST), number(tmp_path / PREVIOUS)) == (3, 2)


def test_a_copy_is_the_same_file_and_outlives_its_source(last: Path) -> None:
    best = last.with_name("best.ckpt")
    checkpoint.link_or_copy(last, best)
    assert best.stat().st_ino == last.stat().st_ino
    checkpoint.save(state(2), last)
    assert (number(best), number(last)) == (1, 2)
    assert beside(best).read_text().endswith("  best.ckpt\n")


def test_a_file_system_without_links_gets_a_copy(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    best = last.with_name("best.ckpt")
    checkpoint.link_or_copy(last, best)
    assert best.stat().st_ino != last.stat().st_ino
    assert number(best) == 1


def test_a_copy_of_a_damaged_file_stays_damaged(last: Path) -> None:
    last.write_bytes(last.read_bytes()[:-10] + b"0123456789")
    checkpoint.link_or_copy(last, last.with_name(PREVIOUS))
    with pytest.raises(RunError, match="must have the SHA-256"):
        checkpoint.load(last.with_name(PREVIOUS))


def test_a_copy_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"best\.ckpt cannot be saved: No such file or directory"):
        checkpoint.link_or_copy(tmp_path / LAST, tmp_path / "best.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("hashed", [True, False], ids=["with hash", "without"])
def test_a_truncated_file_is_refused(last: Path, share: float, hashed: bool) -> None:
    whole = last.read_bytes()
    last.write_bytes(whole[: int(share * len(whole))])
    if not hashed:
        beside(last).unlink()
    sentence = "truncated or changed; use an intact copy" if hashed else "must be a checkpoint of tensors and plain"
    with pytest.raises(RunError, match=sentence) as refusal:
        checkpoint.load(last)
    assert str(last) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_a_single_flipped_bit_is_refused(last: Path, share: float) -> None:
    content = bytearray(last.read_bytes())
    content[int(share * len(content))] ^= 1
    last.write_bytes(content)
    with pytest.raises(RunError, match=r"must have the SHA-256 in last\.ckpt\.sha256, [0-9a-f]{12}\.\.\., got"):
        checkpoint.load(last)


def test_a_file_without_its_hash_loads_with_a_warning(last: Path, caplog: pytest.LogCaptureFixture) -> None:
    number(last)
    assert not caplog.records
    beside(last).unlink()
    assert number(last) == 1
    assert "last.ckpt has no .sha256 beside it: loaded unverified" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_hash_file_without_a_hash_is_refused(last: Path, content: bytes) -> None:
    beside(last).write_bytes(content)
    with pytest.raises(RunError, match=r"sha256 must hold a SHA-256; delete it to load the checkpoint unverified"):
        checkpoint.load(last)


@pytest.mark.parametrize("how", ["torch", "legacy torch", "pickle", "nested"])
def test_nothing_in_a_file_is_ever_executed(tmp_path: Path, how: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / LAST
    evil = {"state_dict": Evil(canary)} if how != "nested" else {"a": [{"b": (1, Evil(canary))}]}
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how != "legacy torch")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for verified in (False, True):
        if verified:
            beside(path).write_text(f"{digest}  {LAST}\n")
        with pytest.raises(RunError, match="must be a checkpoint of tensors and plain containers"):
            checkpoint.load(path)
        assert not canary.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert canary.exists()  # the canary would have sung


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\x80\x05.", b".", b"PK\x03\x04" + bytes(200), b"{}", bytes(1000)],
    ids=repr,
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.ckpt"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"photo\.ckpt must be a checkpoint of tensors and plain containers, and it is"):
        checkpoint.load(path)


@pytest.mark.long
def test_random_damage_of_an_unverified_file_is_refused_or_harmless(last: Path, tmp_path: Path) -> None:
    """Whatever the bytes are, PyTorch's reader returns a state or raises imgrec's error of one sentence."""
    whole = last.read_bytes()
    generator = torch.Generator().manual_seed(0)
    path, refused = tmp_path / "damaged.ckpt", 0
    logging.getLogger("imgrec.checkpoint").disabled = True
    try:
        for _ in range(300):
            content = bytearray(whole)
            for place in torch.randint(0, 1200, (3,), generator=generator).tolist():
                content[place] = int(torch.randint(0, 256, (), generator=generator))
            path.write_bytes(content)
            try:
                checkpoint.load(path)
            except RunError:
                refused += 1
    finally:
        logging.getLogger("imgrec.checkpoint").disabled = False
    assert refused > 100


def test_something_other_than_a_state_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / LAST)
    with pytest.raises(RunError, match="must hold a training state, got a list; name a checkpoint of imgrec"):
        checkpoint.load(tmp_path / LAST)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"last\.ckpt does not exist; name a run's folder or a checkpoint file"):
        checkpoint.load(tmp_path / LAST)
    (tmp_path / LAST).mkdir()
    with pytest.raises(RunError, match=r"last\.ckpt cannot be read: it is a folder"):
        checkpoint.load(tmp_path / LAST)


def test_the_newest_whole_generation_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.newest(tmp_path) is None
    checkpoint.save_generation(state(1), tmp_path)
    assert checkpoint.newest(tmp_path)[0] == tmp_path / LAST
    checkpoint.save_generation(state(2), tmp_path)
    assert checkpoint.newest(tmp_path)[0] == tmp_path / LAST
    assert not caplog.records
    damage = (tmp_path / LAST).read_bytes()[:-1] + b"?"
    (tmp_path / LAST).unlink()  # the generations may be one file
    (tmp_path / LAST).write_bytes(damage)
    assert checkpoint.newest(tmp_path)[0] == tmp_path / PREVIOUS
    assert "going back to" in caplog.text
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(RunError, match=r"holds no whole checkpoint; restore one, or remove .* to start over"):
        checkpoint.newest(tmp_path)


def test_the_digest_is_the_stated_bytes() -> None:
    """Names, dtypes, shapes and bytes, in order of name, are written out for two small tensors."""
    tensors = {"b": torch.tensor([1.0, -2.0]), "a": torch.tensor(3, dtype=torch.int64)}
    text = b"a torch.int64 ()\n" + (3).to_bytes(8, "little")
    text += b"b torch.float32 (2,)\n" + bytes.fromhex("0000803f000000c0")
    assert checkpoint.digest(tensors) == hashlib.sha256(text).hexdigest()


def test_the_digest_sees_every_difference_and_no_order_or_layout() -> None:
    base = {"w": torch.arange(24, dtype=torch.float32).view(2, 3, 2, 2), "b": torch.zeros(2)}
    same = [
        {"b": base["b"], "w": base["w"]},
        {"w": base["w"].to(memory_format=torch.channels_last), "b": base["b"]},
        {"w": base["w"].clone().requires_grad_(), "b": base["b"]},
        {"w": base["w"].transpose(0, 1).contiguous().transpose(0, 1), "b": base["b"]},
    ]
    others = [
        {"w": base["w"], "c": base["b"]},
        {"w": base["w"].view(3, 2, 2, 2), "b": base["b"]},
        {"w": base["w"].double(), "b": base["b"]},
        {"w": base["w"], "b": torch.zeros(2, dtype=torch.int32)},
        {"w": base["w"], "b": torch.tensor([0.0, -0.0])},
        {"w": base["w"].flip(0), "b": base["b"]},
        {"w": base["w"]},
        {},
    ]
    assert {checkpoint.digest(tensors) for tensors in same} == {checkpoint.digest(base)}
    assert len({checkpoint.digest(tensors) for tensors in [base, *others]}) == len(others) + 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.float16, torch.complex64, torch.uint8])
def test_the_digest_takes_every_dtype_and_no_values_at_all(dtype: torch.dtype) -> None:
    ones, zeros = torch.ones(3, dtype=dtype), torch.zeros(3, dtype=dtype)
    assert checkpoint.digest({"x": ones}) != checkpoint.digest({"x": zeros})
    assert checkpoint.digest({"x": ones[:0]}) == checkpoint.digest({"x": zeros[:0]})
