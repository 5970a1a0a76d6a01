"""Test the description of the machine, and the refusals of unsuitable ones."""

import logging
import os
import subprocess
from pathlib import Path

import fake_gpus
import pytest
import torch

from imgrec import environment
from imgrec.config.compose import compose
from imgrec.cpu_features import bfloat16_slowdown, sums_in_float32
from imgrec.environment import check_hardware, hardware_warnings, threads_of
from imgrec.errors import UsageError
from imgrec.optim.orthogonal import working_type


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that computes in bfloat16 only by emulation."""
    fake_gpus.install(monkeypatch, tmp_path, "Tesla T4", capability=(7, 5))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.precision=bf16-mixed"], r"trainer\.precision=bf16-mixed needs a GPU of compute capability 8\.0"),
        (["test_precision=bf16"], r"test_precision=bf16 needs a GPU .* emulates bfloat16; use test_precision=32"),
    ],
)
@pytest.mark.usefixtures("old_gpu")
def test_a_gpu_that_emulates_bfloat16_is_not_asked_for_it(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_hardware(compose(["data=digits", *words]))


@pytest.mark.usefixtures("old_gpu")
def test_such_a_gpu_trains_in_other_arithmetic_and_a_cpu_beside_it_in_any() -> None:
    check_hardware(compose(["data=digits", "trainer.precision=16-mixed"]))
    check_hardware(compose(["data=digits", "trainer=cpu", "trainer.precision=bf16-mixed", "test_precision=bf16"]))
    assert working_type(torch.device("cuda")) == torch.float32


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trainer.precision=bf16-mixed"], ["trainer.precision=32"]),
        (["test_precision=bf16"], ["test_precision=32"]),
        (["experiment=speed94"], ["trainer.precision=32", "test_precision=32"]),
        (["experiment=cnn_strong"], ["trainer.precision=32"]),
        (["trainer.precision=32"], []),
    ],
)
def test_a_cpu_that_emulates_bfloat16_says_the_factor_and_the_key_to_give(
    words: list[str], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(["trainer.accelerator=cpu", *words])
    monkeypatch.setattr(environment, "bfloat16_slowdown", lambda: 31.96)
    warnings = hardware_warnings(config)
    assert [warning.partition("; ")[2] for warning in warnings] == [f"{key} is faster" for key in named]
    assert all("32.0 times as long in bfloat16 as in float32 on this CPU" in warning for warning in warnings)
    for key in named:  # the way out
        config = compose(["trainer.accelerator=cpu", *words, *named])
        assert hardware_warnings(config) == [], key
    monkeypatch.setattr(environment, "bfloat16_slowdown", lambda: 0.4)
    assert hardware_warnings(compose(["trainer.accelerator=cpu", *words])) == []


def test_the_factor_tells_a_cpu_that_emulates_bfloat16() -> None:
    """With emulation the factor is about 30 here, otherwise at most about 1."""
    assert (bfloat16_slowdown() < 3) is sums_in_float32()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package in a repository with one commit."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "somebody")
    folder = tmp_path / "repository" / "src"
    folder.mkdir(parents=True)
    (folder / "environment.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", str(folder.parent), *words], check=True)
    return folder


def head(repository: Path) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("obstacle", ["none", "another owner", "another repository"])
def test_a_record_names_the_commit_of_its_code(package: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str) -> None:
    commit = head(package)
    if obstacle == "another owner":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        refused = subprocess.run(["git", "-C", str(package), "status"], capture_output=True, text=True)
        assert "dubious ownership" in refused.stderr
        if os.geteuid() == 0:
            os.chown(package.parent, 12345, 12345)
    elif obstacle == "another repository":
        monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert environment.code_in(package) == {"commit": commit, "dirty": False}
    (package / "environment.py").write_text("changed")
    assert environment.code_in(package) == {"commit": commit, "dirty": True}


def test_a_repository_that_git_cannot_read_is_said(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    (package.parent / ".git" / "config").write_text("[core")
    with caplog.at_level(logging.WARNING, logger="imgrec"):
        assert environment.code_in(package) == {"commit": None, "dirty": None}
    assert "the record names no commit, as git cannot tell: fatal: bad config line" in caplog.text


def test_code_outside_of_a_repository_has_no_commit_and_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="imgrec"):
        assert environment.code_in(tmp_path) == {"commit": None, "dirty": None}
    assert caplog.text == ""


def test_a_run_that_shared_its_gpu_says_so_also_after_it_went_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: "NVIDIA H200")
    assert environment.of_device(gpu, shared=3)["shared"] == 3
    assert "shared" not in environment.of_device(gpu)
    assert "shared" not in environment.of_device(torch.device("cpu"), shared=3), "it shares no GPU"
    assert environment.environment({"shared": 3, "gpu": ["another"]})["shared"] == 3
    assert environment.environment({"gpu": ["another"]})["gpu"] == []


def test_devices_of_several_machines_are_named_once_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: "NVIDIA H200")
    told = environment.of_machines(torch.device("cuda", 0), ["NVIDIA H200", "NVIDIA A100", "NVIDIA H200"])
    assert told == {"device": "NVIDIA H200 + NVIDIA A100", "devices": ["3 x NVIDIA H200", "1 x NVIDIA A100"]}


def test_threads_of_several_processes_count_where_a_record_names_its_device() -> None:
    """Older versions noted the number that was divided among the processes afterwards."""
    assert threads_of({"threads": 4}, 1) == 4
    assert threads_of({"threads": 4}, 2) == 0
    assert threads_of({"threads": 4, "device": "AMD EPYC"}, 2) == 4
    assert threads_of({}, 1) == 0
