"""Test the public names of `import imgrec`."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import imgrec
from imgrec import curve_file, evaluate, records
from imgrec.errors import RunError, UsageError
from imgrec.rebuilding import rebuild


def test_importing_it_loads_neither_torch_nor_hydra() -> None:
    code = "import imgrec, json, sys; dir(imgrec); print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "lightning", "hydra", "omegaconf", "numpy"}


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(imgrec.__all__) <= set(dir(imgrec))
    for name in imgrec.__all__:
        assert getattr(imgrec, name) is not None
    with pytest.raises(AttributeError, match="module 'imgrec' has no attribute 'trian'"):
        imgrec.trian  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("kind", [str, Path])
def test_a_run_is_loaded_from_its_folder_or_a_checkpoint(finished: Path, kind: Callable[[Path], str | Path]) -> None:
    best, last = (imgrec.load(kind(finished), at=at) for at in ("best", "last"))
    assert imgrec.load(kind(finished)).step == best.step
    assert imgrec.load(kind(finished / "checkpoints/last.ckpt")).step == last.step
    assert best.classes == ("column", "diagonal", "row")
    assert best.config.model.name == "cnn"
    assert not best.network.training


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_are_str_or_path(finished: Path, kind: Callable[[Path], str | Path]) -> None:
    assert (
        rebuild(kind(finished / "checkpoints/best.ckpt")).run_id == records.read(kind(finished / "record.json")).run_id
    )
    assert curve_file.read_curves(kind(finished / "curves.csv"))
    assert evaluate.evaluate(kind(finished), output=kind(Path("scores.json"))).path == Path("scores.json")


def test_what_cannot_be_loaded_is_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match="nowhere must be a run's folder or a checkpoint file, and does not exist"):
        imgrec.load("nowhere")
    Path("broken.ckpt").write_bytes(b"x")
    with pytest.raises(RunError, match=r"broken\.ckpt must be a checkpoint"):
        imgrec.load("broken.ckpt")


@pytest.mark.slow
def test_its_types_are_known_to_users(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import imgrec

            reveal_type(imgrec.train(["seed=1"]).record.score("top1", split="test", at="best"))
            reveal_type(imgrec.load("run").classes)
            """
        )
    )
    words = [sys.executable, "-m", "mypy", "--strict", "program.py"]
    said = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path).stdout.replace("builtins.", "")
    assert 'Revealed type is "imgrec.records.Score | None"' in said, said
    assert 'Revealed type is "tuple[str, ...]"' in said, said
