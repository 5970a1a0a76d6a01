"""What surrounds one run of a sweep, and what its folder is called."""

import dataclasses
import os
from pathlib import Path

import pytest
from shelf import lay, run

from imgrec.sweep.jobs import Jobs, surroundings

WORDS = ["data=digits", "trainer.max_epochs=3", "optimizer=sgd", "loss=mse", "seed=1"]


@pytest.mark.parametrize(
    ("varied", "name"),
    [
        ({"optimizer", "seed"}, "optimizer-sgd_seed-1"),
        ({"seed"}, "seed-1"),
        (None, "data-digits_max-epochs-3_optimizer-sgd_loss-mse_seed-1"),
    ],
)
def test_a_new_folder_is_named_by_what_varies_and_an_old_one_keeps_its_name(
    tmp_path: Path, varied: set[str] | None, name: str
) -> None:
    job = Jobs(tmp_path, varied).job(WORDS)
    assert job.name == f"{name}-{job.run_id[:8]}"
    old = lay(tmp_path, dataclasses.replace(run("loss=mse"), run_id=job.run_id), f"x-{job.run_id[:8]}").parent
    assert Jobs(tmp_path, varied).job(WORDS).folder == old


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
