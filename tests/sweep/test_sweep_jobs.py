"""What surrounds one run of a sweep."""

import os

import pytest

from imgrec.sweep.jobs import surroundings


def test_what_a_run_does_to_the_environment_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    before = dict(os.environ)

    def run() -> None:
        assert "SLURM_JOB_ID" not in os.environ, "to put the job back into the queue is the sweep's to do"
        os.environ.update({"LOCAL_RANK": "0", "MASTER_PORT": "2"})
        del os.environ["PATH"]
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"), surroundings():
        run()
    assert dict(os.environ) == before
