"""Test a damaged checkpoint: the run warns, uses the generation before, and ends as the undisturbed run."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, steps_logged

WORDS = ("trainer.max_epochs=3", "model.dropout=0.3")
SHARES = [0.0, 0.001, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 0.9999]  # of the file's length


def cut_short(path: Path, share: float) -> None:
    with path.open("r+b") as file:
        file.truncate(int(share * path.stat().st_size))


def flip_a_bit(path: Path, share: float) -> None:
    with path.open("r+b") as file:
        file.seek(int(share * path.stat().st_size))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0b1000]))


@pytest.mark.parametrize("harm", [cut_short, flip_a_bit])
@pytest.mark.parametrize("shares", [SHARES[3::4], pytest.param(SHARES, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.long
def test_a_damaged_checkpoint_costs_an_epoch_at_most(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    outcome: Callable[[str, str], None],
    harm: Callable[[Path, float], None],
    shares: list[float],
) -> None:
    words = ["train", *tiny, *WORDS]
    cut = workplace / "cut"
    child = imgrec(*words, f"hydra.run.dir={cut}")
    assert child.signal_when(lambda: steps_logged(cut) >= 19, signal.SIGTERM) == 143, child.log.read_text()
    for share in shares:
        folder = workplace / f"{harm.__name__}-{share}"
        shutil.copytree(cut, folder)
        harm(folder / "checkpoints/last.ckpt", share)
        again = imgrec(*words, f"hydra.run.dir={folder}")
        assert again.wait() == 0, again.log.read_text()
        log = again.log.read_text()
        assert "last.ckpt must have the SHA-256 in last.ckpt.sha256" in log
        assert f"going back to {folder}/checkpoints/previous.ckpt: the newer checkpoint is damaged" in log
        assert_same_run(undisturbed(*WORDS), folder)
    outcome(f"last.ckpt, {harm.__name__} at {len(shares)} places", "said so, went back a generation, ended bit-equal")


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.long
def test_what_a_state_of_unknown_origin_leads_to_is_told_of_it(
    tiny: list[str],
    imgrec: Callable[..., Any],
    command: Callable[..., tuple[int, str, str]],
    workplace: Path,
    verified: bool,
) -> None:
    """With a digest beside it, the state is imgrec's own, and so is the error."""
    words = ["train", *tiny, *WORDS, "hydra.run.dir=cut"]
    child = imgrec(*words)
    assert child.signal_when(lambda: steps_logged(workplace / "cut") >= 10, signal.SIGTERM) == 143
    if not verified:
        Path("cut/checkpoints/last.ckpt.sha256").unlink()

    def stumble(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("odd counters")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("imgrec.training.run.Fitting.run", stumble)
        code, _, err = command(*words)
    assert code == 1
    last = err.splitlines()[-1]
    if verified:
        assert "ZeroDivisionError: odd counters" in last
        return
    assert "last.ckpt has no .sha256 beside it, and no run could go on from what it holds, got: odd counters;" in last
    assert "Error" not in last
    shutil.rmtree("cut")  # the way out: start over
    assert imgrec(*words).wait() == 0
